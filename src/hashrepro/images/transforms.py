"""From a decoded image to the network's input: normalising, and the random view that training sees."""

import functools
import math
from dataclasses import dataclass

import numba
import numpy as np
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F


@functools.cache
def _table(mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """float32 (3, 256): what ToTensor() and Normalize(mean, std) make of each byte."""
    bytes_ = torch.arange(256).float().div(255)[None, :]
    return bytes_.sub(torch.tensor(mean)[:, None]).div_(torch.tensor(std)[:, None]).numpy()


@numba.njit(cache=True, nogil=True)
def _look_up(batch, table, out):
    for i in range(batch.shape[0]):
        for c in range(batch.shape[1]):
            for y in range(batch.shape[2]):
                for x in range(batch.shape[3]):
                    out[i, c, y, x] = table[c, batch[i, c, y, x]]


def normalise(batch: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """uint8 (b, 3, S, S) -> contiguous float32 (b, 3, S, S), equal bit for bit to ToTensor() and Normalize().

    The result depends on channel and byte only, so it is looked up. `mean` and `std` are in units of 0..1.
    Fresh memory for batches above 32 MB (53 images of 224 px) costs more than the look-up itself.
    """
    out = torch.empty(batch.shape, dtype=torch.float32)
    _look_up(batch.numpy(), _table(tuple(mean), tuple(std)), out.numpy())
    return out


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
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
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

    def __call__(self, image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """uint8 (3, h, w) -> uint8 (3, size, size). The bilinear resize is within 1 of Pillow's."""
        top, left, height, width = random_resized_crop_box(rng, *image.shape[-2:], self.scale, self.ratio)
        crop = image[:, top : top + height, left : left + width]
        view = F.resize(crop, [self.size, self.size], InterpolationMode.BILINEAR, antialias=True)
        return view.flip(-1) if rng.random() < self.flip else view
