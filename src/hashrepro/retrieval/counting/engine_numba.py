"""Counting with compiled kernels: bit-sliced for codes of usual length, row by row for very long ones and for ranks.

Importing this module loads numba.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hashrepro.retrieval.codes import Codes
from hashrepro.retrieval.counting import kernel, sliced
from hashrepro.retrieval.counting.planes import ClassedPlanes, OrderedPlanes
from hashrepro.retrieval.counting.problem import Problem, Share
from hashrepro.retrieval.counting.ranking import Ranking

# Bytes of a tile of the database, of all tiles that are kept from one block of queries to the next, and of labels
# that are read at once.
_TILE, _KEPT, _LABELS = 2**23, 2**24, 2**24
# Ranks are found bit-sliced where at most one row in so many is relevant: each takes longer then, the others less.
_SPARSE = 15


@dataclass(frozen=True, eq=False)
class LabelLists:
    """The labels of each row as a list: values[starts[row] : starts[row + 1]]; int64 (n + 1,) and int32."""

    starts: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray) -> "LabelLists":
        """From a bool matrix (n, C)."""
        starts = np.empty(len(labels) + 1, np.int64)
        values = np.empty(np.count_nonzero(labels), np.int32)
        flat = np.ascontiguousarray(labels).reshape(-1).view(np.uint8)
        kernel.label_lists(flat, labels.shape[1], starts, values)
        return cls(starts, values)

    def by_class(self, classes: int) -> tuple[np.ndarray, np.ndarray]:
        """(class_starts int64 (C + 1,), class_rows int32): the rows of each class."""
        class_starts, class_rows = np.empty(classes + 1, np.int64), np.empty(len(self.values), np.int32)
        kernel.rows_by_class(self.starts, self.values, class_starts, class_rows)
        return class_starts, class_rows


@dataclass(frozen=True, eq=False)
class _Queries:
    words: np.ndarray
    coded: np.ndarray
    labels: LabelLists

    def part(self, part: slice) -> tuple[np.ndarray, ...]:
        starts = self.labels.starts[part.start : part.stop + 1]
        return self.words[part], self.coded[part], starts, self.labels.values


def _words(codes: Codes) -> np.ndarray:
    return np.ascontiguousarray(codes.words.view(np.int64))


class NumbaEngine:
    """See `problem.Engine`."""

    def __init__(self, problem: Problem) -> None:
        # From now on average_precision takes the compiled form: numba is at work, so that it costs nothing to load.
        from hashrepro.retrieval import closed_form  # noqa: F401

        self._problem = problem
        self._kept: dict[str, list] = {}
        self._all_coded = bool(problem.query.coded.all() and problem.database.coded.all())

    def count(self, queries: slice, total: np.ndarray, relevant: np.ndarray, share: Share) -> None:
        bins, side = self._problem.bins, self._queries(queries)
        if bins.bits > sliced.BITS:
            for tile in self._tiles("rows"):

                def count(part: slice, tile: tuple = tile) -> None:
                    kernel.count(
                        *side.part(part), *tile, bins.middle, bins.split, total[part], relevant[part]
                    )

                share(count, len(total))
        else:
            for tile in self._tiles("sliced"):

                def count(part: slice, tile: ClassedPlanes = tile) -> None:
                    sliced.count(
                        *side.part(part),
                        tile.planes,
                        tile.coded,
                        tile.uncoded,
                        tile.class_starts,
                        tile.uncoded_by_class,
                        tile.label_planes,
                        bins.bits,
                        bins.middle,
                        bins.split,
                        sliced.room_for(bins.bits, tile.planes),
                        total[part],
                        relevant[part],
                    )

                share(count, len(total))

    def rank(self, queries: slice, ranking: Ranking, share: Share) -> None:
        side, bins = self._queries(queries), self._problem.bins
        sliced_ = (
            bins.bits <= sliced.BITS
            and self._all_coded
            and ranking.hits * _SPARSE <= len(ranking.rank) * len(self._problem.database)
        )
        for tile in self._tiles("ordered" if sliced_ else "rows"):

            def rank(part: slice, tile: OrderedPlanes | tuple = tile) -> None:
                words, coded, starts, classes = side.part(part)
                state = ranking.part(part)
                if sliced_:
                    room = sliced.room_for(bins.bits, tile.planes)
                    rows = tile.planes, tile.rows, tile.class_starts, tile.class_rows
                    sliced.rank(words, starts, classes, *rows, bins.bits, room, ranking.cuts, *state)
                else:
                    bin_of = bins.middle, bins.split
                    kernel.rank(words, coded, starts, classes, *tile, *bin_of, ranking.cuts, *state)

            share(rank, len(ranking.rank))

    def _queries(self, queries: slice) -> _Queries:
        codes = self._problem.query[queries]
        return _Queries(_words(codes), codes.coded, LabelLists.of(self._problem.query_labels[queries]))

    def _tiles(self, kind: str) -> Iterator:
        """All tiles of a kind: the kept ones, or, of a database that is too large, made anew."""
        if kind in self._kept:
            yield from self._kept[kind]
            return
        problem = self._problem
        bytes_a_row = problem.query.packed.shape[1] + problem.classes // 8 + 24
        rows = max(512, min(_TILE // bytes_a_row, _LABELS // max(1, problem.classes)) // 512 * 512)
        keep = [] if len(problem.database) * bytes_a_row <= _KEPT else None
        for part in problem.tiles(rows):
            codes, labels = problem.database[part], LabelLists.of(problem.database_labels[part])
            if kind == "sliced":
                tile = ClassedPlanes.of(codes, labels.starts, labels.values, problem.classes)
            elif kind == "ordered":
                tile = OrderedPlanes.of(codes, *labels.by_class(problem.classes))
            else:
                words = np.ascontiguousarray(_words(codes).T)
                tile = words, np.flatnonzero(~codes.coded), *labels.by_class(problem.classes)
            if keep is not None:
                keep.append(tile)
            yield tile
        if keep is not None:
            self._kept[kind] = keep
