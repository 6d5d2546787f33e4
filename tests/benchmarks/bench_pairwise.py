"""The loss, the similarity terms and the update of the codes, 48 bits and 2,000 sampled images.

At the size of Food-101 (one label an image), and at NUS-WIDE's for several labels an image.
"""

from collections.abc import Iterator

import plain_pairwise as plain
import torch
from harness import Row, compare, wanted
from torch import Tensor

from hashrepro.learning.dcc import dcc_sweep, pairwise_target
from hashrepro.learning.losses import AsymmetricLoss
from hashrepro.learning.similarity import LabelSets, SoftSimilarity

IMAGES, CLASSES = 75_750, 101
NUS_IMAGES, NUS_LABELS = 193_734, 21
SAMPLES, BITS, BATCH, GAMMA = 2_000, 48, 16, 200.0


def rows() -> Iterator[Row]:
    generator = torch.Generator().manual_seed(0)
    if wanted("class_sums"):
        yield _class_sums("class_sums", torch.eye(CLASSES)[torch.arange(IMAGES) % CLASSES], generator)
    if wanted("class_sums_multi"):
        yield _class_sums("class_sums_multi", _several_labels(generator), generator)
    if wanted("loss"):
        yield _loss(generator)
    if wanted("dcc"):
        yield _dcc(generator)


def _class_sums(name: str, labels: Tensor, generator: torch.Generator) -> Row:
    """k S^T U + gamma Ubar; S is prepared on both sides."""
    sample = torch.randperm(len(labels), generator=generator)[:SAMPLES]
    U = torch.randn(SAMPLES, BITS, generator=generator).tanh()
    similarity = SoftSimilarity.between(LabelSets.of(labels.bool()), sample)
    S = plain.similarity_matrix(labels[sample], labels)
    return compare(
        name,
        lambda: pairwise_target(similarity, U, GAMMA),
        lambda: plain.pairwise_target(S, U, sample, GAMMA),
        unit="ms per target",
        rounds=5,
        check=_close,
    )


def _several_labels(generator: torch.Generator) -> Tensor:
    """Independent labels: 2.4 an image and 16,000 distinct sets."""
    labels = torch.rand(NUS_IMAGES, NUS_LABELS, generator=generator) < torch.linspace(0.2, 0.02, NUS_LABELS)
    labels[:, 0] |= ~labels.any(1)
    return labels.float()


def _loss(generator: torch.Generator) -> Row:
    """Loss and gradient of one batch; what is prepared once for an outer iteration is prepared on both sides."""
    labels = torch.eye(CLASSES)[torch.arange(IMAGES) % CLASSES]
    sample = torch.randperm(IMAGES, generator=generator)[:SAMPLES]
    B = torch.randn(IMAGES, BITS, generator=generator)
    F = torch.randn(BATCH, BITS, generator=generator).tanh().requires_grad_()
    positions = torch.randperm(SAMPLES, generator=generator)[:BATCH]
    similarity = SoftSimilarity.between(LabelSets.of(labels.bool()), sample)
    loss = AsymmetricLoss(similarity, B, gamma=GAMMA, scale=12 / BITS)
    S = plain.similarity_matrix(labels[sample], labels)
    return compare(
        "loss",
        lambda: torch.autograd.grad(loss(F, positions)[0], F)[0],
        lambda: torch.autograd.grad(plain.loss(F, positions, S, B, sample, GAMMA), F)[0],
        unit="us per batch",
        rounds=15,
        check=_close,
    )


def _dcc(generator: torch.Generator) -> Row:
    """On inputs whose products and sums are exact in float32 in any order, so that every sign must be the same.

    B and U are multiples of 1/8, Q is 1/1024 beside one: no argument is 0, where the plain form's sign would be 0.
    """

    def eighths(rows: int, scale: float) -> Tensor:
        return (scale * torch.randn(rows, BITS, generator=generator)).mul(8).round().div(8)

    B, U = eighths(IMAGES, 1.0), eighths(SAMPLES, 0.7).clamp(-1, 1)
    Q = eighths(IMAGES, 150.0) + 1 / 1024
    return compare(
        "dcc",
        lambda: dcc_sweep(B, Q, U),
        lambda: plain.dcc_sweep(B, Q, U),
        unit="ms per sweep",
        rounds=2,
        check=_same_signs,
    )


def _close(ours: Tensor, plain_: Tensor) -> None:
    """Equal up to the float32 rounding of the plain form's long sums."""
    assert (ours - plain_).norm() <= 1e-5 * plain_.norm()


def _same_signs(ours: Tensor, plain_: Tensor) -> None:
    different = int((ours != plain_).sum())
    assert different == 0, f"{different} of {ours.numel()} signs differ"
