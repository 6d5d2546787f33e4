import torch

from hashrepro.networks.adsh import HashNetwork
from hashrepro.networks.backbones import build_backbone


def test_codes_are_tanh_of_the_linear_layer(small_backbone):
    network = HashNetwork(small_backbone, 12).double().eval()
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    features = network.forward_features(images)
    linear = network.hash[0]
    assert features.shape == (3, 48)
    torch.testing.assert_close(network(images), (features @ linear.weight.T + linear.bias).tanh())


def test_loaded_weights_stay():
    network = HashNetwork(build_backbone("lite0", "imagenet"), 12)
    again = build_backbone("lite0", "imagenet")
    loaded = [
        *again.trunk.state_dict().values(),
        *torch.nn.ModuleList([*again.refine_units(), again.pool()]).state_dict().values(),
    ]
    ours = [*network.trunk.state_dict().values(), *network.refine.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(ours, loaded, strict=True))


def test_every_parameter_gets_a_gradient(small_backbone):
    network = HashNetwork(small_backbone, 12)
    network(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
