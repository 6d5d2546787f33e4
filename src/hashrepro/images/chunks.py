"""What one process does of an image cache: some rows of its files. Imports little, as every process starts with it."""

import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hashrepro.errors import UserError
from hashrepro.images.decoding import decode, evaluation_view, kept_size, reason, stated_size

# What is known of a row before it is decoded: a hash of its path, its file's bytes and time of change (-1: there is no
# file), where its bytes begin in originals.bin, and the size of its resized image and where that begins in resized.bin.
_FIELDS = {"path": "u8", "size": "i8", "changed": "i8", "original": "i8"}
_FIELDS |= {"height": "i4", "width": "i4", "resized": "i8"}
ROW = np.dtype(list(_FIELDS.items()))


@dataclass(frozen=True)
class Parameters:
    """Of a cache of n images: see `build_cache`."""

    n: int
    resize: int
    crop: int
    keep_resized: bool
    upright: bool
    crop_bottom: int

    @property
    def files(self) -> list[str]:
        """The files that rows are written to, the evaluation views' first, then the originals'."""
        return ["evaluation.npy", "originals.bin", *["resized.bin"] * self.keep_resized]


@dataclass(frozen=True)
class Chunk:
    """Rows that one process handles at a time.

    Attributes:
        rows: (b,) their numbers.
        paths: their b files.
        table: (b,) of dtype ROW.
        moved: bool (b,), of rows whose views are done: only the file's bytes are to be written to another place.
        folder: of the files to write to.
    """

    rows: np.ndarray
    paths: Sequence[str]
    table: np.ndarray
    moved: np.ndarray
    parameters: Parameters
    folder: Path


def file_state(path: str) -> tuple[int, int]:
    """(bytes, time of change in ns) of a file; (-1, -1) where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: no path at all
        return -1, -1
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else (-1, -1)


def _read(path: str, expected: tuple[int, int]) -> bytes:
    """The bytes of a file in the state in which it is expected.

    Raises:
        OSError, ValueError: it cannot be read, or is empty.
        UserError: its state is another.
    """
    data, error = b"", None
    try:
        if expected[0] < 0:
            os.stat(path)
            raise ValueError("not a file")
        data = Path(path).read_bytes()
        if not data:
            raise ValueError("the file is empty")
    except (OSError, ValueError) as caught:
        error = caught
    if file_state(path) != expected or (error is None and len(data) != expected[0]):
        raise UserError(
            "An image changed while the cache was being built.",
            where=path,
            mend="run it again when nothing writes to that folder any more; what was done is kept",
        )
    if error is not None:
        raise error
    return data


def measure(chunk: Chunk) -> np.ndarray:
    """int32 (b, 2): height and width of the resized images, by the files' headers; 0 of those without a sound one."""
    sizes, ours = np.zeros((len(chunk.rows), 2), np.int32), chunk.parameters
    for i, path in enumerate(chunk.paths):
        try:
            stated = stated_size(path, upright=ours.upright, crop_bottom=ours.crop_bottom)
            sizes[i] = kept_size(*stated, ours.resize)
        except Exception:  # named when the file is decoded
            continue
    return sizes


def _parts(data: bytes, entry: np.void, ours: Parameters) -> list:
    """What is kept of a file, in the order of `Parameters.files`; raises whatever is wrong with it."""
    image = decode(data, upright=ours.upright, crop_bottom=ours.crop_bottom)
    if ours.keep_resized:
        size = kept_size(image.height, image.width, ours.resize)
        if size != (entry["height"], entry["width"]):
            raise ValueError(f"{image.height} × {image.width} pixels, but its header states another size")
    view, resized = evaluation_view(image, ours.resize, ours.crop)
    return [np.ascontiguousarray(view), data, *[resized] * ours.keep_resized]


def write(chunk: Chunk) -> dict[int, str]:
    """Write the rows of a chunk to the files of its folder, zeros where an image cannot be decoded.

    Returns:
        the rows that cannot be decoded, and why.

    Raises:
        UserError: a file changed since `chunk.table` was made, or the memory does not suffice.
    """
    ours, unreadable = chunk.parameters, {}
    view_bytes = 3 * ours.crop**2
    with ExitStack() as stack:
        files = [stack.enter_context(open(chunk.folder / name, "r+b")) for name in ours.files]
        first_view = os.fstat(files[0].fileno()).st_size - ours.n * view_bytes
        for row, path, entry, moved in zip(chunk.rows, chunk.paths, chunk.table, chunk.moved, strict=True):
            places = [first_view + int(row) * view_bytes, int(entry["original"]), int(entry["resized"])]
            try:
                data = _read(path, (entry["size"], entry["changed"]))
                parts = [None, data, None] if moved else _parts(data, entry, ours)
            except MemoryError as error:
                mend = "use fewer workers, or leave the image out of the data set"
                raise UserError("The memory does not suffice for an image.", where=path, mend=mend) from error
            except UserError:
                raise
            except Exception as error:  # Pillow's plugins raise whatever they stumble over in a damaged file
                unreadable[int(row)] = reason(error)
                resized_bytes = 3 * int(entry["height"]) * int(entry["width"])
                zeros = [bytes(view_bytes), bytes(max(int(entry["size"]), 0)), bytes(resized_bytes)]
                parts = [None, zeros[1], None] if moved else zeros
            for file, place, part in zip(files, places, parts, strict=False):
                if part is not None:
                    file.seek(place)
                    if row in unreadable and file.read(len(part)) == part:
                        continue  # a hole in the file takes no disk
                    file.seek(place)
                    file.write(part)
    return unreadable
