"""From encoded files to pixels, and the deterministic view that evaluation sees."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile
from torch import Generator
from torch.utils.data import DataLoader, Dataset

# SEMICON's and SCHN's loaders accept a JPEG whose end is missing; so do we, or the image counts would differ.
ImageFile.LOAD_TRUNCATED_IMAGES = True


def decode(data: bytes) -> Image.Image:
    """The RGB image of an encoded file's bytes. A JPEG whose end is missing is accepted, its rest is grey."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")  # convert would copy an RGB image


def resized_size(height: int, width: int, resize: int) -> tuple[int, int]:
    """(height, width) after the shorter side was resized to `resize` pixels; the longer one is rounded down."""
    if width <= height:
        return int(resize * height / width), resize
    return resize, int(resize * width / height)


def central_window(height: int, width: int, crop: int) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the central `crop` × `crop` pixels; half a pixel goes to the even side."""
    return round((height - crop) / 2), round((width - crop) / 2), crop, crop


class Decoded(NamedTuple):
    """One file.

    Attributes:
        data: its bytes; none if it cannot be read or decoded.
        view: its evaluation view, uint8 (crop, crop, 3).
        resized: the image with its shorter side resized, uint8 (h, w, 3), if it was asked for.
        error: what is wrong with the file.
    """

    data: bytes
    view: np.ndarray | None = None
    resized: np.ndarray | None = None
    error: str | None = None


class _Files(Dataset):
    def __init__(self, paths: Sequence[Path], resize: int, crop: int, keep_resized: bool):
        self.paths, self.resize, self.crop, self.keep_resized = paths, resize, crop, keep_resized

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> Decoded:
        try:
            data = self.paths[row].read_bytes()
            image = decode(data)
            height, width = resized_size(image.height, image.width, self.resize)
            resized = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
            top, left, _, _ = central_window(height, width, self.crop)
            view = resized[top : top + self.crop, left : left + self.crop]
            return Decoded(data, view, resized if self.keep_resized else None)
        except Exception as error:  # Pillow's plugins raise whatever they stumble over in a damaged file
            return Decoded(b"", error=f"{self.paths[row]}: {type(error).__name__}: {error}")


def _same(item):
    return item


def decoded(
    paths: Sequence[Path], resize: int, crop: int, workers: int, *, keep_resized: bool = False
) -> Iterator[Decoded]:
    """Every file in order, decoded by `workers` processes; with 0, by this one.

    The evaluation view: the shorter side to `resize` pixels (bilinear, antialiased), then the central `crop` × `crop`.
    """
    # A generator of its own: a DataLoader would otherwise draw from torch's global one.
    files, own = _Files(paths, resize, crop, keep_resized), Generator()
    return iter(DataLoader(files, batch_size=None, num_workers=workers, collate_fn=_same, generator=own))


def resized_bytes(paths: Sequence[Path], resize: int) -> int:
    """Bytes of all images with their shorter side resized, by the sizes that the files state; no damaged ones."""
    total = 0
    for path in paths:
        try:
            with Image.open(path) as image:
                height, width = resized_size(image.height, image.width, resize)
        except Exception:  # named when the cache is built
            continue
        total += height * width * 3
    return total
