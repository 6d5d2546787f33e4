import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hashrepro.errors import UserError
from hashrepro.retrieval.counting.relevance import Relevance


@given(st.data(), st.integers(1, 5), st.integers(0, 4), st.integers(0, 7))
def test_rows_are_those_that_share_a_label(oracles, data, classes, queries, rows):
    query = data.draw(hnp.arrays(np.bool_, (queries, classes)))
    database = data.draw(hnp.arrays(np.bool_, (rows, classes)))
    relevance = Relevance.of(query, database)
    for q, expected in enumerate(oracles.similar(query, database)):
        np.testing.assert_array_equal(relevance.rows(q), np.flatnonzero(expected))


def test_labels_must_be_a_bool_matrix():
    labels = np.ones((2, 3), bool)
    with pytest.raises(UserError, match="int64") as caught:
        Relevance.of(labels, labels.astype(np.int64))
    assert caught.value.where == "database_labels"
    with pytest.raises(UserError, match="bool matrix"):
        Relevance.of(labels[0], labels)


def test_classes_must_agree():
    with pytest.raises(UserError, match="3 classes, database labels 2"):
        Relevance.of(np.ones((2, 3), bool), np.ones((2, 2), bool))
