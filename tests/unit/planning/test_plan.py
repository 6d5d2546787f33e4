from pathlib import Path

import pytest

from hashrepro.planning.plan import data_text, runs_text, total_text, with_parts

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def suites():
    return with_parts(ROOT, "papers/semicon/params.yaml", "cuda")


def test_a_suite_is_planned_with_its_parts(suites):
    assert [suite.settings.suite.name for suite in suites] == ["semicon", "semicon/ablations"]
    assert [len(suite.costs) for suite in suites] == [40, 20]


def test_only_runs_that_are_stale_count_as_to_be_trained(suites):
    stale = {f"papers/semicon/dvc.yaml:train@semicon-cub-{bits}-0": set() for bits in (12, 48)}
    stale["papers/semicon/dvc.yaml:evaluate@semicon-cub-24-0"] = set()
    lines = runs_text(suites[0], stale)
    assert lines[0] == "suite semicon: 40 runs (papers/semicon/dvc.yaml)"
    (cub,) = [line for line in lines if "semicon on cub" in line]
    assert cub.strip().startswith("semicon on cub: 2 of 4 runs to train, 11.4 hours each, 22.8 hours in all")
    assert all(": 0 of 4 runs to train" in line for line in lines[1:] if line != cub)


def test_the_sums_are_those_of_the_runs_and_of_data_sets_that_are_missing(suites):
    stale = {"papers/semicon/dvc.yaml:train@semicon-cub-12-0": set(), "papers/semicon/dvc.yaml:report": set()}
    ready, missing = {"cub": "ready"}, {"cub": "ready", "nabirds": "not here: by hand"}
    lines = total_text(ROOT, suites, stale, ready)
    assert lines[1].strip() in ("to run: 1 train, 1 report", "to run: 1 report, 1 train")
    assert lines[2].strip() == "11.4 hours of GPU"
    assert lines[3].strip().startswith("about 400 MB of disk")  # the network twice, and codes
    assert not any("by hand" in line for line in lines)
    more = total_text(ROOT, suites, stale, missing)
    assert "    missing, to be got by hand: nabirds" in more
    assert more[3] != lines[3]
    assert "hashrepro data check nabirds and docs/datasets.md" in data_text(suites[0].settings, missing)[-1]
