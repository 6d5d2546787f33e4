from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import GRID, TITLES, synthetic_run

from hashrepro.reporting import figures
from hashrepro.reporting.palette import render
from hashrepro.reporting.tables import results_table

EMPTY = replace(GRID, datasets=("fashion", "cub"))


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def lines(figure):
    return {line.get_label(): line for line in figure.axes[0].lines if not line.get_label().startswith("_")}


@pytest.mark.parametrize(
    "draw",
    [
        figures.precision_recall,
        figures.precision_at,
        figures.by_class,
        figures.training_map,
        figures.training_loss,
    ],
)
def test_every_method_is_drawn_and_named(suite, draw):
    figure = draw(suite, GRID, "fashion", 12)
    assert set(lines(figure)) == set(words(figure)) == set(TITLES.values())
    assert render(figure)


def test_the_curve_is_the_runs_own(suite):
    record = next(r for r in suite if r.key == "schn-fashion-48-s0")
    curve = record.curves["learned", "precision_at"]
    line = lines(figures.precision_at(suite, GRID, "fashion", 48))["SCHN"]
    assert line.get_xdata() == pytest.approx(curve["n"])
    assert line.get_ydata() == pytest.approx(100 * curve["precision"])


def test_the_first_figure_shows_means_and_floors(suite):
    figure = figures.map_by_bits(suite, GRID, "fashion", results_table(suite, GRID))
    assert set(words(figure)) == {*TITLES.values(), "untrained", "random"}
    expected = [100 * r.score("map") for r in suite if r.method == "adsh"]
    drawn = figure.axes[0].containers[0].lines[0]
    assert drawn.get_ydata() == pytest.approx(expected)


def test_whiskers_are_the_interval_and_pale_bars_the_deviation(suite):
    whiskers = figures.map_by_bits(suite, GRID, "fashion", results_table(suite, GRID)).axes[0].containers[0]
    ends = [segment[:, 1] for segment in whiskers.lines[2][0].get_segments()]
    runs = [r for r in suite if r.method == "adsh"]
    expected = [[100 * r.score("map_low"), 100 * r.score("map_high")] for r in runs]
    assert ends == [pytest.approx(pair) for pair in expected]

    runs = [synthetic_run("adsh", 12, seed) for seed in (0, 1)]
    grid = replace(GRID, seeds=(0, 1))
    table = results_table(runs, grid)
    axes = figures.map_by_bits(runs, grid, "fashion", table).axes[0]
    bars = [c for c in axes.collections if c.get_alpha() == 0.3]
    (segment,) = bars[0].get_segments()
    assert np.ptp(segment[:, 1]) == pytest.approx(200 * table["map_sd"][0])


def test_runs_without_an_interval_have_no_whiskers(suite):
    scores = {"last": {"learned": {"map": 0.5}}}
    bare = [replace(r, scores=scores, per_query=None) for r in suite]
    axes = figures.map_by_bits(bare, GRID, "fashion", results_table(bare, GRID)).axes[0]
    assert all(np.ptp(s[:, 1]) == 0 for s in axes.containers[0].lines[2][0].get_segments())
    assert axes.containers[0].lines[0].get_ydata() == pytest.approx([50, 50])


def test_an_interval_that_the_mean_is_off_by_a_rounding_error_is_drawn(suite):
    # Every query of a network that gives all images one code scores alike.
    alike = {"map": 0.1, "map_low": np.nextafter(0.1, 1), "map_high": np.nextafter(0.1, 0)}
    runs = [replace(r, scores={"last": {"learned": alike}}) for r in suite]
    axes = figures.map_by_bits(runs, GRID, "fashion", results_table(runs, GRID)).axes[0]
    assert all(np.ptp(s[:, 1]) == 0 for s in axes.containers[0].lines[2][0].get_segments())


def test_classes_are_drawn_best_first_for_each_method(suite):
    drawn = lines(figures.by_class(suite, GRID, "fashion", 48))
    record = next(r for r in suite if r.key == "schn-fashion-48-s0")
    own = sorted(100 * record.curves["learned", "per_class"]["map"], reverse=True)
    assert drawn["SCHN"].get_ydata() == pytest.approx(own)
    assert list(drawn["SCHN"].get_xdata()) == list(range(1, 11))


def test_evaluations_that_were_left_out_leave_no_gap(suite):
    line = lines(figures.training_map(suite, GRID, "fashion", 12))["ADSH"]
    assert list(line.get_xdata()) == list(range(2, 21, 2))
    assert np.isfinite(line.get_ydata()).all()


def test_the_loss_starts_at_one_and_means_are_over_seeds():
    runs = [synthetic_run("adsh", 12, seed) for seed in (0, 1)]
    mean = figures.mean_history(runs)
    assert mean["loss"][0] == 1
    maps = [run.history["map"] for run in runs]
    assert mean["map"][19] == pytest.approx((maps[0][19] + maps[1][19]) / 2)
    assert figures.losses(runs[0].history) == ["loss", "quantisation"]


def test_a_data_set_without_runs_gives_an_empty_figure(suite):
    figure = figures.map_by_bits(suite, EMPTY, "cub", results_table(suite, EMPTY))
    assert words(figure) == []
    assert render(figure)
    assert words(figures.precision_recall(suite, EMPTY, "cub", 12)) == []


def test_a_run_without_curves_or_history_is_left_out(suite):
    bare = [replace(suite[0], curves={}, history=pd.DataFrame({"iteration": []})), *suite[1:]]
    assert "ADSH" not in words(figures.precision_at(bare, GRID, "fashion", 12))
    assert "ADSH" not in words(figures.training_loss(bare, GRID, "fashion", 12))


def test_precision_within_the_radius_is_drawn_by_code_length(suite):
    figure = figures.radius_by_bits(suite, GRID, "fashion")
    assert figure.axes[0].get_title(loc="left") == "Precision within 2 bits"
    assert set(lines(figure)) == set(words(figure)) == set(TITLES.values())
    runs = {record.bits: record for record in suite if record.method == "schn"}
    precision = [100 * runs[bits].score("precision_radius_2") for bits in GRID.bits]
    assert lines(figure)["SCHN"].get_ydata() == pytest.approx(precision)


def test_the_radius_is_the_one_that_the_runs_were_scored_at(suite):
    record = replace(suite[0], scores={"last": {"learned": {"map": 0.5, "precision_radius_3": 0.25}}})
    figure = figures.radius_by_bits([record], GRID, "fashion")
    assert figure.axes[0].get_title(loc="left") == "Precision within 3 bits"
    assert lines(figure)["ADSH"].get_ydata() == pytest.approx([25.0])
    assert figures.radius_of([]) == 2
    assert words(figures.radius_by_bits([], GRID, "fashion")) == []
