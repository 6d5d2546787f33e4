"""Counting with numpy alone: needs no compiler, and is done before one has been imported on small problems."""

from collections.abc import Iterator

import numpy as np

from hashrepro.retrieval.counting.distances import Pairs
from hashrepro.retrieval.counting.problem import Problem, Share
from hashrepro.retrieval.counting.ranking import Ranking
from hashrepro.retrieval.counting.relevance import Relevance

# Bytes of codes and labels of a tile of the database.
_TILE = 2**23


class NumpyEngine:
    """See `problem.Engine`."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._rows = max(1, min(2**18, _TILE // (8 * problem.query.packed.shape[1] + problem.classes)))

    def _tiles(self, queries: slice) -> Iterator[tuple[Pairs, Relevance]]:
        for rows in self._problem.tiles(self._rows):
            yield (
                Pairs.of(self._problem.query[queries], self._problem.database[rows], self._problem.bins),
                Relevance.of(self._problem.query_labels[queries], self._problem.database_labels[rows]),
            )

    def count(self, queries: slice, total: np.ndarray, relevant: np.ndarray, share: Share) -> None:
        for pairs, relevance in self._tiles(queries):

            def count(part: slice, pairs: Pairs = pairs, relevance: Relevance = relevance) -> None:
                for q in range(part.start, part.stop):
                    bins = pairs.bins(q)
                    total[q] += np.bincount(bins, minlength=total.shape[1])
                    relevant[q] += np.bincount(bins[relevance.rows(q)], minlength=total.shape[1])

            share(count, len(total))

    def rank(self, queries: slice, ranking: Ranking, share: Share) -> None:
        for pairs, relevance in self._tiles(queries):

            def rank(part: slice, pairs: Pairs = pairs, relevance: Relevance = relevance) -> None:
                for q in range(part.start, part.stop):
                    _rank(pairs.bins(q), relevance.rows(q), ranking, q)

            share(rank, len(ranking.rank))


def _rank(bins: np.ndarray, similar_rows: np.ndarray, ranking: Ranking, q: int) -> None:
    width = ranking.rank.shape[1]
    similar = np.zeros(len(bins), np.bool_)
    similar[similar_rows] = True
    # A stable sort of small integers is a counting sort, and keeps ties in row order.
    order = np.argsort(bins, kind="stable")
    places = np.flatnonzero(similar[order])
    hit_bins = bins[order[places]].astype(np.int64)
    counts, hits = np.bincount(bins, minlength=width), np.bincount(hit_bins, minlength=width)
    ranks = places + 1 + (ranking.rank[q] - (counts.cumsum() - counts))[hit_bins]
    numbers = np.arange(1, len(places) + 1) + (ranking.hit[q] - (hits.cumsum() - hits))[hit_bins]
    ranking.rank[q] += counts.astype(np.int32)
    ranking.hit[q] += hits.astype(np.int32)
    ranking.add(q, hit_bins, numbers, ranks)
