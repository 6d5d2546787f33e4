"""What the page shows, prepared: the headline table's cells, and what each score means."""

import re
from dataclasses import dataclass

import pandas as pd

from hashrepro.reporting.palette import COLOURS, FLOOR, GRID, INK, MUTED, PAPER
from hashrepro.reporting.records import Grid, RunRecord
from hashrepro.reporting.tables import (
    MEASURES,
    NOT_COMPUTED,
    NOT_RUN,
    SKIPPED,
    percent,
    skip_reason,
    spread,
    titles,
)

CONVENTIONS = {
    "map": "ties=expected over the full ranking",
    "map_reference": "as the method’s own code computes it",
    "map_file_order": "ties in the order of the data set’s files",
    "map_best": "every tie broken in the method’s favour",
    "map_worst": "every tie broken against the method",
    "uncoded": "database items whose code was never set",
}
DATABASES = {
    "learned": "codes learned in training, the network codes only the queries",
    "network": "coded by the network, like the queries",
    "untrained": "query and database coded by the network before training",
    "random": "query and database get random codes",
}
SELECTED = {
    "last": "the last iteration",
    "best_on_test": "the iteration that scored best on the test queries",
}


@dataclass
class Cell:
    """One cell of the headline table; `runs` is empty where nothing was run, `skipped` then says why it cannot."""

    method: str
    bits: int
    number: int
    runs: list[RunRecord]
    seeds: int
    database: str = "learned"
    mean: float = float("nan")
    deviation: float = float("nan")
    best: bool = False
    skipped: str = ""

    def of(self, column: str) -> float:
        """The mean over the seeds of a measure of the results table, NaN where not computed."""
        measure = next(m for m in MEASURES if m.column == column)
        values = [r.score(measure.score, measure.database, measure.selected) for r in self.runs]
        return spread([value for value in values if value is not None])[0]

    @property
    def text(self) -> str:
        if self.runs:
            return percent(self.mean)
        return SKIPPED if self.skipped else NOT_RUN


def headline(records: list[RunRecord], grid: Grid, dataset: str) -> list[list[Cell]]:
    """The cells of one data set's headline table, a row a method, a column a code length; best marked."""
    rows = []
    for number, method in enumerate(grid.methods):
        row = []
        for bits in grid.bits:
            runs = [r for r in records if (r.dataset, r.method, r.bits) == (dataset, method, bits)]
            cell = Cell(method, bits, number, runs, len(grid.seeds))
            if runs:
                cell.database = runs[0].headline_database
                scores = [r.score("map", cell.database) for r in runs]
                cell.mean, cell.deviation = spread([score for score in scores if score is not None])
            else:
                cell.skipped = skip_reason(grid, dataset, method, bits)
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


def convention(record: RunRecord, name: str) -> str:
    """What a score's name means, in the run's own words where it left any."""
    if name in (words := record.about.get("conventions", {})):
        return words[name]
    if counted := re.fullmatch(r"precision_at_(\d+)", name):
        return f"share of relevant items among the first {counted[1]}, ties in expectation"
    if within := re.fullmatch(r"(precision|recall)_radius_(\d+)", name):
        return f"mean {within[1]} of everything within Hamming distance {within[2]}"
    return CONVENTIONS.get(name, name)


def score_title(name: str) -> str:
    """A short column heading: ``precision_at_10`` -> ``P@10``, ``map_file_order`` -> ``mAP file order``."""
    name = re.sub(r"^precision_at_(\d+)$", r"P@\1", name)
    name = re.sub(r"^(precision|recall)_radius_(\d+)$", lambda m: f"{m[1][0].upper()} within {m[2]}", name)
    return re.sub(r"^map\b", "mAP", name.replace("_", " "))


def score_text(name: str, value: float | None) -> str:
    """A score for people: a percentage, except the count of uncoded items."""
    if value is None or pd.isna(value):
        return "–"
    return f"{value:,.0f}" if name == "uncoded" else f"{100 * value:.2f}"


def meanings(records: list[RunRecord], name: str) -> list[str]:
    """What a score's name means in these runs; where methods count differently, each with its methods."""
    methods: dict[str, dict[str, None]] = {}
    for record in records:
        title = record.about.get("method_title") or record.method
        methods.setdefault(convention(record, name), {})[title] = None
    if len(methods) == 1:
        return list(methods)
    return [f"{', '.join(titled)}: {text}" for text, titled in methods.items()]


def published_rows(published: pd.DataFrame | None, grid: Grid, names: dict[str, str]) -> list[dict]:
    """Published figures of the grid's data sets and code lengths: a row a paper × data set × method.

    `figures[bits]` is {"text", "mark"}; a second figure for the same place gets a row of its own.
    """
    rows: list[dict] = []
    for entry in [] if published is None else published.to_dict("records"):
        bits, mark = int(entry["bits"]), str(entry["verified"])
        if entry["dataset"] not in grid.datasets or bits not in grid.bits:
            continue
        place = {"paper": entry["paper"], "dataset": names.get(entry["dataset"], entry["dataset"])}
        place["method"] = entry["method"]
        row = next((r for r in rows if place.items() <= r.items() and bits not in r["figures"]), None)
        if row is None:
            row = place | {"figures": {}, "sources": [], "marks": []}
            rows.append(row)
        row["figures"][bits] = {"text": percent(entry["map"]), "mark": mark}
        row["sources"] = list(dict.fromkeys([*row["sources"], entry["source"]]))
        row["marks"] = list(dict.fromkeys([*row["marks"], mark]))
    return rows


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
