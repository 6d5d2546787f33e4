import pytest
import torch
from torch import nn

from hashrepro.errors import UserError
from hashrepro.networks.backbones import build_backbone
from hashrepro.networks.icon import ICON
from hashrepro.networks.semicon import SEMICONNetwork, code_lengths


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("bits", "parts"),
    [(6, (3, 1)), (12, (6, 2)), (16, (10, 2)), (24, (12, 4)), (32, (17, 5)), (48, (24, 8)), (64, (34, 10))],
)
def test_code_lengths(bits, parts):
    assert code_lengths(bits) == parts


def test_too_few_bits():
    with pytest.raises(UserError, match="5 bits") as caught:
        code_lengths(5)
    assert caught.value.where == "bits"


@pytest.mark.parametrize(
    ("bits", "total"), [(12, 42_393_670), (24, 42_418_246), (32, 42_434_630), (48, 42_467_398)]
)
def test_parameter_counts(bits, total):
    with torch.device("meta"):
        network = SEMICONNetwork(build_backbone("resnet50", "none"), bits)
    assert count(network.trunk) == 8_543_296
    assert count(network.refine_global) == count(network.refine_local) == 16_177_152
    assert [count(layer) for layer in network.refine_local] == [
        6_039_552,
        4_462_592,
        606_208,
        4_462_592,
        606_208,
        0,
    ]
    assert count(network.sem) == 1_471_494
    assert count(network.hash_global) + count(network.hash_local) == 2048 * bits
    assert count(network) == total
    assert sum(b.numel() for b in network.buffers()) == 96_791


def test_layer4_loads_into_a_branch_as_published():
    """ICON shifts the places: the third bottleneck of the file fits nowhere."""
    with torch.device("meta"):
        backbone = build_backbone("resnet50", "none")
        branch = SEMICONNetwork(backbone, 12).refine_local.to_empty(device="cpu")
        units = [unit.to_empty(device="cpu") for unit in backbone.refine_units()]
    checkpoint = {
        f"{i}.{name}": value for i, unit in enumerate(units) for name, value in unit.state_dict().items()
    }
    result = branch.load_state_dict(checkpoint, strict=False)
    assert (len(result.missing_keys), len(result.unexpected_keys)) == (31, 18)


@pytest.mark.parametrize("load_last_unit", [False, True])
def test_which_weights_are_loaded(load_last_unit):
    backbone = build_backbone("lite0", "imagenet")
    network = SEMICONNetwork(backbone, 12, load_last_unit=load_last_unit)
    expected = [True, True, load_last_unit]
    for branch in (network.refine_global, network.refine_local):
        places = [layer for layer in branch if not isinstance(layer, ICON)][:-1]
        loaded = [
            all(torch.equal(a, b) for a, b in zip(ours.parameters(), file.parameters(), strict=True))
            for ours, file in zip(places, backbone.refine_units(), strict=True)
        ]
        assert loaded == expected
    trunk = build_backbone("lite0", "imagenet").trunk.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(network.trunk.state_dict().values(), trunk, strict=True))


def test_branches_do_not_share_parameters(small_backbone):
    network = SEMICONNetwork(small_backbone, 12)
    ids = [id(p) for p in (*network.refine_global.parameters(), *network.refine_local.parameters())]
    assert len(ids) == len(set(ids))


def test_codes_put_together_by_hand(small_backbone):
    network = SEMICONNetwork(small_backbone, 32, sem_std="image").double().eval()
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    trunk_map = network.trunk(images)
    maps = network.attention(images)
    assert maps.shape == (3, 3, 8, 8)
    parts = [network.refine_global(trunk_map) @ network.hash_global.weight.T]
    for i in range(3):
        weighted = torch.einsum("bhw,bchw->bchw", maps[:, i], trunk_map)
        parts.append(network.refine_local(weighted) @ network.hash_local[i].weight.T)
    assert [part.shape[1] for part in parts] == [17, 5, 5, 5]
    torch.testing.assert_close(network(images), torch.cat(parts, 1).tanh())


def test_local_branch_runs_once_a_map(small_backbone):
    network = SEMICONNetwork(small_backbone, 12).train()
    network(torch.randn(4, 3, 32, 32))
    norms = {
        name: [int(m.num_batches_tracked) for m in branch.modules() if isinstance(m, nn.BatchNorm2d)]
        for name, branch in network.named_children()
        if name in ("refine_global", "refine_local")
    }
    assert set(norms["refine_local"]) == {3}
    assert set(norms["refine_global"]) == {1}


def test_std_over_the_batch_makes_codes_depend_on_it(small_backbone):
    images = torch.randn(6, 3, 32, 32, dtype=torch.float64)
    for sem_std, same in (("batch", False), ("image", True)):
        network = SEMICONNetwork(small_backbone, 12, sem_std=sem_std).double().eval()
        together, alone = network(images)[:2], network(images[:2])
        assert torch.allclose(together, alone, rtol=0, atol=1e-12) == same


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_every_parameter_gets_a_gradient(small_backbone, memory_format):
    network = SEMICONNetwork(small_backbone, 12).to(memory_format=memory_format)
    network(torch.randn(4, 3, 32, 32).to(memory_format=memory_format)).square().sum().backward()
    assert [
        name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ] == []


def test_lite0_icons(small_backbone):
    network = SEMICONNetwork(build_backbone("lite0", "imagenet"), 48)
    icons = [layer for layer in network.refine_local if isinstance(layer, ICON)]
    assert [(icon.heads, icon.members) for icon in icons] == [(16, 12), (16, 20)]
    assert network(torch.randn(2, 3, 64, 64)).shape == (2, 48)


def test_alexnet_too():
    """The last three convolutions are its units, so ICON and SEM find maps to work on."""
    network = SEMICONNetwork(build_backbone("alexnet", "none"), 12)
    assert [(icon.heads, icon.members) for icon in network.icons()] == [(16, 16)] * 4
    assert network(torch.randn(2, 3, 96, 96)).shape == (2, 12)


def test_without_icon_a_branch_is_the_units_and_the_pooling(small_backbone):
    network = SEMICONNetwork(small_backbone, 12, icon=False)
    assert network.icons() == []
    assert len(network.refine_local) == 4
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 12)


def test_faded_in_icons_are_the_identity_at_the_start_and_learn(small_backbone):
    network = SEMICONNetwork(small_backbone, 12, icon_start="identity").eval()
    map_ = torch.randn(2, 32, 8, 8)
    _, second, blend, *_ = network.refine_global
    assert torch.equal(blend(second(map_)), second(map_))
    assert len(network.icons()) == 4
    network(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert blend.share.grad.abs() > 0
    with torch.no_grad():
        blend.share.fill_(1.0)
    torch.testing.assert_close(blend(map_), blend.part(map_))


def test_global_only_has_neither_local_branch_nor_attention(small_backbone):
    network = SEMICONNetwork(small_backbone, 5, local=False).eval()
    assert {name for name, _ in network.named_children()} == {"trunk", "refine_global", "hash_global"}
    images = torch.randn(2, 3, 32, 32)
    expected = network.hash_global(network.refine_global(network.trunk(images))).tanh()
    assert torch.equal(network(images), expected)
    assert network.attention(images) is None


def test_without_attention_every_local_part_sees_the_whole_map(small_backbone):
    network = SEMICONNetwork(small_backbone, 12, sem="none").eval()
    images = torch.randn(2, 3, 32, 32)
    feature = network.refine_local(network.trunk(images))
    parts = [network.hash_local[i](feature).tanh() for i in range(3)]
    assert torch.equal(network(images)[:, 6:], torch.cat(parts, 1))


def test_without_the_mask_no_map_knows_of_another(small_backbone):
    network = SEMICONNetwork(small_backbone, 12, sem="plain").eval()
    x = network.sem.reduce(network.trunk(images := torch.randn(2, 3, 32, 32)))
    expected = torch.cat([head(x) for head in network.sem.heads], 1)
    assert torch.equal(network.attention(images), expected)
    network.sem.masked = True
    assert torch.equal(network.attention(images)[:, :1], expected[:, :1])
    assert not torch.equal(network.attention(images), expected)
