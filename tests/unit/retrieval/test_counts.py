import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashrepro.errors import UserError
from hashrepro.retrieval import counts as counts_module
from hashrepro.retrieval.codes import Codes, random_codes
from hashrepro.retrieval.counts import scan, scan_blocks

COMPUTING = ("numpy", "numba", "torch")


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


def assert_same(one, other):
    """Two Scans, to the last bit."""
    assert one.cuts == other.cuts
    for array in ("total", "relevant", "distances"):
        np.testing.assert_array_equal(getattr(one.counts, array), getattr(other.counts, array))
    np.testing.assert_array_equal(one.kept, other.kept)
    np.testing.assert_array_equal(one.precision_sum, other.precision_sum)


@pytest.mark.parametrize("engine", COMPUTING)
@pytest.mark.parametrize("bits", [5, 12, 48, 64, 100, 301, 600])
@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("uncoded", [False, True])
def test_counts_equal_the_definition(oracles, engine, bits, multi, uncoded):
    query, database, query_labels, database_labels = problem(bits, multi=multi, uncoded=uncoded)
    found = scan(Codes.pack(query), Codes.pack(database), query_labels, database_labels, engine=engine).counts
    distances, relevant = oracles.hamming(query, database), oracles.similar(query_labels, database_labels)
    assert found.total.dtype == found.relevant.dtype == np.int32
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
    plain = scan(*codes, *labels, cuts=(1, 17, 202, 203), engine="numpy", threads=threads)
    for engine in ("numba", "torch"):
        assert_same(plain, scan(*codes, *labels, cuts=(1, 17, 202, 203), engine=engine, threads=threads))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    bits=st.sampled_from([1, 7, 8, 15, 16, 17, 24, 48, 63, 64, 65, 100, 129, 511, 512]),
    rows=st.sampled_from([1, 2, 63, 64, 65, 511, 512, 513, 1024, 1500]),
    classes=st.integers(0, 9),
    labels=st.sampled_from([0.0, 0.1, 1.0, 3.0]),
    uncoded=st.sampled_from([0.0, 0.0, 0.3, 1.0]),
    noise=st.sampled_from([0.0, 0.2, 0.5]),
)
def test_engines_agree_on_any_sizes(seed, bits, rows, classes, labels, uncoded, noise):
    rng = np.random.default_rng(seed)
    queries = int(rng.integers(1, 6))
    centre = rng.choice([-1, 1], bits)

    def codes(n):
        values = np.where(rng.random((n, bits)) < noise, -centre, centre)
        values[rng.random(n) < uncoded] = 0
        return Codes.pack(values)

    def some_labels(n):
        if labels > 1 and classes:
            return rng.random((n, classes)) < min(1, labels / classes)
        one = np.eye(classes + 1, dtype=bool)[rng.integers(0, classes + 1, n)][:, :classes]
        return one & (rng.random((n, 1)) < labels)

    sides = codes(queries), codes(rows), some_labels(queries), some_labels(rows)
    cuts = sorted({1, rows // 3 + 1, max(1, rows - 1), rows})
    plain = scan(*sides, cuts=cuts, engine="numpy")
    for engine in ("numba", "torch"):
        assert_same(plain, scan(*sides, cuts=cuts, engine=engine))


@pytest.mark.parametrize("engine", COMPUTING)
@pytest.mark.parametrize("multi", [False, True])
def test_tiles_of_the_database_change_nothing(monkeypatch, engine, multi):
    from hashrepro.retrieval.counting import engine_numba, engine_numpy, engine_torch

    query, database, *labels = problem(9, queries=40, rows=2600, multi=multi, uncoded=True)
    sides = Codes.pack(query), Codes.pack(database), *labels
    whole = scan(*sides, cuts=(1, 700, 2599), engine=engine)
    monkeypatch.setattr(engine_numba, "_TILE", 1)  # the smallest tiles: 512 rows
    monkeypatch.setattr(engine_numba, "_KEPT", 1)
    monkeypatch.setattr(engine_numpy, "_TILE", 9000)
    monkeypatch.setattr(engine_torch, "_CPU_BYTES", 2**24)
    assert_same(whole, scan(*sides, cuts=(1, 700, 2599), engine=engine, threads=2))
    monkeypatch.setattr(engine_torch, "_CPU_BYTES", 96 * 256 * 500)
    assert_same(whole, scan(*sides, cuts=(1, 700, 2599), engine=engine))


@pytest.mark.parametrize("bits", [1, 7, 8, 24, 31, 32, 48, 63, 64, 255, 256, 511])
@pytest.mark.parametrize("tiles", [False, True])
def test_ranks_are_the_same_bit_sliced_and_row_by_row(monkeypatch, bits, tiles):
    from hashrepro.retrieval.counting import engine_numba

    query, database, *labels = problem(bits, queries=7, rows=1100, multi=True)
    sides = Codes.pack(query), Codes.pack(database), *labels
    if tiles:
        monkeypatch.setattr(engine_numba, "_TILE", 1)
    monkeypatch.setattr(engine_numba, "_SPARSE", 0)
    sliced = scan(*sides, cuts=(2, 500, 1099), engine="numba")
    monkeypatch.setattr(engine_numba, "_SPARSE", 10**9)
    assert_same(sliced, scan(*sides, cuts=(2, 500, 1099), engine="numba"))
    assert_same(sliced, scan(*sides, cuts=(2, 500, 1099), engine="numpy"))


@pytest.mark.parametrize("engine", COMPUTING)
def test_blocks_of_queries_are_the_scan_in_parts(engine):
    # Only the last block has an uncoded query: the bins are the same in all.
    query, database, *labels = problem(7, queries=25)
    query[24] = 0
    sides = Codes.pack(query), Codes.pack(database), *labels
    whole = scan(*sides, cuts=(10,), engine=engine)
    blocks = list(scan_blocks(*sides, cuts=(10,), engine=engine, queries_a_block=10))
    assert [block for block, _ in blocks] == [slice(0, 10), slice(10, 20), slice(20, 25)]
    for block, part in blocks:
        np.testing.assert_array_equal(part.counts.distances, whole.counts.distances)
        np.testing.assert_array_equal(part.counts.total, whole.counts.total[block])
        np.testing.assert_array_equal(part.counts.relevant, whole.counts.relevant[block])
        np.testing.assert_array_equal(part.precision_sum, whole.precision_sum[block])
        np.testing.assert_array_equal(part.kept, whole.kept[block])


def test_labels_may_be_any_view():
    query, database, query_labels, database_labels = problem(12)
    codes = Codes.pack(query), Codes.pack(database)
    whole = scan(*codes, query_labels, database_labels, engine="numba")
    spread = np.repeat(query_labels, 2, axis=1)[:, ::2], np.asfortranarray(database_labels)
    assert_same(whole, scan(*codes, *spread, engine="numba"))


def test_without_uncoded_rows_an_odd_length_has_a_bin_a_distance():
    query, database, *labels = problem(9)
    found = scan(Codes.pack(query), Codes.pack(database), *labels).counts
    np.testing.assert_array_equal(found.distances, np.arange(10))


def test_auto_takes_numba_for_many_pairs_only(monkeypatch):
    calls = []
    real = counts_module.NumpyEngine
    monkeypatch.setattr(counts_module, "NumpyEngine", lambda *a: (calls.append("numpy"), real(*a))[1])
    query, database, *labels = problem(12)
    codes = Codes.pack(query), Codes.pack(database)
    few = scan(*codes, *labels).counts
    assert calls == ["numpy"]
    monkeypatch.setattr(counts_module, "_PAIRS_WORTH_NUMBA", 100)
    many = scan(*codes, *labels).counts
    assert calls == ["numpy"]
    np.testing.assert_array_equal(few.relevant, many.relevant)


WITHOUT_NUMBA = """
import sys
sys.modules["numba"] = None  # what is imported as None cannot be imported
import numpy as np
from hashrepro.errors import UserError
from hashrepro.retrieval import counts
from hashrepro.retrieval.average_precision import per_query
from hashrepro.retrieval.codes import random_codes
from hashrepro.retrieval.conventions import EXPECTED
counts._PAIRS_WORTH_NUMBA = 0
codes, labels = random_codes(5, 8, np.random.default_rng(0)), np.ones((5, 1), bool)
sides = codes, codes, labels, labels
assert (counts.scan(*sides).counts.total.sum(axis=1) == 5).all()
assert (per_query({"map": EXPECTED}, *sides)["map"] == 1).all()
try:
    counts.scan(*sides, engine="numba")
except UserError as error:
    assert "needs numba" in str(error), error
else:
    raise SystemExit("no error")
assert "torch" not in sys.modules
"""


def test_without_numba_numpy_counts_and_the_compiled_engine_says_what_it_needs():
    run = subprocess.run([sys.executable, "-c", WITHOUT_NUMBA], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


WARM = """
import numpy as np
from hashrepro.retrieval import closed_form
from hashrepro.retrieval.counting import kernel, planes, sliced
from hashrepro.retrieval.average_precision import per_query
from hashrepro.retrieval.codes import random_codes
from hashrepro.retrieval.conventions import ADSH, EXPECTED
codes, labels = random_codes(5, 48, np.random.default_rng(0)), np.eye(5, dtype=bool)
per_query({"map": EXPECTED, "adsh": ADSH}, codes, codes, labels, labels, engine="numba")
parts = kernel.label_lists, kernel.rows_by_class, kernel.rank, sliced.count, planes._sort, planes._lay_out
for function in (*parts, closed_form._fill):
    assert function.stats.cache_path is not None
    print(sum(function.stats.cache_misses.values()), sum(function.stats.cache_hits.values()))
"""


def test_a_second_process_compiles_nothing():
    command = [sys.executable, "-c", WARM]
    subprocess.run(command, capture_output=True, check=True)
    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert second.stdout.split("\n")[:-1] == ["0 1"] * 7


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


def test_an_unknown_engine_or_device_is_refused():
    codes, labels = random_codes(2, 8, np.random.default_rng(0)), np.ones((2, 1), bool)
    with pytest.raises(UserError, match="no counting engine 'gpu'"):
        scan(codes, codes, labels, labels, engine="gpu")
    with pytest.raises(UserError, match="cannot compute on 'abacus'"):
        scan(codes, codes, labels, labels, engine="torch", device="abacus")
