"""The papers' pipelines: the root's own text, complete recipes, the grids that the papers' tables have."""

import itertools
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from hashrepro.learning.base import load_method
from hashrepro.settings import load_settings, suite_files

ROOT = Path(__file__).parents[2]
SUITES = suite_files(ROOT)
PAPERS = [name for name in SUITES if name != "quickstart"]
# how a pipeline of variants differs: their recipes are one method's, and so is their code
OF_VARIANTS = (
    ("train.${item.method}.", "train.${suite.method}."),
    ("[overrides]", '[overrides, "variants.${item.method}"]'),
    ("methods/${item.method}.py", "methods/${suite.method}.py"),
)


def test_there_is_a_suite_for_each_paper_its_ablations_and_the_comparison_of_both():
    assert PAPERS == ["common", "schn", "schn/ablations", "semicon", "semicon/ablations"]


@pytest.mark.parametrize("name", PAPERS)
def test_a_papers_pipeline_is_the_roots_own_text(name):
    expected = (ROOT / "dvc.yaml").read_text()
    if load_settings(ROOT, SUITES[name]).suite.method:
        for ours, theirs in OF_VARIANTS:
            assert ours in expected
            expected = expected.replace(ours, theirs)
    assert (ROOT / SUITES[name]).with_name("dvc.yaml").read_text() == expected, "copy the root's dvc.yaml"


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_says_of_itself_where_it_is(name):
    suite = load_settings(ROOT, SUITES[name]).suite
    assert (suite.name, suite.file) == (name, SUITES[name])
    assert (ROOT / suite.file).parent.joinpath(suite.root).resolve() == ROOT
    assert suite.reports == ("reports" if name == "quickstart" else f"reports/{name}")


@pytest.mark.parametrize("name", SUITES)
def test_every_cell_of_a_grid_has_a_recipe_that_fits_together(name):
    settings = load_settings(ROOT, SUITES[name])
    grid = settings.grid
    for method, dataset, bits in itertools.product(grid.methods, grid.datasets, grid.bits):
        recipe = settings.recipe(method, dataset)
        assert load_method(settings.kind(method)).incompatible(recipe, bits) is None


def test_the_papers_grids_are_those_of_their_tables():
    grids = {name: load_settings(ROOT, SUITES[name]).grid for name in PAPERS}
    assert set(grids["semicon"].datasets) == {"cub", "aircraft", "vegfru", "food101", "nabirds"}
    assert set(grids["semicon"].methods) == {"adsh", "semicon"}
    assert set(grids["schn"].datasets) == {"cifar10", "nuswide", "flickr25k"}
    assert set(grids["schn"].methods) == {"adsh", "schn", "schn_tomm"}
    assert grids["semicon"].bits == grids["schn"].bits == [12, 24, 32, 48]
    assert set(grids["common"].methods) == set(grids["semicon"].methods) | set(grids["schn"].methods)
    assert set(grids["common"].datasets) == set(grids["semicon"].datasets) | set(grids["schn"].datasets)


def test_a_papers_recipes_are_untouched_by_the_suite():
    for name in ("semicon", "schn"):
        settings = load_settings(ROOT, SUITES[name])
        assert settings.overrides == {}
        assert settings.variants == {}


def test_the_comparison_has_one_backbone():
    settings = load_settings(ROOT, SUITES["common"])
    pairs = itertools.product(settings.grid.methods, settings.grid.datasets)
    assert {settings.recipe(*pair).backbone for pair in pairs} == {"resnet50"}


@pytest.mark.parametrize("name", ["semicon/ablations", "schn/ablations"])
def test_every_variant_changes_its_methods_recipe_and_each_in_another_way(name):
    settings = load_settings(ROOT, SUITES[name])
    assert set(settings.variants) == set(settings.grid.methods)
    whole = load_settings(ROOT).recipe(settings.suite.method, settings.grid.datasets[0])
    recipes = [settings.recipe(variant, settings.grid.datasets[0]) for variant in settings.variants]
    assert len({recipe.model_dump_json() for recipe in [whole, *recipes]}) == len(recipes) + 1
    assert set(settings.suite.titles) == set(settings.variants)
    titles = [settings.method_title(variant) for variant in settings.variants]
    assert len(set(titles)) == len(titles)


def test_no_pipeline_has_many_more_than_a_hundred_stages():
    # an executed stage reads and writes the whole lock file: the cost of a suite grows with the square of its size
    for name in SUITES:
        stages = YAML(typ="safe").load((ROOT / SUITES[name]).with_name("dvc.yaml"))["stages"]
        runs = len(load_settings(ROOT, SUITES[name]).grid.runs())
        assert sum(runs if "matrix" in stage else 1 for stage in stages.values()) <= 125
