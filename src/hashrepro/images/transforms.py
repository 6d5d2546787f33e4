"""From a decoded image to the network's input: normalising, and the random view that training sees."""

import functools
import math
from dataclasses import dataclass

import numba
import numpy as np
import torch

from hashrepro.images.resampling import resample


@functools.cache
def normalising_table(mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """float32 (3, 256): what ToTensor() and Normalize(mean, std) make of each byte; both in units of 0..1."""
    bytes_ = torch.arange(256).float().div(255)[None, :]
    return bytes_.sub(torch.tensor(mean)[:, None]).div_(torch.tensor(std)[:, None]).numpy()


@numba.njit(cache=True, nogil=True)
def normalise_views(views, rows, table, out):
    """Look up `rows` (b,) of the views (n, S, S, 3) uint8 in `table` (3, 256); into out (b, 3, S, S) float32."""
    for i in range(rows.size):
        row = rows[i]
        for y in range(views.shape[1]):
            for c in range(3):
                for x in range(views.shape[2]):
                    out[i, c, y, x] = table[c, views[row, y, x, c]]


@numba.njit(cache=True, nogil=True)
def normalise_words(words, table, out):
    """Look up what `resample` returned, (S, S) uint32, in `table` (3, 256); into out (3, S, S) float32."""
    for y in range(words.shape[0]):
        for c in range(3):
            shift = np.uint32(8 * c)
            for x in range(words.shape[1]):
                out[c, y, x] = table[c, words[y, x] >> shift & np.uint32(255)]


def random_resized_crop_box(
    rng: np.random.Generator,
    height: int,
    width: int,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> tuple[int, int, int, int]:
    """Draw (top, left, height, width) as torchvision's RandomResizedCrop does (Szegedy et al. 2015).

    The area is uniform in `scale` times the image's area, the aspect ratio (width / height) log-uniform in
    `ratio`; after ten boxes that do not fit, the largest central box with an admissible ratio is taken.
    """
    narrow, wide = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):  # low + (high - low) * random() is uniform(low, high), with less ado
        area = height * width * (scale[0] + (scale[1] - scale[0]) * rng.random())
        aspect = math.exp(narrow + (wide - narrow) * rng.random())
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w

    w, h = width, height
    if width / height < ratio[0]:
        h = round(width / ratio[0])
    elif width / height > ratio[1]:
        w = round(height * ratio[1])
    return (height - h) // 2, (width - w) // 2, h, w


@dataclass(frozen=True)
class TrainView:
    """A random crop, resized, and mirrored with probability `flip`.

    Args:
        size: side of the view in pixels.
        scale: least and greatest share of the image's area.
        ratio: least and greatest width / height of the crop.
        flip: probability of a horizontal mirror image.
    """

    size: int
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5

    def __call__(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """uint8 (h, w, 3) -> uint32 (size, size), in the form of `resample`.

        Bit for bit what Pillow's crop, bilinear resize with antialiasing and mirror image give.
        """
        box = random_resized_crop_box(rng, *pixels.shape[:2], self.scale, self.ratio)
        return resample(pixels, box, self.size, self.size, mirrored=rng.random() < self.flip)
