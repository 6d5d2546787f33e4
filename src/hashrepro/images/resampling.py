"""Pillow's bilinear resize with antialiasing, bit for bit, of a crop of an image; compiled.

Pillow resizes one axis after the other. A side of n pixels is resized to m by weights of a triangle of half-width
max(n / m, 1) source pixels, rounded to multiples of 2**-22; each pass rounds to bytes. Importing this module loads
numba; the machine code is cached on disk.
"""

import math

import numba
import numpy as np
import PIL

_BITS = 22  # of the weights' fraction
_HALF = 1 << (_BITS - 1)
_STRIP = 8  # rows that are resized at once: 8 pixels of 4 bytes fill a vector register

# Before version 13, Pillow always resized the rows first. Both orders round alike, but not to the same bytes.
_PILLOW_MAY_START_WITH_COLUMNS = int(PIL.__version__.split(".")[0]) >= 13


@numba.njit(cache=True, nogil=True)
def _weights(before, after, first, count, mirrored):
    """Which source pixels make up the pixels first..first+count of a side resized from `before` to `after` pixels.

    Returns uint64 (count,), the first source pixel of each, and int32 (taps >= 3, count), the weights from there on.
    """
    scale = before / after
    reach = max(scale, 1.0)
    taps = 3
    starts = np.empty(count, np.uint64)
    weights = np.zeros((2 * math.ceil(reach) + 1, count), np.int32)
    triangle = np.empty(weights.shape[0])
    for i in range(count):
        centre = (first + i + 0.5) * scale
        low = max(int(centre - reach + 0.5), 0)
        high = min(int(centre + reach + 0.5), before)
        total = 0.0
        for t in range(high - low):
            triangle[t] = max(0.0, 1.0 - abs((low + t - centre + 0.5) * (1.0 / reach)))
            total += triangle[t]
        place = count - 1 - i if mirrored else i
        starts[place] = low
        for t in range(high - low):
            weights[t, place] = int(triangle[t] / total * (1 << _BITS) + 0.5)
            if weights[t, place]:
                taps = max(taps, t + 1)
    return starts, weights[:taps]


@numba.njit(cache=True, nogil=True)
def _combine(lines, starts, weights, out):
    """out[i] = sum over t of weights[t, i] * lines[starts[i] + t], rounded; lines (n, l) and out (count, l) uint8."""
    total = np.empty(lines.shape[1], np.int32)
    taps, end = weights.shape[0], np.uint64(lines.shape[0] - 1)
    for i in range(starts.size):
        # beyond the end the weights are 0
        first, second, third = (
            starts[i],
            min(starts[i] + np.uint64(1), end),
            min(starts[i] + np.uint64(2), end),
        )
        a, b, c = weights[0, i], weights[1, i], weights[2, i]
        if taps == 3:  # the usual: sums need not leave the registers
            for x in range(total.size):
                mean = np.int32(_HALF + a * lines[first, x] + b * lines[second, x] + c * lines[third, x])
                out[i, x] = mean >> _BITS
        else:
            for x in range(total.size):
                total[x] = _HALF + a * lines[first, x] + b * lines[second, x] + c * lines[third, x]
            for t in range(3, taps):
                weight, line = weights[t, i], first + np.uint64(t)
                if weight:
                    for x in range(total.size):
                        total[x] += weight * lines[line, x]
            for x in range(total.size):
                out[i, x] = total[x] >> _BITS


@numba.njit(cache=True, nogil=True)
def _combine_columns(words, last, starts, weights, out):
    """As `_combine`, along the rows of pixels: words (h, w - 1) and last (h,), its last column, to out (h, count).

    Strips of rows are transposed, so that a tap is one multiplication of neighbouring bytes for all rows of a strip.
    """
    width, count = words.shape[1] + 1, starts.size
    strip = np.zeros((width, _STRIP), np.uint32)
    resized = np.empty((count, _STRIP), np.uint32)
    for top in range(0, words.shape[0], _STRIP):
        rows = min(_STRIP, words.shape[0] - top)
        for r in range(rows):
            for x in range(width - 1):
                strip[x, r] = words[top + r, x]
            strip[width - 1, r] = last[top + r]
        _combine(strip.view(np.uint8), starts, weights, resized.view(np.uint8))
        for r in range(rows):
            for x in range(count):
                out[top + r, x] = resized[x, r]


@numba.njit(cache=True, nogil=True)
def _resample(pixels, words, box, height, width, window, mirrored, may_start_with_columns):
    box_top, box_left, box_height, box_width = box
    top, left, rows, columns = window
    x_starts, x_weights = _weights(box_width, width, left, columns, mirrored)
    y_starts, y_weights = _weights(box_height, height, top, rows, False)
    first = np.int64(y_starts[0])
    end = min(np.int64(y_starts[-1]) + y_weights.shape[0], box_height)
    for i in range(rows):
        y_starts[i] -= np.uint64(first)
    used = words[box_top + first : box_top + end, box_left : box_left + box_width - 1]
    edge = pixels[box_top + first : box_top + end, box_left + box_width - 1]
    last = np.empty(end - first, np.uint32)
    for y in range(last.size):
        last[y] = np.uint32(edge[y, 0]) | np.uint32(edge[y, 1]) << 8 | np.uint32(edge[y, 2]) << 16

    out = np.empty((rows, columns), np.uint32)
    shrunk = box_height - height
    if may_start_with_columns and shrunk > 0 and shrunk > 2 * (box_width - width):
        crop = np.empty((end - first, box_width), np.uint32)
        for y in range(last.size):
            for x in range(box_width - 1):
                crop[y, x] = used[y, x]
            crop[y, box_width - 1] = last[y]
        middle = np.empty((rows, box_width), np.uint32)
        _combine(crop.view(np.uint8), y_starts, y_weights, middle.view(np.uint8))
        _combine_columns(middle[:, :-1], middle[:, -1], x_starts, x_weights, out)
    else:
        middle = np.empty((end - first, columns), np.uint32)
        _combine_columns(used, last, x_starts, x_weights, middle)
        _combine(middle.view(np.uint8), y_starts, y_weights, out.view(np.uint8))
    return out


def resample(
    pixels: np.ndarray,
    box: tuple[int, int, int, int],
    height: int,
    width: int,
    *,
    window: tuple[int, int, int, int] | None = None,
    mirrored: bool = False,
) -> np.ndarray:
    """A window of a resized crop, as Pillow's crop(), resize(BILINEAR) and crop() make it.

    Args:
        pixels: contiguous uint8 (h, w, 3).
        box: (top, left, height, width) of the crop, in pixels of the image.
        height, width: size to which the crop is resized.
        window: (top, left, height, width) of what is wanted, in pixels of the resized crop; None = all of it.
        mirrored: turn the window left to right.

    Returns:
        uint32 (height, width) of the window; the bytes of a pixel are red, green, blue, and one that says nothing.
    """
    image_height, image_width, _ = pixels.shape
    # 4 bytes from every pixel on: the fourth is its neighbour's. Of the last pixel of a row there are only 3.
    words = np.ndarray((image_height, image_width - 1), np.uint32, pixels, strides=(3 * image_width, 3))
    pixels = pixels.view()
    pixels.flags.writeable = words.flags.writeable = False  # one type for the compiler, whatever came in
    window = (0, 0, height, width) if window is None else window
    return _resample(pixels, words, box, height, width, window, mirrored, _PILLOW_MAY_START_WITH_COLUMNS)


def rgb(words: np.ndarray) -> np.ndarray:
    """What `resample` returns (h, w) as a view uint8 (h, w, 3)."""
    return words.view(np.uint8).reshape(*words.shape, 4)[..., :3]
