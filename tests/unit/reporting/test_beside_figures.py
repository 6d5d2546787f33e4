import pandas as pd
from synthetic_published import figures, run

from hashrepro.reporting.beside import beside_table
from hashrepro.reporting.beside_figures import authors_training, beside_by_bits
from hashrepro.reporting.palette import MUTED, look
from hashrepro.reporting.records import Grid
from hashrepro.reporting.tables import results_table

GRID = Grid("s", ("adsh", "semicon"), ("cub",), (12, 48), (0, 1))
CURVES = pd.DataFrame(
    [
        ("cub", "semicon", bits, iteration, 0.01 * bits * iteration)
        for bits in (12, 48)
        for iteration in (1, 2)
    ],
    columns=["dataset", "method", "bits", "iteration", "map"],
)


def lines(figure):
    """(xs, ys, colour, linestyle, filled) of the lines inside the axes."""
    (axes,) = figure.axes
    return [
        (list(line.get_xdata()), list(line.get_ydata()), line.get_color(), line.get_linestyle(), filled(line))
        for line in axes.lines
        if line.get_clip_on()
    ]


def filled(line):
    return line.get_markerfacecolor() != "none"


def beside_of(records, *changes):
    return beside_table(records, GRID, results_table(records, GRID), figures(*changes))


def test_published_figures_are_hollow_and_unverified_ones_have_a_question_mark():
    table = beside_of([run(0.41)], {}, {"bits": 48, "map": 0.8, "verified": "no"})
    figure = beside_by_bits(table, GRID, "cub", {"semicon": "SEMICON"})
    hollow = [ys for _, ys, *_, fill in lines(figure) if not fill]
    ours = [ys for _, ys, *_, fill in lines(figure) if fill]
    assert hollow == [[40.0], [80.0]]
    assert ours == [[41.0]]
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("?") == 1
    assert "SEMICON" in texts


def test_a_cell_without_a_run_shows_theirs_alone():
    figure = beside_by_bits(beside_of([], {}), GRID, "cub", {})
    assert [fill for *_, fill in lines(figure)] == [False]
    assert "semicon, not run" in [text.get_text() for text in figure.axes[0].texts]


def test_nothing_to_compare_is_no_figure():
    assert beside_by_bits(beside_of([run(0.4)], {"difference": "other"}), GRID, "cub", {}) is None
    assert authors_training([run(0.4)], GRID, "cub", "semicon", figures({})) is None


def test_training_stands_over_the_authors_log():
    history = pd.DataFrame({"iteration": [1, 2, 3], "map_reference": [0.1, None, 0.3]})
    other = history.assign(map_reference=[0.3, None, 0.5])
    records = [run(0.4), run(0.4, seed=1)]
    records[0].history, records[1].history = history, other
    figure = authors_training(records, GRID, "cub", "semicon", figures({}, curves=CURVES))
    drawn = [line for line in lines(figure) if line[0]]
    assert [(xs, [round(y, 9) for y in ys], style) for xs, ys, _, style, _ in drawn] == [
        ([1, 2], [12.0, 24.0], "--"),
        ([1, 3], [20.0, 40.0], "-"),
        ([1, 2], [48.0, 96.0], "--"),
    ]
    assert [colour for _, _, colour, *_ in drawn] == [MUTED, look(GRID.methods, "semicon")["color"], MUTED]
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(texts) == ["12 bits", "48 bits, not run"]
