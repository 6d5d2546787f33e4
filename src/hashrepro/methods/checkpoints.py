"""Checkpoints: everything that the rest of a training needs, in one safetensors file, whole or absent.

No generator's state is among it: NumPy's are derived afresh from seed and place (`seeds.stream`), torch's is seeded
at the start of every epoch, and Python's `random` is not used. So a checkpoint can be taken after any epoch.
"""

import json
import os
import shutil
import sys
import zlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hashrepro.files import whole


def flatten_optimiser(name: str, optimiser: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list]:
    """An optimiser's state as flat tensors, and its parameter groups (rates included) as JSON values."""
    state = optimiser.state_dict()
    tensors = {
        f"optimiser/{name}/{index}/{key}": value
        for index, entry in state["state"].items()
        for key, value in entry.items()
        if value is not None
    }
    return tensors, state["param_groups"]


def restore_optimiser(name: str, optimiser: torch.optim.Optimizer, tensors: dict, groups: list) -> None:
    """The inverse of `flatten_optimiser`."""
    state: dict[int, dict[str, Tensor]] = {}
    prefix = f"optimiser/{name}/"
    for key, value in tensors.items():
        if key.startswith(prefix):
            index, field = key[len(prefix) :].split("/")
            state.setdefault(int(index), {})[field] = value
    optimiser.load_state_dict({"state": state, "param_groups": groups})
    for parameter, entry in optimiser.state.items():
        for key, value in entry.items():
            # a fused step walks parameter and moments in memory order, so both must have the same layout
            if torch.is_tensor(value) and value.shape == parameter.shape:
                entry[key] = torch.empty_like(parameter).copy_(value)


def digest(tensors: dict[str, Tensor], text: str = "") -> int:
    """CRC-32 of names, types, shapes and bytes of tensors, and of a text: finds damage, not malice.

    About half a second a gigabyte, where the cryptographic digests take one to three.
    """
    crc = zlib.crc32(text.encode())
    for name, value in sorted(tensors.items()):
        crc = zlib.crc32(f"{name} {value.dtype} {list(value.shape)}".encode(), crc)
        crc = zlib.crc32(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy(), crc)
    return crc


class Checkpoints:
    """The checkpoint of one run in a scratch folder that belongs to one fingerprint.

    Args:
        folder: scratch folder; created. What another fingerprint left there is removed, and so is what a killed
            process left half-written.
        fingerprint: digest of all that decides the run's numbers: recipe, bits, seed, data, code versions.
    """

    def __init__(self, folder: Path, fingerprint: str):
        self.folder, self.fingerprint = Path(folder), fingerprint
        self.path = self.folder / "checkpoint.safetensors"
        mark = self.folder / "fingerprint"
        if not mark.exists() or mark.read_text() != fingerprint:
            if self.folder.exists():
                shutil.rmtree(self.folder)
            with whole(mark) as temporary:
                temporary.write_text(fingerprint)
        for leftover in self.folder.glob(".*.part"):
            leftover.unlink(missing_ok=True)

    def save(self, tensors: dict[str, Tensor], facts: dict) -> None:
        """Replace the checkpoint. The JSON travels in the tensor file's header, so that there is one rename."""
        tensors = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
        text = json.dumps({**facts, "fingerprint": self.fingerprint})
        with whole(self.path) as temporary:
            save_file(tensors, temporary, metadata={"facts": text, "digest": str(digest(tensors, text))})
            with open(temporary, "rb") as file:  # the bytes reach the disk before the name does
                os.fsync(file.fileno())

    def load(self, like: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict] | None:
        """(tensors, facts) of the checkpoint, or None: there is none, or it is damaged, which is said on stderr.

        Args:
            like: tensors that it must hold, by name: these types and shapes are right, the values do not matter.
        """
        try:
            with safe_open(self.path, "pt") as file:
                header = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            damage = self._damage(header, tensors, like)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError) as error:
            damage = str(error)
        if damage:
            print(
                f"The checkpoint {self.path} is damaged ({damage}): training starts from the beginning.",
                file=sys.stderr,
            )
            return None
        return tensors, json.loads(header["facts"])

    def _damage(self, header: dict, tensors: dict[str, Tensor], like: dict[str, Tensor]) -> str | None:
        if header.get("digest") != str(digest(tensors, header.get("facts", ""))):
            return "its digest does not fit its contents"
        if json.loads(header["facts"])["fingerprint"] != self.fingerprint:
            return "it belongs to another run"
        for name, expected in like.items():
            found = tensors.get(name)
            if found is None or (found.shape, found.dtype) != (expected.shape, expected.dtype):
                return f"{name} does not fit this run"
        return None

    def remove(self) -> None:
        shutil.rmtree(self.folder)
