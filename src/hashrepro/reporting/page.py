"""The page of a report: everything inside, nothing loaded from elsewhere."""

import pandas as pd
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from hashrepro.reporting import (
    beside_text,
    beside_view,
    classes,
    cost,
    formats,
    legend,
    pairs,
    tables,
    view,
    wording,
)
from hashrepro.reporting.attention_pictures import attention_figures, scale_colours
from hashrepro.reporting.galleries import choose_galleries, opening
from hashrepro.reporting.numbers import Numbers


def page(numbers: Numbers, drawn: dict, maps: dict, facts: dict) -> str:
    """The text of index.html.

    Args:
        numbers: what the report counts.
        drawn: its figures, as `draw_all` gives them.
        maps: its `code_maps`.
        facts: as for `write_report`.
    """
    environment = Environment(
        loader=PackageLoader("hashrepro.reporting", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"view": view, "wording": wording, "pairs": pairs}
    environment.globals |= {"text": beside_text, "kind": beside_view.kind}
    environment.globals |= {"percent": formats.percent, "percent_interval": formats.percent_interval}
    environment.tests["known"] = pd.notna
    records, grid, names = numbers.records, numbers.grid, numbers.names
    groups = wording.score_groups([c for c in numbers.scores.columns if c not in tables.RUN_COLUMNS])
    galleries, left_out = choose_galleries(records)
    resource = environment.loader.get_source
    headline = {dataset: view.headline(records, grid, dataset, numbers.results) for dataset in grid.datasets}
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
        scores=numbers.scores.to_dict("records"),
        score_groups=groups,
        level=legend.level(records),
        intervals=[line.removeprefix("- ") for line in legend.intervals(records)],
        compared=pairs.sections(numbers.compared, grid),
        compared_notes=pairs.notes(numbers.compared),
        class_tables={
            (dataset, bits): classes.class_table(records, grid, dataset, bits)
            for dataset in grid.datasets
            for bits in grid.bits
        },
        shown_classes=classes.shown_classes,
        drawn=drawn,
        galleries=galleries,
        galleries_left_out=left_out,
        opening=opening(galleries),
        attentions=attention_figures(records),
        attention_scale=scale_colours(),
        code_maps=maps,
        beside=beside_view.sections(numbers.beside),
        beside_words=beside_text.notes(numbers.published.tolerance),
        tally=beside_text.tally(numbers.beside),
        paper=beside_view.paper(numbers.paper),
        costs=beside_view.costs(numbers.cost, names),
        cost_total=cost.total_text(numbers.cost),
        cost_note=cost.NOTE,
        published=view.published_rows(numbers.published, grid),
    )
