"""From encoded files to pixels, and the deterministic view that evaluation sees."""

import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFile
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

# SEMICON's and SCHN's loaders accept a JPEG whose end is missing; so do we, or the image counts would differ.
ImageFile.LOAD_TRUNCATED_IMAGES = True


def decode(data: bytes) -> Image.Image:
    """The RGB image of an encoded file's bytes. A JPEG whose end is missing is accepted, its rest is grey."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def evaluation_view(image: Image.Image | torch.Tensor, resize: int, crop: int) -> Image.Image | torch.Tensor:
    """Shorter side to `resize` pixels (bilinear, antialiased), then the central `crop` × `crop`.

    `image` is a Pillow image or a uint8 tensor (..., 3, h, w), and so is the result.
    """
    resized = F.resize(image, [resize], InterpolationMode.BILINEAR, antialias=True)
    return F.center_crop(resized, [crop, crop])


def _same_in_torch_and_pillow(before: int, after: int) -> bool:
    # They round weights differently, except where every weight is a short binary fraction: when a side grows
    # by a ratio whose reduced numerator is a power of two (28 -> 64, 32 -> 256).
    numerator = after // math.gcd(before, after)
    return after >= before and numerator & (numerator - 1) == 0


def evaluation_views(pixels: np.ndarray, resize: int, crop: int) -> torch.Tensor:
    """uint8 (b, h, w, 3) -> uint8 (b, 3, crop, crop), equal bit for bit to Pillow's views.

    Made as one batch by torch for the sizes for which both agree, image by image by Pillow otherwise.
    """
    short, long = sorted(pixels.shape[1:3])
    if _same_in_torch_and_pillow(short, resize) and _same_in_torch_and_pillow(long, resize * long // short):
        return evaluation_view(torch.from_numpy(pixels).permute(0, 3, 1, 2), resize, crop)
    views = [np.asarray(evaluation_view(Image.fromarray(image), resize, crop)) for image in pixels]
    return torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2)


class _Files(Dataset):
    def __init__(self, paths: Sequence[Path], resize: int, crop: int):
        self.paths, self.resize, self.crop = paths, resize, crop

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[bytes, np.ndarray | None, str | None]:
        try:
            data = self.paths[row].read_bytes()
            return data, np.asarray(evaluation_view(decode(data), self.resize, self.crop)), None
        except Exception as error:  # Pillow's plugins raise whatever they stumble over in a damaged file
            return b"", None, f"{self.paths[row]}: {type(error).__name__}: {error}"


def _same(item):
    return item


def decoded(
    paths: Sequence[Path], resize: int, crop: int, workers: int
) -> Iterator[tuple[bytes, np.ndarray | None, str | None]]:
    """For every file in order: its bytes, its evaluation view uint8 (crop, crop, 3), and None.

    Of a file that cannot be read or decoded: no bytes, None, and what is wrong with it.
    `workers` processes decode; with 0, this one does.
    """
    # A generator of its own: a DataLoader would otherwise draw from torch's global one.
    files, own = _Files(paths, resize, crop), torch.Generator()
    return iter(DataLoader(files, batch_size=None, num_workers=workers, collate_fn=_same, generator=own))
