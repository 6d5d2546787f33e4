import math
import statistics
from dataclasses import replace

import pytest
from synthetic_runs import GRID, synthetic_run

from hashrepro.reporting.tables import results_table, scores_table, spread

PARTIAL = replace(GRID, methods=("adsh", "schn"), bits=(12,), seeds=(0, 1, 2))


@pytest.fixture(scope="module")
def seeds():
    return [synthetic_run("adsh", 12, seed) for seed in (0, 2)]


def test_mean_and_deviation_over_seeds(seeds):
    table = results_table(seeds, PARTIAL).set_index("method")
    maps = [record.scores["last"]["learned"]["map"] for record in seeds]
    assert table.loc["adsh", "map"] == pytest.approx(statistics.mean(maps))
    assert table.loc["adsh", "map_sd"] == pytest.approx(statistics.stdev(maps))
    best = [record.scores["best_on_test"]["learned"]["map_reference"] for record in seeds]
    assert table.loc["adsh", "reference_best_on_test"] == pytest.approx(statistics.mean(best))
    assert (table.loc["adsh", "runs"], table.loc["adsh", "seeds"]) == (2, 3)


def test_the_interval_is_that_of_queries_on_the_measures_own_database(suite, seeds):
    table = results_table(suite, GRID)
    assert table["map_low"].tolist() == [r.score("map_low") for r in suite]
    assert table["map_network_high"].tolist() == [r.score("map_high", "network") for r in suite]
    assert table["reference_low"].tolist() == [r.score("map_reference_low") for r in suite]
    assert table["queries"].tolist() == [50] * len(suite)
    several = results_table(seeds, PARTIAL)
    assert several["map_low"][0] < several["map"][0] < several["map_high"][0]
    assert several["queries"].isna().tolist() == [False, True]


def test_one_seed_has_no_deviation():
    mean, deviation = spread([0.5])
    assert mean == 0.5
    assert math.isnan(deviation)
    assert all(map(math.isnan, spread([])))


def test_a_row_for_every_cell_of_the_grid_in_its_order(suite):
    table = results_table(suite[::-1], GRID)
    assert list(zip(table["method"], table["bits"], strict=True)) == [
        (m, b) for m in GRID.methods for b in GRID.bits
    ]


def test_every_score_of_every_run_has_its_place(suite):
    table = scores_table(suite, GRID)
    assert len(table) == len(suite) * 5
    row = table.query("run == 'schn-fashion-48-s0' and selected == 'last' and database == 'network'").iloc[0]
    record = next(r for r in suite if r.key == "schn-fashion-48-s0")
    assert {name: row[name] for name in record.scores["last"]["network"]} == record.scores["last"]["network"]
    assert scores_table([], GRID).empty
