from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import permutation_test
from synthetic_runs import GRID, QUERIES, synthetic_run

from hashrepro.reporting.comparisons import COLUMNS, comparisons_table

PAIR = replace(GRID, methods=("adsh", "schn"), bits=(12,))


@pytest.fixture(scope="module")
def table(suite):
    return comparisons_table(suite, GRID)


def with_scores(record, values):
    return replace(
        record, per_query=pd.DataFrame({"query": np.arange(len(values)), "last.learned.map": values})
    )


def test_every_method_against_those_before_it(table):
    names = GRID.methods
    pairs = [(one, two) for number, one in enumerate(names) for two in names[:number]]
    assert list(zip(table["method"], table["against"], strict=True)) == pairs * 2
    assert table["bits"].tolist() == [12] * 6 + [48] * 6
    assert (table["queries"] == QUERIES).all()
    assert table.columns.tolist() == COLUMNS
    assert (table["gap"] == "").all()


def test_a_difference_is_that_of_the_headlines(table, suite):
    maps = {record.key: record.score("map") for record in suite}
    for row in table.to_dict("records"):
        one, two = (f"{row[name]}-fashion-{row['bits']}-s0" for name in ("method", "against"))
        assert row["map"] == pytest.approx(maps[one])
        assert row["against_map"] == pytest.approx(maps[two])
        assert row["difference"] == pytest.approx(maps[one] - maps[two])
        assert row["low"] < row["difference"] < row["high"]


def test_p_is_that_of_scipys_permutation_test(table, suite):
    def difference(one, two, axis):
        return (one - two).mean(axis=axis)

    scores = {record.key: record.per_query["last.learned.map"] for record in suite}
    for row in table.to_dict("records"):
        pair = [scores[f"{row[name]}-fashion-{row['bits']}-s0"] for name in ("method", "against")]
        exact = permutation_test(pair, difference, permutation_type="samples", n_resamples=4000, rng=0)
        assert row["p"] == pytest.approx(exact.pvalue, abs=0.08)  # of 1,000 draws


def test_the_table_is_the_same_in_any_order_of_records(table, suite):
    pd.testing.assert_frame_equal(comparisons_table(suite[::-1], GRID), table)


def test_a_pairs_test_does_not_depend_on_the_other_methods(table, suite):
    few = comparisons_table([r for r in suite if r.method in PAIR.methods and r.bits == 12], PAIR)
    same = table.query("method == 'schn' and against == 'adsh' and bits == 12").reset_index(drop=True)
    pd.testing.assert_frame_equal(few.drop(columns="p_adjusted"), same.drop(columns="p_adjusted"))
    assert few["p_adjusted"].tolist() == few["p"].tolist()  # one comparison needs no adjustment


def test_adjusted_p_is_benjamini_and_yekutielis(table):
    p = np.sort(table["p"].astype(float))
    m = len(p)
    ranked = p * m * (1 / np.arange(1, m + 1)).sum() / np.arange(1, m + 1)
    expected = np.minimum(1, [ranked[i:].min() for i in range(m)])
    assert np.sort(table["p_adjusted"].astype(float)) == pytest.approx(expected)
    assert (table["p_adjusted"] >= table["p"]).all()


def test_seeds_are_averaged_query_by_query(suite):
    rng = np.random.default_rng(0)
    values = rng.random((3, 40))
    grid = replace(PAIR, seeds=(0, 1))
    runs = [
        with_scores(synthetic_run("adsh", 12, 0), values[0]),
        with_scores(synthetic_run("adsh", 12, 1), values[1]),
        with_scores(synthetic_run("schn", 12, 0), values[2]),
    ]
    row = comparisons_table(runs, grid).iloc[0]
    assert row["difference"] == pytest.approx((values[2] - values[:2].mean(axis=0)).mean())
    assert (row["runs"], row["against_runs"], row["queries"]) == (1, 2, 40)


def test_a_query_that_one_method_leaves_out_counts_for_neither(suite):
    one, two = suite[0], suite[4]
    values = np.linspace(0, 1, 20)
    missing = np.where(np.arange(20) < 5, np.nan, values / 2)
    row = comparisons_table([with_scores(one, values), with_scores(two, missing)], PAIR).iloc[0]
    assert row["queries"] == 15
    assert row["difference"] == pytest.approx(-(values[5:] / 2).mean())


@pytest.mark.parametrize(
    ("change", "gap"),
    [
        ({"per_query": None}, "a run without scores per query"),
        ({"about": {"data_digest": "another catalog"}}, "other queries"),
        ({"scores": {"last": {"network": {"map": 0.5}}}}, ""),  # compared by the network's codes
    ],
)
def test_what_cannot_be_compared_says_why(suite, change, gap):
    row = comparisons_table([suite[0], replace(suite[4], **change)], PAIR).iloc[0]
    assert row["gap"] == gap
    assert np.isnan(row["difference"]) == bool(gap)
    assert row["database"] == ("network" if "scores" in change else "learned")


def test_queries_that_no_two_methods_count_are_no_comparison(suite):
    halves = [[0.5, np.nan], [np.nan, 0.5]]
    runs = [with_scores(run, values) for run, values in zip((suite[0], suite[4]), halves, strict=True)]
    assert comparisons_table(runs, PAIR)["gap"].tolist() == ["no query that both count"]


def test_a_lone_method_has_no_comparison(suite):
    table = comparisons_table(suite[:2], GRID)
    assert table.empty
    assert table.columns.tolist() == COLUMNS
