import shutil

import pytest
import torch

from hashrepro.learning.base import load_method

EVERY = torch.arange(8)


NEEDED = {"iterations": 1, "epochs": 1, "samples": 1, "batch_size": 1, "learning_rate": 1}


@pytest.mark.parametrize(
    ("bits", "values", "said"),
    [
        (12, {}, None),
        (6, {}, None),
        (5, {}, "5 bits cannot be shared between one global and 3 local parts"),
        (5, {"local": False}, None),
        (16, {"maps": 10}, "16 bits cannot be shared between one global and 10 local parts"),
        (12, {"backbone": "timm:resnet18"}, None),
        (12, {"backbone": "timm:convnext_atto"}, "the last stage of timm:convnext_atto is one unit"),
        (12, {"backbone": "timm:convnext_atto", "icon": False}, None),
    ],
)
def test_what_does_not_fit_says_why(bits, values, said):
    kind = load_method("semicon")
    found = kind.incompatible(kind.Recipe(**{"backbone": "lite0", **NEEDED, **values}), bits)
    assert found is None if said is None else found.startswith(said)


@pytest.mark.parametrize(
    "values", [{"sem": "plain"}, {"sem": "none"}, {"icon": False}, {"local": False}, {"sem_std": "image"}]
)
def test_ablations_take_a_step(make, images, values):
    method = make("semicon", **values)
    losses = method.step(EVERY, images)
    assert all(torch.isfinite(value) for value in losses.values())
    assert method.U.any(1).all()


def test_a_milestone_that_never_takes_effect_is_said():
    kind = load_method("semicon")
    needed = {"backbone": "lite0", "epochs": 1, "samples": 1, "batch_size": 1, "learning_rate": 1}
    assert kind.Recipe(**needed, iterations=40, milestones=[40]).warnings() == [
        "milestone 40 of 40 iterations never takes effect"
    ]
    assert kind.Recipe(**needed, iterations=50, milestones=[45]).warnings() == []


def test_what_is_to_be_compiled_is_handed_to_the_compiler_and_keeps_its_names(make, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, *_, **__: compiled.append(module))
    networks = {part: make("semicon", compile=part).network for part in ("none", "icon", "network")}
    assert compiled == [*networks["icon"].icons(), networks["network"]]
    names = [list(network.state_dict()) for network in networks.values()]
    assert names[0] == names[1] == names[2]


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler on a CPU"
)
def test_a_compiled_channel_transformer_gives_the_same_map(make):
    """One of four, and without a gradient, for time."""
    plain, compiled = make("semicon"), make("semicon", compile="icon")
    assert list(compiled.network.state_dict()) == list(plain.network.state_dict())
    map_ = torch.randn(2, 32, 2, 2)
    with torch.no_grad():
        expected = plain.network.icons()[0](map_)
        torch.testing.assert_close(compiled.network.icons()[0](map_), expected, rtol=1e-3, atol=1e-4)
