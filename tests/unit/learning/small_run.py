"""A run of a method small enough to be checked by hand: 12 database images of 3 classes, 8 of them sampled."""

import pytest
import tiny_training
import torch

from hashrepro.learning.base import load_method

TINY = {**tiny_training.TINY, "epochs": 1, "batch_size": 8}
CLASSES = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
SAMPLE = torch.tensor([2, 3, 5, 8, 1, 0, 11, 7])


@pytest.fixture
def make():
    """(method name, recipe values) -> a method over 12 database images, started and within iteration 1."""

    def build(name, *, bits=12, labels=None, **changes):
        torch.set_num_threads(1)
        kind = load_method(name)
        labels = torch.eye(3).bool()[CLASSES] if labels is None else labels
        method = kind(kind.Recipe(**{**TINY, **changes}), bits, labels, 0, torch.device("cpu"))
        method.start(lambda rows: torch.stack([torch.arange(bits) - float(row) for row in rows]))
        torch.manual_seed(0)
        method.begin(1, SAMPLE)
        method.network.train()
        return method

    return build


@pytest.fixture
def images():
    return torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
