"""Ours beside what was published: one row a figure, with the gap and what can be said of it."""

import re
from collections.abc import Mapping

import pandas as pd

from hashrepro.errors import UserError
from hashrepro.reporting.formats import NOT_RUN, SKIPPED
from hashrepro.reporting.published import Published
from hashrepro.reporting.records import Grid, RunRecord

WITHIN, OUTSIDE, UNVERIFIED = "within band", "outside", "published figure unverified"
NO_FIGURE, ORIENTATION, NO_SCORE = "no published figure", "orientation", "not computed"
VERDICTS = (WITHIN, OUTSIDE, UNVERIFIED, NOT_RUN, SKIPPED, NO_SCORE, NO_FIGURE, ORIENTATION)
TAKEN = ("title", "paper", "source", "verified", "difference", "note")
# How a source counts and which checkpoint it takes -> the column of the results that does the same.
MEASURES = {
    ("reference", "last"): "reference",
    ("reference", "best_on_test"): "reference_best_on_test",
    ("headline", "last"): "map",
    ("headline", "best_on_test"): "map_best_on_test",
}
NEVER = {"runs": 0, "seeds": 0, "skipped": "", "keys": ""}  # a cell that the grid does not have
HEADLINE = {"convention": "headline", "selected": "last"}
COLUMNS = ["dataset", "method", "bits", "title", "paper", "published_method", "published_dataset", "source"]
COLUMNS += [
    "verified",
    "convention",
    "selected",
    "published",
    "runs",
    "seeds",
    "ours",
    "ours_sd",
    "gap",
    "band_low",
]
COLUMNS += ["band_high", "verdict", "difference", "note", "keys"]


def beside_table(
    records: list[RunRecord],
    grid: Grid,
    results: pd.DataFrame,
    published: Published,
    recipes: Mapping[tuple[str, str], Mapping] | None = None,
) -> pd.DataFrame:
    """Ours and theirs: a row a data set × method × bits × source, run or not; columns `COLUMNS`.

    Rows are the grid's, and all that its papers' tables have of its methods: of a paper that has a figure of the
    grid, every data set and code length. `published`, `ours`, `gap` = ours − published and the band are fractions
    (NaN: there is none); `ours` is the mean over `runs` seeds with the learned database, in the source's `convention`
    and `selected`. `verdict` is one of `VERDICTS`: of a figure that cannot be compared, `difference` says why and the
    verdict is "orientation". A method without a figure has a row with our headline.

    Args:
        records, grid: the suite's runs.
        results: their `results_table`.
        published: what was published.
        recipes: (method, data set) -> recipe, for cells that were not run.
    """
    figures = published.figures[published.figures["ours"].isin(grid.methods)]
    sizes = {record.dataset: record.about for record in records}
    trained = {(r.method, r.dataset): r.about["recipe"] for r in records if r.about.get("recipe")}
    trained = {**(recipes or {}), **trained}
    rows = []
    for figure in figures.to_dict("records"):
        cell, about = (figure["ours"], figure["dataset"]), sizes.get(figure["dataset"], {})
        found = [figure["difference"], *_other_data(figure, about)]
        found += _other_recipe(figure, published.recipes.get(cell, {}), trained.get(cell, {}))
        rows.append(figure | {"difference": "; ".join(filter(None, found))})
    fair = [row for row in rows if not row["difference"]]
    papers = {row["paper"] for row in fair if row["dataset"] in grid.datasets}
    fair = [row for row in fair if row["paper"] in papers]
    datasets = [*grid.datasets, *(row["dataset"] for row in fair)]
    runs = {(row["dataset"], row["method"], row["bits"]): row for row in results.to_dict("records")}
    found = []
    for dataset in dict.fromkeys(datasets):
        lengths = {row["bits"] for row in fair if row["dataset"] == dataset and row["bits"]}
        if dataset in grid.datasets or not lengths:
            lengths |= set(grid.bits)
        for method in grid.methods:
            theirs = [r for r in rows if (r["dataset"], r["ours"]) == (dataset, method)]
            for bits in sorted(lengths):
                cell = {"dataset": dataset, "method": method, "bits": bits}
                run = runs.get(tuple(cell.values()), NEVER)
                found += [_row(cell, figure, run, published) for figure in _shown(theirs, bits)]
    return pd.DataFrame(found, columns=COLUMNS).astype({"bits": int})


def _shown(theirs: list[dict], bits: int) -> list[dict]:
    """The figures to show in a cell: those that can be compared or, for want of one, a row that says so; the rest."""
    here = [row for row in theirs if row["bits"] in (bits, 0)]
    fair = [row for row in here if not row["difference"]]
    nothing = HEADLINE | {"map": float("nan"), "difference": ""}
    return (fair or [nothing]) + [row for row in here if row["difference"]]


def _other_recipe(figure: dict, published: Mapping, recipe: Mapping) -> list[str]:
    """How our recipe differs from what a figure was trained with, in what is known of that."""
    found, ours = [], recipe.get("backbone")
    if ours and figure["backbone"] and ours != figure["backbone"]:
        found.append(f"another backbone: {figure['backbone']}, ours {ours}")
    other = [key for key, value in published.items() if key in recipe and recipe[key] != value]
    if other and pd.notna(figure["map"]):
        said = ", ".join(f"{key} {_short(published[key])} (ours {_short(recipe[key])})" for key in other)
        found.append(f"another recipe: {said}")
    return found


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _other_data(figure: dict, about: dict) -> list[str]:
    """How our data and our cut of the ranking differ from a figure's."""
    found = []
    for name, things in {"queries": "queries", "database": "database images"}.items():
        if name in about and pd.notna(figure[name]) and about[name] != figure[name]:
            found.append(f"other data: {figure[name]:,.0f} {things}, ours {about[name]:,}")
    ours = _ranks(about.get("conventions", {}).get("map_reference", ""))
    if figure["convention"] == "reference" and ours and figure["ranks"] and ours != figure["ranks"]:
        found.append(f"another cut of the ranking: {figure['ranks']} ranks, ours {ours}")
    return found


def _ranks(described: str) -> str:
    """How many ranks a mAP looks at by its `Convention.describe`: "all", a number, or "" where it does not say."""
    if "over the full ranking" in described:  # without its last item, too
        return "all"
    cut = re.search(r"first (\d+) ranks", described)
    return cut[1] if cut else ""


def _row(cell: dict, theirs: dict, run: dict, published: Published) -> dict:
    """A row of `beside_table`."""
    counted = theirs["convention"], theirs["selected"]
    if counted not in MEASURES:
        known = ", ".join(" ".join(pair) for pair in MEASURES)
        raise UserError(
            f"“{theirs['paper']}” counts {' '.join(counted)!r}",
            where="data/published/sources.csv",
            mend=known,
        )
    ours, figure = (run[MEASURES[counted]] if run["runs"] else float("nan")), theirs["map"]
    key = (cell["dataset"], cell["method"], cell["bits"], theirs["selected"])
    margin = published.tolerance / 100
    low, high = published.bands.get(key, (figure - margin, figure + margin))
    if pd.isna(figure) or theirs["difference"] or not verified(theirs["verified"]):
        low = high = float("nan")
    row = cell | {name: theirs.get(name, "") for name in TAKEN}
    row |= {
        "published_method": theirs.get("ours") and theirs["method"],
        "published_dataset": theirs.get("label", ""),
    }
    row |= {"convention": counted[0], "selected": counted[1], "published": figure}
    row |= {name: run[name] for name in ("runs", "seeds", "keys")}
    row |= {"ours": ours, "ours_sd": run[f"{MEASURES[counted]}_sd"] if run["runs"] else float("nan")}
    row |= {"gap": ours - figure, "band_low": low, "band_high": high}
    return row | {"verdict": _verdict(row, run["skipped"])}


def verified(mark: str) -> bool:
    """Whether a figure counts as verified: at its source, or by the authors' log that it equals."""
    return mark.split(":")[0] in ("yes", "partly")


def _verdict(row: dict, skipped: str) -> str:
    if row["difference"]:
        return ORIENTATION
    if pd.isna(row["published"]):
        return NO_FIGURE
    if not row["runs"]:
        return SKIPPED if skipped else NOT_RUN
    if pd.isna(row["ours"]):
        return NO_SCORE
    if not verified(row["verified"]):
        return UNVERIFIED
    # in points with two decimals, as the tables show them: a table must not contradict itself
    low, ours, high = (round(100 * row[name], 2) for name in ("band_low", "ours", "band_high"))
    return WITHIN if low <= ours <= high else OUTSIDE
