import pytest
import torch
from tiny_training import TINY

from hashrepro.errors import UserError
from hashrepro.learning.base import load_method, method_names

NEEDED = {
    key: TINY[key]
    for key in ("backbone", "weights", "iterations", "epochs", "samples", "batch_size", "learning_rate")
}


def test_the_methods_that_there_are():
    assert method_names() == ["adsh", "schn", "schn_tomm", "semicon"]
    with pytest.raises(UserError, match="no method called 'schm'") as error:
        load_method("schm")
    assert "adsh, schn, schn_tomm, semicon" in error.value.mend


@pytest.mark.parametrize("name", method_names())
def test_an_untrained_network_depends_on_the_seed_only(name):
    kind = load_method(name)
    recipe = kind.Recipe(**NEEDED)
    first, again, other = (kind.untrained_network(recipe, 12, 3, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_faithful_defaults():
    recipes = {name: load_method(name).Recipe(**NEEDED) for name in method_names()}
    assert (recipes["adsh"].gamma, recipes["adsh"].loss_unit) == (200, None)
    semicon = recipes["semicon"]
    assert (semicon.gamma, semicon.loss_unit, semicon.alpha, semicon.initial_codes) == (
        200,
        12,
        0.15,
        "gaussian",
    )
    assert (semicon.load_last_unit, semicon.icon_residual, semicon.icon_aligned) == (
        False,
        "post_relu",
        False,
    )
    assert (semicon.sem_std, semicon.maps, semicon.evaluation_batch_size) == ("batch", 3, 16)
    for name, query in (("schn", "modality"), ("schn_tomm", "latent")):
        recipe = recipes[name]
        assert (recipe.gamma, recipe.alpha, recipe.beta, recipe.cycle_query) == (10, 2, 0.1, query)
        assert (recipe.gcn_norm, recipe.latent_activation, recipe.detach_features) == (
            "none",
            "sigmoid",
            True,
        )
    assert recipes["schn_tomm"].adversarial_milestones == [6, 41]
    assert recipes["schn_tomm"].adversarial_rate_drop == pytest.approx(1 / 5)
