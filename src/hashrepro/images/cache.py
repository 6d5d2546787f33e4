"""The image cache: every image of a data set in a few memory-mapped files, row i for row i of the catalog.

Two kinds. "pixels" (small images of one size): `originals.npy` alone, evaluation views are made on the fly.
"files": `originals.bin` (the encoded files end to end) with `offsets.npy`, for training crops from the full
image, and `evaluation.npy` with the deterministic evaluation view of every image.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from hashrepro.errors import UserError
from hashrepro.files import file_digest, read_json, whole, write_json
from hashrepro.images.decoding import decode, decoded, evaluation_views

VERSION = 1
_HEADER = "images.json"


def _build_files(
    destination: Path, paths: Sequence[Path], resize: int, crop: int, workers: int, bar: tqdm
) -> int:
    offsets = np.zeros(len(paths) + 1, dtype=np.int64)
    damaged = []
    with (
        whole(destination / "originals.bin") as bin_path,
        whole(destination / "evaluation.npy") as view_path,
        whole(destination / "offsets.npy") as offsets_path,
    ):
        evaluation = np.lib.format.open_memmap(view_path, "w+", np.uint8, (len(paths), crop, crop, 3))
        with open(bin_path, "wb") as originals:
            for row, (data, view, error) in enumerate(decoded(paths, resize, crop, workers)):
                if error is None:
                    originals.write(data)
                    evaluation[row] = view
                else:
                    damaged.append(error)
                offsets[row + 1] = offsets[row] + len(data)
                bar.update()
        if damaged:
            raise UserError(
                f"{len(damaged)} of {len(paths)} images cannot be decoded:\n    " + "\n    ".join(damaged),
                where=paths[0].parent,
                mend="replace these files by intact copies (fetch the data set again)",
            )
        evaluation.flush()
        with open(offsets_path, "wb") as file:
            np.save(file, offsets)
    return int(offsets[-1])


def build_cache(
    destination: Path,
    images: Sequence[Path] | np.ndarray,
    *,
    resize: int,
    crop: int,
    workers: int,
    progress: bool = True,
) -> dict:
    """Write the cache of `images` into the folder `destination`; the header `images.json` comes last.

    Args:
        images: n paths of encoded files, or uint8 (n, h, w, 3).
        resize: shorter side in pixels before the central crop.
        crop: side of the evaluation view in pixels, at most `resize`.
        workers: processes that decode; 0 = this one.

    Returns:
        the header: kind, n, resize, crop, version, the bytes of the originals and their SHA-256.

    Raises:
        UserError: crop exceeds resize, or images cannot be decoded (all of them are named).
    """
    if not 0 < crop <= resize:
        raise UserError(f"crop {crop} must be within 1..resize {resize}", mend="change crop or resize")
    destination = Path(destination)
    destination.mkdir(parents=True, exist_ok=True)
    for stale in (destination / _HEADER, *destination.glob(".*.part")):
        stale.unlink(missing_ok=True)
    if isinstance(images, np.ndarray):
        with whole(destination / "originals.npy") as temporary, open(temporary, "wb") as file:
            np.save(file, images)
        kind, originals, original_bytes = "pixels", "originals.npy", images.nbytes
    else:
        with tqdm(total=len(images), desc="decoding", unit="image", disable=not progress) as bar:
            original_bytes = _build_files(destination, images, resize, crop, workers, bar)
        kind, originals = "files", "originals.bin"
    header = {"kind": kind, "n": len(images), "resize": resize, "crop": crop, "version": VERSION}
    header |= {"original_bytes": int(original_bytes), "digest": file_digest(destination / originals)}
    write_json(destination / _HEADER, header)
    return header


class ImageCache:
    """A cache opened for reading, memory-mapped; cheap to pickle, as every process opens its own."""

    def __init__(self, folder: Path, header: dict, arrays: dict[str, np.ndarray]):
        self.folder, self.header = folder, header
        self.size: int = header["crop"]
        self._arrays = arrays

    @classmethod
    def open(cls, folder: str | Path) -> "ImageCache":
        """Open what `build_cache` wrote.

        Raises:
            UserError: the cache is missing, incomplete, truncated or of another version.
        """
        folder = Path(folder)
        try:
            header = read_json(folder / _HEADER)
            if header["version"] != VERSION:
                raise ValueError(f"it is of version {header['version']}, this is version {VERSION}")
            n, crop = header["n"], header["crop"]
            if header["kind"] == "pixels":
                arrays = {"originals": np.load(folder / "originals.npy", mmap_mode="r")}
                complete = len(arrays["originals"]) == n
            else:
                arrays = {
                    "originals": np.memmap(folder / "originals.bin", np.uint8, "r"),
                    "offsets": np.load(folder / "offsets.npy"),
                    "evaluation": np.load(folder / "evaluation.npy", mmap_mode="r"),
                }
                complete = (
                    arrays["offsets"].shape == (n + 1,)
                    and arrays["originals"].size == arrays["offsets"][-1]
                    and arrays["evaluation"].shape == (n, crop, crop, 3)
                )
            if not complete:
                raise ValueError("its files do not have the sizes that its header says")
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            raise UserError(
                f"the image cache cannot be read: {error}",
                where=folder,
                mend="make it again: dvc repro -f of that data set's preprocess stage",
            ) from error
        return cls(folder, header, arrays)

    def __reduce__(self):
        return ImageCache.open, (self.folder,)

    def __len__(self) -> int:
        return self.header["n"]

    def evaluation(self, rows) -> torch.Tensor:
        """uint8 (b, 3, size, size): the evaluation views of the rows (b,), in that order."""
        rows = np.asarray(rows)
        if self.header["kind"] == "files":
            return torch.from_numpy(self._arrays["evaluation"][rows]).permute(0, 3, 1, 2)
        return evaluation_views(self._arrays["originals"][rows], self.header["resize"], self.size)

    def original(self, row: int) -> torch.Tensor:
        """uint8 (3, h, w): the image of this row in its own size."""
        if self.header["kind"] == "pixels":
            pixels = self._arrays["originals"][row]
        else:
            start, stop = self._arrays["offsets"][row : row + 2]
            pixels = decode(self._arrays["originals"][start:stop].tobytes())
        return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)
