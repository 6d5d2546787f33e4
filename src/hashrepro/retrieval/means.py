"""Means over queries that come in blocks."""

import numpy as np


class QueryMeans:
    """Means by name; NaN leaves a query out of the mean that it is in."""

    def __init__(self) -> None:
        self.sums: dict[str, np.ndarray] = {}
        self.counts: dict[str, np.ndarray] = {}

    def add(self, name: str, values: np.ndarray) -> None:
        """`values` of a block of queries: (q,), or (q, k) for a curve."""
        counted = ~np.isnan(values)
        self.sums[name] = self.sums.get(name, 0) + np.where(counted, values, 0).sum(axis=0)
        self.counts[name] = self.counts.get(name, 0) + counted.sum(axis=0)

    def __getitem__(self, name: str) -> np.ndarray:
        """() or (k,): NaN where no query counts."""
        n = self.counts[name]
        return np.where(n > 0, self.sums[name] / np.maximum(n, 1), np.nan)
