"""Random streams by name: every draw of a run comes from a generator derived from (seed, what it is for, when).

A stream depends on nothing but its name, so a run that is resumed, or loaded by another number of workers,
draws the same numbers as an undisturbed one without any generator state being saved.
"""

import zlib

import numpy as np


def _entropy(seed: int, path: tuple[str | int, ...]) -> list[int]:
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else int(part) for part in path]
    return [int(seed), len(words), *words]  # the length, as SeedSequence takes a missing word for a zero


def stream(seed: int, *path: str | int) -> np.random.Generator:
    """The generator named `path` under `seed`, for example ``stream(0, "sample", 3)``. Numbers must be >= 0."""
    return np.random.default_rng(np.random.SeedSequence(_entropy(seed, path)))


def seed_torch(seed: int, *path: str | int) -> None:
    """Seed torch's global generators (CPU and CUDA; they drive initialisation and dropout) from a stream."""
    import torch  # half a gigabyte, which stages that only draw do without

    torch.manual_seed(int(stream(seed, *path).integers(2**63)))
