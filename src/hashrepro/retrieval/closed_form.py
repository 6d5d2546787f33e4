"""The closed form of average precision, compiled: the same additions in the same order as `average_precision._sums`.

Importing this module loads numba; the machine code is cached on disk.
"""

import numpy as np
from numba import njit

from hashrepro.retrieval.harmonic import ONE, Harmonic

_UNIT = float(ONE)


@njit(cache=True, nogil=True)
def _at(table, shift, i):
    """H[i], see harmonic.Harmonic."""
    kept = i >> shift
    total = table[kept]
    for m in range((kept << shift) + 1, i + 1):
        total += np.uint64(((1 << 59) + m // 2) // m)
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(total, relevant, length, best, worst, table, shift, sums, hits, cut_bin, before):
    for q in range(total.shape[0]):
        sum_, hit, nearer, nearer_hits = 0.0, 0, 0, 0
        cut_bin[q] = -1
        for b in range(total.shape[1]):
            n, r = np.int64(total[q, b]), np.int64(relevant[q, b])
            if nearer >= length:
                break
            t = min(length - nearer, n)
            if r:
                if t < n:
                    cut_bin[q], before[q] = b, sum_
                if best or worst:
                    kept = min(r, t) if best else max(0, t - (n - r))
                    first = nearer if best else nearer + n - r
                    difference = (_at(table, shift, first + kept) - _at(table, shift, first)) / _UNIT
                    sum_ += kept + (nearer_hits - first) * difference
                else:
                    kept = min(r, t)
                    rho = (r - 1) / max(n - 1, 1)
                    difference = (_at(table, shift, nearer + t) - _at(table, shift, nearer)) / _UNIT
                    sum_ += r / n * (t * rho + (nearer_hits + 1 - rho * (nearer + 1)) * difference)
                hit += kept
            nearer += n
            nearer_hits += r
        sums[q], hits[q] = sum_, hit


def sums(
    total: np.ndarray, relevant: np.ndarray, length: int, ties: str, harmonic: Harmonic
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """As `average_precision._sums`, of int32 counts."""
    q = len(total)
    found = np.empty(q), np.empty(q, np.int64), np.empty(q, np.int64), np.zeros(q)
    total, relevant = np.ascontiguousarray(total, np.int32), np.ascontiguousarray(relevant, np.int32)
    _fill(total, relevant, length, ties == "best", ties == "worst", harmonic.table, harmonic.shift, *found)
    return found
