"""Sums of precisions over rankings with ties in database row order, kept by bin while the rows go by.

A row's rank is the number of rows in nearer bins, known from the counts, and of rows before it in its own bin. So
one pass in row order yields every rank, and the precisions (hits so far) / rank are summed in each bin
in row order. The bins' sums are added in order of distance in the end. Whatever engine ranks the rows, the
additions and their order are the same, and so is every bit of the sums.
"""

import numpy as np


class Ranking:
    """State of a block of queries.

    Attributes:
        rank, hit: int32 (q, bins), the last rank, and the number of the last relevant row, given out in each bin.
        sums: float64 (q, bins), of the precisions at the relevant rows so far.
        cuts: int64 (c,), lengths of the ranked list.
        cut_bin: int32 (q, c), the bin that each cut falls into; `bins` where it falls between two.
        cut_sums, cut_hits: float64 and int32 (q, c), `sums` and `hit` of that bin at the last relevant row within
            the cut.
    """

    def __init__(self, total: np.ndarray, relevant: np.ndarray, cuts: np.ndarray) -> None:
        self.cuts = cuts
        self.rank = (np.cumsum(total, axis=1) - total).astype(np.int32)
        self.hit = (np.cumsum(relevant, axis=1) - relevant).astype(np.int32)
        self.sums = np.zeros(total.shape)
        q, width = total.shape
        self.cut_bin = np.empty((q, len(cuts)), np.int32)
        for column, cut in enumerate(cuts):
            inside = (self.rank < cut) & (cut < self.rank + total)
            self.cut_bin[:, column] = np.where(inside.any(axis=1), inside.argmax(axis=1), width)
        self.cut_sums, self.cut_hits = np.zeros((q, len(cuts))), np.zeros((q, len(cuts)), np.int32)
        self._first_rank, self._first_hit, self._relevant = self.rank.copy(), self.hit.copy(), relevant

    @property
    def hits(self) -> int:
        """Number of relevant rows, of all queries."""
        return int(self._first_hit[:, -1].sum() + self._relevant[:, -1].sum())

    def add(self, q: int, bins: np.ndarray, hits: np.ndarray, ranks: np.ndarray) -> None:
        """Add the precisions hits / ranks of relevant rows of query `q`: in row order within each of `bins`."""
        width = self.sums.shape[1]
        precisions = hits / ranks
        # The first `width` weights carry on from the rows before. bincount adds one by one, in order.
        weights = np.concatenate([self.sums[q], precisions])
        self.sums[q] = np.bincount(np.concatenate([np.arange(width), bins]), weights, minlength=width)
        for column, cut in enumerate(self.cuts):
            kept = (bins == self.cut_bin[q, column]) & (ranks <= cut)
            # cumsum, too, adds one by one.
            self.cut_sums[q, column] = np.cumsum(np.append(self.cut_sums[q, column], precisions[kept]))[-1]
            self.cut_hits[q, column] += kept.sum()

    def part(self, queries: slice) -> tuple[np.ndarray, ...]:
        """(rank, hit, sums, cut_bin, cut_sums, cut_hits) of some of the queries, to be written to."""
        state = (self.rank, self.hit, self.sums, self.cut_bin, self.cut_sums, self.cut_hits)
        return tuple(array[queries] for array in state)

    def results(self) -> tuple[np.ndarray, np.ndarray]:
        """(precision_sum float64 (q, c), kept int32 (q, c)): over the relevant rows within each cut."""
        q, width = self.sums.shape
        whole = np.concatenate([np.zeros((q, 1)), np.cumsum(self.sums, axis=1)], axis=1)
        hits = np.concatenate([self._first_hit, self._first_hit[:, -1:] + self._relevant[:, -1:]], axis=1)
        precision_sum = np.empty((q, len(self.cuts)))
        kept = np.empty((q, len(self.cuts)), np.int32)
        rows = np.arange(q)
        for column, cut in enumerate(self.cuts):
            # Bins that end within the cut: all that begin before it, but the one that it falls into.
            full = (self._first_rank < cut).sum(axis=1) - (self.cut_bin[:, column] < width)
            precision_sum[:, column] = whole[rows, full] + self.cut_sums[:, column]
            kept[:, column] = hits[rows, full] + self.cut_hits[:, column]
        return precision_sum, kept
