"""The suites that are built with one, as one table each on its page: methods down, code lengths across."""

from collections.abc import Mapping

from hashrepro.reporting.formats import percent
from hashrepro.reporting.records import Grid, RunRecord
from hashrepro.reporting.tables import results_table
from hashrepro.reporting.view import Cell, headline


def part_rows(records: list[RunRecord], grid: Grid, titles: Mapping[str, str]) -> list[dict]:
    """The headline mAP of a part: a row a data set and method, {"dataset", "method", "cells": a text a code length}.

    Args:
        records: runs of the part's grid; what is missing says "not run" or "skipped".
        titles: name of a method or data set -> its title.
    """
    results = results_table(records, grid)

    def text(cell: Cell) -> str:
        return percent(cell.mean, cell.headline("_sd")) if cell.runs else cell.text

    return [
        {
            "dataset": titles.get(dataset, dataset),
            "method": titles.get(method, method),
            "cells": [text(cell) for cell in cells],
        }
        for dataset in grid.datasets
        for method, cells in zip(grid.methods, headline(records, grid, dataset, results), strict=True)
    ]
