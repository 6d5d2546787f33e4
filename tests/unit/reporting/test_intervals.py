from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import QUERIES, synthetic_run

from hashrepro.reporting.intervals import drawing, intervals, query_scores, same_queries


@pytest.fixture(scope="module")
def seeds():
    return [synthetic_run("adsh", 12, seed) for seed in (0, 1)]


def interval(runs, database):
    return intervals({"adsh": runs}, [(database, "map")])["adsh", database, "map"]


def with_scores(record, values, database="learned"):
    """The record with other average precisions per query."""
    columns = {"query": np.arange(len(values)), f"last.{database}.map": np.asarray(values, float)}
    return replace(record, per_query=pd.DataFrame(columns))


def test_one_run_brings_its_own_interval(seeds):
    run = seeds[0]
    found = interval([run], "network")
    assert found == (run.score("map_low", "network"), run.score("map_high", "network"), QUERIES)


def test_of_several_seeds_it_is_the_interval_of_their_mean_over_queries(seeds):
    low, high, queries = interval(seeds, "learned")
    mean = query_scores(seeds, "learned")
    assert mean == pytest.approx(
        (seeds[0].per_query["last.learned.map"] + seeds[1].per_query["last.learned.map"]) / 2
    )
    half = 1.96 * mean.std() / np.sqrt(QUERIES)
    assert queries == QUERIES
    assert low == pytest.approx(mean.mean() - half, abs=half / 5)
    assert high == pytest.approx(mean.mean() + half, abs=half / 5)
    assert interval(seeds, "learned") == (low, high, queries)


def test_seeds_that_disagree_have_a_narrower_interval_than_each(seeds):
    rng = np.random.default_rng(0)
    runs = [with_scores(run, rng.random(100)) for run in seeds]
    low, high, _ = interval(runs, "learned")
    alone = runs[0].per_query["last.learned.map"].std() / 10 * 1.96 * 2
    assert high - low == pytest.approx(alone / np.sqrt(2), rel=0.2)


def test_an_interval_does_not_depend_on_the_other_methods(seeds):
    both = intervals({"adsh": seeds, "schn": seeds[::-1]}, [("network", "map"), ("learned", "map")])
    assert both["adsh", "learned", "map"] == pytest.approx(interval(seeds, "learned"))
    assert both["schn", "learned", "map"] == pytest.approx(both["adsh", "learned", "map"])


def test_methods_with_other_queries_have_their_own_draws(seeds):
    few = [with_scores(run, np.linspace(0, 1, 10)) for run in seeds]
    both = intervals({"adsh": seeds, "schn": few}, [("learned", "map")])
    assert both["schn", "learned", "map"].queries == 10
    assert both["adsh", "learned", "map"] == pytest.approx(interval(seeds, "learned"))


def test_a_query_left_out_of_one_seed_is_left_out(seeds):
    runs = [with_scores(seeds[0], [0.5, np.nan, 0.7]), with_scores(seeds[1], [0.5, 1.0, 0.7])]
    assert interval(runs, "learned").queries == 2
    assert query_scores(runs, "learned") == pytest.approx([0.5, np.nan, 0.7], nan_ok=True)


@pytest.mark.parametrize("given", [1, 2])
def test_runs_without_scores_per_query_have_no_interval(seeds, given):
    scores = {"last": {"learned": {"map": 0.5}}}
    runs = [replace(run, per_query=None, scores=scores) for run in seeds[:given]]
    low, high, queries = interval(runs, "learned")
    assert np.isnan([low, high]).all()
    assert queries == QUERIES  # the runs say so themselves


def test_nothing_run_has_no_queries():
    low, high, queries = interval([], "learned")
    assert np.isnan([low, high]).all()
    assert queries is None


def test_seeds_with_other_queries_are_not_averaged(seeds):
    other = replace(seeds[1], per_query=seeds[1].per_query.assign(query=np.arange(QUERIES) + 1))
    assert not same_queries([seeds[0], other])
    assert query_scores([seeds[0], other], "learned") is None
    moved = replace(seeds[1], about=seeds[1].about | {"data_digest": "another catalog"})
    assert np.isnan(interval([seeds[0], moved], "learned").low)
    assert same_queries(seeds)


def test_very_many_queries_are_drawn_less_often_but_not_seldom(seeds):
    record = replace(seeds[0], about={"interval": {"confidence": 0.9, "resamples": 5000}})
    assert drawing(record, 500) == {"confidence": 0.9, "resamples": 5000}
    assert drawing(record, 4000)["resamples"] == 2500
    assert drawing(record, 10**6)["resamples"] == 1000
    assert drawing(replace(record, about={}), 1)["resamples"] == 10_000
