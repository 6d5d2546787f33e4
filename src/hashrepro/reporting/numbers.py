"""Everything that a report counts, counted once: what its files write and its page shows."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from hashrepro.reporting.beside import beside_table
from hashrepro.reporting.comparisons import comparisons_table
from hashrepro.reporting.cost import cost_table
from hashrepro.reporting.paper_table import paper_table
from hashrepro.reporting.published import Published
from hashrepro.reporting.records import Grid, RunRecord, in_order
from hashrepro.reporting.tables import results_table, scores_table
from hashrepro.reporting.view import page_names


@dataclass(frozen=True, eq=False)
class Numbers:
    """The runs of a suite, and its tables: each as the function of its name gives it."""

    records: list[RunRecord]
    grid: Grid
    published: Published
    names: dict[str, str]  # of methods and data sets -> titles
    results: pd.DataFrame
    scores: pd.DataFrame
    compared: pd.DataFrame
    beside: pd.DataFrame
    paper: pd.DataFrame
    cost: pd.DataFrame

    @classmethod
    def of(
        cls,
        records: list[RunRecord],
        grid: Grid,
        published: Published,
        titles: Mapping[str, str] | None = None,
        recipes: Mapping[tuple[str, str], Mapping] | None = None,
    ) -> "Numbers":
        """Count everything. UserError: a record that is not in the grid, or that came twice."""
        records = in_order(records, grid)
        names = _labels(published) | {
            name: title for name, title in page_names(records, grid, titles).items() if title != name
        }
        names = {name: name for name in (*grid.methods, *grid.datasets)} | names
        results = results_table(records, grid)
        beside = beside_table(records, grid, results, published, recipes)
        return cls(
            records,
            grid,
            published,
            names,
            results,
            scores_table(records, grid),
            comparisons_table(records, grid),
            beside,
            paper_table(beside, results, published, names),
            cost_table(records, grid, beside, published),
        )


def _labels(published: Published) -> dict[str, str]:
    """Our name of a data set -> what those call it who published on it: a title for what was never run."""
    figures = published.figures
    known = figures[figures["queries"].notna()]
    return {row["dataset"]: row["label"].partition(" (")[0] for row in known.to_dict("records")}
