from fractions import Fraction

import numpy as np
import pytest

from hashrepro.errors import UserError
from hashrepro.retrieval.codes import Codes
from hashrepro.retrieval.counts import DistanceCounts, scan
from hashrepro.retrieval.curves import check_radius, precision_at, precision_recall, recall_at


def counts(total, relevant) -> DistanceCounts:
    return DistanceCounts(np.array(relevant), np.array(total), np.arange(len(total[0]), dtype=float))


def test_lists_are_expected_over_every_order_of_the_ties(oracles):
    groups = [[True, False], [False, False, True], [], [True]]
    one = counts([[2, 3, 0, 1]], [[1, 1, 0, 1]])
    lists = list(oracles.orders(groups))
    for n in range(1, 7):
        hits = sum(Fraction(sum(ranked[:n])) for ranked in lists) / len(lists)
        assert precision_at(one, [n])[0, 0] == pytest.approx(float(hits / n), abs=1e-15)
        assert recall_at(one, [n])[0, 0] == pytest.approx(float(hits / 3), abs=1e-15)


def test_every_query_has_its_own_row():
    two = counts([[1, 3], [4, 0]], [[1, 0], [1, 0]])
    np.testing.assert_allclose(precision_at(two, [1, 4]), [[1, 1 / 4], [1 / 4, 1 / 4]])
    np.testing.assert_allclose(recall_at(two, [1, 4]), [[1, 1], [1 / 4, 1]])


def test_a_list_longer_than_the_database_is_filled_with_misses():
    assert precision_at(counts([[2, 2]], [[2, 1]]), [8])[0, 0] == 3 / 8


def test_an_empty_ball_and_a_query_without_relevant_rows_count_zero():
    two = counts([[0, 2, 2], [2, 1, 1]], [[0, 1, 1], [0, 0, 0]])
    _, precision, recall = precision_recall(two)
    np.testing.assert_array_equal(precision, [[0, 1 / 2, 1 / 2], [0, 0, 0]])
    np.testing.assert_array_equal(recall, [[0, 1 / 2, 1], [0, 0, 0]])
    np.testing.assert_array_equal(recall_at(two, [4]), [[1], [0]])


@pytest.mark.parametrize("bits", [6, 7])
def test_balls_equal_the_definition(oracles, bits):
    rng = np.random.default_rng(bits)
    query, database = rng.choice([-1, 1], (8, bits)), rng.choice([-1, 1], (60, bits))
    # Uncoded rows lie at half the length: with 7 bits outside radius 3, inside radius 4.
    database[::6] = 0
    labels = rng.random((8, 3)) < 0.5, rng.random((60, 3)) < 0.5
    found = scan(Codes.pack(query), Codes.pack(database), *labels).counts
    distances, relevant = oracles.hamming(query, database), oracles.similar(*labels)
    radius, precision, recall = precision_recall(found)
    np.testing.assert_array_equal(radius, np.arange(bits + 1))
    for r in radius:
        inside = distances <= r
        hits = (inside & relevant).sum(axis=1)
        np.testing.assert_allclose(precision[:, r], hits / np.maximum(inside.sum(axis=1), 1), atol=1e-15)
        np.testing.assert_allclose(recall[:, r], hits / np.maximum(relevant.sum(axis=1), 1), atol=1e-15)


def test_impossible_lengths_and_radii_are_refused():
    one = counts([[1, 1]], [[1, 0]])
    with pytest.raises(UserError, match="at least 1"):
        precision_at(one, [0])
    for radius in (-1, 2):
        with pytest.raises(UserError, match="0 to 1"):
            check_radius(radius, bits=1)
    check_radius(1, bits=1)
