"""Precision and recall by list length and by Hamming radius, expected under random tie order."""

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
    """Expected precision among the nearest N, mean over queries, for each N of `lengths`: float64 (lengths,).

    The divisor is N even where the database is smaller. UserError for N < 1.
    """
    return (_expected_hits(counts, lengths) / np.asarray(lengths)).mean(axis=0)


def recall_at(counts: DistanceCounts, lengths: Sequence[int]) -> np.ndarray:
    """Expected recall among the nearest N, mean over queries: float64 (lengths,).

    A query without relevant rows counts 0. UserError for N < 1.
    """
    relevant = counts.relevant.sum(axis=1, keepdims=True)
    return _ratio(_expected_hits(counts, lengths), relevant).mean(axis=0)


def _balls(counts: DistanceCounts) -> tuple[np.ndarray, np.ndarray]:
    """(relevant, all) rows within each radius 0 .. bits: int64 (q, bits + 1)."""
    last = np.searchsorted(counts.distances, np.arange(counts.bits + 1))
    return counts.relevant.cumsum(axis=1)[:, last], counts.total.cumsum(axis=1)[:, last]


def precision_recall(counts: DistanceCounts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(radius 0 .. bits, precision, recall) of the rows at distance <= radius, query means: (bits + 1,).

    An empty ball has precision 0, a query without relevant rows has recall 0.
    """
    relevant, total = _balls(counts)
    precision = _ratio(relevant, total).mean(axis=0)
    recall = _ratio(relevant, relevant[:, -1:]).mean(axis=0)
    return np.arange(counts.bits + 1), precision, recall


def _check_radius(counts: DistanceCounts, radius: int) -> None:
    if not 0 <= radius <= counts.bits:
        raise UserError(
            f"A Hamming radius of {counts.bits}-bit codes is 0 to {counts.bits}, not {radius}.",
            where="radius",
            mend="choose a radius within the code length",
        )


def precision_within(counts: DistanceCounts, radius: int) -> float:
    """The precision of `precision_recall` at one radius. UserError for a radius outside 0 .. bits."""
    _check_radius(counts, radius)
    return float(precision_recall(counts)[1][radius])


def recall_within(counts: DistanceCounts, radius: int) -> float:
    """The recall of `precision_recall` at one radius. UserError for a radius outside 0 .. bits."""
    _check_radius(counts, radius)
    return float(precision_recall(counts)[2][radius])
