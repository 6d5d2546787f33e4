"""Pretrained tensors: read from a file, and fitted to a module name by name with nothing left over."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from hashrepro.errors import UserError

State = dict[str, Tensor]


def read_weights(path: str | Path) -> State:
    """The state dict in a .safetensors or a PyTorch file (.pth); of a pickle, tensors and containers only.

    Raises:
        UserError: no such file, or it is damaged or holds anything but a mapping of names to tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            "there is no file of weights",
            where=path,
            mend='give an existing .pth or .safetensors file, "imagenet" or "none" as weights',
        )
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"the weights cannot be read: {reason}",
            where=path,
            mend="fetch the file again; it must be a plain state dict, loadable with weights_only=True",
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(
            f"the file holds {type(state).__name__}, not a mapping of names to tensors",
            where=path,
            mend="save the state dict itself: torch.save(model.state_dict(), path)",
        )
    return dict(state)


def fit_weights(module: nn.Module, state: State, *, ignore: tuple[str, ...], where: object) -> None:
    """Load `state` into `module`; every name and shape must agree.

    Entries whose names start with one of `ignore` are dropped (the classifier of the published network).
    Counters called num_batches_tracked may be missing, as they are from files older than PyTorch 0.4.1.

    Raises:
        UserError: names or shapes differ; the message shows the first few.
    """
    own = module.state_dict()
    state = {name: value for name, value in state.items() if not name.startswith(ignore)}
    wrong = [f"{name}: missing" for name in own if name not in state and not name.endswith("tracked")]
    wrong += [f"{name}: not part of the network" for name in state if name not in own]
    wrong += [
        f"{name}: shape {tuple(value.shape)}, the network has {tuple(own[name].shape)}"
        for name, value in state.items()
        if name in own and value.shape != own[name].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UserError(
            f"the weights do not fit the network ({'; '.join(wrong[:3])}{more})",
            where=where,
            mend="give the weights of the same architecture, or choose the backbone that they belong to",
        )
    module.load_state_dict({**own, **state})
