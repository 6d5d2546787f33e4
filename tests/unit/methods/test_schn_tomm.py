import pytest
import torch

EVERY = torch.arange(8)


def test_adversarial_losses_agree_where_nothing_saturates(make):
    logits = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    expected = -torch.nn.functional.logsigmoid(2 * logits).mean()
    for kind in ("probability", "logits"):
        method = make("schn_tomm", adversarial_loss=kind)
        torch.testing.assert_close(method.cross_entropy(logits, 1.0), expected)
        torch.testing.assert_close(method.cross_entropy(-logits, 0.0), expected)


def test_only_the_reference_form_saturates(make):
    for kind, value, slope in (("probability", 100.0, 0.0), ("logits", 40.0, -2.0)):
        logit = torch.full((1, 1), -20.0, requires_grad=True)
        loss = make("schn_tomm", adversarial_loss=kind).cross_entropy(logit, 1.0)
        loss.backward()
        assert loss.item() == pytest.approx(value)
        assert logit.grad.item() == pytest.approx(slope)


def test_discriminator_and_cycle_net_learn_from_each_other_and_nobody_else_does(make, images):
    method = make("schn_tomm", initial_codes="sign")
    out, _ = method.forward(EVERY, images, train_features=False)
    before = {name: p.clone() for name, p in method.network.named_parameters()}
    losses = method.adversarial_step(out)
    assert set(losses) == {"discriminator", "generator"}
    changed = {
        name.split(".")[0]
        for name, p in method.network.named_parameters()
        if not torch.equal(before[name], p)
    }
    assert changed == {"discriminator", "cycle_net"}


def test_kept_outputs_are_those_after_the_main_step(make, images):
    """In eval mode there is no dropout, so a third pass of unchanged image and label nets gives them again."""
    method = make("schn_tomm", initial_codes="sign", learning_rate=1e-2)
    method.network.eval()
    before, _ = method.forward(EVERY, images)
    method.step(EVERY, images)
    after, _ = method.forward(EVERY, images)
    torch.testing.assert_close(method.U, after.image)
    assert not torch.allclose(method.U, before.image, atol=1e-3)


def test_without_discriminator_the_rest_is_as_before(make, images):
    method, full = make("schn_tomm", discriminator=False), make("schn_tomm")
    assert set(method.optimisers) == {"all"}
    assert set(full.optimisers) == {"all", "cycle", "discriminator"}
    assert set(method.step(EVERY, images)) == {"loss"}
    method.finish(6)  # a milestone of the rates that are not there
    assert method.optimisers["all"].param_groups[0]["lr"] == 1e-3


def test_a_discriminator_needs_something_to_judge(make):
    with pytest.raises(ValueError, match="set discriminator to false"):
        make("schn_tomm", cycle_net=False)
