"""The compiled kernels that go through packed codes row by row, and that list labels.

Importing this module loads numba; the machine code is cached on disk. numba recompiles a cached function when its
own file changes, not when another file's does: functions that call each other stand in one file.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_WORDS = ir.VectorType(ir.IntType(64), 8)


@intrinsic
def _popcount(typing_context, word):
    """Number of set bits of an int64, as one instruction (numba does not know numpy.bitwise_count)."""

    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.int64(types.int64), generate


@intrinsic
def _any_of_64(typing_context, labels, first):
    """Whether any of the 64 bytes from labels[first] on is not 0."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), _WORDS.as_pointer())
        some = builder.icmp_unsigned("!=", builder.load(place, align=1), ir.Constant(_WORDS, [0] * 8))
        return builder.icmp_unsigned("!=", builder.bitcast(some, ir.IntType(8)), ir.IntType(8)(0))

    return types.boolean(labels, types.int64), generate


@intrinsic
def _word_at(typing_context, labels, first):
    """The 8 bytes from labels[first] on, as they lie in memory."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(64).as_pointer())
        return builder.load(place, align=1)

    return types.int64(labels, types.int64), generate


@intrinsic
def _trailing_zeros(typing_context, word):
    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.IntType(1)(0))

    return types.int64(word), generate


@njit(cache=True, nogil=True)
def label_lists(labels, classes, starts, values):
    """The labels of every row: fill `starts` int64 (n + 1,) and `values` int32 from flat uint8 (n * classes,)."""
    place, row, row_end = 0, 0, classes
    starts[0] = 0
    whole = labels.size // 64 * 64
    for begin in range(0, whole, 64):
        if _any_of_64(labels, begin):
            for i in range(begin, begin + 64, 8):
                word = _word_at(labels, i)
                while word:
                    byte = _trailing_zeros(word) >> 3
                    word &= ~(0xFF << 8 * byte)
                    while i + byte >= row_end:
                        row, row_end = row + 1, row_end + classes
                        starts[row] = place
                    values[place] = i + byte - (row_end - classes)
                    place += 1
    for i in range(whole, labels.size):
        if labels[i]:
            while i >= row_end:
                row, row_end = row + 1, row_end + classes
                starts[row] = place
            values[place] = i - (row_end - classes)
            place += 1
    starts[row + 1 :] = place


@njit(cache=True, nogil=True)
def rows_by_class(starts, values, class_starts, class_rows):
    """Fill int64 (C + 1,) and int32: the rows of class 0, of class 1, ..., ascending within a class."""
    class_starts[:] = 0
    for c in values:
        class_starts[c + 1] += 1
    for c in range(class_starts.size - 1):
        class_starts[c + 1] += class_starts[c]
    place = class_starts.copy()
    for row in range(starts.size - 1):
        for c in values[starts[row] : starts[row + 1]]:
            class_rows[place[c]] = row
            place[c] += 1


@njit(cache=True, nogil=True)
def _distances(words, database_words, uncoded, middle, split, bins):
    """Fill `bins` (n,) with the bin of every database row for one query; see distances.Bins."""
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
def _mark(class_starts, class_rows, query_classes, similar):
    similar[:] = 0
    for c in query_classes:
        for row in class_rows[class_starts[c] : class_starts[c + 1]]:
            similar[row] = 1


@njit(cache=True, nogil=True)
def count(
    query_words,
    query_coded,
    query_starts,
    query_classes,
    database_words,
    uncoded,
    class_starts,
    class_rows,
    middle,
    split,
    total,
    relevant,
):
    """Add every row to `total` and `relevant` int32 (q, bins)."""
    n, width = database_words.shape[1], total.shape[1]
    bins = np.empty(n, np.uint16)
    similar = np.empty(n, np.uint8)
    # Four histograms in turn: neighbours of equal distance would otherwise wait for each other's store.
    partial = np.empty((4, width), np.int32)
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
            total[q, b] += partial[0, b] + partial[1, b] + partial[2, b] + partial[3, b]
        _mark(class_starts, class_rows, query_classes[query_starts[q] : query_starts[q + 1]], similar)
        for row in range(n):
            if similar[row]:
                relevant[q, bins[row]] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def rank(
    query_words,
    query_coded,
    query_starts,
    query_classes,
    database_words,
    uncoded,
    class_starts,
    class_rows,
    middle,
    split,
    cuts,
    ranks,
    hits,
    sums,
    cut_bin,
    cut_sums,
    cut_hits,
):
    """Rank every row; the last six arguments are the parts of a ranking.Ranking, rows of the same queries."""
    n = database_words.shape[1]
    bins = np.empty(n, np.uint16)
    similar = np.empty(n, np.uint8)
    hit_rank, hit_bin = np.empty(n + 1, np.int32), np.empty(n + 1, np.uint16)
    for q in range(query_words.shape[0]):
        if query_coded[q]:
            _distances(query_words[q], database_words, uncoded, middle, split, bins)
        else:
            bins[:] = middle
        _mark(class_starts, class_rows, query_classes[query_starts[q] : query_starts[q + 1]], similar)
        # Every row writes its rank, only a similar one moves on to the next place: no branch to guess.
        place, last = 0, ranks[q]
        for row in range(n):
            b = bins[row]
            last[b] += 1
            hit_rank[place], hit_bin[place] = last[b], b
            place += similar[row]
        for i in range(place):
            b, rank_ = hit_bin[i], hit_rank[i]
            hits[q, b] += 1
            sums[q, b] += hits[q, b] / rank_
            for c in range(cuts.size):
                if cut_bin[q, c] == b and rank_ <= cuts[c]:
                    cut_sums[q, c] = sums[q, b]
                    cut_hits[q, c] += 1
