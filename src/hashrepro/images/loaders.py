"""From cached images to the network's batches, in this process or in workers: the batches are the same."""

import math
import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from hashrepro.images.cache import CropFrom, ImageCache
from hashrepro.images.streams import streams
from hashrepro.images.transforms import TrainView, normalise_views, normalise_words, normalising_table
from hashrepro.processes import end_with
from hashrepro.seeds import stream


class _Memory:
    """Memory of batches, used again when all tensors on it are gone.

    Fresh memory costs more than filling it, where a batch has more than 32 MB (55 images of 224 px).
    """

    def __init__(self):
        self._spare: list[np.ndarray] = []

    def take(self, shape: tuple[int, ...]) -> torch.Tensor:
        """float32, uninitialised."""
        size = math.prod(shape)
        fitting = [i for i, memory in enumerate(self._spare) if memory.size >= size]
        memory = self._spare.pop(fitting[0]) if fitting else np.empty(size, np.float32)
        array = memory[:size].reshape(shape)
        # torch holds `array` for as long as any tensor, view or worker's message stands on its memory
        weakref.finalize(array, self._give_back, memory).atexit = False
        return torch.from_numpy(array)

    def _give_back(self, memory: np.ndarray) -> None:
        if len(self._spare) < 2:  # the batch at work and the next one
            self._spare.append(memory)


@dataclass
class _Batches(Dataset):
    """Whole batches by their positions in `rows`: (positions int64 (b,), images float32 (b, 3, S, S))."""

    cache: ImageCache
    rows: np.ndarray
    mean: tuple[float, ...]
    std: tuple[float, ...]
    view: TrainView | None = None
    crop_from: CropFrom = "original"
    seed: int = 0
    view_path: tuple[str | int, ...] = ()
    memory: _Memory = field(default_factory=_Memory)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, positions: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        rows, size = self.rows[positions], self.cache.size if self.view is None else self.view.size
        images = self.memory.take((len(rows), 3, size, size))
        table, out = normalising_table(tuple(self.mean), tuple(self.std)), images.numpy()
        if self.view is None and self.cache.views is not None:
            normalise_views(self.cache.views, self.cache.slots(rows), table, out)
        else:
            for words, image in zip(self._words(rows), out, strict=True):
                normalise_words(words, table, image)
        return torch.tensor(positions), images

    def _words(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        if self.view is None:
            yield from (self.cache.view(row) for row in rows)
        else:
            # A stream for every image: neither the batch nor the worker that an image falls to changes its view.
            for row, rng in zip(rows, streams(self.seed, ("view", *self.view_path), rows), strict=True):
                yield self.view(self.cache.pixels(row, self.crop_from), rng)


def _same(batch):
    return batch


def _ending_with(parent: int, _worker: int) -> None:
    end_with(parent)


def _checked(rows: np.ndarray, cache: ImageCache) -> np.ndarray:
    rows = np.asarray(rows)  # the compiled look-up would read beyond the file
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(cache):
        raise IndexError(f"rows {rows.min()}..{rows.max()} of a cache of {len(cache)} images")
    return rows


def _load(batches: _Batches, order: np.ndarray, batch_size: int, workers: int) -> DataLoader:
    return DataLoader(
        batches,
        batch_sampler=[order[i : i + batch_size].tolist() for i in range(0, len(order), batch_size)],
        collate_fn=_same,
        num_workers=workers,
        worker_init_fn=partial(_ending_with, os.getpid()),
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # its own: a DataLoader would otherwise draw from torch's global one
    )


def evaluation_batches(
    cache: ImageCache,
    rows: np.ndarray,
    batch_size: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    workers: int = 0,
) -> Iterator[torch.Tensor]:
    """The evaluation views of `rows` in their order: float32 (b, 3, S, S), the last batch may be smaller.

    The memory of a batch is used again once nothing refers to it.
    """
    rows = _checked(rows, cache)
    loader = _load(_Batches(cache, rows, mean, std), np.arange(len(rows)), batch_size, workers)
    return (images for _, images in loader)


def train_batches(
    cache: ImageCache,
    rows: np.ndarray,
    batch_size: int,
    view: TrainView | None,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    *,
    seed: int,
    path: tuple[str | int, ...],
    workers: int = 0,
    shuffle: bool = True,
    view_path: tuple[str | int, ...] | None = None,
    crop_from: CropFrom = "original",
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """One epoch over `rows`: (positions in `rows` int64 (b,), images float32 (b, 3, S, S)).

    Args:
        view: the random view of every image; None = the evaluation view.
        path: when this epoch is, for example (iteration, epoch); names the streams of order and views.
        shuffle: visit the rows in random order; otherwise in theirs.
        view_path: names the stream of the views in place of `path`: epochs that share it see the same views.
        crop_from: what random crops are cut from. "original": the image as it is, as the references do (on CIFAR-10,
            32 x 32 pixels). "resized": the image with its shorter side first resized to the cache's `resize`: what
            Resize() before RandomResizedCrop() gives, bit for bit. Small crops of large images lose detail: of smooth
            photographs of 500 x 375 pixels, at 256 and 224, a view of the whole image differs by at most 7 grey
            levels from the one of the original (0.9 in the mean), a view of its central quarter by up to 36 (4.3).

    An image's view depends on seed, path and row only, never on the batch or the number of workers. The last
    batch may be smaller. The memory of a batch is used again once nothing refers to it.

    Raises:
        UserError: the cache has no resized images, or `crop_from` is unknown.
    """
    if view is not None:
        cache.require(crop_from)
    rows = _checked(rows, cache)
    order = stream(seed, "order", *path).permutation(len(rows)) if shuffle else np.arange(len(rows))
    view_path = path if view_path is None else view_path
    batches = _Batches(cache, rows, mean, std, view, crop_from, seed, view_path)
    return iter(_load(batches, order, batch_size, workers))
