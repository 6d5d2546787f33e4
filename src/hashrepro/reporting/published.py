"""The papers' and the authors' figures: in one unit, with a mark on what nobody has verified."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from hashrepro.errors import UserError
from hashrepro.reporting import logs
from hashrepro.reporting.sources import TAKEN, Sources, read_words

FILES = ("semicon.csv", "schn.csv")
COLUMNS = ["paper", "dataset", "method", "bits", "map", "source", "verified"]
RESOLVED = [*COLUMNS, "label", *TAKEN, "queries", "database", "ranks", "difference"]
RECIPE_COLUMNS = ("method", "dataset", "source")  # the others are keys of a recipe
BAND_COLUMNS = ("dataset", "method", "bits", "selected", "low", "high", "note")
TOLERANCE = 2.0  # points


@dataclass(frozen=True, eq=False)
class Published:
    """What was published on some data sets, all figures as fractions.

    `figures`: columns `RESOLVED`. `label` is the data set in the source's words, `ours` this project's name of the
    method (empty: it has none), `selected` and `convention` how the source counts, `queries` and `database` of its
    protocol (NaN: not known), `ranks` how many its mAP looks at ("all" or a number), `difference` what keeps the figure
    from being compared (empty: nothing). A source whose table nobody has read has a row with `map` NaN and `bits` 0.
    `bands`: where a reproduction should lie: (data set, method, bits, selected) -> (low, high), our names;
    `tolerance`: points around the figure where there is none.
    `recipes`: what the figures were trained with, as far as it is known: (method, data set) -> key -> value, our names.
    `curves` and `times`: of the authors' logs, as `hashrepro.reporting.logs` gives them.
    """

    figures: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=RESOLVED))
    bands: Mapping[tuple[str, str, int, str], tuple[float, float]] = field(default_factory=dict)
    tolerance: float = TOLERANCE
    recipes: Mapping[tuple[str, str], Mapping] = field(default_factory=dict)
    curves: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=logs.CURVE_COLUMNS))
    times: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=logs.TIME_COLUMNS))


def read_folder(folder: Path, datasets: Mapping[str, str], tolerance: float = TOLERANCE) -> Published:
    """Read data/published/, for the data sets of this project only.

    Args:
        folder: `FILES` and the logs have the figures, sources.csv and protocols.csv say what they may be compared with
            (`Sources`), bands.csv (percent) where a reproduction should lie, recipes.csv what they were trained with.
        datasets: label of a data set in these files -> this project's name of it; others are left out.
        tolerance: points around a figure that count as reproduced where bands.csv has no row.

    Raises:
        UserError: a file lacks a column, a figure is out of range, or nothing is known of its source.
    """
    folder = Path(folder)
    sources = Sources(folder)
    names = sources.names(datasets)
    trained = logs.read_logs(folder, sources, names)
    found = pd.concat([read_published(folder / name, {label: label for label in names}) for name in FILES])
    found = found.assign(label=found["dataset"], dataset=found["dataset"].map(names))
    figures = [sources.resolved(figure) for figure in found.to_dict("records")] + logs.figures(trained)
    bands = {
        (datasets[row["dataset"]], row["method"], int(row["bits"]), row["selected"]): (
            float(row["low"]) / 100,
            float(row["high"]) / 100,
        )
        for row in read_words(folder / "bands.csv", BAND_COLUMNS)
        if row["dataset"] in datasets
    }
    return Published(
        pd.DataFrame(figures + sources.unread(figures, names), columns=RESOLVED),
        bands,
        tolerance,
        read_recipes(folder / "recipes.csv", datasets),
        logs.read_curves(folder, trained),
        logs.times(trained),
    )


def read_recipes(path: Path, datasets: Mapping[str, str]) -> dict[tuple[str, str], dict]:
    """(method, our name of a data set) -> key -> value; a key without a value is not known.

    Raises:
        UserError: a column is missing.
    """
    found = {}
    for row in read_words(path, RECIPE_COLUMNS):
        values = {key: _value(text) for key, text in row.items() if text and key not in RECIPE_COLUMNS}
        for label in row["dataset"].split(";"):
            if label in datasets:
                found |= dict.fromkeys(((name, datasets[label]) for name in row["method"].split(";")), values)
    return found


def _value(text: str) -> object:
    """A word, or what it says in JSON: a number, or a list of them."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def read_published(path: Path, datasets: dict[str, str]) -> pd.DataFrame:
    """Read a file of published figures, for the data sets of this project only.

    Args:
        path: CSV with the columns paper, dataset, method, bits, map, source, verified ("yes", or "no" or
            "partly" with an optional reason after a colon); `map` in
            percent or as a fraction, one unit in a file: a file with any value above 1 is in percent.
        datasets: the file's name of a data set -> this project's name of it; others are left out.

    Returns:
        The same columns, `map` as a fraction, `verified` as it was, in the file's order.

    Raises:
        UserError: a column is missing, a figure is not a number in range, or `verified` says something else.
    """
    mend = f"give every row of the file the columns {', '.join(COLUMNS)}"
    frame = pd.read_csv(path, dtype={"verified": str}, keep_default_na=False)
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise UserError(f"no column {', '.join(missing)}", where=path, mend=mend)
    figures = pd.to_numeric(frame["map"], errors="coerce")
    wrong = frame.index[~figures.between(0, 100) | ~frame["verified"].str.match(r"(yes|no|partly)(:|$)")]
    if len(wrong):
        found = frame.loc[wrong[0], ["map", "verified"]].to_dict()
        raise UserError(f"not a figure with its mark: {found}", where=f"{path}:{wrong[0] + 2}", mend=mend)
    frame["map"] = figures / 100 if figures.max() > 1 else figures
    frame = frame[frame["dataset"].isin(list(datasets))][COLUMNS]
    return frame.assign(dataset=frame["dataset"].map(datasets)).reset_index(drop=True)
