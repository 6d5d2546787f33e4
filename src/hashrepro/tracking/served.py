"""The network of a run as MLflow loads and serves it: from the bytes of image files to codes.

MLflow copies this file into the model and runs it there (``models-from-code``), so that nothing is pickled.
"""

import tempfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from hashrepro.devices import prepare
from hashrepro.errors import UserError
from hashrepro.retrieval.codes import Codes
from hashrepro.search.encoder import Encoder
from hashrepro.settings import Machine


class ImageHasher(PythonModel):
    """A table with the column `image`, the bytes of image files, to codes; see `registering` for its signature."""

    def load_context(self, context) -> None:
        config = context.model_config or {}
        machine = Machine(device=config.get("device", "auto"), threads=config.get("threads", 1))
        self.encoder = Encoder.open(Path(context.artifacts["encoder"]), prepare(machine))

    def predict(self, context, model_input: pd.DataFrame, params: dict | None = None) -> np.ndarray:
        params = params or {}
        if (form := params.get("form", "packed")) not in ("packed", "signs"):
            raise UserError(
                f"There is no form {form!r}.", where="params: form", mend='use "packed" or "signs"'
            )
        values = self._encode(list(model_input["image"]), bool(params.get("together", False)))
        return Codes.pack(values).packed if form == "packed" else np.where(values >= 0, 1, -1).astype(np.int8)

    def _encode(self, images: list[bytes], together: bool) -> np.ndarray:
        if strange := [row for row, data in enumerate(images) if not isinstance(data, bytes | bytearray)]:
            what = f"Row {strange[0]} has a {type(images[strange[0]]).__name__} in place of an image file's bytes."
            raise UserError(what, where="column image", mend="read the file: open(path, 'rb').read()")
        encoder, size = self.encoder, self.encoder.about.batch_size
        batches = [range(i, min(i + size, len(images))) for i in range(0, len(images), size)]
        values, unreadable = np.zeros((len(images), encoder.about.bits), np.float32), {}
        # files, so that they come to the network by the very way that the files of a data set take
        with tempfile.TemporaryDirectory() as folder, nullcontext() if together else encoder.each_by_itself():
            paths = [str(Path(folder) / str(number)) for number in range(len(images))]
            for path, data in zip(paths, images, strict=True):
                Path(path).write_bytes(data)
            for positions, codes, found in encoder.batches(pa.array(paths, pa.string()), batches):
                values[positions] = codes
                unreadable |= found
        if unreadable:
            what = "; ".join(f"row {row}: {why}" for row, why in sorted(unreadable.items())[:20])
            raise UserError(
                f"{len(unreadable)} of {len(images)} images cannot be read: {what}",
                where="column image",
                mend="send the whole bytes of image files (JPEG, PNG, ...)",
            )
        return values


set_model(ImageHasher())
