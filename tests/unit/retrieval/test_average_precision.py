import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from hashrepro.errors import UserError
from hashrepro.retrieval.average_precision import (
    _hypergeometric,
    average_precision,
    per_query,
    scan_average_precision,
    scan_for,
)
from hashrepro.retrieval.codes import Codes, random_codes
from hashrepro.retrieval.conventions import EXPECTED, NAMED, REFERENCE_SEMICON, Convention
from hashrepro.retrieval.counts import DistanceCounts, scan

NORMALISERS = ("retrieved", "all_relevant", "min_k")
LENGTHS = (None, "drop_last", 1, 2, 3, 5)


def counts_of(groups: list[list[bool]]) -> DistanceCounts:
    """One query's counts: one group of relevance flags for each distance."""
    return DistanceCounts(
        relevant=np.array([[sum(group) for group in groups]], np.int64),
        total=np.array([[len(group) for group in groups]], np.int64),
        distances=np.arange(len(groups), dtype=float),
    )


def file_order(*sides, engine="auto", top_k=None, no_hit="zero") -> np.ndarray:
    """Average precision with ties in the order of the database, of codes and labels of both sides."""
    rule = Convention("file_order", "retrieved", no_hit, top_k)
    return scan_average_precision(scan_for([rule], *sides, engine=engine), rule)


# Up to 8 items in all, in groups of up to 4: every order of the ties can be written out.
GROUPS = st.lists(st.lists(st.booleans(), max_size=4), min_size=1, max_size=5).filter(
    lambda groups: 0 < sum(map(len, groups)) <= 8
)


def length_of(top_k, groups) -> int:
    n = sum(map(len, groups))
    return {None: n, "drop_last": n - 1}.get(top_k, top_k if isinstance(top_k, int) else 0)


@settings(deadline=None)
@given(GROUPS, st.sampled_from(NORMALISERS), st.sampled_from(LENGTHS))
def test_expected_is_the_mean_over_every_order_of_the_ties(oracles, groups, normaliser, top_k):
    length = length_of(top_k, groups)
    values = [oracles.ratio_of_list(ranked, length, normaliser) for ranked in oracles.orders(groups)]
    expected = sum((value or Fraction(0) for value in values), Fraction(0)) / len(values)
    found = average_precision(counts_of(groups), normaliser=normaliser, top_k=top_k)
    assert found == pytest.approx([float(expected)], abs=2e-15)
    skipped = average_precision(counts_of(groups), normaliser=normaliser, top_k=top_k, no_hit="skip")
    assert np.isnan(skipped[0]) == all(value is None for value in values)


@settings(deadline=None)
@given(GROUPS, st.sampled_from(NORMALISERS), st.sampled_from(LENGTHS), st.sampled_from(["best", "worst"]))
def test_best_and_worst_order_the_relevant_first_and_last(oracles, groups, normaliser, top_k, ties):
    ranked = [hit for group in groups for hit in sorted(group, reverse=ties == "best")]
    expected = oracles.ratio_of_list(ranked, length_of(top_k, groups), normaliser)
    arguments = {"ties": ties, "normaliser": normaliser, "top_k": top_k}
    found = average_precision(counts_of(groups), **arguments)
    assert found == pytest.approx([float(expected or 0)], abs=2e-15)
    skipped = average_precision(counts_of(groups), no_hit="skip", **arguments)
    assert np.isnan(skipped[0]) == (expected is None)


@settings(deadline=None)
@given(GROUPS, st.sampled_from(["all_relevant", "min_k"]), st.sampled_from(LENGTHS))
def test_worst_expected_and_best_are_in_order(groups, normaliser, top_k):
    worst, expected, best = (
        average_precision(counts_of(groups), ties=ties, normaliser=normaliser, top_k=top_k)[0]
        for ties in ("worst", "expected", "best")
    )
    assert worst <= expected + 1e-15
    assert expected <= best + 1e-15


def test_long_rankings_lose_no_digits():
    # Two relevant items at the very end of a long list: the closed form subtracts numbers near 1 to get 1e-5.
    n = 300_000
    total, relevant = np.array([[n, 1, 2]]), np.array([[0, 1, 1]])
    counts = DistanceCounts(relevant, total, np.arange(3.0))
    for ties, second in (("best", n + 2), ("worst", n + 3)):
        exact = (Fraction(1, n + 1) + Fraction(2, second)) / 2
        assert average_precision(counts, ties=ties)[0] == pytest.approx(float(exact), rel=1e-9)
    exact = (Fraction(1, n + 1) + (Fraction(2, n + 2) + Fraction(2, n + 3)) / 2) / 2
    assert average_precision(counts)[0] == pytest.approx(float(exact), rel=1e-9)


@pytest.mark.parametrize(
    ("n", "r", "t"), [(1, 1, 1), (9, 4, 5), (9, 9, 3), (9, 0, 3), (60, 7, 59), (400, 130, 77)]
)
def test_hypergeometric_probabilities(n, r, t):
    hits, probability = _hypergeometric(n, r, t)
    exact = [Fraction(math.comb(r, j) * math.comb(n - r, t - j), math.comb(n, t)) for j in hits.tolist()]
    assert sum(exact) == 1
    np.testing.assert_allclose(probability, [float(p) for p in exact], rtol=1e-12)


def test_without_ties_it_is_the_average_precision_of_scikit_learn():
    rng = np.random.default_rng(2)
    values = np.tril(np.full((40, 41), 2), -1)[:, :40] - 1
    relevant = rng.random((5, 40)) < 0.3
    labels = np.eye(2, dtype=bool)[relevant.astype(int)]
    for row in labels:
        # Row i of the database has i bits in common with the all-ones query: 40 distinct distances.
        codes = Codes.pack(np.ones((1, 40))), Codes.pack(values)
        query_labels = np.array([[False, True]])
        score = average_precision_score(row[:, 1], values.sum(axis=1))
        counts = scan(*codes, query_labels, row).counts
        for ties in ("expected", "best", "worst"):
            assert average_precision(counts, ties=ties)[0] == pytest.approx(score, abs=1e-14)
        assert file_order(*codes, query_labels, row)[0] == pytest.approx(score, abs=1e-14)


@pytest.mark.parametrize("engine", ["numpy", "numba", "torch"])
def test_per_query_is_the_scan_scored_in_every_convention(engine):
    rng = np.random.default_rng(7)
    query, database = random_codes(30, 11, rng), random_codes(90, 11, rng)
    labels = rng.random((30, 4)) < 0.2, rng.random((90, 4)) < 0.2
    conventions = NAMED | {
        "cut": Convention("expected", "retrieved", "skip", 13),
        "best": Convention("best", "min_k", "skip", 50),
    }
    found = per_query(conventions, query, database, *labels, engine=engine)
    scanned = scan_for(conventions.values(), query, database, *labels, engine="numpy")
    assert list(found) == list(conventions)
    for name, rule in conventions.items():
        np.testing.assert_array_equal(found[name], scan_average_precision(scanned, rule))
    assert np.isnan(found["cut"]).any()


def semicon_example():
    """Ramps of sines: 8 bits, 10 database rows; the class of query 3 is not in the database."""
    ramp = 0.7 * np.arange(80)
    database = np.sign(np.sin(ramp + 0.2)).reshape(10, 8)
    query = np.sign(np.cos(0.7 * np.arange(32) + 0.2)).reshape(4, 8)
    labels = np.eye(4, dtype=bool)
    return query, database, labels, labels[[0, 0, 0, 1, 1, 1, 2, 2, 2, 2]]


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_golden_values_of_the_semicon_protocol(oracles, engine):
    query, database, *labels = semicon_example()
    expected = [
        [4, 6, 8, 6, 5, 3, 1, 1, 3, 4],
        [2, 4, 6, 8, 7, 5, 3, 1, 1, 2],
        [1, 3, 5, 7, 8, 6, 4, 2, 0, 1],
        [1, 1, 3, 5, 6, 8, 6, 4, 2, 1],
    ]
    np.testing.assert_array_equal(oracles.hamming(query, database), expected)
    codes = Codes.pack(query), Codes.pack(database)
    dropped = file_order(*codes, *labels, top_k="drop_last", engine=engine)
    np.testing.assert_allclose(dropped, [0.225, 0.182540, 0.770833, 0], atol=5e-7)
    assert dropped.mean() == pytest.approx(0.294593, abs=1e-6)
    full = file_order(*codes, *labels, engine=engine)
    np.testing.assert_allclose(full, [0.25, 0.221693, 0.770833, 0], atol=5e-7)
    assert full.mean() == pytest.approx(0.310632, abs=1e-6)
    skipped = file_order(*codes, *labels, no_hit="skip", engine=engine)
    assert np.isnan(skipped).tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("top_k", "expected"), [("drop_last", 5 / 6), (5, 34 / 45), (None, 34 / 45), (2, 1.0)]
)
def test_golden_values_of_the_schn_protocol(top_k, expected):
    # Distances 0 .. 4 with relevance 1, 0, 1, 0, 1.
    values = 1 - 2 * np.tril(np.ones((5, 4)), -1)
    labels = np.eye(2, dtype=bool)[[1, 0, 1, 0, 1]]
    found = file_order(
        Codes.pack(np.ones((1, 4))), Codes.pack(values), np.array([[False, True]]), labels, top_k=top_k
    )
    assert found == pytest.approx([expected], abs=1e-15)


@pytest.mark.parametrize("bits", [4, 7, 16])
@pytest.mark.parametrize("top_k", [None, "drop_last", 1, 30])
@pytest.mark.parametrize("uncoded", [False, True])
def test_file_order_is_the_stable_sort(oracles, bits, top_k, uncoded):
    rng = np.random.default_rng(bits)
    query, database = rng.choice([-1, 1], (20, bits)), rng.choice([-1, 1], (150, bits))
    if uncoded:
        query[4], database[::5] = 0, 0
    labels = rng.random((20, 6)) < 0.25, rng.random((150, 6)) < 0.25
    distances, relevant = oracles.hamming(query, database), oracles.similar(*labels)
    length = {None: 150, "drop_last": 149}.get(top_k, top_k)
    expected = [
        oracles.loop_average_precision(d, r, length) for d, r in zip(distances, relevant, strict=True)
    ]
    found = file_order(Codes.pack(query), Codes.pack(database), *labels, top_k=top_k)
    np.testing.assert_allclose(found, expected, atol=1e-14)


def test_expected_is_what_random_file_orders_average_to():
    rng = np.random.default_rng(5)
    query, database = random_codes(10, 6, rng), random_codes(120, 6, rng)
    labels = np.eye(4, dtype=bool)[rng.integers(0, 4, 10)], np.eye(4, dtype=bool)[rng.integers(0, 4, 120)]
    expected = average_precision(scan(query, database, *labels).counts).mean()
    orders = [rng.permutation(120) for _ in range(400)]
    means = [file_order(query, database[order], labels[0], labels[1][order]).mean() for order in orders]
    assert abs(np.mean(means) - expected) < 4 * np.std(means) / np.sqrt(len(means))
    assert np.std(means) > 0


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 20), st.sampled_from(["numpy", "numba"]))
def test_renaming_bits_and_labels_and_reordering_items_change_nothing(seed, bits, engine):
    rng = np.random.default_rng(seed)
    query, database = rng.choice([-1, 1], (4, bits)), rng.choice([-1, 1], (25, bits))
    query_labels, database_labels = rng.random((4, 3)) < 0.4, rng.random((25, 3)) < 0.4
    before = scan(Codes.pack(query), Codes.pack(database), query_labels, database_labels).counts
    order, flips, items = rng.permutation(bits), rng.choice([-1, 1], bits), rng.permutation(25)
    names = rng.permutation(3)
    after = scan(
        Codes.pack(query[:, order] * flips),
        Codes.pack((database[:, order] * flips)[items]),
        query_labels[:, names],
        database_labels[items][:, names],
        engine=engine,
    ).counts
    np.testing.assert_array_equal(before.total, after.total)
    np.testing.assert_array_equal(before.relevant, after.relevant)
    for ties in ("expected", "best", "worst"):
        scores = [average_precision(counts, ties=ties) for counts in (before, after)]
        np.testing.assert_array_equal(*scores)


def test_a_scan_is_scored_by_convention():
    query, database, *labels = semicon_example()
    codes = Codes.pack(query), Codes.pack(database)
    scanned = scan(*codes, *labels, cuts=(10, 9))
    reference = scan_average_precision(scanned, REFERENCE_SEMICON)
    np.testing.assert_allclose(reference, [0.225, 0.182540, 0.770833, 0], atol=5e-7)
    np.testing.assert_array_equal(
        scan_average_precision(scanned, EXPECTED), average_precision(scanned.counts)
    )
    all_relevant = scan_average_precision(
        scanned, Convention("file_order", "all_relevant", "zero", "drop_last")
    )
    np.testing.assert_allclose(all_relevant[:2] / reference[:2], 2 / 3, rtol=1e-14)


def test_over_the_full_ranking_the_normalisers_agree():
    query, database, *labels = semicon_example()
    counts = scan(Codes.pack(query), Codes.pack(database), *labels).counts
    for ties, one in itertools.product(("expected", "best", "worst"), NORMALISERS):
        np.testing.assert_array_equal(
            average_precision(counts, ties=ties, normaliser=one), average_precision(counts, ties=ties)
        )


@pytest.mark.parametrize(
    "option", [{"ties": "file_order"}, {"normaliser": "all"}, {"no_hit": "one"}, {"top_k": -1}]
)
def test_unknown_options_are_refused(option):
    with pytest.raises(UserError):
        average_precision(counts_of([[True]]), **option)
