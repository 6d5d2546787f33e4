import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hashrepro.errors import UserError
from hashrepro.networks.weights import fit_weights, read_weights


@pytest.fixture
def module() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_read_returns_what_was_saved(module, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(module.state_dict(), path)
    read = read_weights(path)
    assert read.keys() == module.state_dict().keys()
    assert all(torch.equal(read[name], value) for name, value in module.state_dict().items())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("keep", [0, 40, -40])
def test_truncated_file_is_refused(module, tmp_path, suffix, keep):
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(module.state_dict(), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="cannot be read") as caught:
        read_weights(path)
    assert caught.value.where == path


def test_pickle_with_anything_but_tensors_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    (tmp_path / "trap.pth").write_bytes(pickle.dumps(Trap(), protocol=2))
    with pytest.raises(UserError, match="cannot be read"):
        read_weights(tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


def test_checkpoint_around_the_state_dict_is_refused(module, tmp_path):
    torch.save({"model": module.state_dict(), "epoch": 3}, tmp_path / "checkpoint.pth")
    with pytest.raises(UserError, match="not a mapping"):
        read_weights(tmp_path / "checkpoint.pth")


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="no file") as caught:
        read_weights(tmp_path / "absent.pth")
    assert caught.value.where == tmp_path / "absent.pth"


def test_fit_drops_the_classifier_and_forgives_missing_counters(module):
    state = {
        name: torch.full_like(value, 2)
        for name, value in module.state_dict().items()
        if "tracked" not in name
    }
    fit_weights(module, {**state, "fc.weight": torch.ones(5)}, ignore=("fc.",), where="here")
    assert all((value == 2).all() for name, value in module.state_dict().items() if "tracked" not in name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.bias": None}, "0.bias: missing"),
        ({"2.weight": torch.ones(1)}, "2.weight: not part of the network"),
        ({"0.weight": torch.ones(4, 3, 3, 3)}, r"shape \(4, 3, 3, 3\), the network has \(4, 3, 1, 1\)"),
    ],
)
def test_fit_names_what_differs(module, change, message):
    state = {name: value for name, value in {**module.state_dict(), **change}.items() if value is not None}
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(UserError, match=message) as caught:
        fit_weights(module, state, ignore=("fc.",), where="here")
    assert caught.value.where == "here"
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
