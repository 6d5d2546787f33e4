import numpy as np
import pytest

from hashrepro.errors import UserError
from hashrepro.retrieval import counts as counts_module
from hashrepro.retrieval.codes import Codes, random_codes
from hashrepro.retrieval.counts import scan


def problem(bits, *, queries=9, rows=203, classes=5, multi=False, uncoded=False, seed=0):
    """Random ±1 values and labels; some queries and rows have no label."""
    rng = np.random.default_rng([seed, bits])
    query, database = rng.choice([-1, 1], (queries, bits)), rng.choice([-1, 1], (rows, bits))
    if uncoded:
        query[2], database[rng.choice(rows, rows // 8, replace=False)] = 0, 0
    if multi:
        labels = [rng.random((n, classes)) < 0.3 for n in (queries, rows)]
    else:
        labels = [np.eye(classes, dtype=bool)[rng.integers(0, classes, n)] for n in (queries, rows)]
        labels[0][1], labels[1][5] = False, False
    return query, database, *labels


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("bits", [5, 12, 48, 64, 100, 301])
@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("uncoded", [False, True])
def test_counts_equal_the_definition(oracles, engine, bits, multi, uncoded):
    query, database, query_labels, database_labels = problem(bits, multi=multi, uncoded=uncoded)
    found = scan(Codes.pack(query), Codes.pack(database), query_labels, database_labels, engine=engine).counts
    distances, relevant = oracles.hamming(query, database), oracles.similar(query_labels, database_labels)
    assert found.total.dtype == found.relevant.dtype == np.int64
    assert found.bits == bits
    assert found.database == len(database)
    for bin_, distance in enumerate(found.distances):
        np.testing.assert_array_equal(found.total[:, bin_], (distances == distance).sum(axis=1))
        np.testing.assert_array_equal(
            found.relevant[:, bin_], ((distances == distance) & relevant).sum(axis=1)
        )
    # Every pair has been found in some bin.
    assert (found.total.sum(axis=1) == len(database)).all()


@pytest.mark.parametrize("bits", [9, 12, 70])
@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_engines_and_threads_agree_to_the_last_bit(bits, multi, threads):
    query, database, *labels = problem(bits, queries=300, multi=multi, uncoded=True)
    codes = Codes.pack(query), Codes.pack(database)
    one = scan(*codes, *labels, cuts=(1, 17, 202, 203), engine="numpy")
    other = scan(*codes, *labels, cuts=(1, 17, 202, 203), engine="numba", threads=threads)
    assert one.cuts == other.cuts == (1, 17, 202, 203)
    np.testing.assert_array_equal(one.counts.total, other.counts.total)
    np.testing.assert_array_equal(one.counts.relevant, other.counts.relevant)
    np.testing.assert_array_equal(one.kept, other.kept)
    np.testing.assert_array_equal(one.precision_sum, other.precision_sum)


def test_without_uncoded_rows_an_odd_length_has_a_bin_a_distance():
    query, database, *labels = problem(9)
    found = scan(Codes.pack(query), Codes.pack(database), *labels).counts
    np.testing.assert_array_equal(found.distances, np.arange(10))


def test_auto_takes_numba_for_many_pairs_only(monkeypatch):
    calls = []
    real = counts_module._count_numpy
    monkeypatch.setattr(counts_module, "_count_numpy", lambda *a: (calls.append("numpy"), real(*a)))
    query, database, *labels = problem(12)
    codes = Codes.pack(query), Codes.pack(database)
    few = scan(*codes, *labels).counts
    assert calls == ["numpy"]
    monkeypatch.setattr(counts_module, "_PAIRS_WORTH_NUMBA", 100)
    many = scan(*codes, *labels).counts
    assert calls == ["numpy"]
    np.testing.assert_array_equal(few.relevant, many.relevant)


def test_the_kernel_is_kept_on_disk():
    from hashrepro.retrieval import kernel

    query, database, *labels = problem(12)
    scan(Codes.pack(query), Codes.pack(database), *labels, engine="numba")
    statistics = kernel._count.stats
    assert statistics.cache_path is not None
    assert len(statistics.cache_hits) + len(statistics.cache_misses) == 1


@pytest.mark.parametrize("side", ["query", "database"])
def test_codes_and_labels_must_be_as_many(side):
    query, database, query_labels, database_labels = problem(12)
    if side == "query":
        query_labels = query_labels[:-1]
    else:
        database_labels = database_labels[:-1]
    with pytest.raises(UserError, match="rows of labels") as caught:
        scan(Codes.pack(query), Codes.pack(database), query_labels, database_labels)
    assert caught.value.where == side


def test_an_unknown_engine_is_refused():
    codes, labels = random_codes(2, 8, np.random.default_rng(0)), np.ones((2, 1), bool)
    with pytest.raises(UserError, match="no counting engine 'gpu'"):
        scan(codes, codes, labels, labels, engine="gpu")
