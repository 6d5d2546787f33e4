"""The discrete update against the formula taken literally, and against worked examples."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ramps import ramp
from torch.nn.functional import one_hot
from torch.utils._python_dispatch import TorchDispatchMode

from hashrepro.learning.dcc import dcc_sweep, pairwise_target
from hashrepro.learning.losses import AsymmetricLoss
from hashrepro.learning.similarity import LabelSets, SoftSimilarity


def literal_sweep(B, Q, U):
    """B[:, b] = sign(Q[:, b] - B' U'^T u_b), with columns dropped and the n x m product formed."""
    B = B.clone()
    for b in range(B.shape[1]):
        others = [c for c in range(B.shape[1]) if c != b]
        argument = Q[:, b] - (B[:, others] @ U[:, others].T) @ U[:, b]
        B[:, b] = torch.where(argument >= 0, 1.0, -1.0)
    return B


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 12), st.integers(0, 2**31))
@settings(max_examples=100, deadline=None)
def test_equals_the_formula(k, n, m, seed):
    generator = torch.Generator().manual_seed(seed)
    B, Q, U = (torch.randn(rows, k, dtype=torch.float64, generator=generator) for rows in (n, n, m))
    before = B.clone()
    assert torch.equal(dcc_sweep(B, Q * 3, U), literal_sweep(B, Q * 3, U))
    assert torch.equal(B, before)


@given(st.integers(1, 20), st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_every_sign_is_the_formulas_where_float32_is_exact(k, seed):
    """Quarters and integers, so no sum rounds; one argument in about 30 is a tie."""
    generator = torch.Generator().manual_seed(seed)
    B, U = (torch.randint(-4, 5, (rows, k), generator=generator) / 4 for rows in (300, 9))
    Q = torch.randint(-20, 21, (300, k), generator=generator) / 16
    assert torch.equal(dcc_sweep(B, Q, U), literal_sweep(B, Q, U))


def test_golden_update_of_semicon():
    classes = torch.tensor([0, 0, 1, 1, 2, 2, 0, 1])
    soft = SoftSimilarity.between(LabelSets.of(one_hot(classes).bool()), torch.tensor([0, 2, 4, 6]))
    U = torch.tanh(ramp((4, 6), torch.sin, 1.5, 0.3))
    B = dcc_sweep(ramp((8, 6), torch.cos, 1.2, 0.9), pairwise_target(soft, U, gamma=200.0), U)
    expected = {(0, 1, 6): "+++++-", (2, 3, 7): "---+++", (4, 5): "+-----"}
    for rows, signs in expected.items():
        for row in rows:
            assert "".join("+" if bit > 0 else "-" for bit in B[row]) == signs


def test_worked_example_of_schn():
    soft = SoftSimilarity.between(LabelSets.of(one_hot(torch.tensor([0, 0, 1])).bool()), torch.arange(3))
    U = torch.tensor([[0.5, -0.2], [0.4, -0.1], [-0.3, 0.6]])
    Q = pairwise_target(soft, U, gamma=10.0)
    torch.testing.assert_close(Q, torch.tensor([[7.55, -4.1], [6.55, -3.1], [-5.85, 7.95]]))
    label = torch.tensor([[0.9, 0.9], [0.9, 0.9], [-0.9, 0.9]])
    B = dcc_sweep(torch.zeros(3, 2), Q + 2 * label + 0.1 * torch.full((3, 2), 0.5), U)
    assert B.tolist() == [[1, -1], [1, -1], [-1, 1]]


def test_a_tie_becomes_plus_one():
    assert dcc_sweep(torch.zeros(2, 1), torch.zeros(2, 1), torch.ones(3, 1)).tolist() == [[1.0], [1.0]]


class Largest(TorchDispatchMode):
    """Records the number of elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, torch.Tensor):
                self.elements = max(self.elements, value.numel())
        return result


@pytest.mark.parametrize("several_labels", [False, True])
def test_nothing_of_the_size_of_S_is_made(several_labels):
    n, m, k, classes = 4000, 500, 8, 12
    generator = torch.Generator().manual_seed(0)
    labels = one_hot(torch.randint(classes, (n,), generator=generator), classes).bool()
    if several_labels:
        labels |= torch.rand(n, classes, generator=generator) < 0.2
    B, U = torch.randn(n, k, generator=generator), torch.randn(m, k, generator=generator)
    sets = LabelSets.of(labels)
    with Largest() as largest:
        soft = SoftSimilarity.between(sets, torch.randperm(n, generator=generator)[:m])
        outputs = U[:16].clone().requires_grad_()
        AsymmetricLoss(soft, B, gamma=1.0)(outputs, torch.arange(16))[0].backward()
        dcc_sweep(B, pairwise_target(soft, U, gamma=1.0), U)
    assert n * k <= largest.elements < n * m / 4
