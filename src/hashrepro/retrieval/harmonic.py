"""Harmonic numbers as whole numbers of units of 2^-59.

The formulas of average precision multiply differences of H by up to n and then cancel; differences of whole numbers
are exact, those of floats would leave errors of n * 1e-15.
"""

import numpy as np

ONE = 2**59
# Numbers kept: 8 bytes each.
_KEPT = 2**20
_CHUNK = 2**17


class Harmonic:
    """H[0..n]: every 2^shift-th is kept, so that the table stays below 9 MB, and the others are summed up from there.

    Attributes:
        n: the last one.
        shift: 0 below n = 2^20.
        table: uint64, table[i] = H[i << shift].
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self.shift = max(0, n.bit_length() - _KEPT.bit_length() + 1)  # no more than _KEPT numbers
        step = 1 << self.shift
        self.table = np.zeros((n >> self.shift) + 1, np.uint64)
        last = np.uint64(0)
        for start in range(0, n >> self.shift << self.shift, _CHUNK * step):
            stop = min(start + _CHUNK * step, n >> self.shift << self.shift)
            sums = sum(_reciprocal(np.arange(start + i, stop + 1, step)) for i in range(1, step + 1))
            place = self.table[(start >> self.shift) + 1 : (stop >> self.shift) + 1]
            np.cumsum(sums, out=place)
            place += last
            last = place[-1]

    def __getitem__(self, i: np.ndarray) -> np.ndarray:
        """H[i], uint64."""
        i = np.asarray(i)
        kept = i >> self.shift
        sums = self.table[kept]
        for above in range(1, 1 << self.shift):
            m = (kept << self.shift) + above
            sums = sums + _reciprocal(m) * (m <= i)
        return sums


def _reciprocal(m: np.ndarray) -> np.ndarray:
    m = m.astype(np.uint64)
    return (ONE + m // 2) // m
