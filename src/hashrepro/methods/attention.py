"""What a trained network attends to: its attention maps of a few images, as they were when their codes were made."""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from hashrepro.images.cache import ImageCache
from hashrepro.images.loaders import evaluation_batches


@runtime_checkable
class Attending(Protocol):
    """A network with attention maps; one without simply lacks the method."""

    def attention(self, images: Tensor) -> Tensor | None:
        """(b, 3, S, S) -> maps (b, maps, h, w), not negative; None where the recipe has left attention out."""


@torch.no_grad()
def attention_maps(
    network: nn.Module,
    cache: ImageCache,
    rows: np.ndarray,
    chosen: np.ndarray,
    *,
    batch_size: int,
    device: torch.device,
) -> np.ndarray | None:
    """The maps of some of the images that were encoded: float32 (c, maps, h, w), or None if the network has none.

    Each image is looked at among the batch in which it was encoded, as SEM's mask looks across its batch; these are
    the maps that the image's code was made with. Runs in eval mode.

    Args:
        rows: (r,) rows of the catalog, in the order in which they were encoded.
        chosen: (c,) positions in `rows`.
        batch_size: that of the encoding.
    """
    if not isinstance(network, Attending) or len(chosen) == 0:
        return None
    network.eval()
    numbers, place = np.unique(np.asarray(chosen) // batch_size, return_inverse=True)
    together = np.concatenate([rows[n * batch_size : (n + 1) * batch_size] for n in numbers])
    found = []
    for batch in evaluation_batches(cache, together, batch_size, network.mean, network.std):
        maps = network.attention(batch.to(device))
        if maps is None:
            return None
        found.append(maps.float().cpu().numpy())
    return np.stack([found[p][c % batch_size] for p, c in zip(place, chosen, strict=True)])
