import numpy as np
import pytest

from hashrepro.retrieval.means import QueryMeans


def test_blocks_have_the_mean_of_the_whole():
    values = np.random.default_rng(0).random((100, 3))
    means = QueryMeans()
    for block in np.array_split(values, 7):
        means.add("curve", block)
        means.add("score", block[:, 0])
    np.testing.assert_allclose(means["curve"], values.mean(axis=0), rtol=1e-14)
    assert means["score"] == pytest.approx(values[:, 0].mean(), rel=1e-14)


def test_a_query_that_is_left_out_of_one_mean_counts_in_the_others():
    means = QueryMeans()
    means.add("some", np.array([1.0, np.nan]))
    means.add("some", np.array([np.nan, 4.0]))
    means.add("none", np.array([np.nan, np.nan]))
    means.add("all", np.array([1.0, 3.0]))
    assert (means["some"], means["all"]) == (2.5, 2.0)
    assert np.isnan(means["none"])
