"""Items: columns in the order given, labels as a matrix, and what is refused."""

import numpy as np
import pytest

from hashrepro.datasets.catalog import Catalog
from hashrepro.errors import UserError
from hashrepro.search.items import Items

ITEMS = Items.of(
    ["a", "b", "c"], [[1], [], [0, 2]], ["learned", "network", "network"], paths=["", "/b.png", "/c.png"]
)


def test_a_selection_keeps_the_columns_together():
    for chosen in (ITEMS[np.array([2, 0])], ITEMS[[2, 0]], ITEMS[::-2]):
        assert chosen.ids == ["c", "a"]
        assert chosen.labels == [[0, 2], [1]]
        assert chosen.origins == ["network", "learned"]
        assert chosen.paths == ["/c.png", ""]
        assert chosen.catalog_rows.tolist() == [-1, -1]
    assert ITEMS[np.array([False, True, True])].ids == ["b", "c"]
    assert len(ITEMS[:0]) == 0


def test_the_matrix_has_the_labels_of_each_row_and_none_where_there_are_none():
    expected = [[False, True, False], [False, False, False], [True, False, True]]
    assert ITEMS.label_matrix(3).tolist() == expected
    assert ITEMS[1:].label_matrix(3).tolist() == expected[1:]
    assert ITEMS[:0].label_matrix(3).shape == (0, 3)


def test_a_label_outside_the_classes_is_refused():
    with pytest.raises(UserError, match="A label is 2, but there are 2 classes"):
        ITEMS.label_matrix(2)


def test_rows_are_counted_by_origin():
    assert ITEMS.counts() == {"learned": 1, "network": 2}
    assert ITEMS[:0].counts() == {"learned": 0, "network": 0}


def test_the_rows_of_a_catalog_keep_ids_labels_and_numbers():
    catalog = Catalog(
        "tiny",
        ["x", "y", "z"],
        np.array([[1, 0], [1, 1], [0, 1]], bool),
        np.array([1, 0, 0], bool),
        ["p", "q"],
    )
    items = Items.of_catalog(catalog, catalog.database_rows, "learned")
    assert items.ids == ["y", "z"]
    assert items.catalog_rows.tolist() == [1, 2]
    assert (items.label_matrix(2) == catalog.labels[1:]).all()


def test_columns_of_other_lengths_and_unknown_origins_are_refused():
    with pytest.raises(UserError, match="2 ids, but 1 values of labels"):
        Items.of(["a", "b"], [[0]], "learned")
    with pytest.raises(UserError, match="'guessed'"):
        Items.of(["a"], [[0]], "guessed")
