"""SEMICON's loss against the losses that its authors logged in their first epoch, at the size of their data sets.

In that epoch B is Gaussian noise and the outputs F of the untrained hash layers are small and know nothing of B. So,
with q = E[F^2] and S^2 averaged over all pairs,

    hash = 12 k E[S^2] + 12 q,      quantisation = 2400 (1 + q) / N,      E[S^2] = p / (1 - p)

where p is the share of similar pairs. One unknown, q, has to explain two logged numbers.
"""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hashrepro.learning.losses import AsymmetricLoss
from hashrepro.learning.similarity import LabelSets, SoftSimilarity

LOGS = Path(__file__).parents[3] / "data" / "published" / "semicon_logs.csv"
GAMMA = 200.0


def birds() -> Tensor:
    """555 classes of 4 to 60 images, most of them large, 23,929 in all: NABirds' range and sum, not its own counts."""
    sizes = (4 + 56 * torch.linspace(0, 1, 555) ** 0.4326).round().long()
    sizes[300 : 300 + 23_929 - int(sizes.sum())] += 1
    return sizes


SIZES = {  # images of each class; the sampled images of an iteration
    "CUB200-2011": (torch.tensor([30] * 194 + [29] * 6), 2000),
    "Food101": (torch.full((101,), 750), 2000),
    "NABirds": (birds(), 4000),
}


def logged() -> list:
    """(data set, bits, hash, quantisation) of every run of the published method, the aborted ones, too."""
    with LOGS.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["repo"].startswith("aassxun/SEMICON")]
    return [
        pytest.param(
            row["dataset"],
            int(row["bits"]),
            float(row["epoch1_hash_loss"]),
            float(row["epoch1_quan_loss"]),
            id=f"{row['dataset']}-{row['bits']}-run{row['run_id']}",
        )
        for row in rows
        if row["method"] == "SEMICON"
    ]


def mean_square_of_similarity(sizes: Tensor) -> float:
    p = float(sizes.double().square().sum() / sizes.sum() ** 2)
    return p / (1 - p)


def first_epoch(dataset: str, bits: int, q: float, dissimilar: float | None = None, **changes) -> tuple:
    """(hash, quantisation) of our loss on noise: B ~ N(0, 1), F the tanh of noise, scaled to E[F^2] = q."""
    sizes, m = SIZES[dataset]
    generator = torch.Generator().manual_seed(bits)
    classes = torch.arange(len(sizes)).repeat_interleave(sizes)
    sample = torch.randperm(len(classes), generator=generator)[:m]
    sets = LabelSets(classes, torch.eye(len(sizes)), disjoint=True)
    similarity = SoftSimilarity.between(sets, sample)
    if dissimilar is not None:
        similarity = replace(similarity, dissimilar=dissimilar)
    B = torch.randn(len(classes), bits, generator=generator)
    F = (0.1 * torch.randn(m, bits, generator=generator)).tanh()
    F *= (q / F.square().mean()).sqrt()
    loss = AsymmetricLoss(similarity, B, **{"gamma": GAMMA, "scale": 12 / bits, **changes})
    _, pairwise, quantisation = loss(F, torch.arange(m))
    return float(pairwise), float(quantisation)


def implied(dataset: str, bits: int, hash_: float) -> float:
    """q by the logged hash term."""
    return hash_ / 12 - bits * mean_square_of_similarity(SIZES[dataset][0])


def test_label_counts_and_runs():
    assert {name: (len(sizes), int(sizes.sum())) for name, (sizes, _) in SIZES.items()} == {
        "CUB200-2011": (200, 5_994),
        "Food101": (101, 75_750),
        "NABirds": (555, 23_929),
    }
    assert (birds().min(), birds().max()) == (4, 60)
    assert {run.values[:2] for run in logged()} == {(name, k) for name in SIZES for k in (12, 24, 32, 48)}


@pytest.mark.parametrize(("dataset", "bits", "hash_", "quantisation"), logged())
def test_both_logged_terms_imply_the_same_small_outputs(dataset, bits, hash_, quantisation):
    """The mean of B^2 over the m k sampled entries, 1 in expectation, has the standard deviation sqrt(2 / (m k))."""
    sizes, m = SIZES[dataset]
    by_hash = implied(dataset, bits, hash_)
    by_quantisation = quantisation * int(sizes.sum()) / (12 * GAMMA) - 1
    assert 0.008 < by_hash < 0.03
    assert abs(by_quantisation - by_hash) < 2 * (2 / (m * bits)) ** 0.5


@pytest.mark.parametrize(("dataset", "bits", "hash_", "quantisation"), logged())
def test_our_loss_comes_out_where_the_logs_do(dataset, bits, hash_, quantisation):
    ours = first_epoch(dataset, bits, implied(dataset, bits, hash_))
    assert ours[0] == pytest.approx(hash_, rel=0.01)
    assert ours[1] == pytest.approx(quantisation, rel=0.03)


@pytest.mark.parametrize(
    ("wrong", "term"),
    [
        ({"scale": 1.0}, 0),  # no 12 / k
        ({"scale": 1.0}, 1),
        ({"gamma": GAMMA * 75_750}, 1),  # the quantisation not divided by N
        ({"gamma": GAMMA / 48}, 1),  # the quantisation as a mean over bits, too
        ({"dissimilar": -1.0}, 0),  # S in {-1, +1}, not softened
        ({"dissimilar": 0.0, "scale": 1.0}, 0),  # S in {0, 1}, and no 12 / k
    ],
)
def test_wrong_losses_miss_by_far(wrong, term):
    run = next(run.values for run in logged() if run.values[:2] == ("Food101", 48))
    ours = first_epoch(*run[:2], implied(*run[:3]), **wrong)[term]
    assert not 0.5 < ours / run[2 + term] < 2
