"""What holds for every method: multi-label data, lower precision, a state that comes back."""

import pytest
import torch

from hashrepro.learning.base import load_method, method_names

EVERY = torch.arange(8)
LABELS = torch.tensor(
    [
        [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 0],
        [0, 0, 0, 1], [0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0], [1, 1, 1, 1], [0, 1, 1, 0],
    ]
).bool()  # fmt: skip


@pytest.mark.parametrize("name", method_names())
def test_multi_label_data_with_an_image_without_labels(make, images, name):
    method = make(name, labels=LABELS)
    for _ in range(2):
        assert torch.isfinite(method.step(EVERY, images)["loss"])
    method.finish(1)
    assert (method.B[method.similarity.sample].abs() == 1).all()


@pytest.mark.parametrize("backbone", ["alexnet", "resnet50"])
@pytest.mark.parametrize("name", method_names())
def test_every_method_stands_on_every_backbone(name, backbone):
    """On the meta device: shapes only, no memory."""
    kind = load_method(name)
    needed = {"iterations": 1, "epochs": 1, "samples": 1, "batch_size": 1, "learning_rate": 1}
    recipe = kind.Recipe(backbone=backbone, weights="none", **needed)
    with torch.device("meta"):
        network = kind.untrained_network(recipe, 24, 38, 0).eval()
        assert network.encode(torch.empty(2, 3, 224, 224)).shape == (2, 24)


@pytest.mark.parametrize(
    ("name", "precision"), [*((name, "bf16") for name in method_names()), ("adsh", "fp16")]
)
def test_lower_precision_keeps_weights_outputs_and_codes_in_fp32(make, images, name, precision):
    full, half = make(name), make(name, precision=precision)
    assert half.scaler.is_enabled() == (precision == "fp16")
    first, second = full.step(EVERY, images), half.step(EVERY, images)
    assert second["loss"].dtype == torch.float32
    assert second["loss"].item() == pytest.approx(first["loss"].item(), rel=0.2)
    assert {p.dtype for p in half.network.parameters()} == {torch.float32}
    half.finish(1)
    assert half.U.dtype == half.B.dtype == torch.float32
    assert not torch.equal(half.U, full.U)


@pytest.mark.parametrize("name", method_names())
def test_a_state_comes_back(make, images, name):
    precision = (
        "fp16" if name == "adsh" else "fp32"
    )  # slow on a CPU; the scaler's state is the same everywhere
    method, other = make(name, precision=precision), make(name, precision=precision, learning_rate=0.5)
    method.step(EVERY, images)
    method.finish(1)
    tensors, facts = method.state()
    other.load_state({key: value.clone() for key, value in tensors.items()}, facts)
    again, known = other.state()
    assert known == facts
    assert again.keys() == tensors.keys()
    for key, value in tensors.items():
        assert torch.equal(again[key], value), key
