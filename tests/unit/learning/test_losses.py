"""The closed-form loss and its gradient against the matrix form, and against worked examples."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ramps import ramp
from torch.nn.functional import mse_loss, one_hot

from hashrepro.learning.losses import AsymmetricLoss, batch_loss
from hashrepro.learning.similarity import LabelSets, SoftSimilarity


def literal_loss(outputs, positions, labels, sample, B, gamma, scale):
    """c / (b n) (|| k S - F B^T ||^2 + gamma || F - B[sample] ||^2) with S as a matrix."""
    share = (labels[sample].double() @ labels.double().T) > 0
    S = torch.where(share, 1.0, -share.sum().double() / (~share).sum()).double()[positions]
    b, k = outputs.shape
    pairwise = (k * S - outputs @ B.T).square().sum()
    quantisation = gamma * (outputs - B[sample][positions]).square().sum()
    return scale * pairwise / (b * len(B)), scale * quantisation / (b * len(B))


@given(st.integers(1, 16), st.integers(4, 40), st.integers(0, 2**31), st.booleans())
@settings(max_examples=80, deadline=None)
def test_value_and_gradient_equal_the_matrix_form(k, n, seed, multi_label):
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(3, (n,), generator=generator)
    labels = one_hot(classes, 4).bool()
    labels[0], labels[1] = (
        torch.tensor([True, False, False, False]),
        torch.tensor([False, False, False, True]),
    )
    if multi_label:
        labels |= torch.rand(n, 4, generator=generator) < 0.2
    sample = torch.randperm(n, generator=generator)[: max(2, n // 2)]
    sample[0] = 0
    soft = SoftSimilarity.between(LabelSets.of(labels), sample)
    if soft.similar_pairs == len(sample) * n:
        return
    B = torch.randn(n, k, dtype=torch.float64, generator=generator)
    positions = torch.arange(len(sample))[::2]
    outputs = torch.randn(len(positions), k, dtype=torch.float64, generator=generator).tanh().requires_grad_()
    total, pairwise, quantisation = AsymmetricLoss(soft, B, gamma=7.0, scale=12 / k)(outputs, positions)
    expected = literal_loss(outputs, positions, labels, sample, B, 7.0, 12 / k)
    torch.testing.assert_close((pairwise, quantisation), tuple(e.detach() for e in expected))
    (gradient,) = torch.autograd.grad(total, outputs)
    (wanted,) = torch.autograd.grad(sum(expected), outputs)
    torch.testing.assert_close(gradient, wanted, rtol=1e-12, atol=1e-12)


def test_golden_loss_of_semicon():
    classes = torch.tensor([0, 0, 1, 1, 2, 2, 0, 1])
    soft = SoftSimilarity.between(LabelSets.of(one_hot(classes).bool()), torch.tensor([0, 2, 4, 6]))
    U, B = torch.tanh(ramp((4, 6), torch.sin, 1.5, 0.3)), ramp((8, 6), torch.cos, 1.2, 0.9)
    loss = AsymmetricLoss(soft, B, gamma=200.0, scale=12 / 6)
    total, pairwise, quantisation = loss(U[:3], torch.arange(3))
    assert float(total) == pytest.approx(340.9623642286, abs=1e-8)
    assert float(pairwise) == pytest.approx(54.5645086653, abs=1e-8)
    assert float(quantisation) == pytest.approx(286.3978555633, abs=1e-8)


F = torch.tensor([[0.5, -0.5, 0.25, 0.0], [-0.25, 0.75, -0.5, 0.5]], dtype=torch.float64)
B = torch.tensor([[1.0, -1, 1, -1], [0, 0, 0, 0]], dtype=torch.float64)
EYE = torch.eye(2, dtype=torch.float64)


def test_worked_example_of_schn():
    assert float(batch_loss(F, B, EYE, gamma=0.0)) == 20.671875
    assert float(batch_loss(F, B, EYE, gamma=10.0)) == 24.65625
    total = 3 * batch_loss(F, B, EYE, gamma=10.0) + mse_loss(F + 0.1, F) + mse_loss(F - 0.2, F)
    assert float(total) == pytest.approx(74.01875)


def test_without_codes_the_pairwise_term_of_schn_has_no_gradient():
    outputs = F.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(batch_loss(outputs, torch.zeros_like(F), EYE, gamma=0.0), outputs)
    assert gradient.abs().max() == 0
    (gradient,) = torch.autograd.grad(batch_loss(outputs, torch.zeros_like(F), EYE, gamma=10.0), outputs)
    torch.testing.assert_close(gradient, 10 * 2 * F / F.numel())


def test_gradcheck():
    classes = torch.tensor([0, 0, 1, 1, 2, 2, 0, 1])
    soft = SoftSimilarity.between(LabelSets.of(one_hot(classes).bool()), torch.tensor([0, 2, 4, 6]))
    loss = AsymmetricLoss(soft, ramp((8, 6), torch.cos, 1.2, 0.9), gamma=3.0)
    outputs = ramp((4, 6), torch.sin, 0.8, 0.3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, torch.arange(4))[0], (outputs,))
