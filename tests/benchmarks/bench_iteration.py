"""One training step of SEMICON: forward, loss, backward, SGD.

ResNet-50 with random weights, 224 px, batch 16, 48 bits, a database of Food-101's size. Ours with weights in the
memory layout channels_last, in fp32 and in bf16; the plain form in NCHW and fp32.
"""

from collections.abc import Iterator

import plain_pairwise
import torch
from harness import Row, compare, wanted
from plain_semicon import PlainSEMICON
from torch import Tensor, nn

from hashrepro.methods.semicon import SEMICON

IMAGES, CLASSES, SAMPLES, BITS, BATCH, SIDE = 75_750, 101, 2_000, 48, 16, 224
SGD = {"lr": 2.5e-4, "momentum": 0.91, "weight_decay": 1e-4}
PRECISIONS = {"iteration": "fp32", "iteration_bf16": "bf16"}


def rows() -> Iterator[Row]:
    for name, precision in PRECISIONS.items():
        if wanted(name):
            yield _step(name, precision)


def _step(name: str, precision: str) -> Row:
    generator = torch.Generator().manual_seed(0)
    labels = torch.eye(CLASSES)[torch.arange(IMAGES) % CLASSES]
    sample = torch.randperm(IMAGES, generator=generator)[:SAMPLES]
    positions = torch.randperm(SAMPLES, generator=generator)[:BATCH]
    images = torch.randn(BATCH, 3, SIDE, SIDE, generator=generator)
    recipe = SEMICON.Recipe(
        backbone="resnet50",
        weights="none",
        iterations=1,
        epochs=1,
        samples=SAMPLES,
        batch_size=BATCH,
        optimiser="sgd",
        learning_rate=SGD["lr"],
        momentum=SGD["momentum"],
        weight_decay=SGD["weight_decay"],
        precision=precision,
    )
    method = SEMICON(recipe, BITS, labels.bool(), seed=0, device=torch.device("cpu"))
    method.start(encode_rows=lambda _: None)
    method.begin(1, sample)
    method.network.train()
    plain = PlainSEMICON(BITS)
    plain.load_state_dict(method.network.state_dict())
    plain_step = _plain_step(plain, labels, sample, method.B, recipe.gamma)
    return compare(
        name,
        lambda: method.step(positions, images)["loss"],
        lambda: plain_step(positions, images),
        unit="s per step",
        check=_close,
    )


def _plain_step(network: nn.Module, labels: Tensor, sample: Tensor, B: Tensor, gamma: float):
    S = plain_pairwise.similarity_matrix(labels[sample], labels)
    optimiser = torch.optim.SGD(network.train().parameters(), **SGD, nesterov=True)

    def step(positions: Tensor, images: Tensor) -> Tensor:
        loss = plain_pairwise.loss(network(images), positions, S, B, sample, gamma)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.detach()

    return step


def _close(ours: Tensor, plain: Tensor) -> None:
    """The same loss on the same weights, up to what fp32 and bf16 leave of it."""
    assert abs(ours - plain) <= 0.02 * plain
