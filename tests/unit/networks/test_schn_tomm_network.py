import pytest
import torch
from torch import nn

from hashrepro.networks.schn_tomm import Discriminator


@pytest.mark.parametrize(
    ("bits", "parameters"), [(12, 1_077_250), (24, 1_101_826), (32, 1_118_210), (48, 1_150_978)]
)
def test_parameter_counts(bits, parameters):
    assert sum(p.numel() for p in Discriminator(bits).parameters()) == parameters


def test_probabilities_are_the_sigmoid_of_twice_the_logit():
    discriminator = Discriminator(12).double()
    image, label = torch.randn(2, 5, 12, dtype=torch.float64)
    logits = torch.cat([discriminator.image[:2](image), discriminator.label[:2](label)])
    torch.testing.assert_close(discriminator(image, label), torch.sigmoid(2 * logits))


def test_saturated_discriminator():
    discriminator = Discriminator(12)
    for side in (discriminator.image, discriminator.label):
        nn.init.constant_(side[1].bias, -20)
    code = torch.randn(3, 12, requires_grad=True)
    loss = nn.functional.binary_cross_entropy(discriminator(code, code), torch.ones(6, 1))
    loss.backward()
    assert loss.item() == 100
    assert (code.grad == 0).all()
