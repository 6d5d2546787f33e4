"""Counting 512 rows at a time: bit j of 512 codes is one vector, a plane; importing this module loads numba.

The planes' differences from a query's bits are summed by carry-save adders (a full adder takes three planes of
weight w and gives one of weight w, one of 2 w) until the distance of every row stands in a few planes, its
binary digits. A distance's rows are then an AND of these planes or their complements, and a population count of
that vector adds them to the histogram. Per row this takes about as many bit operations as the code has bits.

Rows are sorted by class, so that a query's relevant rows are runs, and few vectors hold any. Where a row has several
labels there is a plane for each label instead, and a query's relevant rows are the OR of its labels' planes.

The vectors are LLVM's; it makes of them AVX-512, pairs of AVX2 or fours of NEON registers. All compiled functions that
call each other stand in this file, because numba renews its cache by file.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from hashrepro.retrieval.counting.planes import LANES, ROWS, aligned

# The longest code that is counted this way. Counts are kept in a vector a distance, and should stay in L1.
BITS = 511
_L2 = 3 * 2**17  # bytes of planes that all queries go over before the next
_LEVELS = 11  # digits of a distance, with one to spare
_HIGH = 2**7  # minterms of those from weight 8 on, with as many to spare
_FIXED = _LEVELS + _HIGH + 8 + LANES  # vectors of room before the counts

_WORD = ir.IntType(64)
_VECTOR = ir.VectorType(_WORD, LANES)
_ZERO, _ONES = (ir.Constant(_VECTOR, [word] * LANES) for word in (0, -1))


class _Vector(types.Type):
    """A value of 512 bits."""

    def __init__(self) -> None:
        super().__init__(name="hashrepro.Vector")


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, _VECTOR)


_vector = _Vector()


def _pointer(context, builder, kind, array, index):
    """To the vector number `index` of a contiguous array of int64."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(builder.bitcast(data, _VECTOR.as_pointer()), [index])


def _instruction(builder, name, result):
    """An LLVM function of one vector."""
    kind = ir.FunctionType(result, [_VECTOR])
    return cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}i64")


@intrinsic
def _load(typing_context, array, index):
    def generate(context, builder, signature, arguments):
        return builder.load(_pointer(context, builder, signature.args[0], *arguments), align=64)

    return _vector(array, types.int64), generate


@intrinsic
def _store(typing_context, array, index, value):
    def generate(context, builder, signature, arguments):
        builder.store(arguments[2], _pointer(context, builder, signature.args[0], *arguments[:2]), align=64)
        return context.get_dummy_value()

    return types.void(array, types.int64, _vector), generate


@intrinsic
def _ones(typing_context):
    return _vector(), lambda context, builder, signature, arguments: _ONES


@intrinsic
def _both(typing_context, x, y):
    return _vector(x, y), lambda context, builder, signature, arguments: builder.and_(*arguments)


@intrinsic
def _either(typing_context, x, y):
    return _vector(x, y), lambda context, builder, signature, arguments: builder.or_(*arguments)


@intrinsic
def _differ(typing_context, x, y):
    return _vector(x, y), lambda context, builder, signature, arguments: builder.xor(*arguments)


@intrinsic
def _some(typing_context, x):
    """Whether any bit is set."""

    def generate(context, builder, signature, arguments):
        words = builder.icmp_unsigned("!=", arguments[0], _ZERO)
        return builder.icmp_unsigned("!=", builder.bitcast(words, ir.IntType(LANES)), ir.IntType(LANES)(0))

    return types.boolean(x), generate


@intrinsic
def _sum(typing_context, array, index):
    """Sum of the words of the vector number `index`."""

    def generate(context, builder, signature, arguments):
        value = builder.load(_pointer(context, builder, signature.args[0], *arguments), align=64)
        return builder.call(_instruction(builder, "vector.reduce.add", _WORD), [value])

    return types.int64(array, types.int64), generate


@intrinsic
def _popcount(typing_context, word):
    return types.int64(word), lambda context, builder, signature, arguments: builder.ctpop(arguments[0])


@intrinsic
def _trailing_zeros(typing_context, word):
    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.IntType(1)(0))

    return types.int64(word), generate


@intrinsic
def _keep(typing_context, array, terms):
    """Store eight vectors."""

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, signature.args[0], arguments[0], _WORD(0))
        for i, term in enumerate(cgutils.unpack_tuple(builder, arguments[1], 8)):
            builder.store(term, builder.gep(pointer, [_WORD(i)]), align=64)
        return context.get_dummy_value()

    return types.void(array, terms), generate


@intrinsic
def _sum_before(typing_context, counts, distance, high, eight, low, lower, lanes, lane):
    """Sum of counts[distance] and of the set bits of high[eight] & low[lower] & lanes[lane]."""

    def generate(context, builder, signature, arguments):
        count, upper, term, words = (
            builder.load(_pointer(context, builder, signature.args[i], *arguments[i : i + 2]), align=64)
            for i in (0, 2, 4, 6)
        )
        rows = builder.and_(builder.and_(upper, term), words)
        count = builder.add(count, builder.call(_instruction(builder, "ctpop", _VECTOR), [rows]))
        return builder.call(_instruction(builder, "vector.reduce.add", _WORD), [count])

    places = [kind for array in (counts, high, low, lanes) for kind in (array, types.int64)]
    return types.int64(*places), generate


@intrinsic
def _set_bits(typing_context, x):
    """Number of set bits."""

    def generate(context, builder, signature, arguments):
        counts = builder.call(_instruction(builder, "ctpop", _VECTOR), arguments)
        return builder.call(_instruction(builder, "vector.reduce.add", _WORD), [counts])

    return types.int64(x), generate


@intrinsic
def _no_sums(typing_context):
    def generate(context, builder, signature, arguments):
        return context.make_tuple(builder, signature.return_type, [_ZERO] * 4)

    return types.UniTuple(_vector, 4)(), generate


def _full_adder(context, builder, x, y, z):
    """(x + y + z) % 2 and the carry, each a single instruction where the processor has AVX-512."""
    if "+avx512f" in context.codegen().magic_tuple()[2]:
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3 + [ir.IntType(32)])
        ternary = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.pternlog.q.512")
        odd, majority = ir.IntType(32)(0x96), ir.IntType(32)(0xE8)
        return builder.call(ternary, [x, y, z, odd]), builder.call(ternary, [x, y, z, majority])
    differ = builder.xor(x, y)
    return builder.xor(differ, z), builder.or_(builder.and_(x, y), builder.and_(differ, z))


def _adder(planes, query, sums, size):
    """Add `size` (8 or 16) differences of planes and query bits to sums of weights 1, 2, 4, 8.

    The compiled arguments: planes, number of the first plane, query, number of its first bit, the four sums.
    Returns the sums, and the carry of weight 16.
    """

    def generate(context, builder, signature, arguments):
        first = _pointer(context, builder, signature.args[0], *arguments[:2])
        words = context.make_array(signature.args[2])(context, builder, arguments[2]).data
        words = builder.gep(words, [arguments[3]])
        sums = list(cgutils.unpack_tuple(builder, arguments[4], 4))

        def difference(i):
            word = builder.load(builder.gep(words, [_WORD(i)]))
            undefined = ir.Constant(_VECTOR, ir.Undefined)
            lowest = builder.insert_element(undefined, word, ir.IntType(32)(0))
            lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
            bit = builder.shuffle_vector(lowest, undefined, lanes)
            return builder.xor(builder.load(builder.gep(first, [_WORD(i)]), align=64), bit)

        def carry(level, i, size):
            """Adds `size` = 2^(level + 1) differences from i on; the carry of weight 2^(level + 1)."""
            if level == 0:
                x, y = difference(i), difference(i + 1)
            else:
                x = carry(level - 1, i, size // 2)
                y = carry(level - 1, i + size // 2, size // 2)
            sums[level], over = _full_adder(context, builder, sums[level], x, y)
            return over

        if size == 16:
            over = carry(3, 0, 16)
        else:
            eight = carry(2, 0, 8)
            sums[3], over = builder.xor(sums[3], eight), builder.and_(sums[3], eight)
        return context.make_tuple(builder, signature.return_type, [*sums, over])

    return types.UniTuple(_vector, 5)(planes, types.int64, query, types.int64, sums), generate


@intrinsic
def _add_16(typing_context, planes, plane, query, bit, sums):
    return _adder(planes, query, sums, 16)


@intrinsic
def _add_8(typing_context, planes, plane, query, bit, sums):
    return _adder(planes, query, sums, 8)


@intrinsic
def _minterms(typing_context, ones, twos, fours):
    """For each number 0 .. 7, where these three digits are its own."""

    def generate(context, builder, signature, arguments):
        terms = [_ONES]
        for digit in arguments:
            terms = [builder.and_(term, builder.not_(digit)) for term in terms] + [
                builder.and_(term, digit) for term in terms
            ]
        return context.make_tuple(builder, signature.return_type, terms)

    return types.UniTuple(_vector, 8)(ones, twos, fours), generate


@intrinsic
def _tally(typing_context, counts, first, where, terms):
    """Add the set bits of `where` & terms[i] to the vector number `first` + i of `counts`."""

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, signature.args[0], *arguments[:2])
        set_bits = _instruction(builder, "ctpop", _VECTOR)
        for i, term in enumerate(cgutils.unpack_tuple(builder, arguments[3], 8)):
            place = builder.gep(pointer, [_WORD(i)])
            found = builder.call(set_bits, [builder.and_(arguments[2], term)])
            builder.store(builder.add(builder.load(place, align=64), found), place, align=64)
        return context.get_dummy_value()

    return types.void(counts, types.int64, where, terms), generate


@njit(cache=True, nogil=True)
def _distances(planes, block, query, digits, high):
    """Distances of 512 rows: their digits into `digits`, all minterms of those from weight 8 on into `high`.

    Returns the minterms of the three lower digits.
    """
    eighths = planes.shape[1] // 8
    sums, levels = _no_sums(), 0
    for pair in range((eighths + 1) // 2):
        plane = block * 8 * eighths + 16 * pair
        if 2 * pair + 1 < eighths:
            added = _add_16(planes, plane, query, 16 * pair, sums)
        else:
            added = _add_8(planes, plane, query, 16 * pair, sums)
        sums = (added[0], added[1], added[2], added[3])
        carry = added[4]
        # `levels` digits above that of weight 8 may be set; every power of two of carries adds one.
        for level in range(4, levels + 4):
            digit = _load(digits, level)
            _store(digits, level, _differ(digit, carry))
            carry = _both(digit, carry)
        if (pair + 1) >> levels:
            _store(digits, levels + 4, carry)
            levels += 1
    _store(digits, 3, sums[3])
    _store(high, 0, _ones())
    size = 1
    for level in range(3, levels + 4):
        digit = _load(digits, level)
        for i in range(size):
            term = _load(high, i)
            one = _both(term, digit)
            _store(high, i + size, one)
            _store(high, i, _differ(term, one))
        size *= 2
    _store(digits, 0, sums[0])
    _store(digits, 1, sums[1])
    _store(digits, 2, sums[2])
    return _minterms(sums[0], sums[1], sums[2])


@njit(cache=True, nogil=True)
def _count_vectors(planes, first, last, query, eights, masks, masked, digits, high, total, relevant):
    """Add the rows of the vectors first .. last to `total`, and those in their masks to `relevant`, a vector a bin.

    masks[0] is that of the vector `first`. Distances are below 8 * `eights`; `digits` and `high` are room.
    """
    for block in range(first, last):
        low = _distances(planes, block, query, digits, high)
        for eight in range(eights):
            # Few of the distances occur among 512 rows.
            term = _load(high, eight)
            if _some(term):
                _tally(total, 8 * eight, term, low)
                if masked:
                    similar = _both(term, _load(masks, block - first))
                    if _some(similar):
                        _tally(relevant, 8 * eight, similar, low)


@njit(cache=True, nogil=True)
def _mask_runs(class_starts, classes, first, last, masks):
    """Set the bits of the runs of some classes; the vectors that hold any: from, up to (none: both `first`).

    masks[0] is the mask of the vector `first`; masks are 0 before, and to be set to 0 from .. up to afterwards.
    """
    low, high = last, first
    flat = masks.reshape(-1)
    for c in classes:
        start = max(class_starts[c], first * ROWS)
        stop = min(class_starts[c + 1], last * ROWS)
        if start < stop:
            low, high = min(low, start // ROWS), max(high, (stop - 1) // ROWS + 1)
            start, stop = start - first * ROWS, stop - first * ROWS
            for word in range(start // 64, (stop - 1) // 64 + 1):
                bits = -1
                if word == start // 64:
                    bits &= -1 << (start % 64)
                if word == (stop - 1) // 64:
                    bits &= (1 << (stop - 1) % 64) * 2 - 1
                flat[word] |= bits
    return (low, high) if low < high else (first, first)


@njit(cache=True, nogil=True)
def _mask_planes(label_planes, classes, first, last, masks):
    """As `_mask_runs`, from the planes of the labels."""
    vectors = label_planes.shape[1]
    for i, c in enumerate(classes):
        for v in range(first, last):
            similar = _load(label_planes, c * vectors + v)
            _store(masks, v - first, similar if i == 0 else _either(_load(masks, v - first), similar))
    return first, last if len(classes) else first


@njit(cache=True, nogil=True)
def _similar(class_starts, uncoded_by_class, label_planes, coded_vectors, classes):
    """Number of relevant rows: (coded, uncoded)."""
    coded, uncoded, vectors = 0, 0, label_planes.shape[1]
    if label_planes.size:
        for v in range(vectors if len(classes) else 0):
            similar = _load(label_planes, classes[0] * vectors + v)
            for c in classes[1:]:
                similar = _either(similar, _load(label_planes, c * vectors + v))
            if v < coded_vectors:
                coded += _set_bits(similar)
            else:
                uncoded += _set_bits(similar)
    else:
        for c in classes:
            coded += class_starts[c + 1] - class_starts[c]
            uncoded += uncoded_by_class[c]
    return coded, uncoded


@njit(cache=True, nogil=True)
def count(
    query_words,
    query_coded,
    query_starts,
    query_classes,
    planes,
    coded,
    uncoded,
    class_starts,
    uncoded_by_class,
    label_planes,
    bits,
    middle,
    split,
    room,
    total,
    relevant,
):
    """Add all rows of a planes.ClassedPlanes to `total` and `relevant` int32 (q, bins).

    Queries in the form of `kernel.count`; bits, middle and split as in distances.Bins; `room`: of `room_for`.
    """
    vectors, width = planes.shape[0], planes.shape[1]
    eights = bits // 8 + 1
    step = max(1, _L2 // (64 * width))
    digits, high = room[:_LEVELS], room[_LEVELS:][:_HIGH]
    sums, similar_sums, masks = (
        room[_FIXED:][: 8 * eights],
        room[_FIXED + 8 * eights :][: 8 * eights],
        room[_FIXED + 16 * eights :],
    )
    masks[:] = 0
    query = np.zeros(width, np.int64)
    for first in range(0, vectors, step):
        last = min(first + step, vectors)
        for q in range(query_coded.size):
            if not query_coded[q]:
                continue
            classes = query_classes[query_starts[q] : query_starts[q + 1]]
            for bit in range(bits):
                query[bit] = -(query_words[q, bit // 64] >> bit % 64 & 1)
            if label_planes.size:
                low, top = _mask_planes(label_planes, classes, first, last, masks)
            else:
                low, top = _mask_runs(class_starts, classes, first, last, masks)
            sums[:] = 0
            _count_vectors(planes, first, low, query, eights, masks, False, digits, high, sums, similar_sums)
            if low < top:
                similar_sums[:] = 0
                here = masks[low - first : top - first]
                _count_vectors(planes, low, top, query, eights, here, True, digits, high, sums, similar_sums)
                here[:] = 0
                for b in range(bits + 1):
                    relevant[q, b + (split and b >= middle)] += _sum(similar_sums, b)
            _count_vectors(planes, top, last, query, eights, masks, False, digits, high, sums, similar_sums)
            for b in range(bits + 1):
                total[q, b + (split and b >= middle)] += _sum(sums, b)

    for q in range(query_coded.size):
        classes = query_classes[query_starts[q] : query_starts[q + 1]]
        if query_coded[q]:
            # The rows that fill up the last vector are all 0, and have been counted.
            distance = 0
            for word in query_words[q]:
                distance += _popcount(word)
            total[q, distance + (split and distance >= middle)] -= vectors * ROWS - coded
            total[q, middle] += uncoded
            if uncoded:
                relevant[q, middle] += _similar(
                    class_starts, uncoded_by_class, label_planes, vectors, classes
                )[1]
        else:
            total[q, middle] += coded + uncoded
            found = _similar(class_starts, uncoded_by_class, label_planes, vectors, classes)
            relevant[q, middle] += found[0] + found[1]


@njit(cache=True, nogil=True)
def _mask_rows(class_starts, class_rows, classes, first, last, masks):
    """Set the bits of the rows of some classes, in vectors that are in row order; see `_mask_runs`."""
    flat = masks.reshape(-1)
    for c in classes:
        rows = class_rows[class_starts[c] : class_starts[c + 1]]
        start, stop = np.searchsorted(rows, first * ROWS), np.searchsorted(rows, last * ROWS)
        for row in rows[start:stop]:
            place = row - first * ROWS
            flat[place // 64] |= 1 << place % 64


@njit(cache=True, nogil=True, error_model="numpy")
def _rank_similar(
    mask, digits, high, low, lanes, levels, counts, cuts, ranks, hits, sums, cut_bin, cut_sums, cut_hits
):
    """Give ranks to the rows in `mask`, of one vector.

    `high` and `low` have its minterms, `counts` the vectors before; lanes[l] masks the words before word l.
    """
    for lane in range(LANES):
        left = mask[lane]
        while left:
            bit = _trailing_zeros(left)
            left &= left - 1
            distance = 0
            for level in range(levels):
                distance |= (digits[level, lane] >> bit & 1) << level
            eight, lower = distance >> 3, distance & 7
            before = _sum_before(counts, distance, high, eight, low, lower, lanes, lane)
            before += _popcount(high[eight, lane] & low[lower, lane] & (1 << bit) - 1)
            rank = ranks[distance] + before + 1
            hits[distance] += 1
            sums[distance] += hits[distance] / rank
            for c in range(cuts.size):
                if cut_bin[c] == distance and rank <= cuts[c]:
                    cut_sums[c] = sums[distance]
                    cut_hits[c] += 1


@njit(cache=True, nogil=True)
def rank(
    query_words,
    query_starts,
    query_classes,
    planes,
    rows,
    class_starts,
    class_rows,
    bits,
    room,
    cuts,
    ranks,
    hits,
    sums,
    cut_bin,
    cut_sums,
    cut_hits,
):
    """Rank the rows of planes that are in row order; all rows and queries coded.

    `room`: of `room_for`; the last six arguments as in `kernel.rank`.
    """
    vectors, width = planes.shape[0], planes.shape[1]
    eights = bits // 8 + 1
    levels = 3
    while eights >> (levels - 3):
        levels += 1
    step = max(1, _L2 // (64 * width))
    digits, high, low = room[:_LEVELS], room[_LEVELS:][:_HIGH], room[_LEVELS + _HIGH :][:8]
    counts, masks = room[_FIXED:][: 8 * eights], room[_FIXED + 16 * eights :]
    masks[:] = 0
    lanes = room[_LEVELS + _HIGH + 8 :][:LANES]
    for lane in range(LANES):
        lanes[lane, :lane], lanes[lane, lane:] = -1, 0
    query = np.zeros(width, np.int64)
    for first in range(0, vectors, step):
        last = min(first + step, vectors)
        for q in range(query_words.shape[0]):
            for bit in range(bits):
                query[bit] = -(query_words[q, bit // 64] >> bit % 64 & 1)
            classes = query_classes[query_starts[q] : query_starts[q + 1]]
            _mask_rows(class_starts, class_rows, classes, first, last, masks)
            counts[:] = 0
            for block in range(first, last):
                terms = _distances(planes, block, query, digits, high)
                if _some(_load(masks, block - first)):
                    _keep(low, terms)
                    _rank_similar(
                        masks[block - first],
                        digits,
                        high,
                        low,
                        lanes,
                        levels,
                        counts,
                        cuts,
                        ranks[q],
                        hits[q],
                        sums[q],
                        cut_bin[q],
                        cut_sums[q],
                        cut_hits[q],
                    )
                    masks[block - first] = 0
                for eight in range(eights):
                    term = _load(high, eight)
                    if _some(term):
                        _tally(counts, 8 * eight, term, terms)
            for b in range(bits + 1):
                ranks[q, b] += _sum(counts, b)
    for q in range(query_words.shape[0]):
        # The rows that fill up the last vector are all 0, and have been counted.
        distance = 0
        for word in query_words[q]:
            distance += _popcount(word)
        ranks[q, distance] -= vectors * ROWS - rows


def room_for(bits: int, planes: np.ndarray) -> np.ndarray:
    """int64 (vectors, 8): for digits, minterms, two counts a bin, and masks of the vectors gone through at once."""
    step = max(1, _L2 // (64 * planes.shape[1]))
    return aligned(_FIXED + 16 * (bits // 8 + 1) + min(step, len(planes)), LANES)
