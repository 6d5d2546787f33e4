"""Exact nearest codes with faiss, equally near rows in the order of their numbers.

faiss is imported when it is first used, as it takes longer to load than most commands run.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from hashrepro.retrieval.codes import Codes
from hashrepro.retrieval.scores import first_hits

if TYPE_CHECKING:
    import faiss

MISSING = -1
# faiss keeps up to k row numbers for every distance of every query that it works on together.
_BUCKET_BYTES = 32_000_000


def padded(codes: Codes) -> np.ndarray:
    """uint8 (n, 8 * words): codes filled up to whole 64-bit words, for which faiss has its fast loops."""
    words = codes.words.astype("<u8", copy=False)
    return words.view(np.uint8).reshape(len(codes), 8 * words.shape[1])


def unpadded(packed: np.ndarray, bits: int) -> Codes:
    """The codes that `padded` filled up."""
    narrow = np.ascontiguousarray(packed[:, : -(-bits // 8)])
    return Codes(narrow, bits, np.ones(len(narrow), np.bool_))


@contextmanager
def faiss_threads(threads: int) -> Iterator[None]:
    """Have faiss use `threads` threads inside the block; its setting is one for the whole process."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def flat_index(packed: np.ndarray) -> "faiss.IndexBinaryFlat":
    """A faiss index of padded codes, set for exact search."""
    import faiss

    flat = faiss.IndexBinaryFlat(8 * packed.shape[1])
    flat.add(packed)
    return flat


def nearest(flat: "faiss.IndexBinaryFlat", query: Codes, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `k` nearest codes of a faiss index of padded codes.

    Args:
        flat: k must not exceed its number of codes.
        query: (q) codes, all of them coded.

    Returns:
        (rows int64 (q, k), distances int32 (q, k)), nearest first, equally near ones by row.
    """
    import faiss

    buckets = 8 * (flat.d + 1) * k
    if buckets > _BUCKET_BYTES:
        database = unpadded(faiss.vector_to_array(flat.xb).reshape(flat.ntotal, -1), query.bits)
        rows, distances = first_hits(query, database, np.arange(len(query)), k)
        return rows, distances.astype(np.int32)
    # Without its heap faiss counts: it takes the rows in order and keeps the first k at each distance.
    flat.use_heap = False
    flat.query_batch_size = max(1, min(32, _BUCKET_BYTES // buckets))
    distances, rows = flat.search(padded(query), k)
    return rows, distances


def merge(parts: Iterable[tuple[np.ndarray, np.ndarray]], k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `k` nearest of several lists of hits (rows (q, m), distances (q, m)), by distance and row."""
    rows, distances = (np.concatenate(columns, axis=1) for columns in zip(*parts, strict=True))
    return in_order(rows, distances, k)


def in_order(rows: np.ndarray, distances: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Hits (q, m) by distance and row, the first k; those of row -1 come last and have distance -1."""
    far = np.where(rows == MISSING, np.iinfo(np.int32).max, distances)
    order = np.lexsort((rows, far), axis=1)[:, :k]
    rows = np.take_along_axis(rows, order, axis=1).astype(np.int64, copy=False)
    distances = np.take_along_axis(distances, order, axis=1)
    return rows, np.where(rows == MISSING, MISSING, distances).astype(np.int32, copy=False)


def nearest_of_blocks(
    blocks: Iterable[tuple[np.ndarray, Codes]], query: Codes, k: int, threads: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """`nearest` over codes that come in blocks of (row numbers, codes), one block in memory at a time."""
    best = None
    for numbers, codes in blocks:
        if (numbers[1:] < numbers[:-1]).any():  # equally near rows are to come by number
            order = np.argsort(numbers)
            numbers, codes = numbers[order], codes[order]
        flat = flat_index(padded(codes))
        with faiss_threads(threads):
            rows, distances = nearest(flat, query, min(k, len(codes)))
        found = numbers[rows], distances
        best = found if best is None else merge([best, found], k)
    return best
