"""From image files to the network's batches: the very pixels that `preprocess` would have kept of them."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from hashrepro.images.cache import ImageCache
from hashrepro.images.decoding import decode, evaluation_view, reason
from hashrepro.images.transforms import normalising_table
from hashrepro.processes import end_with
from hashrepro.search.about import View


def view_of(cache: ImageCache) -> View:
    """The view that a cache was built with."""
    header = cache.header
    return View(header["resize"], header["crop"], header.get("upright", False), header.get("crop_bottom", 0))


def picture(path: str | Path, view: View) -> Image.Image:
    """The RGB image of a file, whole, turned and cut as `view` says.

    Raises:
        Exception: it cannot be read; `images.decoding.reason` says why in a line.
    """
    if not os.path.isfile(path):
        os.stat(path)
        raise ValueError("not a file")
    data = Path(path).read_bytes()
    if not data:
        raise ValueError("the file is empty")
    return decode(data, upright=view.upright, crop_bottom=view.crop_bottom)


def pixels(path: str | Path, view: View) -> np.ndarray:
    """uint8 (crop, crop, 3), what networks see of a file; raises as `picture`."""
    return evaluation_view(picture(path, view), view.resize, view.crop)[0]


@dataclass(frozen=True)
class Batch:
    """Some images of a list.

    Attributes:
        positions: int64 (b,), which of the list could be read.
        images: float32 (b, 3, crop, crop).
        unreadable: position -> why that file could not be read.
    """

    positions: np.ndarray
    images: torch.Tensor
    unreadable: dict[int, str]


@dataclass
class _Files(Dataset):
    paths: pa.Array  # of strings: ten million of them are one block of memory, which forked processes share
    view: View
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        views, kept, unreadable = [], [], {}
        for position in positions:
            try:
                views.append(pixels(self.paths[position].as_py(), self.view))
                kept.append(position)
            except Exception as error:  # whatever Pillow's plugins stumble over in a damaged file
                unreadable[position] = reason(error)
        side, table = self.view.crop, normalising_table(tuple(self.mean), tuple(self.std))
        images = np.empty((len(kept), 3, side, side), np.float32)
        for image, view in zip(images, views, strict=True):
            # not the compiled look-up of the cache's loader, of the same bits: loading that costs a search a second
            for channel in range(3):
                np.take(table[channel], view[..., channel], out=image[channel], mode="clip")
        return Batch(np.array(kept, np.int64), torch.from_numpy(images), unreadable)


def _same(batch: Batch) -> Batch:
    return batch


def _ending_with(parent: int, _worker: int) -> None:
    end_with(parent)


def file_batches(
    paths: pa.Array,
    batches: Sequence[Sequence[int]],
    view: View,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    workers: int = 0,
) -> Iterator[Batch]:
    """The batches of positions in `paths`, one after the other, decoded in `workers` processes beside this one.

    A file that cannot be read is named in its batch and changes nothing for the batches beside.
    """
    loader = DataLoader(
        _Files(paths, view, mean, std),
        batch_sampler=batches,
        collate_fn=_same,
        num_workers=workers,
        worker_init_fn=partial(_ending_with, os.getpid()),
        generator=torch.Generator(),  # its own: a DataLoader would otherwise draw from torch's global one
    )
    return iter(loader)
