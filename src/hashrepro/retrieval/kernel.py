"""The compiled counting kernel. Importing this module loads numba; the machine code is cached on disk."""

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from hashrepro.retrieval.distances import Pairs
from hashrepro.retrieval.relevance import Relevance


@intrinsic
def _popcount(typing_context, word):
    """Number of set bits of a uint64, as one instruction (numba does not know numpy.bitwise_count)."""

    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


@njit(cache=True, nogil=True)
def _distances(words, database_words, uncoded, middle, split, bins):
    """Fill `bins` (n,) with the bin of every database row for one query; see Pairs."""
    plane, word = database_words[0], words[0]
    for row in range(bins.size):
        bins[row] = _popcount(plane[row] ^ word)
    for w in range(1, words.size):
        plane, word = database_words[w], words[w]
        for row in range(bins.size):
            bins[row] += _popcount(plane[row] ^ word)
    if split:
        for row in range(bins.size):
            bins[row] += bins[row] >= middle
    for row in uncoded:
        bins[row] = middle


@njit(cache=True, nogil=True)
def _count(
    query_words,
    query_coded,
    database_words,
    uncoded,
    middle,
    split,
    class_rows,
    class_starts,
    query_classes,
    query_starts,
    cuts,
    total,
    relevant,
    precision_sum,
    kept,
):
    """Fill the last four arrays for all queries; see counts.scan for what they mean."""
    n, width = database_words.shape[1], total.shape[1]
    bins = np.empty(n, np.uint16)
    similar = np.empty(n, np.uint8)
    # Four histograms in turn: neighbours of equal distance would otherwise wait for each other's store.
    partial = np.empty((4, width), np.int64)
    next_rank = np.empty(width, np.int64)
    next_hit = np.empty(width, np.int64)
    ranks = np.empty(n + width, np.int64)
    for q in range(query_words.shape[0]):
        if query_coded[q]:
            _distances(query_words[q], database_words, uncoded, middle, split, bins)
        else:
            bins[:] = middle
        partial[:] = 0
        for row in range(0, n - 3, 4):
            partial[0, bins[row]] += 1
            partial[1, bins[row + 1]] += 1
            partial[2, bins[row + 2]] += 1
            partial[3, bins[row + 3]] += 1
        for row in range(n - n % 4, n):
            partial[0, bins[row]] += 1
        for b in range(width):
            total[q, b] = partial[0, b] + partial[1, b] + partial[2, b] + partial[3, b]
            relevant[q, b] = 0

        similar[:] = 0
        for c in query_classes[query_starts[q] : query_starts[q + 1]]:
            for row in class_rows[class_starts[c] : class_starts[c + 1]]:
                relevant[q, bins[row]] += 1 - similar[row]
                similar[row] = 1

        if cuts.size:
            # Every row writes its rank, only a similar one moves on to the next place: no branch to guess.
            # Each bin has one place more than hits, for the rows after its last hit.
            ranked, place = 0, 0
            for b in range(width):
                next_rank[b], next_hit[b] = ranked, place
                ranked += total[q, b]
                place += relevant[q, b] + 1
            for row in range(n):
                b = bins[row]
                next_rank[b] += 1
                ranks[next_hit[b]] = next_rank[b]
                next_hit[b] += similar[row]
            sum_, hit, place, cut = 0.0, 0, 0, 0
            for b in range(width):
                for rank in ranks[place : place + relevant[q, b]]:
                    while cut < cuts.size and cuts[cut] < rank:
                        precision_sum[q, cut], kept[q, cut] = sum_, hit
                        cut += 1
                    hit += 1
                    sum_ += hit / rank
                place += relevant[q, b] + 1
            precision_sum[q, cut:], kept[q, cut:] = sum_, hit


def count(pairs: Pairs, relevance: Relevance, cuts: np.ndarray, queries: slice, results: tuple) -> None:
    """Fill the rows `queries` of `results` = (total, relevant, precision_sum, kept)."""
    _count(
        pairs.query_words[queries],
        pairs.query_coded[queries],
        pairs.database_words,
        pairs.uncoded,
        pairs.middle,
        pairs.split,
        relevance.class_rows,
        relevance.class_starts,
        relevance.query_classes,
        relevance.query_starts[queries.start : queries.stop + 1],
        cuts,
        *(array[queries] for array in results),
    )
