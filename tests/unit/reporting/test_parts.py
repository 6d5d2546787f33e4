from hashrepro.reporting.parts import part_rows
from hashrepro.reporting.records import Grid, RunRecord


def test_a_part_is_a_row_a_method_with_its_code_lengths_across():
    def run(bits: int, seed: int, value: float) -> RunRecord:
        return RunRecord(
            "semicon/ablations", "global", "cub", bits, seed, {"last": {"learned": {"map": value}}}
        )

    grid = Grid("a", ("global", "local"), ("cub",), (12, 24, 48), (0, 1), {"global-cub-24-s0": "too short"})
    rows = part_rows([run(12, 0, 0.25), run(12, 1, 0.75)], grid, {"global": "SEMICON (global part alone)"})
    assert rows == [
        {
            "dataset": "cub",
            "method": "SEMICON (global part alone)",
            "cells": ["50.00 ± 35.36", "skipped", "not run"],
        },
        {"dataset": "cub", "method": "local", "cells": ["not run"] * 3},
    ]
