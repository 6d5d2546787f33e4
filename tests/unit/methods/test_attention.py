import numpy as np
import pytest
import torch
from tiny_training import TINY

import hashrepro.methods.attention
from hashrepro.learning.base import load_method
from hashrepro.methods.attention import attention_maps

CPU = torch.device("cpu")


@pytest.fixture
def images(monkeypatch):
    """Seven random images in place of a cache: what is asked for by row comes in batches."""
    images = torch.randn(7, 3, 32, 32, generator=torch.Generator().manual_seed(1))

    def batches(cache, rows, batch_size, mean, std):
        yield from images[torch.as_tensor(rows)].split(batch_size)

    monkeypatch.setattr(hashrepro.methods.attention, "evaluation_batches", batches)
    return images


def network(name="semicon", **changes):
    torch.set_num_threads(1)
    kind = load_method(name)
    made = kind.untrained_network(kind.Recipe(**{**TINY, **changes}), 12, 3, 0)
    for norm in (m for m in made.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.running_mean.uniform_(-0.3, 0.3)
        norm.running_var.uniform_(0.5, 2)
    return made


def plain_maps(sem, x: np.ndarray, alpha: float) -> np.ndarray:
    """SEM behind its narrow trunk, in numpy: x (b, c, h, w) -> (b, maps, h, w), by the published code's formulas."""
    maps = []
    for convolution, norm, _ in sem.heads:
        weight = convolution.weight.detach().numpy()[0, :, 0, 0]
        value = np.tensordot(weight, x, axes=(0, 1))
        value = (value - norm.running_mean.item()) / np.sqrt(norm.running_var.item() + norm.eps)
        a = np.maximum(value * norm.weight.item() + norm.bias.item(), 0)
        maps.append(a)
        p = np.exp(a) / np.exp(a).sum((1, 2), keepdims=True)
        m = np.clip((p - p.mean()) / p.std(ddof=1) ** alpha + 1, 0, 2)
        x = x * (2 - m)[:, None]
    return np.stack(maps, axis=1)


@torch.no_grad()
def test_maps_are_those_of_the_batch_that_an_image_was_encoded_in(images):
    semicon = network(alpha=0.3, attention_start="open")
    rows, chosen = np.array([6, 2, 5, 0, 3]), np.array([4, 0, 1])
    found = attention_maps(semicon, None, rows, chosen, batch_size=2, device=CPU)
    for place, batch, expected in ((4, [3], found[0]), (0, [6, 2], found[1]), (1, [6, 2], found[2])):
        x = semicon.sem.reduce(semicon.trunk(images[batch])).numpy()
        plain = plain_maps(semicon.sem, x, 0.3)[place % 2]
        np.testing.assert_allclose(expected, plain, rtol=1e-4, atol=1e-6)
    assert found.shape == (3, 3, 4, 4)
    assert found.dtype == np.float32
    alone = attention_maps(semicon, None, rows[:1], chosen[1:2], batch_size=2, device=CPU)
    assert not np.array_equal(alone[0], found[1])  # another batch, another mask


def test_a_network_that_was_in_training_is_looked_at_in_eval_mode(images):
    semicon = network()
    expected = attention_maps(semicon.eval(), None, np.arange(4), np.arange(4), batch_size=4, device=CPU)
    again = attention_maps(semicon.train(), None, np.arange(4), np.arange(4), batch_size=4, device=CPU)
    np.testing.assert_array_equal(again, expected)


@pytest.mark.parametrize(
    ("name", "changes"), [("adsh", {}), ("semicon", {"sem": "none"}), ("semicon", {"local": False})]
)
def test_without_attention_there_are_no_maps(images, name, changes):
    made = network(name, **changes)
    assert attention_maps(made, None, np.arange(4), np.array([0]), batch_size=4, device=CPU) is None


def test_no_image_no_maps(images):
    nothing = np.array([], dtype=int)
    assert attention_maps(network(), None, np.arange(4), nothing, batch_size=4, device=CPU) is None
