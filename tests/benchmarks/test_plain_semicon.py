"""SEMICON's network against the plain form with the same weights, in float64.

In float32 the two could not be told from a wrong one: the signed root in ICON jumps where a logit is near 0.
"""

import pytest
import torch
from plain_semicon import PlainSEMICON
from torch import Tensor, nn

from hashrepro.networks.backbones import build_backbone
from hashrepro.networks.semicon import SEMICONNetwork

TOLERANCE = 1e-10


@pytest.fixture(scope="module")
def networks() -> tuple[SEMICONNetwork, PlainSEMICON]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(3)
    ours = SEMICONNetwork(build_backbone("resnet50", "none"), 12).double()
    plain = PlainSEMICON(12).double()
    for module in ours.modules():  # scales and shifts that are not 1 and 0
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    plain.load_state_dict(ours.state_dict())
    yield ours, plain
    torch.set_num_threads(threads)


def distance(value: Tensor, expected: Tensor) -> float:
    """|| value - expected || / || expected ||."""
    return float((value - expected).detach().norm() / expected.detach().norm())


@pytest.mark.parametrize(
    "memory_format", [torch.channels_last, pytest.param(torch.contiguous_format, marks=pytest.mark.slow)]
)
def test_outputs_gradients_and_statistics_of_a_training_step(networks, memory_format):
    ours, plain = networks
    ours.to(memory_format=memory_format)
    ours.load_state_dict(plain.state_dict())
    generator = torch.Generator().manual_seed(4)
    images = torch.randn(4, 3, 64, 64, dtype=torch.float64, generator=generator)
    weights = torch.randn(4, 12, dtype=torch.float64, generator=generator)
    outputs, gradients = [], []
    for network, batch in ((ours, images.to(memory_format=memory_format)), (plain, images)):
        network.train().zero_grad()
        outputs.append(network(batch))
        (outputs[-1] * weights).sum().backward()
        gradients.append({name: p.grad for name, p in network.named_parameters()})
    assert distance(*outputs) < TOLERANCE
    assert outputs[0].std(0).min() > 0.01  # every bit differs from image to image
    mine, theirs = gradients
    assert distance(*(torch.cat([g[name].flatten() for name in theirs]) for g in (mine, theirs))) < TOLERANCE
    # a bias before a softmax has a gradient that almost cancels out, so that rounding weighs more
    far = {name: distance(mine[name], theirs[name]) for name in theirs}
    assert {name: d for name, d in far.items() if not d < 10 * TOLERANCE} == {}
    buffers = dict(plain.named_buffers())
    for name, buffer in ours.named_buffers():
        torch.testing.assert_close(buffer, buffers[name], rtol=TOLERANCE, atol=TOLERANCE)


def test_codes_in_evaluation(networks):
    ours, plain = networks
    ours.load_state_dict(plain.state_dict())
    images = torch.randn(3, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        assert distance(ours.eval()(images), plain.eval()(images)) < TOLERANCE
