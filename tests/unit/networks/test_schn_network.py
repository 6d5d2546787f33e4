import pytest
import torch
from torch import nn

from hashrepro.networks.backbones import build_backbone
from hashrepro.networks.schn import SCHNNetwork
from hashrepro.networks.schn_tomm import Discriminator

CLASSES = torch.tensor([0, 1, 2, 0, 1, 0, 2, 2])


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.fixture
def batch():
    labels = nn.functional.one_hot(CLASSES, 3).float()
    return torch.randn(8, 3, 32, 32), labels, labels @ labels.T


@pytest.mark.parametrize(
    ("bits", "cycle_query", "image", "cycle", "total"),
    [
        (12, "modality", 57_053_004, 65_060_900, 122_656_124),
        (24, "modality", 57_102_168, 65_085_512, 122_736_056),
        (32, "modality", 57_134_944, 65_101_920, 122_789_344),
        (48, "modality", 57_200_496, 65_134_736, 122_895_920),
        (12, "latent", 57_053_004, 17_602_596, 76_275_070),
        (24, "latent", 57_102_168, 17_627_208, 76_379_578),
        (32, "latent", 57_134_944, 17_643_616, 76_449_250),
        (48, "latent", 57_200_496, 17_676_432, 76_588_594),
    ],
)
def test_parameter_counts_with_alexnet(bits, cycle_query, image, cycle, total):
    """The totals are those of training: TOMM's (cycle_query "latent") includes the discriminator."""
    with torch.device("meta"):
        network = SCHNNetwork(build_backbone("alexnet", "none"), bits, 10, cycle_query=cycle_query)
        judge = count(Discriminator(bits)) if cycle_query == "latent" else 0
    assert count(network.image_net) == image
    assert count(network.cycle_net) == cycle
    assert count(network) + judge == total


def test_outputs(small_backbone, batch):
    network = SCHNNetwork(small_backbone, 12, 3).eval()
    out = network(*batch)
    assert [part.shape for part in out] == [(8, 12)] * 5
    assert torch.equal(out.image, network.encode(batch[0]))
    assert torch.equal(out.label, network.label_net(batch[1])[1])
    features = network.image_net.forward_features(batch[0]), network.label_net(batch[1])[0]
    cycle = out.latent, out.image_reconstruction, out.label_reconstruction
    for ours, theirs in zip(cycle, network.cycle_net(*features, batch[2]), strict=True):
        assert torch.equal(ours, theirs)


TERMS = {
    "image": (lambda o: o.image.square().mean(), {"image_net"}),
    "label": (lambda o: o.label.square().mean(), {"label_net"}),
    "latent": (lambda o: o.latent.square().mean(), {"cycle_net"}),
    "image reconstruction": (
        lambda o: (o.image_reconstruction - o.image).square().mean(),
        {"image_net", "cycle_net"},
    ),
    "label reconstruction": (
        lambda o: (o.label_reconstruction - o.label).square().mean(),
        {"label_net", "cycle_net"},
    ),
    "generator": (
        lambda o: (o.image_reconstruction + o.label_reconstruction).mean(),
        {"cycle_net"},
    ),
}


def reached(network, loss) -> set[str]:
    network.zero_grad()
    loss.backward()
    return {
        name
        for name, part in network.named_children()
        if any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())
    }


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("cycle_query", ["modality", "latent"])
def test_gradient_routing(small_backbone, batch, term, cycle_query):
    loss, parts = TERMS[term]
    network = SCHNNetwork(small_backbone, 12, 3, cycle_query=cycle_query)
    assert reached(network, loss(network(*batch))) == parts


def test_without_detaching_the_cycle_net_teaches_the_features(small_backbone, batch):
    network = SCHNNetwork(small_backbone, 12, 3, detach_features=False)
    assert reached(network, TERMS["latent"][0](network(*batch))) == {"image_net", "label_net", "cycle_net"}


def varies_within_class(codes) -> float:
    return max((codes[c == CLASSES] - codes[c == CLASSES][0]).abs().max().item() for c in range(3))


@pytest.mark.parametrize("cycle_query", ["modality", "latent"])
def test_single_label_latents_know_the_class_only(small_backbone, batch, cycle_query):
    network = SCHNNetwork(small_backbone, 12, 3, cycle_query=cycle_query).double()
    inputs = [part.double() for part in batch]
    training, evaluation = network.train()(*inputs), network.eval()(*inputs)
    assert varies_within_class(evaluation.latent) < 1e-12
    assert varies_within_class(training.latent) > 1e-6  # dropout
    for out in (training, evaluation):
        assert varies_within_class(out.image) > 1e-3
        assert varies_within_class(out.image_reconstruction) < 1e-12
        spread = varies_within_class(out.label_reconstruction)
        assert spread < 1e-12 if cycle_query == "latent" else spread > 1e-12


def test_fresh_graph_features_grow_with_the_degree(small_backbone):
    classes = torch.tensor([0] * 30 + [1] * 20 + [2] * 10 + [3] * 4)
    labels = nn.functional.one_hot(classes, 4).float()
    network = SCHNNetwork(small_backbone, 12, 4).eval()
    with torch.no_grad():
        features = network.image_net.forward_features(torch.randn(64, 3, 32, 32))
        fused = network.cycle_net.fuse(network.label_net(labels)[0], features)
        degree = (labels @ labels.T).sum(1)
        aggregated = (labels @ labels.T) @ (fused @ network.cycle_net.graph.weight)
    assert torch.corrcoef(torch.stack([aggregated.norm(dim=1), degree]))[0, 1] > 0.999


@pytest.mark.parametrize("grad", [True, False])
def test_pass_without_training_the_features(small_backbone, batch, grad):
    """The same outputs, dropout included, and the same gradient for the cycle net; none for the others."""
    network = SCHNNetwork(small_backbone, 12, 3)
    torch.manual_seed(1)
    whole = network(*batch)
    torch.manual_seed(1)
    with torch.set_grad_enabled(grad):
        part = network(*batch, train_features=False)
    assert all(torch.equal(a, b) for a, b in zip(whole, part, strict=True))
    assert [out.requires_grad for out in part] == [grad, False, False, grad, grad]
    if grad:
        inputs = list(network.cycle_net.graph.parameters())
        loss = TERMS["generator"][0]
        first, second = (torch.autograd.grad(loss(out), inputs) for out in (whole, part))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_without_the_cycle_net(small_backbone, batch):
    network = SCHNNetwork(small_backbone, 12, 3, cycle_net=False).eval()
    out = network(*batch)
    assert (out.latent, out.image_reconstruction, out.label_reconstruction) == (None, None, None)
    assert torch.equal(out.image, network.encode(batch[0]))
    assert torch.equal(out.label, network.label_net(batch[1])[1])
    assert {name for name, part in network.named_children()} == {"image_net", "label_net"}


def test_without_the_label_net_the_image_net_is_alone(small_backbone, batch):
    network = SCHNNetwork(small_backbone, 12, 3, label_net=False, cycle_net=False)
    assert [part is None for part in network(*batch)] == [True, False, True, True, True]
    assert {name for name, part in network.named_children()} == {"image_net"}


def test_works_with_lite0():
    network = SCHNNetwork(build_backbone("lite0", "imagenet"), 12, 10)
    labels = nn.functional.one_hot(torch.tensor([1, 4, 4]), 10).float()
    out = network(torch.randn(3, 3, 64, 64), labels, labels @ labels.T)
    assert network.cycle_net.label_reconstruction["attention"].attention.embed_dim == 1280
    assert all(torch.isfinite(part).all() for part in out)
