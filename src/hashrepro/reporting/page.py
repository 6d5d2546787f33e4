"""The report of a suite: one self-contained page, tables in three formats, figures and plot tables."""

import base64
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from hashrepro.files import whole
from hashrepro.reporting import (
    classes,
    comparisons,
    figures,
    formats,
    legend,
    pairs,
    plots,
    tables,
    view,
    wording,
)
from hashrepro.reporting.palette import render
from hashrepro.reporting.records import Grid, RunRecord, in_order

BY_BITS = {
    "precision_recall": figures.precision_recall,
    "precision_at": figures.precision_at,
    "by_class": figures.by_class,
    "training_map": figures.training_map,
    "training_loss": figures.training_loss,
}


def _write(path: Path, content: str | bytes) -> None:
    with whole(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def _draw(records: list[RunRecord], grid: Grid, results: pd.DataFrame, destination: Path) -> dict:
    """Write every figure as SVG; return the page's version of each by (name, data set, bits or 0)."""
    inline = {}
    for dataset in grid.datasets:
        drawn = {("map_by_bits", dataset, 0): figures.map_by_bits(records, grid, dataset, results)}
        for bits in sorted({record.bits for record in records if record.dataset == dataset}):
            drawn |= {
                (name, dataset, bits): draw(records, grid, dataset, bits) for name, draw in BY_BITS.items()
            }
        for place, figure in drawn.items():
            name = "-".join(str(part) for part in place if part)
            _write(destination / "figures" / f"{name}.svg", render(figure))
            inline[place] = Markup(view.themed(render(figure, text="none"), f"f{len(inline)}"))
    return inline


def _galleries(records: list[RunRecord]) -> list[dict]:
    """The galleries to show, one a method × data set × bits: that of the first seed that has one."""
    shown: dict[tuple, dict] = {}
    for record in records:
        if record.gallery is not None and record.gallery.rows:
            columns, lines = record.gallery.shape
            sprite = base64.b64encode(record.gallery.sprite).decode()
            item = {"record": record, "columns": columns, "lines": lines, "sprite": sprite}
            shown.setdefault((record.dataset, record.method, record.bits), item)
    return list(shown.values())


def _opening(galleries: list[dict]) -> dict | None:
    """The one query that explains the task at the top: the first with most, but not all, hits right."""
    mixed = [
        (-sum(hit["right"] for hit in row["hits"]), number, place)
        for number, item in enumerate(galleries)
        for place, row in enumerate(item["record"].gallery.rows)
        if any(hit["right"] for hit in row["hits"]) and not all(hit["right"] for hit in row["hits"])
    ]
    if not galleries:
        return None
    _, number, place = min(mixed, default=(0, 0, 0))
    return galleries[number] | {"row": galleries[number]["record"].gallery.rows[place], "number": number}


def page(
    records: list[RunRecord],
    grid: Grid,
    results: pd.DataFrame,
    compared: pd.DataFrame,
    drawn: dict,
    published: pd.DataFrame | None = None,
    facts: dict | None = None,
) -> str:
    """The text of index.html: everything inside, nothing loaded from elsewhere.

    `results` and `compared` are the `results_table` and the `comparisons_table` of the records, `drawn` their figures.
    """
    environment = Environment(
        loader=PackageLoader("hashrepro.reporting", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"view": view, "wording": wording, "pairs": pairs}
    environment.globals |= {"percent": formats.percent, "percent_interval": formats.percent_interval}
    environment.tests["known"] = pd.notna
    facts = facts or {}
    names = view.page_names(records, grid, facts.get("titles"))
    scores = tables.scores_table(records, grid)
    groups = wording.score_groups([c for c in scores.columns if c not in tables.RUN_COLUMNS])
    galleries = _galleries(records)
    resource = environment.loader.get_source
    headline = {dataset: view.headline(records, grid, dataset, results) for dataset in grid.datasets}
    cells = [cell for rows in headline.values() for row in rows for cell in row]
    return environment.get_template("page.html.jinja").render(
        css=Markup(resource(environment, "page.css")[0]),
        js=Markup(resource(environment, "page.js")[0]),
        grid=grid,
        facts=facts,
        records=records,
        names=names,
        headline=headline,
        footnotes=formats.footnotes(cell.skipped for cell in cells),
        first={
            dataset: next((r for r in records if r.dataset == dataset), None) for dataset in grid.datasets
        },
        scores=scores.to_dict("records"),
        score_groups=groups,
        level=legend.level(records),
        intervals=[line.removeprefix("- ") for line in legend.intervals(records)],
        compared=pairs.sections(compared, grid),
        compared_notes=pairs.notes(compared),
        class_tables={
            (dataset, bits): classes.class_table(records, grid, dataset, bits)
            for dataset in grid.datasets
            for bits in grid.bits
        },
        shown_classes=classes.shown_classes,
        drawn=drawn,
        galleries=galleries,
        opening=_opening(galleries),
        published=view.published_rows(published, grid, names),
    )


def write_report(
    records: list[RunRecord],
    grid: Grid,
    destination: Path,
    published: pd.DataFrame | None = None,
    facts: dict | None = None,
) -> None:
    """Write a suite's report into `destination`: the same records give the same bytes.

    Writes index.html, results.{md,csv,tex}, comparisons.{md,csv,tex}, scores.csv, figures/*.svg and plots/*.csv.

    Args:
        records: runs of the grid, in any order; runs of the grid that are missing are shown as "not run", or as
            "skipped" with the reason that the grid has for it.
        grid: what the suite consists of.
        destination: folder; made where there is none.
        published: figures of papers as `read_published` gives them, or None.
        facts: what the page says about the suite, all optional: "title", "summary", "command" (that makes the
            suite), "notes" (sentences), "titles" (name of a method or data set -> its title).

    Raises:
        UserError: a record that is not in the grid, or that came twice.
    """
    destination = Path(destination)
    records = in_order(records, grid)
    results = tables.results_table(records, grid)
    names = view.page_names(records, grid, (facts or {}).get("titles"))
    compared = comparisons.comparisons_table(records, grid)
    shown = formats.display_table(results, names)
    notes = formats.footnotes(results["skipped"])
    _write(destination / "results.md", f"{formats.to_markdown(shown, notes)}\n{legend.legend(records)}")
    _write(destination / "results.csv", formats.to_csv(results))
    _write(destination / "results.tex", formats.to_latex(shown, notes))
    _write(
        destination / "scores.csv",
        tables.scores_table(records, grid).to_csv(index=False, lineterminator="\n"),
    )
    shown = pairs.display_comparisons(compared, names)
    _write(destination / "comparisons.md", f"{formats.to_markdown(shown)}\n{pairs.legend(compared)}")
    _write(destination / "comparisons.csv", compared.to_csv(index=False, lineterminator="\n"))
    _write(destination / "comparisons.tex", formats.to_latex(shown))
    for name in ("precision_recall", "precision_at", "per_class", "training", "training_loss"):
        table = getattr(plots, name)(records)
        _write(destination / "plots" / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    drawn = _draw(records, grid, results, destination)
    _write(destination / "index.html", page(records, grid, results, compared, drawn, published, facts))
