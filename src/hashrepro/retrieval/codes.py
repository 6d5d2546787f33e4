"""Bit-packed codes and the file that keeps them."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hashrepro.errors import UserError
from hashrepro.files import whole

FORMAT = "hashrepro codes, version 1"
BIT_ORDER = "little: bit j of a code is bit j % 8, counted from the lowest, of byte j // 8; 1 means +1"


@dataclass(frozen=True, eq=False)
class Codes:
    """`n` binary codes of `bits` bits, eight bits a byte.

    Attributes:
        packed: uint8 (n, ceil(bits / 8)); bit j of a code (as BIT_ORDER says) is set where feature j is >= 0.
            The bits that fill up the last byte are 0.
        bits: code length.
        coded: bool (n,); False marks a row whose code was never set. Its packed bits are all 0.

    Raises:
        UserError: shapes, types or bits outside a code do not agree.
    """

    packed: np.ndarray
    bits: int
    coded: np.ndarray

    def __post_init__(self) -> None:
        def require(condition: bool, what: str) -> None:
            if not condition:
                raise UserError(what, where="codes", mend="pack the codes again with Codes.pack")

        require(1 <= self.bits <= 65_000, f"A code has 1 to 65000 bits, not {self.bits}.")
        width = -(-self.bits // 8)
        require(
            self.packed.dtype == np.uint8 and self.packed.ndim == 2 and self.packed.shape[1] == width,
            f"Packed codes of {self.bits} bits are uint8 (n, {width}), "
            f"not {self.packed.dtype} {self.packed.shape}.",
        )
        require(
            self.coded.dtype == np.bool_ and self.coded.shape == self.packed.shape[:1],
            f"The marks of coded rows are bool ({len(self.packed)},), "
            f"not {self.coded.dtype} {self.coded.shape}.",
        )
        beyond = 0xFF << ((self.bits - 1) % 8 + 1) & 0xFF
        require(not (self.packed[:, -1] & beyond).any(), f"Bits are set beyond the {self.bits} of a code.")
        require(not self.packed[~self.coded].any(), "Bits are set in a row that is marked as uncoded.")

    @classmethod
    def pack(cls, values: np.ndarray) -> "Codes":
        """Pack the signs of real numbers.

        Args:
            values: (n, bits). A value >= 0 (so an exact zero, too) becomes +1, unless the whole row is
                exactly zero: that row was never set and is marked as uncoded.

        Raises:
            UserError: not a matrix, or NaN among the values.
        """
        values = np.asarray(values)
        if values.ndim != 2:
            raise UserError(
                f"Codes come from a matrix, not from shape {values.shape}.",
                where="Codes.pack",
                mend="give an array (n, bits)",
            )
        broken = int(np.isnan(values).any(axis=1).sum())
        if broken:
            raise UserError(
                f"{broken} of {len(values)} rows to be packed hold NaN.",
                where="Codes.pack",
                mend="look at the training loss: the network has diverged; lower the learning rate",
            )
        coded = values.any(axis=1)
        positive = (values >= 0) & coded[:, None]
        return cls(np.packbits(positive, axis=1, bitorder="little"), values.shape[1], coded)

    def unpack(self) -> np.ndarray:
        """int8 (n, bits): +1 and -1; an uncoded row is all 0."""
        bits = np.unpackbits(self.packed, axis=1, count=self.bits, bitorder="little").astype(np.int8)
        return (2 * bits - 1) * self.coded[:, None]

    @property
    def words(self) -> np.ndarray:
        """uint64 (n, ceil(bits / 64)): the packed bytes, filled up with zeros."""
        width = -(-self.bits // 64)
        padded = np.zeros((len(self), 8 * width), np.uint8)
        padded[:, : self.packed.shape[1]] = self.packed
        return padded.view("<u8").astype(np.uint64, copy=False)

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, rows: np.ndarray | slice) -> "Codes":
        return Codes(self.packed[rows], self.bits, self.coded[rows])


def random_codes(n: int, bits: int, rng: np.random.Generator) -> Codes:
    """`n` codes of independent fair bits: the floor that every method must pass."""
    return Codes.pack(2 * rng.integers(0, 2, (n, bits), dtype=np.int8) - 1)


def write_codes(path: str | os.PathLike, codes: Mapping[str, Codes], header: Mapping[str, str]) -> None:
    """Write named codes and `header` into one safetensors file, whole or not at all; same input, same bytes.

    The caller says in `header` what the rows are (row order, digest of the catalog, run).
    """
    tensors = {}
    for name, part in codes.items():
        tensors[f"{name}.packed"] = np.ascontiguousarray(part.packed)
        tensors[f"{name}.coded"] = np.ascontiguousarray(part.coded)
    about = {
        "format": FORMAT,
        "bit_order": BIT_ORDER,
        "bits": {name: part.bits for name, part in codes.items()},
        "header": dict(header),
    }
    # One metadata entry: safetensors writes several in an order that changes from process to process.
    with whole(path) as temporary:
        save_file(tensors, temporary, metadata={"about": json.dumps(about, sort_keys=True)})


def read_codes(path: str | os.PathLike) -> tuple[dict[str, Codes], dict[str, str]]:
    """The codes by name and the header that `write_codes` wrote.

    Raises:
        UserError: the file is missing, truncated, of another format, or its parts do not fit together.
    """
    mend = "encode again: dvc repro -f with the name of the encode stage that writes this file"
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads(file.metadata()["about"])
            if about["format"] != FORMAT or about["bit_order"] != BIT_ORDER:
                raise UserError(f"The codes are of another format: {about['format']}.")
            parts = {
                name: Codes(file.get_tensor(f"{name}.packed"), bits, file.get_tensor(f"{name}.coded"))
                for name, bits in about["bits"].items()
            }
        return parts, about["header"]
    except FileNotFoundError as error:
        raise UserError("There is no such file of codes.", where=path, mend=mend) from error
    except UserError as error:
        raise UserError(error.what, where=path, mend=mend) from error
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"This is not a whole file of codes ({error}).", where=path, mend=mend) from error
