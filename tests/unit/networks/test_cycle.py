import pytest
import torch
from torch import nn

from hashrepro.errors import UserError
from hashrepro.networks.cycle import CycleNet, LabelNet

A = torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]], dtype=torch.float64)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("bits", "parameters"), [(12, 542_220), (24, 548_376), (32, 552_480), (48, 560_688)])
def test_label_net_parameter_counts(bits, parameters):
    assert count(LabelNet(10, bits)) == parameters


@pytest.mark.parametrize("cycle_query", ["modality", "latent"])
def test_cycle_wiring_by_hand(cycle_query):
    net = CycleNet(12, 40, cycle_query=cycle_query).double().eval()
    f_img, f_lab = torch.rand(4, 40, dtype=torch.float64), torch.rand(4, 512, dtype=torch.float64)
    z = net.graph(net.fuse(f_lab, f_img), A)
    latent, image, label = net(f_img, f_lab, A)
    linear = net.latent[1]
    torch.testing.assert_close(latent, torch.sigmoid(z @ linear.weight.T + linear.bias))
    for part, feature, out in (
        (net.image_reconstruction, f_lab, image),
        (net.label_reconstruction, f_img, label),
    ):
        pair = (feature, z) if cycle_query == "modality" else (z, feature)
        torch.testing.assert_close(out, part["head"](part["attention"](*pair)))
        assert out.shape == (4, 12)


def test_dropout_only_in_front_of_the_latent_code():
    net = CycleNet(12, 40).train()
    inputs = torch.rand(4, 40), torch.rand(4, 512), A.float()
    first, second = net(*inputs), net(*inputs)
    assert not torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert torch.equal(first[2], second[2])


def test_latent_activation():
    inputs = torch.rand(4, 40), torch.rand(4, 512), A.float()
    assert CycleNet(64, 40)(*inputs)[0].min() > 0
    assert CycleNet(64, 40, latent_activation="tanh")(*inputs)[0].min() < 0


@pytest.mark.parametrize("option", ["cycle_query", "gcn_norm", "latent_activation"])
def test_unknown_choice(option):
    with pytest.raises(UserError, match=f"{option} is 'other'"):
        CycleNet(12, 40, **{option: "other"})
