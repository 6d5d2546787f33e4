from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from hashrepro.errors import UserError
from hashrepro.retrieval import ndcg as ndcg_module
from hashrepro.retrieval.codes import random_codes
from hashrepro.retrieval.counts import DistanceCounts, scan
from hashrepro.retrieval.ndcg import ndcg

# Up to 7 items in all, in groups of up to 4: every order of the ties can be written out.
GROUPS = st.lists(st.lists(st.booleans(), max_size=4), min_size=1, max_size=5).filter(
    lambda groups: 0 < sum(map(len, groups)) <= 7
)
LENGTHS = (None, 1, 2, 3, 5, 20)


def counts_of(groups: list[list[bool]]) -> DistanceCounts:
    """One query's counts: one group of relevance flags for each distance."""
    return DistanceCounts(
        relevant=np.array([[sum(group) for group in groups]], np.int32),
        total=np.array([[len(group) for group in groups]], np.int32),
        distances=np.arange(len(groups), dtype=float),
    )


def ndcg_of_list(ranked: list[bool], length: int | None) -> float:
    """The definition, of one ranked list of relevance."""

    def dcg(order):
        return sum(hit / log2(rank + 1) for rank, hit in enumerate(order[:length], start=1))

    return dcg(ranked) / dcg(sorted(ranked, reverse=True)) if any(ranked) else 0.0


@given(GROUPS)
def test_expected_is_the_mean_over_every_order_of_the_ties(oracles, groups):
    lists = list(oracles.orders(groups))
    expected = [np.mean([ndcg_of_list(ranked, length) for ranked in lists]) for length in LENGTHS]
    np.testing.assert_allclose(ndcg(counts_of(groups), LENGTHS), [expected], atol=1e-14)


@given(GROUPS, st.sampled_from(["best", "worst"]))
def test_best_and_worst_order_the_relevant_first_and_last(groups, ties):
    ranked = [hit for group in groups for hit in sorted(group, reverse=ties == "best")]
    expected = [ndcg_of_list(ranked, length) for length in LENGTHS]
    np.testing.assert_allclose(ndcg(counts_of(groups), LENGTHS, ties=ties), [expected], atol=1e-14)


@given(GROUPS)
def test_worst_expected_and_best_are_in_order_and_within_0_and_1(groups):
    worst, expected, best = (
        ndcg(counts_of(groups), LENGTHS, ties=ties) for ties in ("worst", "expected", "best")
    )
    assert (worst >= 0).all()
    assert (worst <= expected + 1e-14).all()
    assert (expected <= best + 1e-14).all()
    assert (best <= 1 + 1e-14).all()


@pytest.mark.parametrize("length", [None, 1, 10, 60, 200])
def test_with_ties_it_is_the_ndcg_of_scikit_learn(length):
    # scikit-learn averages over ties, too (McSherry & Najork), and has 0 where nothing is relevant.
    rng = np.random.default_rng(4)
    query, database = random_codes(12, 8, rng), random_codes(150, 8, rng)
    labels = rng.random((12, 5)) < 0.3, rng.random((150, 5)) < 0.3
    labels[0][3] = False
    relevant = labels[0].astype(int) @ labels[1].T > 0
    closeness = query.unpack().astype(int) @ database.unpack().T.astype(int)
    expected = [
        ndcg_score(row[None], score[None], k=length) for row, score in zip(relevant, closeness, strict=True)
    ]
    found = ndcg(scan(query, database, *labels).counts, [length])[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found[3] == 0


def test_a_long_ranking_loses_no_digits():
    n = 300_000
    counts = DistanceCounts(np.array([[0, 1]]), np.array([[n, 1]]), np.arange(2.0))
    assert ndcg(counts, [None])[0, 0] == pytest.approx(1 / log2(n + 2), rel=1e-10)


@pytest.mark.parametrize("n", [1, 15, 16, 17, 33, 1000])
def test_discounts_are_summed_up_from_those_that_are_kept(monkeypatch, n):
    monkeypatch.setattr(ndcg_module, "_KEPT_BITS", 4)
    monkeypatch.setattr(ndcg_module, "_CHUNK", 8)
    found = ndcg_module.Discounts(n)
    assert len(found.table) <= 16
    expected = np.cumsum([0.0, *(1 / np.log2(np.arange(1, n + 1) + 1))])
    np.testing.assert_allclose(found[np.arange(n + 1)], expected, rtol=1e-13)


def test_unknown_ties_and_lengths_are_refused():
    for options in ({"lengths": [0]}, {"lengths": [None], "ties": "file_order"}):
        with pytest.raises(UserError):
            ndcg(counts_of([[True]]), **options)
