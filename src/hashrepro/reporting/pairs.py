"""The comparisons of methods for people: points, p-values in words, and what they do and do not say."""

import pandas as pd

from hashrepro.reporting.records import Grid

LEVEL = 0.05  # a difference whose adjusted p is below it is called clear
NOT_COMPARED = "not compared"

DIFFERENCE = (
    "headline mAP of the first method minus that of the second, in points, with its 95 % interval. Both answer the "
    "same queries, so the two scores of each query are compared (mean over a method’s seeds)."
)
P = (
    "paired randomisation test, two-sided. How often would a difference this large come up if chance decided, query by "
    "query, which method gets which of the two scores?"
)
ADJUSTED = (
    "for the {count} comparisons of this report together, where p and the interval are of one alone (Benjamini & "
    "Yekutieli 2001: the false discovery rate, however the comparisons depend on each other). Of the differences below "
    "{level}, at most one in {share} is expected to be none."
)
ONE_SEED = (
    "other training. Only the queries are left to chance: with one seed, a clear difference is one between two trained "
    "networks, and not yet one between their methods. Another training may turn it round."
)
SEEDS = (
    "other training. Only the queries are left to chance: a method’s seeds are averaged, not varied. What another "
    "training would change is the ± of the results."
)


def points(difference: float) -> str:
    """A difference of fractions in points of a percentage, with its sign: ``+0.86`` or ``−1.20``."""
    return f"{round(100 * difference, 2) + 0.0:+.2f}".replace("-", "−")  # + 0.0: never −0.00


def points_interval(low: float, high: float) -> str:
    """The interval of a difference in points, ``[−0.2, +1.9]``."""
    return f"[{100 * low:+.1f}, {100 * high:+.1f}]".replace("-", "−")


def p_text(p: float) -> str:
    """A p-value for people: three decimals, and nothing finer than a thousandth."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def display_comparisons(table: pd.DataFrame, names: dict[str, str] | None = None) -> pd.DataFrame:
    """`comparisons_table` in words and points; a pair that could not be compared says so.

    `names` maps names of methods and data sets to their titles.
    """
    names = names or {}
    compared = table["gap"] == ""
    shown = pd.DataFrame(
        {
            "data set": [names.get(name, name) for name in table["dataset"]],
            "method": [names.get(name, name) for name in table["method"]],
            "against": [names.get(name, name) for name in table["against"]],
            "bits": table["bits"].astype(str),
            "queries": [f"{n:,}" if ok else "–" for n, ok in zip(table["queries"], compared, strict=True)],
        }
    )
    for title, write, columns in (
        ("difference", points, ["difference"]),
        ("95 % interval", points_interval, ["low", "high"]),
        ("p", p_text, ["p"]),
        ("p adjusted", p_text, ["p_adjusted"]),
    ):
        rows = zip(compared, table[columns].itertuples(index=False), strict=True)
        shown[title] = [write(*row) if ok else NOT_COMPARED for ok, row in rows]
    return shown


def notes(table: pd.DataFrame) -> dict[str, str]:
    """What the comparisons say and what not, and why pairs are missing: a text by the word that it explains."""
    compared = table[table["gap"] == ""]
    if not len(compared):
        return {"Nothing to compare": "no two methods of a cell were run that left their scores per query."}
    one = (compared[["runs", "against_runs"]] == 1).to_numpy().any()
    adjusted = ADJUSTED.format(count=len(compared), level=LEVEL, share=round(1 / LEVEL))
    texts = {
        "Difference": DIFFERENCE,
        "p": P,
        "p adjusted": adjusted,
        "Not in it": ONE_SEED if one else SEEDS,
    }
    gaps = table.loc[table["gap"] != "", "gap"].value_counts()
    missing = ", ".join(f"{count} pairs ({gap})" for gap, count in gaps.items())
    return texts | ({"Not compared": f"{missing}."} if missing else {})


def legend(table: pd.DataFrame) -> str:
    """`notes` as a Markdown list."""
    return "".join(f"- {word}: {text}\n" for word, text in notes(table).items())


def sections(table: pd.DataFrame, grid: Grid) -> dict[str, dict]:
    """The page's comparisons by data set, of those where any two methods were compared.

    Each has `queries` (distinct numbers of queries), `reach` (the largest end of an interval, as a fraction) and
    `rows`: `method`, `against`, and `cells`, a row of the table by code length.
    """
    found: dict[str, dict] = {}
    for dataset in grid.datasets:
        part = table[table["dataset"] == dataset]
        compared = part[part["gap"] == ""]
        if not len(compared):
            continue
        rows: dict[tuple, dict] = {}
        for cell in part.to_dict("records"):
            pair = {"method": cell["method"], "against": cell["against"], "cells": {}}
            rows.setdefault((cell["method"], cell["against"]), pair)["cells"][cell["bits"]] = cell
        order = sorted(rows, key=lambda pair: [grid.methods.index(method) for method in pair])
        found[dataset] = {
            "queries": sorted(set(compared["queries"])),
            "reach": float(compared[["low", "high"]].abs().max(axis=None)) or 1.0,
            "rows": [rows[pair] for pair in order],
        }
    return found
