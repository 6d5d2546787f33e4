"""What the page shows, prepared: the headline table's cells, published figures, drawings in the page's colours."""

import re
from dataclasses import dataclass, field

import pandas as pd

from hashrepro.reporting.formats import NOT_COMPUTED, NOT_RUN, SKIPPED, percent
from hashrepro.reporting.palette import COLOURS, FLOOR, GRID, INK, MUTED, PAPER
from hashrepro.reporting.published import Published
from hashrepro.reporting.records import Grid, RunRecord
from hashrepro.reporting.tables import titles


@dataclass
class Cell:
    """One cell of the headline table; `runs` is empty where nothing was run, `skipped` then says why it cannot.

    `numbers` is the cell's row of the results table.
    """

    method: str
    bits: int
    number: int
    runs: list[RunRecord]
    seeds: int
    database: str = "learned"
    numbers: dict = field(default_factory=dict)
    best: bool = False
    skipped: str = ""

    def of(self, column: str) -> float:
        """A column of the results table; NaN where it was not computed."""
        return self.numbers.get(column, float("nan"))

    def headline(self, part: str = "") -> float:
        """The headline mAP, or its part `_sd`, `_low` or `_high`: of the learned database where there is one."""
        return self.of(("map" if self.database == "learned" else "map_network") + part)

    @property
    def mean(self) -> float:
        return self.headline()

    @property
    def text(self) -> str:
        if self.runs:
            return percent(self.mean)
        return SKIPPED if self.skipped else NOT_RUN


def headline(records: list[RunRecord], grid: Grid, dataset: str, results: pd.DataFrame) -> list[list[Cell]]:
    """The cells of one data set's headline table, a row a method, a column a code length; best marked.

    `results` is the `results_table` of these records and this grid.
    """
    numbers = {(row["dataset"], row["method"], row["bits"]): row for row in results.to_dict("records")}
    rows = []
    for number, method in enumerate(grid.methods):
        row = []
        for bits in grid.bits:
            runs = [r for r in records if (r.dataset, r.method, r.bits) == (dataset, method, bits)]
            found = numbers[dataset, method, bits]
            cell = Cell(method, bits, number, runs, len(grid.seeds), numbers=found, skipped=found["skipped"])
            if runs:
                cell.database = runs[0].headline_database
            row.append(cell)
        rows.append(row)
    for column in zip(*rows, strict=True):
        means = [cell.mean for cell in column if pd.notna(cell.mean)]
        for cell in column:
            cell.best = len(means) > 1 and cell.mean == max(means)
    return rows


def floor_gap(column: list[Cell]) -> str:
    """What stands for a floor that no cell of its column has: "not run" while a run of the column could give it."""
    settled = any(cell.runs for cell in column) or all(cell.skipped for cell in column)
    return NOT_COMPUTED if settled else NOT_RUN


def published_rows(published: Published, grid: Grid) -> dict[str, list[dict]]:
    """Published figures of methods that the grid does not have, by data set of the grid.

    A row a paper × method × set of classes: "figures" by bits, each {"text", "mark"}, "sources" and "marks"; a second
    figure for the same place gets a row of its own.
    """
    found: dict[str, list[dict]] = {}
    for entry in published.figures.to_dict("records"):
        if entry["dataset"] not in grid.datasets or entry["ours"] in grid.methods or pd.isna(entry["map"]):
            continue
        rows, bits, mark = found.setdefault(entry["dataset"], []), int(entry["bits"]), str(entry["verified"])
        place = {name: entry[name] for name in ("paper", "method", "label")}
        row = next((r for r in rows if place.items() <= r.items() and bits not in r["figures"]), None)
        if row is None:
            row = place | {"figures": {}, "sources": [], "marks": []}
            rows.append(row)
        row["figures"][bits] = {"text": percent(entry["map"]), "mark": mark}
        row["sources"] = list(dict.fromkeys([*row["sources"], entry["source"]]))
        row["marks"] = list(dict.fromkeys([*row["marks"], mark]))
    return {dataset: found[dataset] for dataset in grid.datasets if dataset in found}


def title(grid: Grid) -> str:
    """The page's heading where the suite brings none: the question, with the grid's own code lengths."""
    lengths = sorted(grid.bits)
    span = f"{lengths[0]} to {lengths[-1]}" if len(lengths) > 2 else " or ".join(map(str, lengths))
    return f"How much of an image survives in {span} bits?"


def versions(records: list[RunRecord]) -> list[tuple]:
    """The distinct sets of package versions among the runs, each as (name, version) pairs by name."""
    return list(
        dict.fromkeys(tuple(sorted(r.about["versions"].items())) for r in records if "versions" in r.about)
    )


def page_names(records: list[RunRecord], grid: Grid, given: dict[str, str] | None = None) -> dict[str, str]:
    """Titles of the grid's methods and data sets: `given`, or the runs' own, or the name itself."""
    known = titles(records, "method") | titles(records, "dataset") | (given or {})
    return {name: known.get(name, name) for name in (*grid.methods, *grid.datasets)}


def themed(svg: bytes, prefix: str) -> str:
    """An SVG to stand inside the page: with the page's colours and font, and ids of its own."""
    text = svg.decode()
    text = text[text.index("<svg") :]
    swaps = {INK: "--ink", MUTED: "--muted", GRID: "--line", FLOOR: "--floor", PAPER: "--card"}
    swaps |= {colour: f"--m{number}" for number, colour in enumerate(COLOURS)}
    for colour, name in swaps.items():
        text = text.replace(colour, f"var({name})")
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"font-family: [^;\"]*", "font-family: var(--sans)", text)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{prefix}-", text)
    # A set size would keep the drawing from shrinking on a narrow screen; its viewBox is enough.
    return re.sub(r' (width|height)="[\d.]+pt"', "", text)
