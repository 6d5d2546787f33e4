"""Ours beside theirs and the cost, prepared for the page."""

from itertools import groupby

import pandas as pd

from hashrepro.reporting import beside, cost
from hashrepro.reporting.beside_text import tally
from hashrepro.reporting.paper_table import OURS

KINDS = {beside.WITHIN: "good", beside.OUTSIDE: "bad", beside.UNVERIFIED: "doubt"}
NUMBERS = {
    "bits",
    "runs",
    "training",
    "encoding",
    "hours, all runs",
    "peak memory, MB",
    "GPU memory, MB",
    "codes/s",
}
NUMBERS |= {"theirs", "ours ÷ theirs"}


def kind(verdict: str) -> str:
    """A verdict's class on the page: good, bad, doubt or none."""
    return KINDS.get(verdict, "none")


def sections(table: pd.DataFrame) -> dict[str, dict]:
    """The rows of `beside_table` by data set: `rows`, `aside` (for orientation), `tally` of the rows.

    Without the data sets of which nothing was published; empty if nothing was.
    """
    found = {}
    for dataset, part in table.groupby("dataset", sort=False):
        aside = part["verdict"] == beside.ORIENTATION
        if (part["paper"] != "").any():
            rows = part[~aside]
            found[dataset] = {"rows": rows.to_dict("records"), "tally": tally(rows)}
            found[dataset]["aside"] = part[aside].to_dict("records")
    return found


def paper(shown: pd.DataFrame) -> dict:
    """The `paper_table` as `groups` ((data set, number of columns)), `columns` ((bits, begins a data set)), `rows`."""
    titles = list(shown.columns.get_level_values(0))
    begins = [number == 0 or titles[number - 1] != title for number, title in enumerate(titles)]
    rows = [
        {"method": method, "whose": whose, "ours": whose.startswith(OURS), "cells": list(cells)}
        for (method, whose), cells in zip(shown.index, shown.to_numpy(), strict=True)
    ]
    groups = [(title, len(list(group))) for title, group in groupby(titles)]
    return {
        "groups": groups,
        "columns": list(zip(shown.columns.get_level_values(1), begins, strict=True)),
        "rows": rows,
    }


def costs(table: pd.DataFrame, names: dict[str, str]) -> dict:
    """The `cost_table` for the page: `columns`, `numbers` (those flush right), `rows` of (text, number to sort by)."""
    shown = cost.display_cost(table, names)
    sorted_by = {"training": "train_seconds", "encoding": "encode_seconds", "theirs": "their_seconds"}
    rows = [
        [(text, row[sorted_by[name]] if name in sorted_by else None) for name, text in texts.items()]
        for texts, row in zip(shown.to_dict("records"), table.to_dict("records"), strict=True)
    ]
    return {"columns": list(shown.columns), "numbers": NUMBERS, "rows": rows}
