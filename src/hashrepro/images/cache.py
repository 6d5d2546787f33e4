"""The image cache: every image of a data set in a few memory-mapped files, row i for row i of the catalog.

Two kinds. "pixels" (small images of one size): `originals.npy` alone, views are made on the fly. "files":
`originals.bin` (the encoded files end to end) with `offsets.npy`, for training crops from the full image, and
`evaluation.npy` with the deterministic evaluation view of every image; by choice also `resized.bin`, every image
decoded and resized (rows of pixels end to end), with `resized_shapes.npy`, for training crops without decoding.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from tqdm import tqdm

from hashrepro.errors import UserError
from hashrepro.files import file_digest, read_json, whole, write_json
from hashrepro.images.decoding import central_window, decode, decoded, resized_size
from hashrepro.images.resampling import resample, rgb

VERSION = 1
_HEADER = "images.json"
CropFrom = Literal["original", "resized"]


def _build_files(
    destination: Path, paths: Sequence[Path], resize: int, crop: int, workers: int, resized: bool, bar: tqdm
) -> int:
    offsets = np.zeros(len(paths) + 1, dtype=np.int64)
    shapes = np.zeros((len(paths), 2), dtype=np.int64)
    damaged = []
    with contextlib.ExitStack() as stack:

        def part(name: str) -> Path:
            return stack.enter_context(whole(destination / name))

        originals = stack.enter_context(open(part("originals.bin"), "wb"))
        pixels = stack.enter_context(open(part("resized.bin"), "wb")) if resized else None
        evaluation = np.lib.format.open_memmap(
            part("evaluation.npy"), "w+", np.uint8, (len(paths), crop, crop, 3)
        )
        for row, image in enumerate(decoded(paths, resize, crop, workers, keep_resized=resized)):
            if image.error is None:
                originals.write(image.data)
                evaluation[row] = image.view
            else:
                damaged.append(image.error)
            if image.resized is not None:
                pixels.write(image.resized)
                shapes[row] = image.resized.shape[:2]
            offsets[row + 1] = offsets[row] + len(image.data)
            bar.update()
        if damaged:
            raise UserError(
                f"{len(damaged)} of {len(paths)} images cannot be decoded:\n    " + "\n    ".join(damaged),
                where=paths[0].parent,
                mend="replace these files by intact copies (fetch the data set again)",
            )
        evaluation.flush()
        _save(part("offsets.npy"), offsets)
        if resized:
            _save(part("resized_shapes.npy"), shapes)
    return int(offsets[-1])


def _save(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as file:  # np.save would add .npy to a temporary name
        np.save(file, array)


def build_cache(
    destination: Path,
    images: Sequence[Path] | np.ndarray,
    *,
    resize: int,
    crop: int,
    workers: int,
    training_cache: Literal["none", "resized"] = "none",
    progress: bool = True,
) -> dict:
    """Write the cache of `images` into the folder `destination`; the header `images.json` comes last.

    Args:
        images: n paths of encoded files, or uint8 (n, h, w, 3).
        resize: shorter side in pixels before the central crop.
        crop: side of the evaluation view in pixels, at most `resize`.
        workers: processes that decode; 0 = this one.
        training_cache: "resized" also keeps every file's image with its shorter side resized to `resize`, decoded.
            Images that come as pixels are resized when they are asked for: nothing is kept.

    Returns:
        the header: kind, n, resize, crop, version, the bytes of the originals and their SHA-256, and whether there is
        a training cache (only then).

    Raises:
        UserError: crop exceeds resize, or images cannot be decoded (all of them are named).
    """
    if not 0 < crop <= resize:
        raise UserError(f"crop {crop} must be within 1..resize {resize}", mend="change crop or resize")
    destination = Path(destination)
    destination.mkdir(parents=True, exist_ok=True)
    for stale in (destination / _HEADER, *destination.glob(".*.part")):
        stale.unlink(missing_ok=True)
    resized = training_cache == "resized" and not isinstance(images, np.ndarray)
    if isinstance(images, np.ndarray):
        with whole(destination / "originals.npy") as temporary:
            _save(temporary, images)
        kind, originals, original_bytes = "pixels", "originals.npy", images.nbytes
    else:
        with tqdm(total=len(images), desc="decoding", unit="image", disable=not progress) as bar:
            original_bytes = _build_files(destination, images, resize, crop, workers, resized, bar)
        kind, originals = "files", "originals.bin"
    header = {"kind": kind, "n": len(images), "resize": resize, "crop": crop, "version": VERSION}
    header |= {"original_bytes": int(original_bytes), "digest": file_digest(destination / originals)}
    if resized:  # a header without it stays what it was: runs on such a cache are not stale
        header["training_cache"] = training_cache
    write_json(destination / _HEADER, header)
    return header


class ImageCache:
    """A cache opened for reading, memory-mapped; cheap to pickle, as every process opens its own.

    Attributes:
        size: side of the evaluation views in pixels.
        views: uint8 (n, size, size, 3), the stored evaluation views; None where `view` makes them.
    """

    def __init__(self, folder: Path, header: dict, arrays: dict[str, np.ndarray]):
        self.folder, self.header = folder, header
        self.size: int = header["crop"]
        self._arrays = arrays
        self.views = arrays.get("evaluation")

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
                if "training_cache" in header:
                    arrays["resized"] = np.memmap(folder / "resized.bin", np.uint8, "r")
                    arrays["shapes"] = np.load(folder / "resized_shapes.npy")
                    ends = np.cumsum(3 * arrays["shapes"].prod(axis=1))
                    arrays["starts"] = ends - 3 * arrays["shapes"].prod(axis=1)
                    complete &= arrays["shapes"].shape == (n, 2) and arrays["resized"].size == ends[-1]
            if not complete:
                raise ValueError("its files do not have the sizes that its header says")
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            raise UserError(
                f"the image cache cannot be read: {error}",
                where=folder,
                mend="make it again: dvc repro -f of that data set's preprocess stage",
            ) from error
        return cls(folder, header, {name: np.asarray(array) for name, array in arrays.items()})

    def __reduce__(self):
        return ImageCache.open, (self.folder,)

    def __len__(self) -> int:
        return self.header["n"]

    def evaluation(self, rows) -> torch.Tensor:
        """uint8 (b, 3, size, size): the evaluation views of the rows (b,), in that order."""
        rows = np.asarray(rows)
        views = (
            self.views[rows] if self.views is not None else np.stack([rgb(self.view(row)) for row in rows])
        )
        return torch.from_numpy(views).permute(0, 3, 1, 2)

    def view(self, row: int) -> np.ndarray:
        """uint32 (size, size): the evaluation view of a row that is kept as pixels, in the form of `resample`."""
        pixels = self._arrays["originals"][row]
        height, width = pixels.shape[:2]
        resized = resized_size(height, width, self.header["resize"])
        return resample(pixels, (0, 0, height, width), *resized, window=central_window(*resized, self.size))

    def pixels(self, row: int, crop_from: CropFrom = "original") -> np.ndarray:
        """uint8 (h, w, 3), not to be written to: the image that random crops of this row are cut from.

        Args:
            crop_from: "original", the image in its own size; "resized", with its shorter side resized to `resize`
                pixels, from the training cache.
        """
        if self.header["kind"] == "pixels":
            pixels = self._arrays["originals"][row]
            if crop_from == "original":
                return pixels
            height, width = pixels.shape[:2]
            resized = resized_size(height, width, self.header["resize"])
            return np.ascontiguousarray(rgb(resample(pixels, (0, 0, height, width), *resized)))
        if crop_from == "original":
            start, stop = self._arrays["offsets"][row : row + 2]
            return np.asarray(decode(self._arrays["originals"][start:stop].tobytes()))
        start, (height, width) = self._arrays["starts"][row], self._arrays["shapes"][row]
        return self._arrays["resized"][start : start + 3 * height * width].reshape(height, width, 3)

    def require(self, crop_from: CropFrom) -> None:
        """Check that `pixels` can be asked for this.

        Raises:
            UserError: `crop_from` is unknown, or the cache was built without what it needs.
        """
        if crop_from not in get_args(CropFrom):
            known = " or ".join(get_args(CropFrom))
            raise UserError(f"crop_from is {crop_from!r}, which is unknown.", mend=f"set it to {known}")
        if crop_from == "resized" and self.header["kind"] == "files" and "resized" not in self._arrays:
            raise UserError(
                "Random crops are to come from resized images, but the image cache has none.",
                where=self.folder,
                mend=f"set datasets.{self.folder.name}.training_cache: resized in params.yaml and run dvc repro; or "
                "set the recipe's crop_from: original",
            )
