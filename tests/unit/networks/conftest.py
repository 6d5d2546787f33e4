"""Small networks and the deterministic fillings of the golden values."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hashrepro.networks.backbones import Backbone


@pytest.fixture(autouse=True)
def _seeded():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(5)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def ramp() -> Callable[..., Tensor]:
    """ramp(shape, f, amplitude, offset): amplitude * f(0.7 j + offset), j = 0, 1, 2, ... row by row."""

    def fill(
        shape: tuple[int, ...], f: Callable[[Tensor], Tensor], amplitude: float, offset: float
    ) -> Tensor:
        j = torch.arange(math.prod(shape), dtype=torch.float64)
        return (amplitude * f(0.7 * j + offset)).reshape(shape)

    return fill


def _unit(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


@pytest.fixture
def small_backbone() -> Backbone:
    """A backbone of a few thousand parameters: 32 trunk channels at a quarter of the image's side."""
    return Backbone(
        name="small",
        trunk=nn.Sequential(nn.Conv2d(3, 32, 4, stride=4), nn.BatchNorm2d(32), nn.ReLU()),
        trunk_channels=32,
        make_units=lambda pretrained: [_unit(32, 32), _unit(32, 32), _unit(32, 48)],
        unit_channels=[32, 32, 48],
        features=48,
        pool=lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )
