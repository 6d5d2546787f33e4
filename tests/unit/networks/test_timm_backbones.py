"""timm's networks by name: the parts put together are the network, and what cannot be cut is refused."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from hashrepro.errors import UserError
from hashrepro.networks.backbones import build_backbone
from hashrepro.networks.semicon import SEMICONNetwork


@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("resnet18", 2),
        ("convnext_atto", 1),
        ("regnety_002", 1),
        ("mobilenetv3_small_050", 1),
        ("resnetv2_50", 1),
    ],
)
def test_parts_make_the_network_up_to_its_last_map(name, units, tmp_path):
    published = timm.create_model(name, pretrained=False).eval()
    save_file(published.state_dict(), tmp_path / "weights.safetensors")
    backbone = build_backbone(f"timm:{name}", tmp_path / "weights.safetensors")
    parts = backbone.refine_units()
    assert len(parts) == len(backbone.unit_channels)
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = nn.Sequential(backbone.trunk, *parts).eval()(images)
        features = timm.create_model(name, pretrained=False, features_only=True).eval()
        theirs = timm_features(features, published)(images)[-1]
        torch.testing.assert_close(ours, theirs)
        assert backbone.pool()(ours).shape == (1, backbone.features)
    assert (backbone.unit_channels[-1], len(parts) >= units) == (ours.shape[1], True)


def timm_features(features: nn.Module, published: nn.Module) -> nn.Module:
    """timm's own feature network, with the published weights by order."""
    values = [value for key, value in published.state_dict().items()]
    own = features.state_dict()
    assert [value.shape for value in values[: len(own)]] == [value.shape for value in own.values()]
    features.load_state_dict(dict(zip(own, values, strict=False)))
    return features


def test_semicon_stands_on_one():
    network = SEMICONNetwork(build_backbone("timm:resnet18", "none"), 12)
    assert len(network.icons()) == 2
    assert network(torch.randn(2, 3, 64, 64)).shape == (2, 12)


@pytest.mark.parametrize("name", ["no_such_network", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_what_cannot_be_cut_is_refused(name):
    with pytest.raises(UserError, match=name) as error:
        build_backbone(f"timm:{name}", "none")
    assert "timm:resnet18" in error.value.mend
