"""From cached images to the network's batches, in this process or in workers: the batches are the same."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from hashrepro.images.cache import ImageCache
from hashrepro.images.transforms import TrainView, normalise
from hashrepro.seeds import stream


@dataclass
class _Batches(Dataset):
    """Whole batches by their positions in `rows`: (positions int64 (b,), images float32 (b, 3, S, S))."""

    cache: ImageCache
    rows: np.ndarray
    mean: tuple[float, ...]
    std: tuple[float, ...]
    view: TrainView | None = None
    seed: int = 0
    view_path: tuple[str | int, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, positions: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        rows = self.rows[positions]
        images = self.cache.evaluation(rows) if self.view is None else self._views(rows)
        return torch.tensor(positions), normalise(images, self.mean, self.std)

    def _views(self, rows: np.ndarray) -> torch.Tensor:
        # A stream for every image: neither the batch nor the worker that an image falls to changes its view.
        streams = (stream(self.seed, "view", *self.view_path, int(row)) for row in rows)
        images = (self.cache.original(int(row)) for row in rows)
        return torch.stack([self.view(image, rng) for image, rng in zip(images, streams, strict=True)])


def _same(batch):
    return batch


def _load(batches: _Batches, order: np.ndarray, batch_size: int, workers: int) -> DataLoader:
    return DataLoader(
        batches,
        batch_sampler=[order[i : i + batch_size].tolist() for i in range(0, len(order), batch_size)],
        collate_fn=_same,
        num_workers=workers,
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
    """The evaluation views of `rows` in their order: float32 (b, 3, S, S), the last batch may be smaller."""
    rows = np.asarray(rows)
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
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """One epoch over `rows`: (positions in `rows` int64 (b,), images float32 (b, 3, S, S)).

    Args:
        view: the random view of every image; None = the evaluation view.
        path: when this epoch is, for example (iteration, epoch); names the streams of order and views.
        shuffle: visit the rows in random order; otherwise in theirs.
        view_path: names the stream of the views in place of `path`: epochs that share it see the same views.

    An image's view depends on seed, path and row only, never on the batch or the number of workers. The last
    batch may be smaller.
    """
    rows = np.asarray(rows)
    order = stream(seed, "order", *path).permutation(len(rows)) if shuffle else np.arange(len(rows))
    batches = _Batches(cache, rows, mean, std, view, seed, path if view_path is None else view_path)
    return iter(_load(batches, order, batch_size, workers))
