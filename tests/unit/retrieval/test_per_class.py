import numpy as np

from hashrepro.retrieval.per_class import per_class


def test_a_query_counts_in_each_of_its_classes():
    labels = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0]], bool)
    precisions = np.array([0.2, 0.4, 0.9, 0.7, np.nan])
    frame = per_class(precisions, labels)
    assert list(frame.columns) == ["class", "queries", "map"]
    assert frame["class"].tolist() == [0, 1, 2, 3]
    # The query without a score counts nowhere, so that class 2 has no query left.
    assert frame["queries"].tolist() == [2, 2, 0, 0]
    np.testing.assert_allclose(frame["map"], [0.3, 0.65, np.nan, np.nan])


def test_single_labels_give_group_means():
    rng = np.random.default_rng(0)
    classes, precisions = rng.integers(0, 6, 200), rng.random(200)
    frame = per_class(precisions, np.eye(6, dtype=bool)[classes])
    expected = [precisions[classes == c].mean() for c in range(6)]
    np.testing.assert_allclose(frame["map"], expected)
    assert frame["queries"].sum() == 200
    # Weighted by their queries, the classes give the mean over queries again.
    np.testing.assert_allclose((frame["map"] * frame["queries"]).sum() / 200, precisions.mean())
