"""The report of a suite: tables in three formats, figures, plot tables and the page that holds it all."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from hashrepro.files import whole
from hashrepro.reporting import beside_text, cost, formats, legend, pairs, paper_table, plots
from hashrepro.reporting.drawing import draw_all
from hashrepro.reporting.embedding_figure import code_maps
from hashrepro.reporting.numbers import Numbers
from hashrepro.reporting.page import page
from hashrepro.reporting.published import Published
from hashrepro.reporting.records import Grid, RunRecord


def write_report(
    records: list[RunRecord],
    grid: Grid,
    destination: Path,
    published: Published | None = None,
    facts: dict | None = None,
    recipes: Mapping[tuple[str, str], Mapping] | None = None,
) -> None:
    """Write a suite's report into `destination`: the same records give the same bytes.

    Writes index.html, {results,comparisons,side_by_side,cost}.{md,csv,tex}, paper_table.{md,tex}, scores.csv,
    figures/*.svg and plots/*.csv.

    Args:
        records: runs of the grid, in any order; runs of the grid that are missing are shown as "not run", or as
            "skipped" with the reason that the grid has for it.
        grid: what the suite consists of.
        destination: folder; made where there is none.
        published: what was published, or None.
        facts: what the page says about the suite, all optional: "title", "summary", "command" (that makes the
            suite), "notes" (sentences), "titles" (name of a method or data set -> its title), "parts" (the suites
            that are built with this one: {"title", "href" of the page, "bits", "rows" as `part_rows` gives them}) and
            "whole" (the suite that this one is a part of: {"title", "href"}).
        recipes: (method, data set) -> recipe, for cells that were not run.

    Raises:
        UserError: a record that is not in the grid, or that came twice.
    """
    facts, destination = facts or {}, Path(destination)
    numbers = Numbers.of(records, grid, published or Published(), facts.get("titles"), recipes)
    for name, content in {**_results(numbers), **_beside(numbers)}.items():
        _write(destination / name, content)
    for name in plots.TABLES:
        _write(destination / "plots" / f"{name}.csv", _csv(getattr(plots, name)(numbers.records)))
    drawn = draw_all(numbers, lambda name, svg: _write(destination / "figures" / f"{name}.svg", svg))
    maps = code_maps(numbers.records, grid, numbers.names)
    for found in (found for items in maps.values() for found in items if found.svg):
        _write(destination / "figures" / f"{found.name}.svg", found.svg)
    _write(destination / "index.html", page(numbers, drawn, maps, facts))


def _write(path: Path, content: str | bytes) -> None:
    with whole(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, lineterminator="\n")


def _results(numbers: Numbers) -> dict[str, str]:
    """Name of a file -> its text: results, every score, comparisons."""
    shown = formats.display_table(numbers.results, numbers.names)
    notes = formats.footnotes(numbers.results["skipped"])
    pairwise = pairs.display_comparisons(numbers.compared, numbers.names)
    return {
        "results.md": f"{formats.to_markdown(shown, notes)}\n{legend.legend(numbers.records)}",
        "results.csv": formats.to_csv(numbers.results),
        "results.tex": formats.to_latex(shown, notes),
        "scores.csv": _csv(numbers.scores),
        "comparisons.md": f"{formats.to_markdown(pairwise)}\n{pairs.legend(numbers.compared)}",
        "comparisons.csv": _csv(numbers.compared),
        "comparisons.tex": formats.to_latex(pairwise),
    }


def _beside(numbers: Numbers) -> dict[str, str]:
    """Name of a file -> its text: ours beside theirs, the papers' table, the cost."""
    tolerance, costs = numbers.published.tolerance, cost.display_cost(numbers.cost, numbers.names)
    return {
        "side_by_side.md": beside_text.markdown(numbers.beside, numbers.names, tolerance),
        "side_by_side.csv": _csv(numbers.beside),
        "side_by_side.tex": beside_text.latex(numbers.beside, numbers.names),
        "paper_table.md": paper_table.markdown(numbers.paper),
        "paper_table.tex": paper_table.latex(numbers.paper),
        "cost.md": f"{cost.total_text(numbers.cost)}\n\n{formats.to_markdown(costs)}\n{cost.NOTE}\n",
        "cost.csv": _csv(numbers.cost),
        "cost.tex": formats.to_latex(costs),
    }
