"""Checkpoints: everything that the rest of a training needs, in one safetensors file, whole or absent.

No generator's state is among it: NumPy's are derived afresh from seed and place (`seeds.stream`), torch's is seeded
at the start of every epoch, and Python's `random` is not used. So a checkpoint can be taken after any epoch.
"""

import json
import os
import resource
import shutil
import sys
import time
import zlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hashrepro.files import file_digest, read_json, remove_leftovers, whole, write_json


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

    The last one stays when the training has ended (`finish`), until what it wrote is known to be safe: DVC deletes the
    outputs of a stage whose recording failed, on a full disk say, and runs the stage again, which then only writes.

    Args:
        folder: scratch folder; created. What another fingerprint left there is removed, and so is what a killed
            process left half-written.
        fingerprint: digest of all that decides the run's numbers: recipe, bits, seed, data, code versions.
    """

    def __init__(self, folder: Path, fingerprint: str):
        self.folder, self.fingerprint = Path(folder), fingerprint
        self.path = self.folder / "checkpoint.safetensors"
        self._end = self.folder / "finished.json"
        self._begun, self._before = time.perf_counter(), {}
        mark = self.folder / "fingerprint"
        if not mark.exists() or mark.read_text() != fingerprint:
            self.start_anew()
        remove_leftovers(self.folder)

    def start_anew(self) -> None:
        """Forget everything."""
        self.remove()
        with whole(self.folder / "fingerprint") as temporary:
            temporary.write_text(self.fingerprint)

    def save(self, tensors: dict[str, Tensor], facts: dict) -> None:
        """Replace the checkpoint. The JSON travels in the tensor file's header, so that there is one rename."""
        tensors = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
        text = json.dumps({**facts, "fingerprint": self.fingerprint, "spent": self.spent()})
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
        facts = json.loads(header["facts"])
        self._before = facts.pop("spent")
        return tensors, facts

    def spent(self) -> dict[str, float]:
        """What the training took so far: `seconds`, and the most memory that a process of it had, `peak_memory_mb`.

        Processes that were killed count until their last checkpoint.
        """
        now = {
            "seconds": time.perf_counter() - self._begun + self._before.get("seconds", 0.0),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            devices = range(torch.cuda.device_count())  # the current one need not be the one that is used
            now["peak_gpu_memory_mb"] = max(map(torch.cuda.max_memory_allocated, devices)) / 2**20
        return {**self._before, **{key: max(value, self._before.get(key, 0.0)) for key, value in now.items()}}

    def finish(self, *written: Path) -> None:
        """Note that the training has ended, and the MD5 of the files that it wrote."""
        write_json(self._end, {path.name: file_digest(path, "md5") for path in written})

    @property
    def finished(self) -> dict[str, str] | None:
        """Name and MD5 of every file that the training wrote as it ended; None: it has not ended."""
        return read_json(self._end) if self._end.exists() else None

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
        shutil.rmtree(self.folder, ignore_errors=True)
