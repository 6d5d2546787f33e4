"""Which differences between methods are more than the luck of the queries: every pair, tested query by query."""

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from hashrepro.reporting.intervals import drawing, query_scores, same_queries
from hashrepro.reporting.records import Grid, RunRecord, in_order
from hashrepro.retrieval.uncertainty import paired_test
from hashrepro.seeds import stream

COLUMNS = ["dataset", "bits", "method", "against", "database", "against_database", "runs", "against_runs"]
COLUMNS += ["queries", "resamples", "map", "against_map", "difference", "low", "high", "p", "p_adjusted"]
COLUMNS += ["gap"]


def comparisons_table(records: list[RunRecord], grid: Grid) -> pd.DataFrame:
    """Every pair of methods that was run on one data set at one code length: each against those before it in the grid.

    Columns: `COLUMNS`. `database`: that of the method's headline; `runs`: its seeds; `map`: its mean over the
    queries that both count (`queries` of them); `difference` of the two with its 95 % interval `low`, `high`; `p` of
    the paired test with `resamples` draws, `p_adjusted` for all rows of the table (Benjamini & Yekutieli 2001: the
    false discovery rate, however the comparisons depend on each other; unlike a bound on any error at all it keeps
    its power where p cannot be smaller than 2 / resamples); all as fractions. `gap` says why a pair could not be
    compared (NaN then), else it is empty.
    """
    records = in_order(records, grid)
    rows = []
    for dataset in grid.datasets:
        for bits in grid.bits:
            cells = {
                method: [r for r in records if (r.dataset, r.method, r.bits) == (dataset, method, bits)]
                for method in grid.methods
            }
            run = [method for method in grid.methods if cells[method]]
            for number, one in enumerate(run):
                for two in run[:number]:
                    pair = {"dataset": dataset, "bits": bits, "method": one, "against": two}
                    rows.append(pair | _compare(cells[one], cells[two]))
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"queries": "Int64", "resamples": "Int64"})
    tested = table["p"].notna()
    if tested.any():
        table.loc[tested, "p_adjusted"] = false_discovery_control(table.loc[tested, "p"], method="by")
    return table


def _compare(one: list[RunRecord], two: list[RunRecord]) -> dict:
    """What `comparisons_table` says of the runs of two methods."""
    databases = one[0].headline_database, two[0].headline_database
    row = dict(zip(("database", "against_database"), databases, strict=True))
    row |= {"runs": len(one), "against_runs": len(two), "gap": ""}
    scores = [query_scores(runs, database) for runs, database in zip((one, two), databases, strict=True)]
    if any(run.per_query is None for run in (*one, *two)):
        return row | {"gap": "a run without scores per query"}
    if any(found is None for found in scores) or not same_queries([*one, *two]):
        return row | {"gap": "other queries"}
    counted = ~np.isnan(scores[0]) & ~np.isnan(scores[1])
    if not counted.any():
        return row | {"gap": "no query that both count"}
    first = one[0]
    resamples = drawing(first, int(counted.sum()))["resamples"]
    rng = stream(0, "bootstrap", "paired", first.dataset, first.bits, first.method, two[0].method)
    found = paired_test(*scores, resamples=resamples, rng=rng)
    row |= {"map": float(scores[0][counted].mean()), "against_map": float(scores[1][counted].mean())}
    row |= {name: getattr(found, name) for name in ("difference", "low", "high", "p")}
    return row | {"queries": found.n, "resamples": resamples}
