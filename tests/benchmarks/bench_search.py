"""Exact search for the 100 nearest of a million codes.

search_flat     the search of an index, against NumPy: distances by bitwise_count, then a partition
search_flat_48  codes of 48 bits filled up to a 64-bit word, as an index keeps them, against faiss on their 6 bytes
"""

from collections.abc import Iterator

import numpy as np
from harness import Row, compare, wanted

from hashrepro.retrieval.codes import Codes, random_codes
from hashrepro.search.nearest import faiss_threads, flat_index, nearest, padded

ROWS, K, QUERIES, PLAIN_QUERIES = 1_000_000, 100, 50, 10


def rows() -> Iterator[Row]:
    if wanted("search_flat"):
        yield _against_numpy(*_codes(64))
    if wanted("search_flat_48"):
        yield _against_unpadded(*_codes(48))


def _codes(bits: int) -> tuple[Codes, Codes]:
    rng = np.random.default_rng(0)
    return random_codes(ROWS, bits, rng), random_codes(QUERIES, bits, rng)


def _against_numpy(database: Codes, query: Codes) -> Row:
    flat, words, asked = flat_index(padded(database)), database.words[:, 0], query.words[:, 0]

    def ours() -> np.ndarray:
        with faiss_threads(1):
            return nearest(flat, query, K)[0]

    def plain() -> np.ndarray:
        found = []
        for word in asked[:PLAIN_QUERIES]:
            distances = np.bitwise_count(words ^ word)
            kth = np.partition(distances, K - 1)[K - 1]
            rows = np.flatnonzero(distances <= kth)  # with all ties, so that they can be settled by row
            found.append(rows[np.argsort(distances[rows], kind="stable")[:K]])
        return np.array(found)

    def equal(mine: np.ndarray, theirs: np.ndarray) -> None:
        assert np.array_equal(mine[:PLAIN_QUERIES], theirs)

    items = {"ours_items": QUERIES, "plain_items": PLAIN_QUERIES}
    return compare("search_flat", ours, plain, unit="ms per query", check=equal, **items)


def _against_unpadded(database: Codes, query: Codes) -> Row:
    flat, narrow = flat_index(padded(database)), flat_index(database.packed)

    def ours() -> np.ndarray:
        with faiss_threads(1):
            return nearest(flat, query, K)[1]

    def plain() -> np.ndarray:
        with faiss_threads(1):
            return narrow.search(query.packed, K)[0]

    def equal(mine: np.ndarray, theirs: np.ndarray) -> None:
        assert np.array_equal(mine, theirs)

    items = {"ours_items": QUERIES, "plain_items": QUERIES}
    return compare("search_flat_48", ours, plain, unit="ms per query", check=equal, **items)
