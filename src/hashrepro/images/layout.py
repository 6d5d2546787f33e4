"""Where everything will stand in an image cache, and how much disk it takes: known before an image is decoded."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hashrepro.errors import UserError
from hashrepro.images.chunks import ROW, Chunk, Parameters, file_state, measure
from hashrepro.images.pool import each

UNFINISHED = "building"  # folder within a cache's, of what is being written
TrainingCache = Literal["none", "resized"]
_CHUNK = 128  # rows that a process handles at a time
_NPY_HEADER = 128  # bytes before an array


@dataclass(frozen=True)
class Plan:
    """What an image cache takes on disk.

    Attributes:
        files: bytes of each of its files, without its header, which takes a few hundred.
    """

    files: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.files.values())

    def __str__(self) -> str:
        large = [f"{name} {size / 1e9:.2f}" for name, size in self.files.items() if size >= 5e6]
        return f"{self.total / 1e9:.2f} GB" + (f" ({', '.join(large)})" if large else "")


def plan(
    images: Sequence[str | Path] | np.ndarray,
    resize: int,
    crop: int,
    training_cache: TrainingCache = "none",
    crop_bottom: int = 0,
    *,
    upright: bool = False,
    workers: int = 0,
) -> Plan:
    """What the image cache of `images` takes on disk; arguments as of `build_cache`. No image is decoded.

    Exact when all images can be decoded. With a training cache every file's header is read.
    """
    if isinstance(images, np.ndarray):
        return Plan({"originals.npy": _NPY_HEADER + without_bottom(images, crop_bottom).nbytes})
    ours = Parameters(len(images), resize, crop, training_cache == "resized", upright, crop_bottom)
    return planned(make_table([os.fspath(path) for path in images], ours, workers), ours)


def planned(table: np.ndarray, ours: Parameters) -> Plan:
    """What files with these rows take."""
    files = {
        "evaluation.npy": _NPY_HEADER + 3 * ours.n * ours.crop**2,
        "originals.bin": int(offsets(table)[-1]),
        "offsets.npy": _NPY_HEADER + 8 * (ours.n + 1),
    }
    if ours.keep_resized:
        files["resized.bin"] = int(_resized_bytes(table).sum())
        files["resized_shapes.npy"] = _NPY_HEADER + 16 * ours.n
    return Plan(files)


def check_room(needed: Plan, destination: str | Path) -> None:
    """Check that the disk of `destination` has room; what an unfinished build there takes already counts as room.

    Raises:
        UserError: it has not.
    """
    place = Path(destination)
    taken = sum(path.stat().st_blocks * 512 for path in (place / UNFINISHED).glob("*"))
    while not place.exists():
        place = place.absolute().parent
    free = shutil.disk_usage(place).free + taken
    if needed.total > free:
        smaller = ", or set the data set's training_cache to none" if "resized.bin" in needed.files else ""
        raise UserError(
            f"The image cache takes {needed}, but only {free / 1e9:.2f} GB of disk are free.",
            where=destination,
            mend=f"free some space{smaller}",
        )


def without_bottom(images: np.ndarray, crop_bottom: int) -> np.ndarray:
    return images[:, : images.shape[1] - crop_bottom]


def offsets(table: np.ndarray) -> np.ndarray:
    """int64 (n + 1,): where every file's bytes begin in originals.bin, and where the last ones end."""
    return _ends(np.maximum(table["size"], 0))


def _resized_bytes(table: np.ndarray) -> np.ndarray:
    return 3 * table["height"].astype(np.int64) * table["width"]


def _ends(sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1, np.int64), sizes.cumsum()])


def make_table(paths: Sequence[str], ours: Parameters, workers: int) -> np.ndarray:
    """(n,) of dtype ROW: every image's file as it is now, and its places in the cache."""
    table = np.zeros(len(paths), ROW)
    for row, path in enumerate(paths):
        name = hashlib.blake2b(os.fsencode(path), digest_size=8).digest()
        table[row] = (int.from_bytes(name, "little"), *file_state(path), 0, 0, 0, 0)
    table["original"] = offsets(table)[:-1]
    if ours.keep_resized:
        everything = chunks(range(len(paths)), paths, table, ours)
        for chunk, sizes in each(measure, everything, processes(len(paths), workers)):
            table["height"][chunk.rows], table["width"][chunk.rows] = sizes.T
        table["resized"] = _ends(_resized_bytes(table))[:-1]
    return table


def processes(rows: int, workers: int) -> int:
    """How many processes are worth starting for that many rows; 0 if they are one chunk."""
    return min(workers, -(-rows // _CHUNK)) if rows > _CHUNK else 0


def chunks(
    rows: Iterable[int],
    paths: Sequence[str],
    table: np.ndarray,
    ours: Parameters,
    *,
    moved: np.ndarray | None = None,
    folder: Path = Path(),
) -> Iterator[Chunk]:
    """The rows in pieces for one process each; see `Chunk`."""
    rows = np.asarray(rows)
    for first in range(0, len(rows), _CHUNK):
        some = rows[first : first + _CHUNK]
        flags = np.zeros(len(some), bool) if moved is None else moved[some]
        yield Chunk(some, [paths[row] for row in some], table[some], flags, ours, folder)
