"""Reading CIFAR's pickles without the power that a pickle has: to call whatever it names.

Only arrays of plain numbers, bytes, and the containers that the pickle format itself knows can come out. Even
numpy's own rebuilding is not called: it trusts the state that it is handed.
"""

import io
import pickle
from pathlib import Path

import numpy as np

from hashrepro.errors import UserError

_PLAIN_TYPES = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {"f4", "f8", "b1"}


def _text(value: str | bytes) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else value


class _Dtype:
    def __init__(self, name, *_flags):
        if _text(name) not in _PLAIN_TYPES:
            raise pickle.UnpicklingError(f"it holds an array of type {_text(name)!r}")
        self.dtype = np.dtype(_text(name))

    def __setstate__(self, state):
        self.dtype = self.dtype.newbyteorder(_text(state[1]))


class _Array:
    def __init__(self, *_kind_shape_code):
        self.array = None

    def __setstate__(self, state):
        _version, shape, kind, fortran, data = state
        self.array = np.frombuffer(data, kind.dtype).reshape(shape, order="F" if fortran else "C")


def _encode(text, encoding):
    # Python 3 writes bytes so in protocol 2. Other codecs, some of which expand their input, are refused.
    if _text(encoding) != "latin1":
        raise pickle.UnpicklingError(f"it asks for the codec {_text(encoding)!r}")
    return text.encode("latin1")


_ADMITTED = {
    ("numpy", "ndarray"): None,  # an argument of _reconstruct, never called
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("_codecs", "encode"): _encode,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not data")
        return _ADMITTED[module, name]


def read_pickle(path: Path) -> dict:
    """The dict in a pickle of plain data, its arrays as numpy arrays; Python 2's strings come as bytes.

    Raises:
        UserError: the file is missing, truncated, or names anything but plain data (which is not called).
    """
    try:
        content = _PlainUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        return {key: value.array if isinstance(value, _Array) else value for key, value in content.items()}
    except FileNotFoundError:
        raise UserError(
            "a file of the data set is missing", where=path, mend="fetch the files again"
        ) from None
    except Exception as error:  # a damaged pickle can make the unpickler raise anything
        raise UserError(
            f"the pickle cannot be read: {error}",
            where=path,
            mend="delete the file and fetch it again; do not open it by other means",
        ) from error
