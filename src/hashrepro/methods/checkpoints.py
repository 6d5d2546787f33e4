"""Checkpoints: everything that the next iteration needs, in one safetensors file, whole or absent."""

import json
import shutil
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


class Checkpoints:
    """The checkpoint of one run in a scratch folder that belongs to one fingerprint.

    Args:
        folder: scratch folder; created. What another fingerprint left there is removed.
        fingerprint: digest of all that decides the run's numbers: recipe, bits, seed, data, code versions.
    """

    def __init__(self, folder: Path, fingerprint: str):
        self.folder, self.fingerprint = Path(folder), fingerprint
        mark = self.folder / "fingerprint"
        if self.folder.exists() and (not mark.exists() or mark.read_text() != fingerprint):
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole(mark) as temporary:
            temporary.write_text(fingerprint)

    def save(self, iteration: int, tensors: dict[str, Tensor], facts: dict) -> None:
        """Replace the checkpoint. The JSON travels in the tensor file's header, so that there is one rename."""
        tensors = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
        header = {"facts": json.dumps({**facts, "iteration": iteration})}
        with whole(self.folder / "checkpoint.safetensors") as temporary:
            save_file(tensors, str(temporary), metadata=header)

    def load(self) -> tuple[int, dict[str, Tensor], dict] | None:
        """(iteration, tensors, facts) of the checkpoint, or None if there is none that can be read."""
        path = self.folder / "checkpoint.safetensors"
        try:
            with safe_open(path, "pt") as file:
                facts = json.loads(file.metadata()["facts"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        except (FileNotFoundError, SafetensorError, OSError):
            return None
        return facts["iteration"], tensors, facts

    def remove(self) -> None:
        shutil.rmtree(self.folder)
