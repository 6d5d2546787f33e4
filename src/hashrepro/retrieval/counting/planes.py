"""Codes of database rows as planes: bit j of 512 codes is one vector of 512 bits.

Importing this module loads numba; the machine code is cached on disk.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from hashrepro.retrieval.codes import Codes

# Compiled into sliced.py as well, whose cache on disk does not see a change here: touch that file too.
LANES = 8  # words of 64 bits in a vector
ROWS = 64 * LANES  # in a vector


@njit(cache=True, nogil=True)
def _transpose(words):
    """Transpose 64 x 64 bits: bit j of words[i] to bit i of words[j]."""
    size, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    while size:
        for i in range(64):
            if not i & size:
                swapped = (words[i] >> size ^ words[i + size]) & mask
                words[i] ^= swapped << size
                words[i + size] ^= swapped
        size >>= np.uint64(1)
        mask ^= mask << size


@njit(cache=True, nogil=True)
def _lay_out(packed, order, planes):
    """Fill `planes` int64 (vectors, 8 * bytes, 8), which are 0, with the rows `order` of uint8 (n, bytes)."""
    words = np.empty(64, np.uint64)
    size = packed.shape[1]
    for start in range(0, order.size, 64):
        vector, lane = start // ROWS, start % ROWS // 64
        for byte in range(0, size, 8):
            words[:] = 0
            for i in range(min(64, order.size - start)):
                row = order[start + i]
                word = np.uint64(0)
                for b in range(min(8, size - byte)):
                    word |= np.uint64(packed[row, byte + b]) << np.uint64(8 * b)
                words[i] = word
            _transpose(words)
            for j in range(min(64, 8 * (size - byte))):
                planes[vector, 8 * byte + j, lane] = words[j]


@njit(cache=True, nogil=True)
def _sort(coded, starts, values, order, class_starts, uncoded_by_class):
    """Counting sort of the coded rows, of at most one label each, by label; those without one come last."""
    class_starts[:] = 0
    uncoded_by_class[:] = 0
    classes = uncoded_by_class.size
    for row in range(coded.size):
        c = values[starts[row]] if starts[row + 1] > starts[row] else classes
        if coded[row]:
            class_starts[c + 1] += 1
        elif c < classes:
            uncoded_by_class[c] += 1
    for c in range(classes + 1):
        class_starts[c + 1] += class_starts[c]
    place = class_starts.copy()
    for row in range(coded.size):
        if coded[row]:
            c = values[starts[row]] if starts[row + 1] > starts[row] else classes
            order[place[c]] = row
            place[c] += 1


@njit(cache=True, nogil=True)
def _draw_labels(coded, vectors, starts, values, label_planes):
    """Set the bits of the labels' planes: the coded rows, in order, and from the vector `vectors` on the others."""
    at, uncoded_at = 0, vectors * ROWS
    for row in range(coded.size):
        if coded[row]:
            place, at = at, at + 1
        else:
            place, uncoded_at = uncoded_at, uncoded_at + 1
        for c in values[starts[row] : starts[row + 1]]:
            label_planes[c, place // ROWS, place % ROWS // 64] |= 1 << place % 64


def aligned(*shape: int) -> np.ndarray:
    """Zeros, int64, at an address that is a multiple of 64."""
    size = int(np.prod(shape))
    room = np.zeros(size + LANES, np.int64)
    start = -room.ctypes.data % 64 // 8
    return room[start : start + size].reshape(shape)


@dataclass(frozen=True, eq=False)
class OrderedPlanes:
    """Some rows of a database, all coded, as planes in row order, and the rows of each class.

    Attributes:
        planes: int64 (vectors, planes, 8).
        rows: number of rows.
        class_starts, class_rows: int64 (C + 1,) and int32, see engine_numba.LabelLists.by_class.
    """

    planes: np.ndarray
    rows: int
    class_starts: np.ndarray
    class_rows: np.ndarray

    @classmethod
    def of(cls, codes: Codes, class_starts: np.ndarray, class_rows: np.ndarray) -> "OrderedPlanes":
        planes = aligned(-(-len(codes) // ROWS), 8 * codes.packed.shape[1], LANES)
        _lay_out(np.ascontiguousarray(codes.packed), np.arange(len(codes), dtype=np.int32), planes)
        return cls(planes, len(codes), class_starts, class_rows)


@dataclass(frozen=True, eq=False)
class ClassedPlanes:
    """Some rows of a database as planes.

    Attributes:
        planes: int64 (vectors, planes, 8); the coded rows, sorted by class where each has one label at most.
        coded, uncoded: numbers of rows.
        class_starts: int64 (C + 2,), where each class, and the rows without one, begin.
        uncoded_by_class: int64 (C,).
        label_planes: int64 (C, vectors, 8), where a row has several labels, else (0, 0, 8): the coded rows, and from
            a new vector on the uncoded ones.
    """

    planes: np.ndarray
    coded: int
    uncoded: int
    class_starts: np.ndarray
    uncoded_by_class: np.ndarray
    label_planes: np.ndarray

    @classmethod
    def of(cls, codes: Codes, starts: np.ndarray, values: np.ndarray, classes: int) -> "ClassedPlanes":
        """`starts` and `values`: the labels of each row as lists, see engine_numba.LabelLists."""
        coded = int(np.count_nonzero(codes.coded))
        vectors, uncoded = -(-coded // ROWS), len(codes) - coded
        class_starts, uncoded_by_class = np.zeros(classes + 2, np.int64), np.zeros(classes, np.int64)
        label_planes = aligned(0, 0, LANES)
        if np.diff(starts).max(initial=0) > 1:
            order = np.flatnonzero(codes.coded).astype(np.int32)
            label_planes = aligned(classes, vectors + -(-uncoded // ROWS), LANES)
            _draw_labels(codes.coded, vectors, starts, values, label_planes)
        else:
            order = np.empty(coded, np.int32)
            _sort(codes.coded, starts, values, order, class_starts, uncoded_by_class)
        planes = aligned(vectors, 8 * codes.packed.shape[1], LANES)
        _lay_out(np.ascontiguousarray(codes.packed), order, planes)
        return cls(planes, coded, uncoded, class_starts, uncoded_by_class, label_planes)
