"""All figures of a report: as files, and in the page's colours."""

from collections.abc import Callable

from markupsafe import Markup
from matplotlib.figure import Figure

from hashrepro.reporting import beside_figures, figures, view
from hashrepro.reporting.numbers import Numbers
from hashrepro.reporting.palette import render

BY_BITS = {
    "precision_recall": figures.precision_recall,
    "precision_at": figures.precision_at,
    "by_class": figures.by_class,
    "training_map": figures.training_map,
    "training_loss": figures.training_loss,
}


def draw_all(numbers: Numbers, write: Callable[[str, bytes], None]) -> dict[tuple, Markup]:
    """Draw every figure, `write` it by its name as SVG, and return the page's version of each.

    By (name, data set, bits): bits is 0 for a figure of all code lengths, and the method's name for the training beside
    its authors' log.
    """
    inline = {}
    for dataset in numbers.grid.datasets:
        for place, figure in {**_of_dataset(numbers, dataset), **_of_lengths(numbers, dataset)}.items():
            write("-".join(str(part) for part in place if part), render(figure))
            figure.set_layout_engine("none")  # laid out once, drawn twice
            inline[place] = Markup(view.themed(render(figure, text="none"), f"f{len(inline)}"))
    return inline


def _of_dataset(numbers: Numbers, dataset: str) -> dict[tuple, Figure]:
    records, grid = numbers.records, numbers.grid
    drawn = {
        ("map_by_bits", dataset, 0): figures.map_by_bits(records, grid, dataset, numbers.results),
        ("radius_by_bits", dataset, 0): figures.radius_by_bits(records, grid, dataset),
        ("beside_by_bits", dataset, 0): beside_figures.beside_by_bits(
            numbers.beside, grid, dataset, numbers.names
        ),
    }
    for method in grid.methods:
        place = ("authors_training", dataset, method)
        drawn[place] = beside_figures.authors_training(records, grid, dataset, method, numbers.published)
    return {place: figure for place, figure in drawn.items() if figure is not None}


def _of_lengths(numbers: Numbers, dataset: str) -> dict[tuple, Figure]:
    lengths = sorted({record.bits for record in numbers.records if record.dataset == dataset})
    return {
        (name, dataset, bits): draw(numbers.records, numbers.grid, dataset, bits)
        for bits in lengths
        for name, draw in BY_BITS.items()
    }
