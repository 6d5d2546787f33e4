"""Which images stand for a data set in pictures: as many classes as can be, each with as many images as the next."""

import numpy as np


def first_labels(labels: np.ndarray) -> np.ndarray:
    """int64 (n,): each image's class, of several the first, from bool (n, C)."""
    return labels.argmax(1).astype(np.int64)


def spread_over_classes(labels: np.ndarray, count: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """At most `count` positions, ascending: an image of every class, then a second of every class, and so on.

    Fewer images of the same draw are among the more: ``f(labels, 6)`` are six of ``f(labels, 10)``.

    Args:
        labels: bool (n, C); an image of several classes counts for its first.
        count: positions to choose; all of them where there are no more.
        rng: draws the images of a class; None takes them in their order.
    """
    order = np.arange(len(labels)) if rng is None else rng.permutation(len(labels))
    label = first_labels(labels)[order]
    rank = np.empty(len(label), dtype=np.int64)
    for value in np.unique(label):
        of_label = np.flatnonzero(label == value)
        rank[of_label] = np.arange(len(of_label))
    return np.sort(order[np.lexsort((label, rank))[:count]])
