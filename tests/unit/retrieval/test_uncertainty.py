import itertools

import numpy as np
import pytest
from scipy import stats

from hashrepro.errors import UserError
from hashrepro.retrieval.uncertainty import bootstrap_interval, paired_test


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_interval_is_scipys_percentile_bootstrap():
    values = rng(1).beta(0.5, 1, 300)
    found = bootstrap_interval(values, resamples=4000, rng=rng())
    expected = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=rng())
    # The same generator draws the same rows here as there.
    np.testing.assert_allclose(found, expected.confidence_interval, rtol=1e-12)
    assert found[0] < values.mean() < found[1]


def test_the_interval_holds_the_true_mean_as_often_as_it_says():
    draws, hits = rng(2), {0.95: 0, 0.8: 0}
    for _ in range(600):
        values = draws.beta(2, 1, 80)  # mean 2 / 3, skewed as average precisions are
        for confidence in hits:
            low, high = bootstrap_interval(values, confidence=confidence, resamples=400, rng=draws)
            hits[confidence] += low <= 2 / 3 <= high
    for confidence, n in hits.items():
        # four standard errors of 600 trials, and a percent for the small sample
        assert n / 600 == pytest.approx(
            confidence, abs=4 * np.sqrt(confidence * (1 - confidence) / 600) + 0.01
        )


def test_columns_share_their_draws_and_are_what_they_are_alone():
    values = rng(3).random((200, 3))
    low, high = bootstrap_interval(values, resamples=300, rng=rng())
    for c in range(3):
        alone = bootstrap_interval(values[:, c], resamples=300, rng=rng())
        np.testing.assert_allclose((low[c], high[c]), alone, rtol=1e-12)
    shifted = bootstrap_interval(np.stack([values[:, 0], values[:, 0] + 1], axis=1), resamples=300, rng=rng())
    np.testing.assert_allclose(shifted[0][1] - shifted[0][0], 1, rtol=1e-12)


def test_a_query_that_is_left_out_has_no_weight():
    values = rng(4).random(100)
    with_gaps = np.insert(values, [0, 50, 100], np.nan)
    assert bootstrap_interval(with_gaps, resamples=300, rng=rng()) == bootstrap_interval(
        values, resamples=300, rng=rng()
    )
    both = np.stack([values, np.where(np.arange(100) < 40, np.nan, values)], axis=1)
    low, high = bootstrap_interval(both, resamples=4000, rng=rng())
    alone = bootstrap_interval(values[40:], resamples=4000, rng=rng())
    np.testing.assert_allclose((low[1], high[1]), alone, atol=0.01)


def test_there_is_no_interval_of_nothing_and_no_width_of_a_constant():
    assert np.isnan(bootstrap_interval(np.full(5, np.nan), resamples=10, rng=rng())).all()
    assert np.isnan(bootstrap_interval(np.empty(0), resamples=10, rng=rng())).all()
    assert bootstrap_interval(np.full(7, 0.5), resamples=10, rng=rng()) == (0.5, 0.5)
    low, high = bootstrap_interval(np.array([[0.5, np.nan], [0.5, np.nan]]), resamples=10, rng=rng())
    assert (low[0], high[0]) == (0.5, 0.5)
    assert np.isnan([low[1], high[1]]).all()


def test_batches_of_resamples_change_nothing(monkeypatch):
    values = rng(5).random(50)
    whole = bootstrap_interval(values, resamples=333, rng=rng())
    monkeypatch.setattr("hashrepro.retrieval.uncertainty._NUMBERS_A_BATCH", 400)
    assert bootstrap_interval(values, resamples=333, rng=rng()) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("options", [{"confidence": 0}, {"confidence": 1}, {"resamples": 0}])
def test_impossible_intervals_are_refused(options):
    with pytest.raises(UserError, match="cannot be had"):
        bootstrap_interval(np.ones(3), **{"resamples": 10, **options}, rng=rng())


def exact_p(difference: np.ndarray) -> float:
    """Two-sided p over every choice of signs."""
    sums = np.array(list(itertools.product([-1, 1], repeat=len(difference)))) @ difference
    observed = difference.sum()
    return min(1, 2 * min((sums >= observed - 1e-12).mean(), (sums <= observed + 1e-12).mean()))


@pytest.mark.parametrize("seed", range(4))
def test_p_is_that_of_every_choice_of_signs(seed):
    a, b = rng(seed).random(10), rng(seed + 10).random(10) * 0.8
    found = paired_test(a, b, resamples=20_000, rng=rng())
    p = exact_p(a - b)
    assert found.p == pytest.approx(p, abs=4 * np.sqrt(2 * p / 20_000) + 1e-4)
    assert found.difference == pytest.approx((a - b).mean(), rel=1e-12)
    assert (found.n, found.low <= found.difference <= found.high) == (10, True)


def test_p_is_scipys_of_the_paired_permutation_test():
    a = rng(6).random(60)
    b = a + rng(7).normal(0.02, 0.1, 60)
    found = paired_test(a, b, resamples=9999, rng=rng())
    expected = stats.permutation_test(
        (a, b),
        lambda x, y, axis: (x - y).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        rng=rng(1),
    )
    assert found.p == pytest.approx(expected.pvalue, abs=4 * np.sqrt(4 * expected.pvalue / 9999))
    assert found.difference == pytest.approx(expected.statistic, rel=1e-12)


def test_the_order_of_the_methods_turns_the_difference_and_keeps_p():
    a, b = rng(8).random(40), rng(9).random(40)
    one, other = (paired_test(*pair, resamples=4999, rng=rng()) for pair in ((a, b), (b, a)))
    assert one.difference == pytest.approx(-other.difference, rel=1e-12)
    assert one.p == pytest.approx(other.p, abs=0.05)


def test_equal_methods_do_not_differ_and_very_different_ones_do():
    a = rng(10).random(100)
    same = paired_test(a, a, resamples=999, rng=rng())
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)
    apart = paired_test(a + 1, a, resamples=999, rng=rng())
    assert apart.p == 2 / 1000
    assert apart.low > 0


def test_a_query_without_a_score_in_either_counts_in_neither():
    a, b = rng(11).random(30), rng(12).random(30)
    a[3], b[7] = np.nan, np.nan
    kept = np.delete(np.arange(30), [3, 7])
    found = paired_test(a, b, resamples=999, rng=rng())
    assert found.n == 28
    assert found == paired_test(a[kept], b[kept], resamples=999, rng=rng())
    nothing = paired_test(np.full(4, np.nan), b[:4], resamples=99, rng=rng())
    assert nothing.n == 0
    assert np.isnan(nothing.p)


def test_methods_on_different_queries_are_refused():
    with pytest.raises(UserError, match="cannot be paired"):
        paired_test(np.ones(3), np.ones(4), resamples=9, rng=rng())
