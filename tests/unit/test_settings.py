"""params.yaml's checks: each mistake names its place and its mend."""

from pathlib import Path

import pytest

from hashrepro.errors import UserError
from hashrepro.settings import load_settings, suite_file

ROOT = Path(__file__).parents[2]


@pytest.fixture
def edited(tmp_path):
    """A function: params.yaml with one text replaced, loaded."""
    text = (ROOT / "params.yaml").read_text()

    def load(old: str = "", new: str = "", file: str = "params.yaml"):
        assert old in text
        (tmp_path / "params.yaml").write_text(text.replace(old, new, 1))
        return load_settings(tmp_path, file)

    return load


def test_every_recipe_of_the_project_is_valid(edited):
    settings = edited()
    for method, recipes in settings.train.items():
        for dataset in recipes:
            settings.recipe(method, dataset)
    assert len(settings.grid.runs()) == 8


def test_unknown_key_names_line_and_suggestion(edited):
    with pytest.raises(UserError) as error:
        edited("  threads: 2", "  treads: 2")
    assert "Unknown key 'treads'. Did you mean 'threads'?" in error.value.what
    assert "params.yaml:" in str(error.value.where)
    assert "machine.treads" in str(error.value.where)
    assert (
        error.value.mend
        == "remove it, or use one of: archives, checkpoint_minutes, device, processes, threads, workers"
    )


def test_unknown_key_of_a_data_set(edited):
    with pytest.raises(UserError, match=r"Unknown key 'sede'. Did you mean 'seed'\?"):
        edited("    seed: 0 ", "    sede: 0 ")


def test_unknown_key_of_a_recipe(edited):
    settings = edited("learning_rate: 3.0e-4", "learning_rat: 3.0e-4")
    with pytest.raises(
        UserError, match=r"Unknown key 'learning_rat'. Did you mean 'learning_rate'\?"
    ) as error:
        settings.recipe("adsh", "fashion")
    assert error.value.where == "params.yaml: train.adsh.fashion.learning_rat"


def test_wrong_value(edited):
    with pytest.raises(UserError, match="greater than 0; found -2") as error:
        edited("  threads: 2", "  threads: -2")
    assert "machine.threads" in str(error.value.where)


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("map_at: [100, 1000]", "map_at: [0]"),
        ("confidence: 0.95", "confidence: 95"),
        ("resamples: 1", "resamples: -1"),
    ],
)
def test_wrong_values_of_the_evaluation(edited, value, wrong):
    with pytest.raises(UserError) as error:
        edited(f"  {value}", f"  {wrong}")
    assert f"evaluate.{value.split(':')[0]}" in str(error.value.where)


def test_missing_key(edited):
    with pytest.raises(UserError, match="'radius' is missing") as error:
        edited("  radius: 2 ", "  # radius: 2 ")
    assert error.value.mend == "add evaluate.radius"


def test_broken_yaml_names_the_line(edited):
    with pytest.raises(UserError, match="Not valid YAML") as error:
        edited("suite:  ", "suite: [  ")
    assert "params.yaml:" in str(error.value.where)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"params\.yaml is missing"):
        load_settings(tmp_path)


def test_unknown_method_data_set_and_recipe(edited):
    settings = edited()
    with pytest.raises(UserError, match=r"no data set called 'fashon'\. Did you mean 'fashion'"):
        settings.dataset("fashon")
    with pytest.raises(UserError, match="no method called 'adhs'") as error:
        settings.recipe("adhs", "fashion")
    assert "adsh, schn, schn_tomm, semicon" in error.value.mend
    with pytest.raises(UserError, match="no recipe for semicon on gloves"):
        settings.recipe("semicon", "gloves")


def test_a_suite_file_is_laid_over(edited, tmp_path):
    (tmp_path / "other.yaml").write_text(
        "suite: {name: other, root: '..', file: other.yaml, reports: reports/other}\n"
        "grid: {methods: [adsh], datasets: [cifar10], bits: [24], seeds: [0, 1]}\n"
    )
    settings = edited(file="other.yaml")
    assert settings.suite.name == "other"
    assert settings.grid.runs() == [("adsh", "cifar10", 24, 0), ("adsh", "cifar10", 24, 1)]


def test_archives_are_looked_for_in_named_places_and_beside_other_blocks_of_the_reader(edited, tmp_path):
    settings = edited("archives: []", "archives: [downloads, /elsewhere]")
    for name in ("nuswide", "nuswide10", "cub"):
        (tmp_path / "data" / "raw" / name).mkdir(parents=True)
    named = [tmp_path / "downloads", Path("/elsewhere")]
    assert settings.archive_places(tmp_path, "nuswide10") == [*named, tmp_path / "data" / "raw" / "nuswide"]
    assert settings.archive_places(tmp_path, "cub") == named


@pytest.fixture
def suite(edited, tmp_path):
    """A function: the settings of a suite of one's own, with some more lines in its file."""

    def load(*lines: str, methods: str = "adsh"):
        folder = tmp_path / "papers" / "mine"
        folder.mkdir(parents=True, exist_ok=True)
        about = (
            "{name: mine, root: ../.., file: papers/mine/params.yaml, reports: reports/mine, method: METHOD, "
            "titles: {quick: in no time}}"
        )
        about = about.replace("METHOD", "adsh" if any("variants" in line for line in lines) else "null")
        grid = f"{{methods: [{methods}], datasets: [cub], bits: [12], seeds: [0]}}"
        (folder / "params.yaml").write_text("\n".join([f"suite: {about}", f"grid: {grid}", *lines]) + "\n")
        return edited(file="papers/mine/params.yaml")

    return load


def test_a_suite_changes_every_recipe_of_its_own_and_no_other(suite, edited):
    settings = suite("overrides: {backbone: alexnet, epochs: 7}")
    recipe, root = settings.recipe("adsh", "cub"), edited().recipe("adsh", "cub")
    assert recipe == root.model_copy(update={"backbone": "alexnet", "epochs": 7})
    assert edited().overrides == {}


def test_a_suite_does_not_take_over_the_quickstarts_overrides(suite, edited):
    assert edited("overrides: {} ", "overrides: {epochs: 9} ").overrides == {"epochs": 9}
    assert suite().overrides == {}


def test_a_variant_is_its_method_with_its_own_changes_over_the_suites(suite):
    changed = "variants: {quick: {iterations: 2}, same: {}}"
    settings = suite("overrides: {iterations: 3, epochs: 7}", changed, methods="quick, same")
    quick, same = (settings.recipe(name, "cub") for name in ("quick", "same"))
    assert (quick.iterations, quick.epochs, same.iterations, same.epochs) == (2, 7, 3, 7)
    assert settings.kind("quick") == "adsh"
    assert settings.method_title("quick") == "ADSH in no time"
    assert settings.method_title("same") == "ADSH (same)"
    assert settings.run_params("quick", "cub", 12, 0)["method"] == "quick"


@pytest.mark.parametrize(
    ("lines", "methods", "message", "where"),
    [
        (["overrides: {epoch: 1}"], "adsh", "Unknown key 'epoch'. Did you mean 'epochs'?", "overrides"),
        (["overrides: {epochs: 0}"], "adsh", "greater than 0; found 0", "train.adsh.cub.epochs"),
        (
            ["variants: {quick: {epoch: 1}}"],
            "quick",
            "Unknown key 'epoch'. Did you mean 'epochs'?",
            "papers/mine/params.yaml: variants.quick",
        ),
        (
            ["variants: {quick: {}}"],
            "quik",
            "There is no variant called 'quik'. Did you mean 'quick'?",
            "papers/mine/params.yaml: variants",
        ),
    ],
)
def test_a_faulty_change_of_a_recipe_is_named_where_it_stands(suite, lines, methods, message, where):
    with pytest.raises(UserError) as error:
        suite(*lines, methods=methods).recipe(methods, "cub")
    assert message in error.value.what
    assert where in str(error.value.where)


@pytest.mark.parametrize(
    ("grid", "file"),
    [
        ("quickstart", "params.yaml"),
        ("params.yaml", "params.yaml"),
        ("semicon", "papers/semicon/params.yaml"),
        ("schn/ablations", "papers/schn/ablations/params.yaml"),
        ("papers/schn", "papers/schn/params.yaml"),
        ("papers/schn/dvc.yaml", "papers/schn/params.yaml"),
        (str(ROOT / "papers/common/params.yaml"), "papers/common/params.yaml"),
    ],
)
def test_a_suite_is_found_by_name_file_or_folder(grid, file):
    assert suite_file(ROOT, grid) == file


@pytest.mark.parametrize("grid", ["semicno", "papers", "/etc", "../params.yaml", "dvc.lock"])
def test_what_is_no_suite_is_refused_with_those_that_there_are(grid):
    with pytest.raises(UserError, match=f"There is no suite called '{grid}'") as error:
        suite_file(ROOT, grid)
    assert (
        error.value.mend == "use one of: quickstart, common, schn, schn/ablations, semicon, semicon/ablations"
    )
