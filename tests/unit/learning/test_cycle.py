"""SCHN's parameters, each against what it says: the loss, the update of B, the codes of what was never sampled."""

import pytest
import torch
from small_run import SAMPLE

from hashrepro.learning.dcc import pairwise_target
from hashrepro.networks.schn import SCHNOutput

EVERY = torch.arange(8)
REST = [4, 6, 9, 10]  # database images outside SAMPLE


def outputs(bits=12):
    numbers = torch.Generator().manual_seed(1)
    return SCHNOutput(
        *(torch.rand(8, bits, generator=numbers).mul(2).sub(1).requires_grad_() for _ in range(5))
    )


def plain_loss(out, B, labels, gamma, dissimilar, errors=True):
    k, b = B.shape[1], len(B)
    S = torch.tensor([[1.0 if (x & y).any() else dissimilar for y in labels] for x in labels])
    loss = 0.0
    for F in (out.image, out.label, out.latent):
        loss += 12 / k * ((k * S - F @ B.T) ** 2).sum() / b**2 + gamma * ((F - B) ** 2).sum() / (b * k)
    for R, F in ((out.image_reconstruction, out.image), (out.label_reconstruction, out.label)):
        loss += ((R - F) ** 2).sum() / (b * k)
    return loss


@pytest.mark.parametrize("kind", ["zero_one", "signed", "soft"])
def test_loss_similarity(make, kind):
    method = make("schn", loss_similarity=kind, initial_codes="sign")
    pairs = (method.labels[SAMPLE].float() @ method.labels.float().T) > 0
    soft = -float(pairs.sum()) / float((~pairs).sum())
    out, similar = outputs(), method.sample_labels @ method.sample_labels.T
    expected = plain_loss(
        out,
        method.B[SAMPLE],
        method.labels[SAMPLE],
        10,
        {"zero_one": 0.0, "signed": -1.0, "soft": soft}[kind],
    )
    torch.testing.assert_close(method.main_loss(out, EVERY, similar), expected)


def test_targets_of_the_reconstructions_learn_from_them_unless_detached(make):
    gradients = {}
    for detached in (False, True):
        method, out = make("schn", detach_targets=detached, initial_codes="sign", gamma=0.0), outputs()
        similar = method.sample_labels @ method.sample_labels.T
        method.main_loss(out, EVERY, similar).backward()
        gradients[detached] = [part.grad for part in out]
    latent, image, label, image_again, label_again = zip(gradients[False], gradients[True], strict=True)
    assert torch.equal(*latent)
    assert torch.equal(*image_again)
    assert torch.equal(*label_again)
    out = outputs()
    pull = 2 * (out.image - out.image_reconstruction) / out.image.numel()
    torch.testing.assert_close(image[0] - image[1], pull.detach())
    assert not torch.equal(*label)


def test_rows_of_the_update(make):
    sampled, every = make("schn"), make("schn", dcc_rows="all")
    for method in (sampled, every):
        method.U = torch.randn(8, 12, generator=torch.Generator().manual_seed(2))
        method.finish(1)
    assert (sampled.B[REST] == 0).all()
    assert (every.B.abs() == 1).all()
    assert torch.equal(every.B[SAMPLE], sampled.B[SAMPLE])


def test_gamma_of_the_update(make):
    """With a weight beyond all others, the codes are the signs of the outputs."""
    plain, heavy = make("schn"), make("schn", dcc_gamma=1e9)
    for method in (plain, heavy):
        method.U = torch.randn(8, 12, generator=torch.Generator().manual_seed(2))
        method.finish(1)
    assert torch.equal(heavy.B[SAMPLE], heavy.U.sign())
    assert not torch.equal(plain.B[SAMPLE], plain.U.sign())


def test_label_and_latent_outputs_stand_inside_the_sign(make):
    method = make("schn", alpha=2e9, beta=1e9)
    method.label_outputs[:, 0], method.label_outputs[:, 1:6] = 1.0, -1.0
    method.latent_outputs[:, 6:] = 0.5
    method.finish(1)
    assert torch.equal(method.B[SAMPLE][0], torch.tensor([1.0] + [-1.0] * 5 + [1.0] * 6))


@pytest.mark.parametrize("unsampled", ["zero", "drop", "network", "label_net"])
def test_codes_of_what_was_never_sampled(make, unsampled):
    method = make("schn", unsampled=unsampled)
    method.U = torch.randn(8, 12, generator=torch.Generator().manual_seed(2))
    method.finish(1)
    before = method.B.clone()
    codes = method.database_codes()
    assert torch.equal(method.B, before)
    assert torch.equal(codes[SAMPLE], method.B[SAMPLE])
    if unsampled == "network":  # the encoder of the fixture: bit i of row r is the sign of i - r
        assert codes[REST].tolist() == [[1.0 if bit >= row else -1.0 for bit in range(12)] for row in REST]
    elif unsampled == "label_net":
        logits = method.network.label_net(method.labels.float())[1][REST]
        assert torch.equal(codes[REST], torch.where(logits >= 0, 1.0, -1.0))
    else:
        assert (codes[REST] == 0).all()


@pytest.mark.parametrize("kind", ["zeros", "gaussian", "sign", "network"])
def test_initial_codes(make, kind):
    for name in ("schn", "adsh"):
        B = make(name, initial_codes=kind).B
        assert B.shape == (12, 12)
        if kind == "zeros":
            assert not B.any()
        elif kind == "gaussian":
            assert 0.7 < B.std() < 1.3
            assert len(B.unique()) == 144
        else:
            assert B.unique().tolist() == [-1.0, 1.0]
        if kind == "network":
            assert torch.equal(B[3], torch.where(torch.arange(12) >= 3, 1.0, -1.0))


@pytest.mark.parametrize("name", ["adsh", "schn"])
def test_outputs_of_the_update(make, name):
    """eval_pass: the encoder is asked for the sample, and Q is built from its answer."""
    method = make(name, dcc_outputs="eval_pass", initial_codes="sign")
    method.finish(1)
    expected = torch.stack([torch.arange(12) - float(row) for row in SAMPLE])
    assert torch.equal(method.U, expected)
    target = pairwise_target(method.similarity, expected, method.recipe.gamma)
    assert torch.equal(method.B[SAMPLE][:, 0].sign(), method.B[SAMPLE][:, 0])
    assert target.shape == (12, 12)


def test_replayed_batches(make):
    for name, replay in (("schn", False), ("schn_tomm", True)):
        method = make(name)
        assert (method.view_path(4, 1) == method.view_path(4, 2)) == replay
        assert method.view_path(4, 1) != method.view_path(5, 1)
        assert make(name, replay_batches=True).view_path(4, 3) == (4, 1)


@pytest.mark.parametrize("without", [("cycle_net",), ("cycle_net", "label_net")])
def test_ablations_take_a_step(make, images, without):
    method = make("schn", **dict.fromkeys(without, False))
    before = [p.clone() for p in method.network.parameters()]
    losses = method.step(EVERY, images)
    assert torch.isfinite(losses["loss"])
    assert any(not torch.equal(a, b) for a, b in zip(before, method.network.parameters(), strict=True))
    assert (method.U != 0).any()
    assert not method.latent_outputs.any()
    assert method.label_outputs.any() == ("label_net" not in without)
    method.finish(1)
    assert (method.B[SAMPLE].abs() == 1).all()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"label_net": False}, "set cycle_net to false"),
        ({"label_net": False, "cycle_net": False, "unsampled": "label_net"}, "set label_net to true"),
    ],
)
def test_parts_that_do_not_fit(make, values, said):
    with pytest.raises(ValueError, match=said):
        make("schn", **values)
