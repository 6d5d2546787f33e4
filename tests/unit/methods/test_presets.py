"""The recipes of params.yaml are the published ones: both papers' tables, and the learning rates they come to."""

from pathlib import Path

import pytest

from hashrepro.settings import load_settings

SETTINGS = load_settings(Path(__file__).parents[3])
FINE = ["cub", "aircraft", "food101", "nabirds", "vegfru"]
COARSE = ["cifar10", "nuswide", "flickr25k"]

# SEMICON's README: iterations, samples, learning rate, milestone
SEMICON = {
    "cub": (40, 2000, 2.5e-4, 40),
    "aircraft": (40, 2000, 2.5e-4, 40),
    "food101": (50, 2000, 2.5e-4, 45),
    "nabirds": (50, 4000, 5e-4, 45),
    "vegfru": (50, 4000, 5e-4, 45),
}
# SCHN's scripts: samples, iterations (CIFAR-10 as intended), milestones of the discriminator's rates
SCHN = {"cifar10": (5000, 50, [6, 41]), "nuswide": (10_500, 150, [131]), "flickr25k": (5000, 150, [131])}


@pytest.mark.parametrize("dataset", FINE)
@pytest.mark.parametrize("method", ["semicon", "adsh"])
def test_semicon_and_its_control(method, dataset):
    recipe = SETTINGS.recipe(method, dataset)
    iterations, samples, rate, milestone = SEMICON[dataset]
    assert (recipe.iterations, recipe.samples, recipe.learning_rate, recipe.milestones) == (
        iterations,
        samples,
        rate,
        [milestone],
    )
    assert (recipe.epochs, recipe.batch_size, recipe.optimiser, recipe.momentum) == (30, 16, "sgd", 0.91)
    assert (recipe.weight_decay, recipe.gamma, recipe.rate_drop, recipe.backbone) == (
        1e-4,
        200,
        0.1,
        "resnet50",
    )
    assert (recipe.crop_scale, recipe.crop_ratio, recipe.flip) == ((0.08, 1.0), (3 / 4, 4 / 3), 0.5)
    assert recipe.loss_unit == (12 if method == "semicon" else None)
    assert recipe.evaluate_every == 1


@pytest.mark.parametrize("dataset", COARSE)
@pytest.mark.parametrize("method", ["schn", "schn_tomm"])
def test_schn(method, dataset):
    recipe = SETTINGS.recipe(method, dataset)
    samples, iterations, milestones = SCHN[dataset]
    assert (recipe.samples, recipe.iterations) == (samples, iterations)
    assert (recipe.epochs, recipe.batch_size, recipe.optimiser, recipe.learning_rate) == (3, 64, "adam", 4e-5)
    assert (recipe.weight_decay, recipe.gamma, recipe.alpha, recipe.beta) == (1e-5, 10, 2, 0.1)
    assert (recipe.backbone, recipe.evaluate_every, recipe.milestones) == ("alexnet", 10, [])
    if method == "schn_tomm":
        assert (recipe.adversarial_milestones, recipe.adversarial_rate_drop) == (milestones, 0.2)


@pytest.mark.parametrize("dataset", COARSE)
def test_adsh_as_in_its_pytorch_port(dataset):
    recipe = SETTINGS.recipe("adsh", dataset)
    assert (recipe.iterations, recipe.epochs, recipe.samples, recipe.batch_size) == (50, 3, 2000, 64)
    assert (recipe.learning_rate, recipe.weight_decay, recipe.gamma) == (1e-4, 1e-5, 200)
    assert (recipe.loss_unit, recipe.initial_codes) == (None, "gaussian")


def test_every_method_has_a_recipe_for_every_set():
    for method in ("adsh", "semicon", "schn", "schn_tomm"):
        backbones = {name: SETTINGS.recipe(method, name).backbone for name in FINE + COARSE}
        assert {backbones[name] for name in FINE} == {"resnet50"}
        assert set(backbones.values()) <= {"resnet50", "alexnet"}


def rates(method, name="all"):
    """The rate that each iteration of the recipe runs with."""
    method.update_codes = lambda: None
    found = []
    for iteration in range(1, method.recipe.iterations + 1):
        found.append(method.optimisers[name].param_groups[0]["lr"])
        method.finish(iteration)
    return found


def test_semicon_rates_by_iteration(make):
    for dataset, drops in (("food101", 5), ("nabirds", 5), ("cub", 0)):
        recipe = SETTINGS.recipe("semicon", dataset)
        values = {"optimiser": "sgd", "milestones": recipe.milestones, "iterations": recipe.iterations}
        found = rates(make("semicon", learning_rate=recipe.learning_rate, **values))
        steady = [recipe.learning_rate] * (recipe.iterations - drops)
        assert found == pytest.approx(steady + [recipe.learning_rate / 10] * drops)


def test_tomm_rates_by_iteration(make):
    for dataset, parts in (("cifar10", (6, 35, 9)), ("nuswide", (131, 19))):
        recipe = SETTINGS.recipe("schn_tomm", dataset)
        values = {"adversarial_milestones": recipe.adversarial_milestones, "iterations": recipe.iterations}
        expected = [4e-5 / 5**step for step, count in enumerate(parts) for _ in range(count)]
        for name in ("cycle", "discriminator"):
            assert rates(make("schn_tomm", learning_rate=4e-5, **values), name) == pytest.approx(expected)
        assert rates(make("schn_tomm", learning_rate=4e-5, **values)) == [4e-5] * recipe.iterations
