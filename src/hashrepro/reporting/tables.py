"""From records to tables: one row a method, data set and code length; mean and spread over seeds."""

import numpy as np
import pandas as pd

from hashrepro.reporting.intervals import intervals
from hashrepro.reporting.records import MEASURES, Grid, RunRecord, in_order, run_key

# Measures that have an interval over queries: those whose scores the last iteration leaves per query.
INTERVALS = [m for m in MEASURES if m.selected == "last" and m.database in ("learned", "network")]
RUN_COLUMNS = ["run", "dataset", "method", "bits", "seed", "selected", "database"]


def titles(records: list[RunRecord], kind: str) -> dict[str, str]:
    """Name -> title for people, of every method (`kind` "method") or data set ("dataset") among `records`."""
    return {getattr(r, kind): r.about.get(f"{kind}_title") or getattr(r, kind) for r in records}


def spread(values: list[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; NaN where there are too few values to have one."""
    if not values:
        return np.nan, np.nan
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else np.nan


def commits(runs: list[RunRecord]) -> str:
    """The distinct commits of some runs, shortened; "+" marks one with uncommitted changes."""
    marks = {r.about.get("commit", "unknown")[:10] + "+" * bool(r.about.get("dirty")) for r in runs}
    return " ".join(sorted(marks))


def skip_reason(grid: Grid, dataset: str, method: str, bits: int) -> str:
    """Why the runs of a cell were skipped; empty if none was."""
    keys = [run_key(method, dataset, bits, seed) for seed in grid.seeds]
    return "; ".join(dict.fromkeys(grid.skipped[key] for key in keys if key in grid.skipped))


def results_table(records: list[RunRecord], grid: Grid) -> pd.DataFrame:
    """The suite's results as numbers: a row a data set × method × bits of the grid, run or not.

    Columns: `dataset`, `method`, `bits`, `runs` (seeds that were run), `seeds` (seeds in the grid), `queries` (that
    the headline is a mean over), `keys` (of those runs), `commits` (that they were run at; "+" marks uncommitted
    changes) and `skipped` (why a cell without runs cannot have any; else empty), then for each measure its mean and,
    under `<measure>_sd`, its sample standard deviation over seeds, for those of `INTERVALS` also `<measure>_low` and
    `<measure>_high`, the interval over queries of that mean; all as fractions; NaN where a score was not computed or
    the cell was not run (`runs` 0).
    """
    records = in_order(records, grid)
    rows = []
    for dataset in grid.datasets:
        cells = {
            (method, bits): [r for r in records if (r.dataset, r.method, r.bits) == (dataset, method, bits)]
            for method in grid.methods
            for bits in grid.bits
        }
        scores = [(measure.database, measure.score) for measure in INTERVALS]
        found = {
            bits: intervals({method: cells[method, bits] for method in grid.methods}, scores)
            for bits in grid.bits
        }
        for (method, bits), runs in cells.items():
            database = runs[0].headline_database if runs else "learned"
            row = {"dataset": dataset, "method": method, "bits": bits}
            row |= {"runs": len(runs), "seeds": len(grid.seeds)}
            row |= {"queries": found[bits][method, database, "map"].queries}
            row |= {"keys": " ".join(r.key for r in runs), "commits": commits(runs)}
            row["skipped"] = "" if runs else skip_reason(grid, dataset, method, bits)
            for measure in MEASURES:
                values = [r.score(measure.score, measure.database, measure.selected) for r in runs]
                mean, deviation = spread([value for value in values if value is not None])
                row |= {measure.column: mean, f"{measure.column}_sd": deviation}
                if measure in INTERVALS:
                    low, high, _ = found[bits][method, measure.database, measure.score]
                    row |= {f"{measure.column}_low": low, f"{measure.column}_high": high}
            rows.append(row)
    return pd.DataFrame(rows).astype({"queries": "Int64"})


def scores_table(records: list[RunRecord], grid: Grid) -> pd.DataFrame:
    """Every score of every run: a row a run × checkpoint × database, a column a score, as fractions."""
    rows = [
        dict(zip(RUN_COLUMNS, (r.key, r.dataset, r.method, r.bits, r.seed, selected, database), strict=True))
        | values
        for r in in_order(records, grid)
        for selected, databases in r.scores.items()
        for database, values in databases.items()
    ]
    return pd.DataFrame(rows, columns=None if rows else RUN_COLUMNS)
