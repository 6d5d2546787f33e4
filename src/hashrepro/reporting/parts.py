"""The suites that are built with one, as one table each on its page: methods down, code lengths across."""

from collections.abc import Mapping

from hashrepro.reporting.formats import NOT_RUN, SKIPPED, percent
from hashrepro.reporting.records import Grid, RunRecord
from hashrepro.reporting.tables import results_table


def part_rows(records: list[RunRecord], grid: Grid, titles: Mapping[str, str]) -> list[dict]:
    """The headline mAP of a part: a row a data set and method, {"dataset", "method", "cells": a text a code length}.

    Args:
        records: runs of the part's grid; what is missing says "not run" or "skipped".
        titles: name of a method or data set -> its title.
    """
    table = results_table(records, grid).set_index(["dataset", "method", "bits"])

    def cell(place: tuple) -> str:
        row = table.loc[place]
        if not row["runs"]:
            return SKIPPED if row["skipped"] else NOT_RUN
        return percent(row["map"], row["map_sd"])

    return [
        {
            "dataset": titles.get(dataset, dataset),
            "method": titles.get(method, method),
            "cells": [cell((dataset, method, bits)) for bits in grid.bits],
        }
        for dataset in grid.datasets
        for method in grid.methods
    ]
