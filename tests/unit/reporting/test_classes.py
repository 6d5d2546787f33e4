from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import CLASSES, GRID, synthetic_run

from hashrepro.reporting.classes import class_table, shown_classes


def with_classes(record, number, rng):
    """The record with `number` classes, the last of them without queries."""
    frame = pd.DataFrame({"class": range(number), "name": [f"bird {c}" for c in range(number)]})
    frame["queries"] = np.where(frame["class"] == number - 1, 0, 4)
    frame["map"] = np.where(frame["class"] == number - 1, np.nan, rng.random(number))
    return replace(record, curves={("learned", "per_class"): frame})


def test_classes_stand_in_the_order_of_their_mean_over_methods(suite):
    table = class_table(suite, GRID, "fashion", 48)
    assert table.columns.tolist() == ["class", "name", "queries", *GRID.methods]
    assert table[list(GRID.methods)].mean(axis=1).is_monotonic_decreasing
    assert sorted(table["name"]) == sorted(CLASSES)
    record = next(r for r in suite if r.key == "schn-fashion-48-s0")
    own = record.curves["learned", "per_class"].set_index("name")["map"]
    assert table.set_index("name")["schn"].to_dict() == own.to_dict()


def test_seeds_are_averaged():
    runs = [synthetic_run("adsh", 12, seed) for seed in (0, 1)]
    grid = replace(GRID, seeds=(0, 1))
    table = class_table(runs, grid, "fashion", 12).set_index("class")["adsh"]
    maps = [run.curves["learned", "per_class"]["map"] for run in runs]
    assert table[3] == pytest.approx((maps[0][3] + maps[1][3]) / 2)


def test_of_many_classes_the_best_and_the_worst_are_shown(suite):
    record = with_classes(suite[0], 555, np.random.default_rng(0))
    table = class_table([record], GRID, "fashion", 12)
    assert len(table) == 554  # the class without queries has no mAP
    rows, left_out = shown_classes(table, 12)
    assert (len(rows), left_out) == (12, 542)
    assert [row["adsh"] for row in rows[:6]] == sorted(table["adsh"], reverse=True)[:6]
    assert [row["adsh"] for row in rows[6:]] == sorted(table["adsh"], reverse=True)[-6:]


def test_few_classes_are_all_shown(suite):
    rows, left_out = shown_classes(class_table(suite, GRID, "fashion", 12))
    assert (len(rows), left_out) == (10, 0)


def test_runs_without_scores_per_class_have_no_table(suite):
    bare = [replace(record, curves={}) for record in suite]
    assert class_table(bare, GRID, "fashion", 12).empty
    assert class_table(suite, GRID, "cub", 12).empty
