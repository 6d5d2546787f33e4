from dataclasses import replace

import pandas as pd
import pytest
from synthetic_published import figures, run

from hashrepro.reporting import cost
from hashrepro.reporting.beside import beside_table
from hashrepro.reporting.logs import TIME_COLUMNS
from hashrepro.reporting.records import Grid
from hashrepro.reporting.tables import results_table

GRID = Grid("s", ("semicon",), ("cub",), (12, 48), (0, 1))
GPU = {"device": "Some GPU", "codes_per_second": 90.0, "peak_memory_mb": 4000.0, "queries": 5}


def ours(seed, train, **about):
    return run(0.4, seed=seed, seconds={"train": train, "encode": 100.0}, **{**GPU, **about})


def times(*rows):
    return pd.DataFrame([("cub", "semicon", 12, *row) for row in rows], columns=TIME_COLUMNS)


def table(records, log=((7200.0, "", "GPU of theirs"),), figure=None):
    published = figures(figure or {}, times=times(*log))
    beside = beside_table(records, GRID, results_table(records, GRID), published)
    return cost.cost_table(records, GRID, beside, published)


def test_hours_are_summed_over_runs_and_processes_and_times_averaged():
    row = table([ours(0, 3500.0), ours(1, 7100.0, processes=2)]).iloc[0]
    assert row["hours"] == pytest.approx((3600 + 2 * 7200) / 3600)
    assert row["train_seconds"] == pytest.approx(5300)
    assert row["encode_seconds"] == 100
    assert row["ratio"] == pytest.approx(5300 / 7200)
    assert (row["peak_memory_mb"], row["codes_per_second"]) == (4000, 90)


def test_a_log_of_other_data_has_its_time_and_no_ratio():
    other = table([ours(0, 3500.0)], [(7200.0, "other class sets", "")]).iloc[0]
    assert (other["their_seconds"], other["difference"]) == (7200, "other class sets")
    assert pd.isna(other["ratio"])
    assert pd.isna(table([ours(0, 3500.0)], figure={"queries": 5794.0}).iloc[0]["ratio"])


def test_the_authors_own_run_is_preferred_to_the_re_run():
    row = table([ours(0, 3600.0)], [(9.0, "other class sets", ""), (7200.0, "", "")]).iloc[0]
    assert row["ratio"] == 0.5


def test_cells_that_were_not_run_cost_nothing_and_say_so():
    found = table([])
    assert found["hours"].tolist() == [0, 0]
    shown = cost.display_cost(found, {})
    assert shown["device"].tolist() == ["not run"] * 2
    assert cost.total_text(found) == "0 of 4 runs: nothing yet."


def test_skipped_cells_are_no_runs_to_come():
    skipped = {f"semicon-cub-12-s{seed}": "why" for seed in (0, 1)}
    grid = replace(GRID, skipped=skipped)
    beside = beside_table([], grid, results_table([], grid), figures())
    found = cost.cost_table([], grid, beside, figures())
    assert cost.display_cost(found, {})["device"].tolist() == ["skipped", "not run"]
    assert cost.total_text(found) == "0 of 2 runs: nothing yet."


def test_gpu_hours_and_cpu_hours_are_told_apart():
    found = table(
        [
            ours(0, 3500.0),
            run(0.4, bits=48, device="CPU, 1 threads", seconds={"train": 1700.0, "encode": 100}),
        ]
    )
    assert (
        cost.total_text(found)
        == "2 of 4 runs: 1.0 GPU-hours on Some GPU and 0.5 CPU-hours on CPU, 1 threads."
    )
    assert cost.totals(found) == {"Some GPU": 1.0, "CPU, 1 threads": 0.5}


def test_a_run_that_left_no_times_has_dashes():
    shown = cost.display_cost(table([run(0.4)]), {})
    assert shown.iloc[0][["training", "hours, all runs", "codes/s", "ours ÷ theirs"]].tolist() == ["–"] * 4
    assert "GPU memory, MB" not in shown


def test_memory_of_the_gpu_is_shown_where_a_run_has_it():
    shown = cost.display_cost(table([ours(0, 3600.0, peak_gpu_memory_mb=1234.5)]), {})
    assert shown["GPU memory, MB"].tolist() == ["1,234", "–"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(96.4, "96 s"), (599, "599 s"), (2040, "34 min"), (39240, "10.9 h"), (float("nan"), "–")],
)
def test_durations_are_in_the_unit_that_people_say(seconds, text):
    assert cost.duration(seconds) == text
