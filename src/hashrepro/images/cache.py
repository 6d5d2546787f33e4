"""The image cache: every image of a data set in a few memory-mapped files, row i for row i of the catalog.

Two kinds. "pixels" (small images of one size): `originals.npy` alone, views are made on the fly. "files":
`originals.bin` (the encoded files end to end) with `offsets.npy`, for training crops from the full image, and
`evaluation.npy` with the deterministic evaluation view of every image; by choice also `resized.bin`, every image
decoded and resized (rows of pixels end to end), with `resized_shapes.npy`, for training crops without decoding.

The rows of images that were dropped have their places in the files, too, filled with zeros: what is in the files is
counted in slots, of which the cache's rows are those that were kept.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from hashrepro.errors import UserError
from hashrepro.files import read_json
from hashrepro.images.building import HEADER, VERSION, build_cache
from hashrepro.images.decoding import central_window, decode, resized_size
from hashrepro.images.resampling import resample, rgb

if TYPE_CHECKING:
    import torch

__all__ = ["CropFrom", "ImageCache", "build_cache"]
CropFrom = Literal["original", "resized"]


class ImageCache:
    """A cache opened for reading, memory-mapped; cheap to pickle, as every process opens its own.

    Attributes:
        size: side of the evaluation views in pixels.
        views: uint8 (slots, size, size, 3), the stored evaluation views, that of a row at `slots(row)`; None where
            `view` makes them.
    """

    def __init__(self, folder: Path, header: dict, arrays: dict[str, np.ndarray]):
        self.folder, self.header = folder, header
        self.size: int = header["crop"]
        self._arrays = arrays
        self.views = arrays.get("evaluation")
        dropped = header.get("dropped", [])
        self._slots = np.delete(np.arange(len(self) + len(dropped)), dropped) if dropped else None

    @classmethod
    def open(cls, folder: str | Path) -> "ImageCache":
        """Open what `build_cache` wrote.

        Raises:
            UserError: the cache is missing, incomplete, truncated or of another version.
        """
        folder = Path(folder)
        try:
            header = read_json(folder / HEADER)
            if header["version"] != VERSION:
                raise ValueError(f"it is of version {header['version']}, this is version {VERSION}")
            n, crop = header["n"] + len(header.get("dropped", [])), header["crop"]
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

    def slots(self, rows: np.ndarray) -> np.ndarray:
        """Where the rows (b,), or one, stand in the files."""
        return rows if self._slots is None else self._slots[rows]

    def pictures(self, rows) -> np.ndarray:
        """uint8 (b, size, size, 3): the evaluation views of the rows (b,), in that order."""
        rows = np.asarray(rows)
        if self.views is not None:
            return self.views[self.slots(rows)]
        return np.stack([rgb(self.view(row)) for row in rows])

    def evaluation(self, rows) -> "torch.Tensor":
        """uint8 (b, 3, size, size): `pictures` as networks take them."""
        import torch  # half a gigabyte, which stages that only show pictures do without

        return torch.from_numpy(self.pictures(rows)).permute(0, 3, 1, 2)

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
        slot, header = self.slots(row), self.header
        if crop_from == "original":
            start, stop = self._arrays["offsets"][slot : slot + 2]
            data = self._arrays["originals"][start:stop].tobytes()
            turn, bottom = header.get("upright", False), header.get("crop_bottom", 0)
            return np.asarray(decode(data, upright=turn, crop_bottom=bottom))
        start, (height, width) = self._arrays["starts"][slot], self._arrays["shapes"][slot]
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
