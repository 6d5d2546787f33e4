"""The mAP of each class, methods beside each other: which classes are easy, which are hard, and for whom."""

import pandas as pd

from hashrepro.reporting.figures import mean_curve
from hashrepro.reporting.records import Grid, RunRecord

MOST = 12  # classes to show in full; of more, the best and the worst


def class_table(records: list[RunRecord], grid: Grid, dataset: str, bits: int) -> pd.DataFrame:
    """mAP of each class that has queries, best first by the mean over methods.

    Columns: `class`, `name`, `queries`, then a column a method (fractions: mean over its seeds, on its headline
    database). Empty where no run left its scores per class.
    """
    columns, known = {}, {}
    for method in grid.methods:
        runs = [r for r in records if (r.dataset, r.method, r.bits) == (dataset, method, bits)]
        table = mean_curve(runs, "per_class", "class")
        if len(table):
            columns[method] = table.set_index("class")["map"]
            first = next(r for r in runs if (r.headline_database, "per_class") in r.curves)
            known = first.curves[first.headline_database, "per_class"].set_index("class")
    if not columns:
        return pd.DataFrame(columns=["class", "name", "queries"])
    table = pd.DataFrame(columns).dropna(how="all")
    order = table.mean(axis=1).sort_values(ascending=False, kind="stable").index
    table = table.loc[order].reset_index(names="class")
    for place, column in enumerate(("name", "queries"), start=1):
        table.insert(place, column, known[column].reindex(table["class"]).to_numpy())
    return table


def shown_classes(table: pd.DataFrame, most: int = MOST) -> tuple[list[dict], int]:
    """(rows to show, number of classes left out in their middle): all of a few classes, or the best and worst."""
    rows = table.to_dict("records")
    if len(rows) <= most:
        return rows, 0
    return rows[: most // 2] + rows[-(most // 2) :], len(rows) - most // 2 * 2
