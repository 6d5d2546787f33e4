"""Soft similarity between sampled and database images, as sums over label sets: the m x n matrix is never built.

``S`` is +1 for a pair that shares a label and ``-P/Q`` for one that does not, where P and Q count the similar and
dissimilar of the m x n pairs (ADSH, AAAI 2018: the entries of S then sum to zero). Because S takes two values and
depends on label sets only, every product with it is a sum per label set followed by a look-up:

    S X = (1 - d) * (Sim X) + d * (sum of all rows of X),   d = -P/Q,   Sim in {0, 1}

which costs O((n + m) k + g min(g, m) k) for g distinct label sets (the last term drops out for single-label data).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 2**18  # pairs of label sets compared at a time: 1 MB of floats, which stays in a core's cache


@dataclass(frozen=True)
class LabelSets:
    """The distinct label sets of n images.

    Attributes:
        set_of_row: (n,) int64, which set an image has.
        sets: (g, C) float 0/1, the distinct sets.
        disjoint: True if no two distinct sets share a label and none is empty (single-label data):
            then images are similar exactly when their sets are the same.
    """

    set_of_row: Tensor
    sets: Tensor
    disjoint: bool

    @classmethod
    def of(cls, labels: Tensor) -> "LabelSets":
        """Group the rows of `labels`, (n, C) bool."""
        sets, set_of_row = torch.unique(labels.to(torch.uint8), dim=0, return_inverse=True)
        disjoint = bool((sets.sum(0) <= 1).all() and (sets.sum(1) > 0).all())
        return cls(set_of_row, sets.float(), disjoint)

    def to(self, device: torch.device | str) -> "LabelSets":
        return LabelSets(self.set_of_row.to(device), self.sets.to(device), self.disjoint)

    def sum_rows(self, rows: Tensor, values: Tensor) -> Tensor:
        """(g, k): the sum of `values` (len(rows), k) over the images `rows` of each set."""
        out = values.new_zeros(len(self.sets), values.shape[1])
        return out.index_add_(0, self.set_of_row[rows], values)

    def sum_similar(self, per_set: Tensor, wanted: Tensor | None = None) -> Tensor:
        """For each of the `wanted` sets, the sum of `per_set` (g, k) over all sets that share a label with it.

        Args:
            wanted: (w,) int64, indices of sets; None means all g, in order.

        Returns:
            (w, k).
        """
        if self.disjoint:
            return per_set if wanted is None else per_set[wanted]
        used = per_set.abs().sum(1) > 0
        sets, values = self.sets[used], per_set[used]
        blocks = (self.sets if wanted is None else self.sets[wanted]).split(BLOCK // max(len(sets), 1) + 1)
        # the product counts the labels in common
        return torch.cat([(block @ sets.T).clamp_(max=1).to(values.dtype) @ values for block in blocks])


@dataclass(frozen=True)
class SoftSimilarity:
    """S between the m sampled rows and all n rows of a database, without the matrix.

    Attributes:
        sets: the label sets of the database.
        sample: (m,) int64, the sampled database rows.
        similar_pairs: P, the number of the m x n pairs that share a label.
        dissimilar: the value -P/Q of a pair that shares none; 0 if there is no such pair.
    """

    sets: LabelSets
    sample: Tensor
    similar_pairs: int
    dissimilar: float
    similar_count: Tensor  # (m,) float64: how many database images each sampled image is similar to

    @classmethod
    def between(cls, sets: LabelSets, sample: Tensor) -> "SoftSimilarity":
        every = torch.arange(len(sets.set_of_row), device=sample.device)
        ones = torch.ones(len(every), 1, dtype=torch.float64, device=sample.device)
        count = sets.sum_similar(sets.sum_rows(every, ones), sets.set_of_row[sample])[:, 0]
        similar = int(count.sum())  # exact: an integer below 2^53
        different = len(sample) * len(every) - similar
        return cls(sets, sample, similar, -similar / different if different else 0.0, count)

    def database_sums(self, values: Tensor) -> Tensor:
        """S^T `values`: (m, k) -> (n, k)."""
        sums = self.sets.sum_rows(self.sample, values)
        mixed = self._mix(self.sets.sum_similar(sums), sums.sum(0))
        return mixed.index_select(0, self.sets.set_of_row)

    def sample_sums(self, codes: Tensor) -> Tensor:
        """S `codes`: (n, k) -> (m, k)."""
        sums = self.sets.sum_rows(torch.arange(len(codes), device=codes.device), codes)
        return self._mix(self.sets.sum_similar(sums, self.sets.set_of_row[self.sample]), sums.sum(0))

    def squared_sums(self) -> Tensor:
        """(m,) float64: the sum of S_ij^2 over the database, for each sampled image."""
        n = len(self.sets.set_of_row)
        return self.similar_count + (n - self.similar_count) * self.dissimilar**2

    def _mix(self, similar: Tensor, total: Tensor) -> Tensor:
        return (1 - self.dissimilar) * similar + self.dissimilar * total
