"""Counts of database rows by Hamming distance: all that the tie-aware measures need to know of a ranking."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from hashrepro.errors import UserError
from hashrepro.retrieval.codes import Codes
from hashrepro.retrieval.distances import Pairs
from hashrepro.retrieval.relevance import Relevance

ENGINES = ("auto", "numpy", "numba")
# Below this many pairs the numpy engine is done before numba has been imported.
_PAIRS_WORTH_NUMBA = 50_000_000
_QUERIES_A_BLOCK = 128


@dataclass(frozen=True, eq=False)
class DistanceCounts:
    """How many database rows, and how many relevant ones, lie at each distance from each query.

    Attributes:
        relevant: int64 (q, b).
        total: int64 (q, b); every row sums to the size of the database.
        distances: float64 (b,), ascending: 0 .. bits, and bits / 2 as a bin of its own when the number of
            bits is odd and there are uncoded rows (they lie at bits / 2 from everything: inner product 0).
    """

    relevant: np.ndarray
    total: np.ndarray
    distances: np.ndarray

    def __len__(self) -> int:
        return len(self.total)

    @property
    def database(self) -> int:
        """Number of database rows."""
        return int(self.total[0].sum())

    @property
    def bits(self) -> int:
        return int(self.distances[-1])


@dataclass(frozen=True, eq=False)
class Scan:
    """What one pass over all pairs yields: counts, and sums for rankings with ties in database row order.

    Attributes:
        counts: DistanceCounts.
        cuts: lengths at which the ranked list was cut off, ascending.
        precision_sum: float64 (q, cuts), sum of the precisions at the ranks of the relevant rows kept.
        kept: int64 (q, cuts), number of relevant rows kept.
    """

    counts: DistanceCounts
    cuts: tuple[int, ...]
    precision_sum: np.ndarray
    kept: np.ndarray


def _count_numpy(
    pairs: Pairs, relevance: Relevance, cuts: np.ndarray, queries: slice, results: tuple
) -> None:
    """Fill the rows `queries` of `results` = (total, relevant, precision_sum, kept)."""
    total, relevant, precision_sum, kept = results
    width = total.shape[1]
    for q in range(queries.start, queries.stop):
        bins, rows = pairs.bins(q), relevance.rows(q)
        total[q] = np.bincount(bins, minlength=width)
        relevant[q] = np.bincount(bins[rows], minlength=width)
        if len(cuts):
            similar = np.zeros(pairs.database, np.bool_)
            similar[rows] = True
            # A stable sort of small integers is a counting sort, and keeps ties in row order.
            ranks = np.flatnonzero(similar[np.argsort(bins, kind="stable")]) + 1
            # cumsum adds one by one, so that the sum equals the compiled kernel's to the last bit.
            sums = np.concatenate([[0.0], np.cumsum(np.arange(1, len(ranks) + 1) / ranks)])
            kept[q] = np.searchsorted(ranks, cuts, side="right")
            precision_sum[q] = sums[kept[q]]


def _engine(name: str, pairs: int) -> Callable[[Pairs, Relevance, np.ndarray, slice, tuple], None]:
    if name not in ENGINES:
        raise UserError(
            f"There is no counting engine '{name}'.",
            where="engine",
            mend=f"choose one of {', '.join(ENGINES)}",
        )
    if name == "numpy" or (name == "auto" and pairs < _PAIRS_WORTH_NUMBA):
        return _count_numpy
    from hashrepro.retrieval import kernel

    return kernel.count


def scan(
    query: Codes,
    database: Codes,
    query_labels: np.ndarray,
    database_labels: np.ndarray,
    *,
    cuts: Sequence[int] = (),
    threads: int = 1,
    engine: str = "auto",
) -> Scan:
    """Count all pairs by distance and relevance; with `cuts`, also rank with ties in database row order.

    Both engines return identical numbers, to the last bit. Beside the result, memory is a few bytes a
    database row and thread: the query-by-database matrix never exists.

    Args:
        query, database: codes of the same length. query_labels, database_labels: bool (q, C) and (n, C).
        cuts: lengths of the ranked list to sum precisions over, in any order.
        threads: threads that share the queries.
        engine: "numpy", "numba" (compiled on the first call ever, then cached), or "auto": by size.

    Raises:
        UserError: sizes that do not fit, no rows at all, an unknown engine.
    """
    pairs, relevance = Pairs.of(query, database), Relevance.of(query_labels, database_labels)
    for name, codes, labels in (
        ("query", query, query_labels),
        ("database", database, database_labels),
    ):
        if len(codes) != len(labels):
            raise UserError(
                f"There are {len(codes)} codes but {len(labels)} rows of labels.",
                where=name,
                mend="take codes and labels of the same catalog; encode again if the catalog has changed",
            )
    ascending = np.unique(np.asarray(cuts, np.int64))
    q, width = len(query), len(pairs.distances)
    total, relevant = np.empty((q, width), np.int64), np.empty((q, width), np.int64)
    precision_sum, kept = np.empty((q, len(ascending))), np.empty((q, len(ascending)), np.int64)
    count = _engine(engine, q * len(database))
    blocks = [slice(start, min(start + _QUERIES_A_BLOCK, q)) for start in range(0, q, _QUERIES_A_BLOCK)]

    def run(block: slice) -> None:
        count(pairs, relevance, ascending, block, (total, relevant, precision_sum, kept))

    with ThreadPoolExecutor(max(1, threads)) as pool:
        for _ in pool.map(run, blocks):
            pass
    counts = DistanceCounts(relevant, total, pairs.distances)
    return Scan(counts, tuple(ascending.tolist()), precision_sum, kept)
