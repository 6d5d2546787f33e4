"""Precision and recall by list length and by Hamming radius, expected under random tie order, for each query."""

from collections.abc import Sequence

import numpy as np

from hashrepro.errors import UserError
from hashrepro.retrieval.counts import DistanceCounts


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, 0 where whole is 0."""
    return part / np.maximum(whole, 1) * (whole > 0)


def _expected_hits(counts: DistanceCounts, lengths: Sequence[int]) -> np.ndarray:
    """Expected number of relevant rows among the nearest N, for each N: float64 (q, lengths).

    A list that ends t rows into a distance with n rows and r relevant ones holds t r / n of those.
    """
    if any(length < 1 for length in lengths):
        raise UserError(
            f"A list length must be at least 1; got {list(lengths)}.",
            where="precision_at",
            mend="give numbers of database items >= 1",
        )
    before = counts.total.cumsum(axis=1) - counts.total
    density = _ratio(counts.relevant, counts.total)
    hits = np.empty((len(counts), len(lengths)))
    for column, length in enumerate(lengths):
        hits[:, column] = (np.clip(length - before, 0, counts.total) * density).sum(axis=1)
    return hits


def precision_at(counts: DistanceCounts, lengths: Sequence[int]) -> np.ndarray:
    """Expected precision among the nearest N for each N of `lengths`: float64 (q, lengths).

    precision@N = E[relevant rows among the first N] / N. The divisor is N even where the database is smaller.
    UserError for N < 1.
    """
    return _expected_hits(counts, lengths) / np.asarray(lengths)


def recall_at(counts: DistanceCounts, lengths: Sequence[int]) -> np.ndarray:
    """Expected recall among the nearest N for each N of `lengths`: float64 (q, lengths).

    recall@N = E[relevant rows among the first N] / all relevant rows, 0 for a query without any. (Papers on metric
    learning call something else recall@N: whether there is a relevant row at all.) UserError for N < 1.
    """
    relevant = counts.relevant.sum(axis=1, keepdims=True)
    return _ratio(_expected_hits(counts, lengths), relevant)


def precision_recall(counts: DistanceCounts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(radius 0 .. bits (bits + 1,), precision, recall (q, bits + 1)) of the rows at distance <= radius.

    An empty ball has precision 0, a query without relevant rows has recall 0. Whole distances leave no ties.
    """
    radius = np.arange(counts.bits + 1)
    last = np.searchsorted(counts.distances, radius)  # the middle of an odd length may have a bin of its own
    relevant, total = counts.relevant.cumsum(axis=1)[:, last], counts.total.cumsum(axis=1)[:, last]
    return radius, _ratio(relevant, total), _ratio(relevant, relevant[:, -1:])


def check_radius(radius: int, bits: int) -> None:
    """UserError for a radius outside 0 .. bits."""
    if not 0 <= radius <= bits:
        raise UserError(
            f"A Hamming radius of {bits}-bit codes is 0 to {bits}, not {radius}.",
            where="radius",
            mend="choose a radius within the code length",
        )
