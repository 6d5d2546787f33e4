"""A trained network with the view that it sees, in a folder of its own: from image files to codes."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from hashrepro.errors import UserError
from hashrepro.files import file_digest, read_json, whole
from hashrepro.images.cache import ImageCache
from hashrepro.learning.base import load_method
from hashrepro.learning.loop import encode
from hashrepro.networks.sem import SEM
from hashrepro.search.about import WEIGHTS, About, View
from hashrepro.search.folder import damaged
from hashrepro.search.folders import utf8
from hashrepro.search.views import file_batches, view_of

_NAMED = 20  # files that a message names at most


class Encoder:
    """Images to real-valued codes, in eval mode and float32, on one device.

    Attributes:
        about: what it is.
    """

    def __init__(self, about: About, weights: Path, network: nn.Module, device: torch.device):
        self.about, self.weights, self.device = about, weights, device
        self.network = network
        self._across = [
            module
            for module in network.modules()
            if isinstance(module, SEM) and module.masked and module.std == "batch"
        ]

    @contextlib.contextmanager
    def each_by_itself(self) -> Iterator[None]:
        """Encode images as if each were a batch of its own, but for rounding, in batches all the same."""
        for module in self._across:
            module.std = "image"
        try:
            yield
        finally:
            for module in self._across:
                module.std = "batch"

    @classmethod
    def of_run(cls, folder: Path, view: View, classes: int, device: torch.device) -> "Encoder":
        """The network of a finished run.

        Args:
            folder: runs/<suite>/<run>, with train.json and model.safetensors.
            view, classes: of its data set.

        Raises:
            UserError: a file is missing or damaged, or the network of today has other parts.
        """
        folder, mend = Path(folder), "train it again: dvc repro"
        try:
            trained = read_json(folder / "train.json")
            about = About(
                folder.name,
                trained.get("kind", trained["method"]),
                trained["recipe"],
                trained["bits"],
                classes,
                trained["seed"],
                view,
                file_digest(folder / WEIGHTS),
            )
        except FileNotFoundError as error:
            what = f"The run has no {Path(error.filename).name}."
            raise UserError(what, where=folder, mend=mend) from None
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            what = f"The run's train.json is damaged: {error!r}."
            raise UserError(what, where=folder / "train.json", mend=mend) from error
        return cls._load(about, folder / WEIGHTS, device)

    @classmethod
    def open(cls, folder: Path, device: torch.device) -> "Encoder":
        """Open what `save` wrote.

        Raises:
            UserError: a file is missing or damaged, or the weights are not the ones that were saved.
        """
        about, path = About.read(folder), Path(folder) / WEIGHTS
        if not path.is_file():
            raise damaged("This folder has no weights.", path, {"run": about.run})
        if file_digest(path) != about.model:
            what = "These are not the weights that the folder's codes were made with: their SHA-256 differs."
            raise damaged(what, path, {"run": about.run})
        return cls._load(about, path, device)

    @classmethod
    def _load(cls, about: About, path: Path, device: torch.device) -> "Encoder":
        mend = "check out the commit that trained the run, or train it again: dvc repro"
        kind = load_method(about.method)
        try:
            recipe = kind.Recipe.model_validate(about.recipe)
            # weights: every tensor of the network is replaced below, so that none is fetched or drawn in earnest
            bare = recipe.model_copy(update={"weights": "none"})
            network = kind.untrained_network(bare, about.bits, about.classes, about.seed)
            network.load_state_dict(load_file(path))
        except ValidationError as error:
            first = error.errors()[0]
            what = f"The run's recipe is not one of today's {about.method}: {first['msg']}."
            where = f"{path.parent.name}: recipe.{'.'.join(map(str, first['loc']))}"
            raise UserError(what, where=where, mend=mend) from error
        except (RuntimeError, SafetensorError) as error:
            what = f"The weights do not fit the network: {' '.join(str(error).split())[:200]}"
            raise UserError(what, where=path, mend=mend) from error
        return cls(about, path, network.to(device).eval(), device)

    def save(self, folder: Path) -> None:
        """Write the weights and `encoder.json` into a folder."""
        folder = Path(folder)
        with whole(folder / WEIGHTS) as temporary:
            shutil.copyfile(self.weights, temporary)
        self.about.write(folder)

    def encode_files(
        self, paths: Sequence[str | Path], *, batch_size: int | None = None, workers: int = 0
    ) -> np.ndarray:
        """Real-valued codes, float32 (n, bits), of n files.

        Args:
            batch_size: images in a forward pass; None = the recipe's own. With 1, an image's code depends on no
                other image, not even by rounding.

        Raises:
            UserError: files cannot be read; all are named.
        """
        size = batch_size or self.about.batch_size
        batches = [range(i, min(i + size, len(paths))) for i in range(0, len(paths), size)]
        names = pa.array([utf8(os.fspath(path)) for path in paths], pa.string())
        codes, unreadable = np.zeros((len(paths), self.about.bits), np.float32), {}
        for positions, values, found in self.batches(names, batches, workers):
            codes[positions] = values
            unreadable |= found
        if unreadable:
            raise unreadable_files({os.fspath(paths[i]): why for i, why in unreadable.items()})
        return codes

    def encode_rows(
        self, cache: ImageCache, rows: np.ndarray, *, batch_size: int | None = None, workers: int = 0
    ) -> np.ndarray:
        """Real-valued codes, float32 (n, bits), of n rows of the data set's image cache; as `encode_files`.

        Raises:
            UserError: the cache shows another view than the one that this network was trained for.
        """
        if (view := view_of(cache)) != self.about.view:
            raise UserError(
                f"The image cache was made for {view}, the network for {self.about.view}.",
                where=cache.folder,
                mend="make the index again from a run on this cache, or preprocess the data set as it was",
            )
        rows, size = torch.from_numpy(np.asarray(rows, np.int64)), batch_size or self.about.batch_size
        return encode(self.network, cache, rows, batch_size=size, device=self.device, workers=workers).numpy()

    @torch.no_grad()
    def batches(self, paths: pa.Array, batches: Sequence[Sequence[int]], workers: int = 0):
        """Yield (positions (b,), codes float32 (b, bits), {position: why it is unreadable}) of every batch."""
        about, network = self.about, self.network
        for batch in file_batches(paths, batches, about.view, network.mean, network.std, workers):
            values = torch.empty(0, about.bits)
            if len(batch.images):
                values = network.encode(batch.images.to(self.device, non_blocking=True)).float().cpu()
            yield batch.positions, values.numpy(), batch.unreadable


def unreadable_files(files: dict[str, str], mend: str = "repair these files, or leave them out") -> UserError:
    """The error that names files that cannot be read, {path: why}."""
    lines = [f"{path}: {why}" for path, why in list(files.items())[:_NAMED]]
    lines += [f"and {len(files) - _NAMED} more"] if len(files) > _NAMED else []
    count = "1 image" if len(files) == 1 else f"{len(files)} images"
    return UserError(f"{count} cannot be read:\n    " + "\n    ".join(lines), mend=mend)
