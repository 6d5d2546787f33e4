"""Normalised discounted cumulative gain of rankings by Hamming distance, exact under ties, from counts by distance.

The gain is binary: 1 for a row that shares a label with the query, which is what the counts hold, so that the two
gains in use, the grade itself (Järvelin & Kekäläinen 2002) and 2^grade - 1, agree. Work on multi-label hashing also
grades by the number of shared labels (DSRH, CVPR 2015; TALR, CVPR 2018); that would need counts by grade.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from hashrepro.retrieval.conventions import TIES, check, list_length
from hashrepro.retrieval.counts import DistanceCounts

_KEPT_BITS = 20  # no more than 2^20 sums are kept: 8 MB
_CHUNK = 2**17


class Discounts:
    """D[i], the sum of the first i discounts, i <= n: every 2^shift-th is kept, the others are summed up from there."""

    def __init__(self, n: int) -> None:
        self.shift = max(0, n.bit_length() - _KEPT_BITS)
        kept, step = n >> self.shift, max(1, _CHUNK >> self.shift)
        self.table = np.zeros(kept + 1)
        for start in range(0, kept, step):
            stop = min(start + step, kept)
            ranks = np.arange(start << self.shift, stop << self.shift) + 1
            sums = (1 / np.log2(ranks + 1)).reshape(-1, 1 << self.shift).sum(axis=1)
            self.table[start : stop + 1] = np.cumsum(np.append(self.table[start], sums))

    def __getitem__(self, i: np.ndarray) -> np.ndarray:
        kept = i >> self.shift
        sums = self.table[kept]
        for above in range(1, 1 << self.shift):
            rank = (kept << self.shift) + above
            sums = sums + (rank <= i) / np.log2(rank + 1)
        return sums


# Blocks of queries share the sums of one size of database.
_discounts = lru_cache(maxsize=1)(Discounts)


def ndcg(counts: DistanceCounts, lengths: Sequence[int | None], *, ties: str = "expected") -> np.ndarray:
    """NDCG of each query among the nearest N, for each N of `lengths`: float64 (q, lengths).

    DCG@N = sum over the ranks i <= N of relevant rows of 1 / log2(i + 1), NDCG@N = DCG@N / DCG@N of all relevant rows
    first. With D[i] the sum of the first i discounts, a distance with n rows, r of them relevant, after N0 nearer rows
    adds on average over all orders of its rows (McSherry & Najork 2008)

        (r / n) (D[min(N0 + n, N)] - D[min(N0, N)]).

    Args:
        counts: by distance, from `counts.scan`.
        lengths: list lengths; None for the full ranking; beyond the database means the same.
        ties: "expected", "best" or "worst" (relevant rows first or last among those at equal distance).

    Returns:
        between 0 and 1; 0 for a query without relevant rows.

    Raises:
        UserError: an unknown option or a length < 1.
    """
    check("ties", ties, {name: text for name, text in TIES.items() if name != "file_order"})
    database = counts.database
    discount = _discounts(database)
    end = counts.total.cumsum(axis=1)
    start = end - counts.total
    if ties == "expected":
        share = counts.relevant / np.maximum(counts.total, 1)
    else:
        share = 1.0
        if ties == "best":
            end = start + counts.relevant
        else:
            start = end - counts.relevant
    relevant = counts.relevant.sum(axis=1)
    result = np.zeros((len(counts), len(lengths)))
    for column, asked in enumerate(lengths):
        length = list_length(asked, database)
        gain = share * (discount[np.minimum(end, length)] - discount[np.minimum(start, length)])
        ideal = discount[np.minimum(relevant, length)]
        np.divide(gain.sum(axis=1), ideal, out=result[:, column], where=ideal > 0)
    return result
