import pytest
import torch

from hashrepro.networks.schn_tomm import Discriminator


@pytest.mark.parametrize(
    ("bits", "parameters"), [(12, 1_077_250), (24, 1_101_826), (32, 1_118_210), (48, 1_150_978)]
)
def test_parameter_counts(bits, parameters):
    assert sum(p.numel() for p in Discriminator(bits).parameters()) == parameters


def test_each_side_has_its_own_network_and_the_image_side_comes_first():
    discriminator = Discriminator(12).double()
    image, label = torch.randn(2, 5, 12, dtype=torch.float64)
    logits = torch.cat([discriminator.image(image), discriminator.label(label)])
    assert torch.equal(discriminator(image, label), logits)
    assert not torch.allclose(discriminator(label, image), logits)
