"""Exact search: what a sort of all pairs by (distance, row) finds, for any code length, blocks and list length."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashrepro.retrieval.codes import Codes, random_codes
from hashrepro.search import nearest as module
from hashrepro.search.nearest import flat_index, in_order, merge, nearest, nearest_of_blocks, padded, unpadded


def sorted_pairs(query: Codes, database: Codes, k: int) -> tuple[list, list]:
    """The oracle: Python's sort of (distance, row), distances bit by bit."""
    rows, distances = [], []
    for one in query.unpack():
        pairs = sorted((int((one != other).sum()), row) for row, other in enumerate(database.unpack()))[:k]
        rows.append([row for _, row in pairs])
        distances.append([distance for distance, _ in pairs])
    return rows, distances


@st.composite
def cases(draw):
    bits = draw(st.sampled_from([1, 7, 12, 48, 64, 65, 130]))
    n, rng = draw(st.integers(1, 60)), np.random.default_rng(draw(st.integers(0, 999)))
    database = random_codes(n, bits, rng)
    if draw(st.booleans()):  # few distinct codes: almost everything ties
        database = database[rng.integers(0, min(n, 3), n)]
    return random_codes(draw(st.integers(1, 4)), bits, rng), database, draw(st.integers(1, n))


@settings(max_examples=60, deadline=None)
@given(cases(), st.booleans())
def test_a_search_equals_the_sort_of_all_pairs(case, by_sorting):
    query, database, k = case
    before = module._BUCKET_BYTES
    module._BUCKET_BYTES = 0 if by_sorting else before
    try:
        rows, distances = nearest(flat_index(padded(database)), query, k)
    finally:
        module._BUCKET_BYTES = before
    assert rows.dtype == np.int64
    assert distances.dtype == np.int32
    assert (rows.tolist(), distances.tolist()) == sorted_pairs(query, database, k)


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(1, 20), st.randoms())
def test_blocks_in_any_order_give_what_the_whole_gives(case, size, random):
    query, database, k = case
    numbers = list(range(len(database)))
    random.shuffle(numbers)
    blocks = [np.array(numbers[start : start + size]) for start in range(0, len(numbers), size)]
    rows, distances = nearest_of_blocks(((block, database[block]) for block in blocks), query, k)
    assert (rows.tolist(), distances.tolist()) == sorted_pairs(query, database, k)


def test_more_queries_than_faiss_takes_together_and_many_ties_keep_the_order():
    rng = np.random.default_rng(1)
    database, query = random_codes(3, 12, rng)[rng.integers(0, 3, 5000)], random_codes(70, 12, rng)
    rows, distances = nearest(flat_index(padded(database)), query, 900)
    values = (query.unpack()[:, None] != database.unpack()[None]).sum(2)
    expected = np.argsort(values, axis=1, kind="stable")[:, :900]
    assert (rows == expected).all()
    assert (distances == np.take_along_axis(values, expected, axis=1)).all()


@pytest.mark.parametrize("bits", [5, 8, 48, 64, 100])
def test_padding_fills_whole_words_and_can_be_taken_off(bits):
    codes = random_codes(9, bits, np.random.default_rng(bits))
    packed = padded(codes)
    assert packed.shape == (9, 8 * -(-bits // 64))
    assert (np.unpackbits(packed, axis=1, bitorder="little")[:, :bits] == (codes.unpack() > 0)).all()
    assert not np.unpackbits(packed, axis=1, bitorder="little")[:, bits:].any()
    assert (unpadded(packed, bits).packed == codes.packed).all()


def test_rows_that_were_not_found_come_last():
    rows, distances = in_order(np.array([[4, -1, 2, 3]]), np.array([[1, 0, 1, 0]]), 4)
    assert rows.tolist() == [[3, 2, 4, -1]]
    assert distances.tolist() == [[0, 1, 1, -1]]


def test_merged_lists_are_cut_to_the_nearest():
    one = np.array([[5, 9]]), np.array([[0, 2]])
    two = np.array([[1, 7]]), np.array([[2, 3]])
    rows, distances = merge([one, two], 3)
    assert rows.tolist() == [[5, 1, 9]]
    assert distances.tolist() == [[0, 2, 2]]


def test_faiss_has_its_threads_back_after_the_block():
    import faiss

    before = faiss.omp_get_max_threads()
    with module.faiss_threads(before + 1):
        assert faiss.omp_get_max_threads() == before + 1
    assert faiss.omp_get_max_threads() == before
