"""The random streams of many images at once: what `seeds.stream` gives, without building a generator for each.

Follows numpy's SeedSequence and PCG64 (M. O'Neill 2014), whose numbers numpy guarantees not to change.
"""

from collections.abc import Iterator, Sequence

import numba
import numpy as np

from hashrepro.seeds import stream

_MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645  # of PCG64's 128-bit state
_MASK = (1 << 128) - 1


@numba.njit(cache=True, nogil=True)
def _scramble(value, constant, multiplier):
    """(the scrambled word, the next constant), all uint32."""
    following = np.uint32(constant * multiplier)
    value = np.uint32((value ^ constant) * following)
    return value ^ (value >> np.uint32(16)), following


@numba.njit(cache=True, nogil=True)
def _seeds(words, last):
    """uint64 (len(last), 4): SeedSequence([*words, row]).generate_state(4, uint64) for every row of `last`."""
    out = np.empty((last.size, 8), np.uint32)
    source, pool = np.empty(max(words.size + 1, 4), np.uint32), np.empty(4, np.uint32)
    for i in range(last.size):
        for k in range(words.size):
            source[k] = words[k]
        source[words.size] = last[i]
        for k in range(words.size + 1, source.size):
            source[k] = 0
        constant = np.uint32(0x43B0D7E5)
        for k in range(4):
            pool[k], constant = _scramble(source[k], constant, np.uint32(0x931E8875))
        for s in range(source.size):
            for k in range(4):
                if s != k:
                    word = pool[s] if s < 4 else source[s]
                    word, constant = _scramble(word, constant, np.uint32(0x931E8875))
                    mixed = np.uint32(pool[k] * np.uint32(0xCA01F9DD) - word * np.uint32(0x4973F715))
                    pool[k] = mixed ^ (mixed >> np.uint32(16))
        constant = np.uint32(0x8B51F9DD)
        for k in range(8):
            out[i, k], constant = _scramble(pool[k % 4], constant, np.uint32(0x58F38DED))
    return out.view(np.uint64)


def streams(seed: int, path: Sequence[str | int], rows: np.ndarray) -> Iterator[np.random.Generator]:
    """`stream(seed, *path, row)` of every row, in turn: one generator, valid until the next is asked for.

    Args:
        rows: (r,) integers, 0 <= row < 2**32.
    """
    generator = stream(seed, *path, 0)
    bits = generator.bit_generator
    state = bits.state
    words = [
        number >> shift & 0xFFFFFFFF
        for number in bits.seed_seq.entropy[:-1]
        for shift in range(0, max(number.bit_length(), 1), 32)
    ]
    seeds = _seeds(np.array(words, np.uint32), np.asarray(rows).astype(np.uint32))
    for high, low, high_increment, low_increment in seeds.tolist():
        increment = ((high_increment << 64 | low_increment) << 1 | 1) & _MASK
        start = (high << 64 | low) + increment
        state["state"] = {"state": (start * _MULTIPLIER + increment) & _MASK, "inc": increment}
        bits.state = state
        yield generator
