"""How much a mean over queries depends on which queries were drawn: its interval, and what it is made of."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hashrepro.reporting.records import RunRecord
from hashrepro.retrieval.uncertainty import bootstrap_interval
from hashrepro.seeds import stream

# Above this many draws (queries × resamples) fewer resamples do: with very many queries an interval is narrow, and
# its ends vary by a few percent of that.
DRAWS, FEWEST = 10_000_000, 1000
DEFAULT = {"confidence": 0.95, "resamples": 10_000}


class Interval(NamedTuple):
    """The interval of a mean, as fractions (NaN where it is not known), and the number of queries under it."""

    low: float
    high: float
    queries: int | None


def query_scores(runs: list[RunRecord], database: str, score: str = "map") -> np.ndarray | None:
    """The score of every query, mean over `runs` (seeds of one method): float64 (q,), NaN = left out.

    None where a run did not leave its scores per query, or where the runs have different queries.
    """
    name = f"last.{database}.{score}"
    if not runs or any(run.per_query is None or name not in run.per_query for run in runs):
        return None
    if not same_queries(runs):
        return None
    return np.mean([run.per_query[name].to_numpy() for run in runs], axis=0)


def same_queries(runs: list[RunRecord]) -> bool:
    """Whether runs were scored on the same queries of the same catalog: only then can queries be paired."""
    first = runs[0]
    return all(
        run.about.get("data_digest") == first.about.get("data_digest")
        and np.array_equal(run.per_query["query"], first.per_query["query"])
        for run in runs
    )


def drawing(run: RunRecord, queries: int) -> dict:
    """`confidence` and `resamples` as in the run's own intervals, but fewer resamples for very many queries."""
    asked = {name: run.about.get("interval", {}).get(name, value) for name, value in DEFAULT.items()}
    return asked | {"resamples": min(asked["resamples"], max(FEWEST, DRAWS // max(queries, 1)))}


def intervals(
    cells: Mapping[str, list[RunRecord]], scores: Sequence[tuple[str, str]]
) -> dict[tuple[str, str, str], Interval]:
    """The intervals over queries of scores of the last iteration, mean over the seeds of each cell.

    A single run brings its own; those of several seeds are drawn here, from the means over seeds of each query, all
    from the same draws of queries.

    Args:
        cells: method -> its runs, all of one data set and code length.
        scores: (database, score) of each interval.

    Returns:
        (method, database, score) -> Interval.
    """
    found, columns = {}, {}
    for method, runs in cells.items():
        for database, score in scores:
            values = query_scores(runs, database, score)
            if values is not None:
                queries = int((~np.isnan(values)).sum())
            else:
                sizes = {run.about.get("queries") for run in runs}
                queries = sizes.pop() if len(sizes) == 1 else None
            place, ends = (method, database, score), (None, None)
            if len(runs) == 1:
                ends = tuple(runs[0].score(f"{score}_{end}", database) for end in ("low", "high"))
            elif values is not None:
                columns.setdefault(len(values), {})[place] = values
            found[place] = Interval(*(np.nan if end is None else end for end in ends), queries)
    for size, group in columns.items():
        first = cells[next(iter(group))[0]][0]
        rng = stream(0, "bootstrap", first.dataset, first.bits)
        values = np.column_stack(list(group.values()))
        ends = bootstrap_interval(values, **drawing(first, size), rng=rng)
        for place, low, high in zip(group, *ends, strict=True):
            found[place] = Interval(float(low), float(high), found[place].queries)
    return found
