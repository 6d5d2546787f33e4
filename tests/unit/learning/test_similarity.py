"""Soft similarity against the matrix itself."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hashrepro.learning import similarity
from hashrepro.learning.similarity import LabelSets, SoftSimilarity


def one_hot(classes: list[int]) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(classes)).bool()


def matrix(labels: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
    """The references' own construction: S in +1/-1, shifted and scaled by r."""
    share = (labels[sample].double() @ labels.double().T) > 0
    S = torch.where(share, 1.0, -1.0).double()
    r = S.sum() / (1 - S).sum()
    return S * (1 + r) - r


def test_golden_of_semicon_and_of_schn():
    # sample labels 0 1 2 0 against database labels 0 0 1 1 2 2 0 1: the sample here is database rows 0 2 4 6
    sets = LabelSets.of(one_hot([0, 0, 1, 1, 2, 2, 0, 1]))
    soft = SoftSimilarity.between(sets, torch.tensor([0, 2, 4, 6]))
    assert soft.similar_pairs == 11
    assert soft.dissimilar == pytest.approx(-0.5238095238, abs=1e-10)
    soft = SoftSimilarity.between(LabelSets.of(one_hot([0, 0, 1])), torch.tensor([0, 1, 2]))
    assert soft.dissimilar == -1.25


label_matrices = st.integers(1, 5).flatmap(
    lambda classes: st.lists(
        st.lists(st.booleans(), min_size=classes, max_size=classes), min_size=2, max_size=12
    )
)


@given(label_matrices, st.integers(0, 2**31), st.data())
@settings(max_examples=150, deadline=None)
def test_sums_equal_products_with_the_matrix(rows, seed, data):
    labels = torch.tensor(rows)
    sample = torch.tensor(data.draw(st.permutations(range(len(labels)))))[
        : data.draw(st.integers(1, len(labels)))
    ]
    soft = SoftSimilarity.between(LabelSets.of(labels), sample)
    if soft.similar_pairs == len(sample) * len(labels):
        assert (
            soft.dissimilar == 0.0
        )  # the reference divides by zero here; there is no dissimilar pair to value
        return
    S = matrix(labels, sample)
    generator = torch.Generator().manual_seed(seed)
    U = torch.randn(len(sample), 3, dtype=torch.float64, generator=generator)
    B = torch.randn(len(labels), 3, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(soft.database_sums(U), S.T @ U)
    torch.testing.assert_close(soft.sample_sums(B), S @ B)
    torch.testing.assert_close(soft.squared_sums(), S.square().sum(1))


@pytest.mark.parametrize("block", [1, 50, 10_000])
def test_the_blocks_of_label_sets_leave_the_sums_alone(monkeypatch, block):
    monkeypatch.setattr(similarity, "BLOCK", block)
    generator = torch.Generator().manual_seed(1)
    labels = torch.rand(90, 6, generator=generator) < 0.3
    sample = torch.randperm(90, generator=generator)[:25]
    sets = LabelSets.of(labels)
    assert 30 < len(sets.sets) < 64
    soft, S = SoftSimilarity.between(sets, sample), matrix(labels, sample)
    U, B = (torch.randn(rows, 3, dtype=torch.float64, generator=generator) for rows in (25, 90))
    torch.testing.assert_close(soft.database_sums(U), S.T @ U)
    torch.testing.assert_close(soft.sample_sums(B), S @ B)


def test_single_label_data_is_recognised():
    assert LabelSets.of(one_hot([2, 0, 1, 1])).disjoint
    assert not LabelSets.of(torch.tensor([[True, False], [True, True]])).disjoint
    assert not LabelSets.of(
        torch.tensor([[True, False], [False, False]])
    ).disjoint  # similar to nothing, itself too


def test_dissimilar_value_is_exact_where_float32_sums_are_not():
    """NABirds' size: counting gives -0.00180540 where the reference's float32 sums gave -0.00180531."""
    classes = torch.arange(23929) % 555
    sets = LabelSets(classes, torch.eye(555), disjoint=True)
    soft = SoftSimilarity.between(sets, torch.arange(4000))
    counts = torch.bincount(classes)
    similar = int(counts[classes[:4000]].sum())
    assert soft.similar_pairs == similar
    assert soft.dissimilar == -similar / (4000 * 23929 - similar)
