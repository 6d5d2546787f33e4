"""Any other convolutional network, by its name in timm: cut before its last stage, as ResNet-50 is."""

import timm
import torch
from torch import nn

from hashrepro.errors import UserError
from hashrepro.networks.architectures import Architecture, Parts
from hashrepro.networks.weights import State

PREFIX = "timm:"


def timm_architecture(name: str) -> Architecture:
    """How timm's network `name` is made, filled and cut.

    The refine units are the last stage's first block, its blocks in between, and its last block, or as many of these
    as there are.

    Raises:
        UserError: timm knows no such network, or it is no chain of stages that keep maps (b, c, h, w).
    """
    try:
        with torch.device("meta"):
            network = timm.create_model(name, pretrained=False, features_only=True)
            trunk, units, _ = _cut(network)
            maps = [trunk(torch.empty(2, 3, 224, 224))]
            for unit in units:
                maps.append(unit(maps[-1]))
    except (
        RuntimeError,
        AttributeError,
        NotImplementedError,
        AssertionError,
        TypeError,
        ValueError,
    ) as error:
        raise UserError(
            f"{name} cannot be a backbone: {str(error).splitlines()[0]}",
            where=f"backbone: {PREFIX}{name}",
            mend="choose a convolutional network that timm.list_models() has and that is a chain of stages, "
            "for example timm:resnet18",
        ) from None
    channels = network.feature_info.channels()
    if any(map_.ndim != 4 for map_ in maps) or (maps[0].shape[1], maps[-1].shape[1]) != (
        channels[-2],
        channels[-1],
    ):
        raise UserError(
            f"{name} keeps no maps (b, c, h, w) in its stages.",
            where=f"backbone: {PREFIX}{name}",
            mend="choose a convolutional network, for example timm:resnet18",
        )
    about = network.default_cfg
    return Architecture(
        make=lambda: timm.create_model(name, pretrained=False, features_only=True),
        cut=_cut,
        imagenet=lambda: _imagenet(name),
        classifier=("fc.", "head.", "classifier.", "norm.", "norm_pre.", "conv_head.", "bn2."),
        trunk_channels=maps[0].shape[1],
        unit_channels=[map_.shape[1] for map_ in maps[1:]],
        features=maps[-1].shape[1],
        mean=tuple(about["mean"]),
        std=tuple(about["std"]),
        own_names=_own_names,
    )


def _stages(network: nn.Module) -> dict[str, nn.Module]:
    """The network's parts in the order that they are run in, by their names in it."""
    parts = dict(network.named_children())
    blocks = parts.pop("blocks", None)  # EfficientNet and its kin keep their stages in a list
    if blocks is not None:
        parts |= {f"blocks.{number}": block for number, block in blocks.named_children()}
    return parts


def _cut(network: nn.Module) -> Parts:
    stages = _stages(network)
    names = list(stages)
    before = network.feature_info.module_name()[-2]  # "layer3", "stages.2"; a part's name has _ for its dots
    end = [name.replace("_", ".") for name in names].index(before.replace("_", ".")) + 1
    last = [block for name in names[end:] for block in _blocks(stages[name])]
    middle = [nn.Sequential(*last[1:-1])] if len(last) > 2 else []
    units = [last[0], *middle, *last[-1:]] if len(last) > 1 else last
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*(stages[name] for name in names[:end])), units, pool


def _blocks(stage: nn.Module) -> list[nn.Module]:
    return list(stage) if isinstance(stage, nn.Sequential) else [stage]


def _imagenet(name: str) -> State:
    try:
        return timm.create_model(name, pretrained=True, features_only=True).state_dict()
    except (OSError, RuntimeError) as error:  # no network; no such weights
        raise UserError(
            f"the ImageNet weights of {name} cannot be fetched: {error}",
            where=f"backbone: {PREFIX}{name}",
            mend="download the file by other means and give its path as weights",
        ) from error


def _own_names(network: nn.Module, state: State) -> State:
    """A published state dict under the names of the cut network, which writes stages_0 for stages.0."""
    parts = [name for name, _ in network.named_children() if "_" in name]
    dotted = {part.replace("_", ".") + ".": part + "." for part in parts}
    renamed = {}
    for key, value in state.items():
        prefix = next((found for found in dotted if key.startswith(found)), "")
        renamed[dotted.get(prefix, "") + key[len(prefix) :]] = value
    return renamed
