"""How each source of published figures counts, and what of ours its figures may stand beside."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from hashrepro.errors import UserError

SOURCE_COLUMNS = ("paper", "dataset", "method", "title", "ours", "backbone", "selected", "convention")
SOURCE_COLUMNS += ("comparable", "note")
PROTOCOL_COLUMNS = ("dataset", "of", "queries", "database", "difference", "ranks")
TAKEN = ("title", "ours", "backbone", "selected", "convention", "note")


def read_words(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a CSV of words.

    Raises:
        UserError: one of `columns` is not there.
    """
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    if missing := [column for column in columns if column not in frame.columns]:
        mend = f"give the file the columns {', '.join(columns)}"
        raise UserError(f"no column {', '.join(missing)}", where=path, mend=mend)
    return frame.to_dict("records")


@dataclass(frozen=True, eq=False)
class Sources:
    """sources.csv and protocols.csv of the folder `folder`.

    A row of sources.csv holds for the figures of its `paper`, `dataset` (labels between semicolons; * for all) and
    `method` (* for all); of several that fit, the first. A row of protocols.csv says which label a data set's own
    protocol has (`of`), how many `queries` and `database` images that has, what else is different, and how many `ranks`
    its mAP looks at ("all", a number, or empty: not known).
    """

    folder: Path

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        found = read_words(self.folder / "sources.csv", SOURCE_COLUMNS)
        return [row | {"dataset": row["dataset"].split(";")} for row in found]

    @cached_property
    def protocols(self) -> dict[str, dict[str, str]]:
        return {row["dataset"]: row for row in read_words(self.folder / "protocols.csv", PROTOCOL_COLUMNS)}

    def names(self, datasets: Mapping[str, str]) -> dict[str, str]:
        """`datasets` (label -> our name) with every label that stands for one of them."""
        others = {label: row["of"] for label, row in self.protocols.items()}
        return {label: datasets[of] for label, of in others.items() if of in datasets} | dict(datasets)

    def resolved(self, figure: dict) -> dict:
        """A figure (`paper`, `label`, `method`, ...) with what is known of its source.

        Adds `TAKEN`, `queries` and `database` (NaN: not known), `ranks`, and `difference`: why it cannot be compared,
        else "".

        Raises:
            UserError: sources.csv has no row for it.
        """
        for row in self.rows:
            fits = row["method"] in ("*", figure["method"]) and row["paper"] == figure["paper"]
            if fits and (row["dataset"] == ["*"] or figure["label"] in row["dataset"]):
                protocol = self.protocols.get(figure["label"], {})
                differences = [row["comparable"].removeprefix("yes"), protocol.get("difference", "")]
                sizes = {name: float(protocol.get(name) or "nan") for name in ("queries", "database")}
                taken = {name: row[name] for name in TAKEN}
                rest = {
                    "difference": "; ".join(filter(None, differences)),
                    "ranks": protocol.get("ranks", ""),
                }
                return figure | taken | sizes | rest
        raise UserError(
            f"no row fits {figure['method']} on {figure['label']} of “{figure['paper']}”",
            where=self.folder / "sources.csv",
            mend="add a row that says how this source counts: data/published/README.md",
        )

    def unread(self, figures: list[dict], names: Mapping[str, str]) -> list[dict]:
        """A resolved figure without a value (`map` NaN, `bits` 0) for each data set of a source that names its data
        sets and method, and of which `figures` have none: a table that exists, and that nobody has read."""
        known = {(figure["paper"], figure["label"], figure["method"]) for figure in figures}
        missing = [
            {"paper": row["paper"], "label": label, "method": row["method"], "dataset": names[label]}
            | {"bits": 0, "map": float("nan"), "source": "", "verified": "no"}
            for row in self.rows
            for label in row["dataset"]
            if label in names and row["method"] != "*" and (row["paper"], label, row["method"]) not in known
        ]
        return [self.resolved(figure) for figure in missing]
