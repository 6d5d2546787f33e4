from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import GRID, TITLES, synthetic_run

from hashrepro.reporting import figures
from hashrepro.reporting.palette import render

EMPTY = replace(GRID, datasets=("fashion", "cub"))


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def lines(figure):
    return {line.get_label(): line for line in figure.axes[0].lines if not line.get_label().startswith("_")}


@pytest.mark.parametrize(
    "draw", [figures.precision_recall, figures.precision_at, figures.training_map, figures.training_loss]
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
    figure = figures.map_by_bits(suite, GRID, "fashion")
    assert set(words(figure)) == {*TITLES.values(), "untrained", "random"}
    expected = [100 * r.score("map") for r in suite if r.method == "adsh"]
    drawn = figure.axes[0].containers[0].lines[0]
    assert drawn.get_ydata() == pytest.approx(expected)


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
    figure = figures.map_by_bits(suite, EMPTY, "cub")
    assert words(figure) == []
    assert render(figure)
    assert words(figures.precision_recall(suite, EMPTY, "cub", 12)) == []


def test_a_run_without_curves_or_history_is_left_out(suite):
    bare = [replace(suite[0], curves={}, history=pd.DataFrame({"iteration": []})), *suite[1:]]
    assert "ADSH" not in words(figures.precision_at(bare, GRID, "fashion", 12))
    assert "ADSH" not in words(figures.training_loss(bare, GRID, "fashion", 12))
