"""What a run leaves behind for its report: scores, curves, history, pictures, and where they came from."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import pandas as pd
from pyarrow import ArrowInvalid

from hashrepro.errors import UserError
from hashrepro.files import read_json, whole, write_json
from hashrepro.reporting.attention import Attention, read_attention
from hashrepro.reporting.embedding import COLUMNS, empty_embedding
from hashrepro.reporting.gallery import Gallery, read_gallery, write_gallery

SELECTED = ("last", "best_on_test")
DATABASES = ("learned", "network", "untrained", "random")
# A class may be called None, NA or 007; what has no value is empty.
WORDS_KEPT = {"dtype": {"name": str}, "keep_default_na": False, "na_values": [""]}
KEY = re.compile(r"(?P<method>\w+)-(?P<dataset>.+)-(?P<bits>\d+)-s(?P<seed>\d+)")


@dataclass(frozen=True)
class Measure:
    """One column of the results: which score, on which database, of which checkpoint."""

    column: str
    title: str
    score: str
    database: str
    selected: str


MEASURES = (
    Measure("map", "mAP", "map", "learned", "last"),
    Measure("map_network", "mAP, network database", "map", "network", "last"),
    Measure("reference", "reference mAP", "map_reference", "learned", "last"),
    Measure("reference_network", "reference mAP, network database", "map_reference", "network", "last"),
    Measure("map_best_on_test", "mAP, best on test", "map", "learned", "best_on_test"),
    Measure(
        "reference_best_on_test", "reference mAP, best on test", "map_reference", "learned", "best_on_test"
    ),
    Measure("untrained", "floor: untrained network", "map", "untrained", "last"),
    Measure("random", "floor: random codes", "map", "random", "last"),
)

Scores = dict[str, dict[str, dict[str, float]]]
Curves = dict[tuple[str, str], pd.DataFrame]


@dataclass(frozen=True)
class Grid:
    """The runs that a suite consists of: every method on every data set, code length (bits) and seed.

    `skipped` has the reason, by key, of each run that cannot be because its parts do not fit together.
    """

    suite: str
    methods: tuple[str, ...]
    datasets: tuple[str, ...]
    bits: tuple[int, ...]
    seeds: tuple[int, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        """The keys of all runs, in the order of the grid's lists."""
        return [run_key(*run) for run in product(self.methods, self.datasets, self.bits, self.seeds)]


def run_key(method: str, dataset: str, bits: int, seed: int) -> str:
    """The name of a run inside its suite, for example ``semicon-fashion-12-s0``."""
    return f"{method}-{dataset}-{bits}-s{seed}"


@dataclass(eq=False)
class RunRecord:
    """One run = method × data set × bits × seed.

    `scores[selected][database][name]` is a fraction in [0, 1] (`uncoded`: a count); a database that was not
    scored is absent. `curves[database, curve]` has the columns that `hashrepro.retrieval.curves` gives them.
    `history` has a row an iteration: `iteration`, the losses (the total first), `map` (empty where not
    evaluated), `seconds`.
    `per_query` has a row a query of the catalog, in its order: `query` (catalog row) and the average precisions under
    ``<selected>.<database>.<score>`` for the scores map and map_reference (NaN: query left out); None where a run was
    scored without them.
    `attention` has the network's attention maps of a few queries; None where it has no attention.
    `embedding` is the map of the queries' codes, as `make_embedding` gives it; None where none was made.
    """

    suite: str
    method: str
    dataset: str
    bits: int
    seed: int
    scores: Scores
    about: dict = field(default_factory=dict)
    history: pd.DataFrame = field(default_factory=lambda: pd.DataFrame({"iteration": []}))
    curves: Curves = field(default_factory=dict)
    gallery: Gallery | None = None
    per_query: pd.DataFrame | None = None
    attention: Attention | None = None
    embedding: pd.DataFrame | None = None

    @property
    def key(self) -> str:
        return run_key(self.method, self.dataset, self.bits, self.seed)

    def score(self, name: str, database: str = "learned", selected: str = "last") -> float | None:
        """One score, or None where it was not computed."""
        return self.scores.get(selected, {}).get(database, {}).get(name)

    @property
    def headline_database(self) -> str:
        """`learned` where the method learns database codes, else `network`."""
        return "learned" if self.score("map") is not None else "network"


def flat_metrics(scores: Scores) -> dict[str, float]:
    """`scores` under dotted names, ``last.learned.map``: the form that experiment trackers compare."""
    return {
        f"{selected}.{database}.{name}": value
        for selected, databases in scores.items()
        for database, values in databases.items()
        for name, value in values.items()
    }


def headline_metrics(scores: Scores) -> dict[str, float]:
    """The few numbers that runs are compared by: those of `MEASURES` that the run has, and the headline's interval."""
    metrics = {
        measure.column: scores[measure.selected][measure.database][measure.score]
        for measure in MEASURES
        if measure.score in scores.get(measure.selected, {}).get(measure.database, {})
    }
    last = scores.get("last", {})
    headline = last.get("learned", last.get("network", {}))
    return metrics | {name: headline[name] for name in ("map_low", "map_high") if name in headline}


def write_evaluation(
    folder: Path,
    scores: Scores,
    about: dict,
    curves: Curves,
    gallery: Gallery | None,
    per_query: pd.DataFrame | None = None,
    embedding: pd.DataFrame | None = None,
) -> None:
    """Write a run's metrics.json, scores.json, {per_query,embedding}.parquet, curves/ and gallery/ into `folder`.

    The folders and tables are made even if nothing goes into them: DVC misses an output that is not there.
    """
    folder = Path(folder)
    for name in ("curves", "gallery"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_json(folder / "metrics.json", headline_metrics(scores))
    write_json(folder / "scores.json", {"scores": scores, "about": about})
    if per_query is None:
        per_query = pd.DataFrame({"query": pd.Series(dtype="int64")})
    embedding = empty_embedding() if embedding is None else embedding
    for name, table in {"per_query": per_query, "embedding": embedding}.items():
        with whole(folder / f"{name}.parquet") as temporary:
            table.to_parquet(temporary, index=False)
    for (database, curve), frame in curves.items():
        with whole(folder / "curves" / f"{database}-{curve}.csv") as temporary:
            frame.to_csv(temporary, index=False, lineterminator="\n")
    if gallery is not None:
        write_gallery(folder / "gallery", gallery)


def load_record(folder: Path, key: str) -> RunRecord:
    """Read the run `key` from a suite's folder, ``runs/<suite>``.

    Reads ``<key>/scores.json`` ({"scores", "about"}), ``<key>/history.csv``,
    ``<key>/curves/<database>-<curve>.csv``, where they are there ``<key>/per_query.parquet`` and
    ``<key>/embedding.parquet``, and, where they are not empty, ``<key>/gallery/`` and ``<key>/attention/``.

    Raises:
        UserError: the key is malformed, or a file is missing, damaged or lacks its columns.
    """
    folder = Path(folder)
    parts = KEY.fullmatch(key)
    if parts is None:
        raise UserError(
            f"{key!r} is not the key of a run", where=folder, mend="<method>-<data set>-<bits>-s<seed>"
        )
    run = folder / key
    mend = f"dvc repro (or dvc pull) makes the run {key} of the suite {folder.name}"
    try:
        stored = read_json(run / "scores.json")
        history = pd.read_csv(run / "history.csv")
        curves = {
            tuple(path.stem.split("-", 1)): pd.read_csv(path, **WORDS_KEPT)
            for path in sorted((run / "curves").glob("*-*.csv"))
        }
        gallery = read_gallery(run / "gallery") if any((run / "gallery").glob("*")) else None
        attention = read_attention(run / "attention")
        table = run / "per_query.parquet"
        per_query = pd.read_parquet(table) if table.exists() else None
        table = run / "embedding.parquet"
        embedding = pd.read_parquet(table, columns=list(COLUMNS)) if table.exists() else None
        scores, about = stored["scores"], stored["about"]
        history["iteration"]
        if per_query is not None:
            per_query["query"]
    except FileNotFoundError as error:
        raise UserError(
            f"the run {key} has no {Path(error.filename).name}", where=error.filename, mend=mend
        ) from error
    except (
        json.JSONDecodeError,
        KeyError,
        TypeError,
        UnicodeDecodeError,
        pd.errors.ParserError,
        OSError,  # pyarrow, of bytes that are not what they were
        ArrowInvalid,
    ) as error:
        raise UserError(f"the run {key} is damaged: {error!r}", where=run, mend=mend) from error
    except pd.errors.EmptyDataError as error:
        raise UserError(f"the run {key} has an empty table", where=run, mend=mend) from error
    return RunRecord(
        suite=folder.name,
        method=parts["method"],
        dataset=parts["dataset"],
        bits=int(parts["bits"]),
        seed=int(parts["seed"]),
        scores=scores,
        about=about,
        history=history,
        curves=curves,
        gallery=gallery,
        per_query=per_query,
        attention=attention,
        embedding=embedding if embedding is not None and len(embedding) else None,
    )


def in_order(records: list[RunRecord], grid: Grid) -> list[RunRecord]:
    """`records` in the order of the grid, whatever order they came in.

    Raises:
        UserError: a record that the grid does not hold, or two records of one run.
    """
    place = {key: number for number, key in enumerate(grid.keys)}
    keys = [record.key for record in records]
    for key in keys:
        if key not in place:
            raise UserError(
                f"the run {key} is not in the grid",
                where=grid.suite,
                mend="leave it out, or add it to params.yaml",
            )
        if keys.count(key) > 1:
            raise UserError(f"the run {key} came twice", where=grid.suite, mend="hand over each run once")
    return sorted(records, key=lambda record: place[record.key])
