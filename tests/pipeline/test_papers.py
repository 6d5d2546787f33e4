"""The papers' pipelines, through their very files: on every set in miniature, with recipes of a few steps.

What is made small here is the root's params.yaml alone: data sets and recipes. Grids, ablations and the text of the
pipelines are the papers' own.
"""

import csv
import shutil
from pathlib import Path

import networkx
import pytest
from dvc.repo import Repo
from fault_space import wait_for
from miniatures import PAPERS
from ruamel.yaml import YAML
from workspaces import ROOT, TINY, Workspace, copy_sources

from hashrepro.settings import load_settings, suite_files

HOUR = 3600
pytestmark = pytest.mark.timeout(HOUR)  # whole grids, on a slow machine, too
SUITES = [name for name in suite_files(ROOT) if name != "quickstart"]
SETS = [name for name in PAPERS if name != "nuswide10"]
SAMPLED = {"unsampled": "drop"}  # SCHN leaves images without a code that it has not sampled


def small(root: Path, blocks: dict) -> None:
    """Edit params.yaml: the miniatures, a network of a few ten thousand weights, two iterations of two steps."""
    yaml, path = YAML(), root / "params.yaml"
    values = yaml.load(path)
    template = dict(values["templates"]["photographs"])
    values["datasets"] = {name: {**template, **block} for name, block in blocks.items()}
    recipe = {**TINY, "backbone": "timm:test_byobnet", "weights": "none"}
    values["train"] = {
        method: {name: {**recipe, **({} if method in ("adsh", "semicon") else SAMPLED)} for name in blocks}
        for method in ("adsh", "semicon", "schn", "schn_tomm")
    }
    values["machine"] |= {"threads": 1, "device": "cpu"}
    values["evaluate"] |= {"precision_at": [1, 5], "gallery_queries": 2, "gallery_hits": 3, "resamples": 200}
    yaml.dump(values, path)


def grids(root: Path, **narrow) -> None:
    """Give all suites the papers' grids, narrowed."""
    for name in SUITES:
        shutil.copy(ROOT / "papers" / name / "params.yaml", root / "papers" / name / "params.yaml")
        narrowed(root, name, **narrow)


def narrowed(root: Path, suite: str, **grid) -> None:
    """Edit a suite's grid."""
    yaml, path = YAML(), root / "papers" / suite / "params.yaml"
    values = yaml.load(path)
    values["grid"] |= grid
    yaml.dump(values, path)


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    root = tmp_path_factory.mktemp("papers")
    copy_sources(root, papers=True)
    small(root, {name: PAPERS[name](root / "sets" / name).block for name in SETS})
    made = Workspace(root)
    made.run("git", "init", "-q", "-b", "main")
    made.run("git", "add", "papers", "dvc.yaml", "params.yaml")
    made.run("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "small")
    return made


@pytest.fixture(scope="module")
def dvc(space, warm):
    """A function: what `dvc` with some words prints."""

    def run(*words: str) -> str:
        command = warm.start(space.root, *words)
        wait_for(lambda: command.ended, seconds=HOUR)
        assert command.end() == 0, command.log[-5000:]
        return command.log

    return run


def rows(path: Path) -> list[dict]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def assert_complete(root: Path, suite: str) -> None:
    """Every cell of the suite's grid has a score in the table, and a page that shows it."""
    settings = load_settings(root, suite_files(root)[suite])
    grid, reports = settings.grid, root / settings.suite.reports
    results = rows(reports / "results.csv")
    cells = {(row["dataset"], row["method"], int(row["bits"])) for row in results}
    assert cells == {(d, m, b) for d in grid.datasets for m in grid.methods for b in grid.bits}
    for row in results:
        assert 0 < float(row["map"]) <= 1, row
        assert int(row["runs"]) == int(row["seeds"]) == len(grid.seeds)
    page = (reports / "index.html").read_text()
    for method in grid.methods:
        assert settings.method_title(method) in page


def check(space: Workspace, dvc, suite: str) -> None:
    """Build a paper's suite: its parts come with it, and are on its page; only pages of their own they lack."""
    settings = load_settings(space.root, suite_files(space.root)[suite])
    targets = [f"papers/{name}/dvc.yaml" for name in (suite, *settings.suite.parts)]
    dvc("--wait-for-lock", "repro", targets[0])
    page = (space.root / settings.suite.reports / "index.html").read_text()
    for part in settings.suite.parts:
        others = load_settings(space.root, suite_files(space.root)[part])
        for method, *rest in others.grid.runs():
            key = "{}-{}-{}-s{}".format(method, *rest)
            assert (space.root / "runs" / part / key / "metrics.json").exists()
            assert others.method_title(method) in page
    dvc("--wait-for-lock", "repro", *targets)
    for name in (suite, *settings.suite.parts):
        assert_complete(space.root, name)
    assert "up to date" in dvc("status", *targets)


def test_a_corner_of_a_papers_tables(space, dvc):
    grids(space.root, bits=[12], datasets=["cub"])
    narrowed(space.root, "semicon/ablations", methods=["no_icon"])
    for other in ("schn", "schn/ablations", "common"):  # DVC reads them, too
        narrowed(space.root, other, methods=load_settings(ROOT, suite_files(ROOT)[other]).grid.methods[:1])
    check(space, dvc, "semicon")
    space.run("hashrepro", "report", "semicon", "--out", "elsewhere")  # with the pages of its parts
    for name in ("results.csv", "index.html"):
        for part in ("", "ablations/"):
            again = (space.root / "elsewhere" / part / name).read_bytes()
            assert again == (space.root / "reports" / "semicon" / part / name).read_bytes()
    assert 'href="ablations/index.html"' in (space.root / "elsewhere" / "index.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["semicon", "schn"])
def test_a_papers_tables_at_one_code_length(space, dvc, suite):
    grids(space.root, bits=[12])
    check(space, dvc, suite)


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["semicon", "schn", "common"])
def test_all_tables_of_a_paper(space, dvc, suite):
    grids(space.root)
    check(space, dvc, suite)


@pytest.fixture(scope="module")
def repo():
    with Repo(str(ROOT)) as opened:
        yield opened


@pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # of a library of DVC's
@pytest.mark.parametrize("suite", SUITES)
def test_a_papers_pipeline_resolves(repo, suite):
    stages = repo.stage.collect(f"papers/{suite}/dvc.yaml")
    runs = len(load_settings(ROOT, f"papers/{suite}/params.yaml").grid.runs())
    assert len(stages) == 3 * runs + 1
    (report,) = [stage for stage in stages if stage.name == "report"]
    assert set(stages) - {report} <= networkx.descendants(repo.index.graph, report)


def test_a_fresh_clone_can_say_all_that_it_would_run(tmp_path, warm):
    copy_sources(tmp_path / "clone", papers=True)
    Workspace(tmp_path / "clone").run("git", "init", "-q")
    papers = [f"papers/{suite}/dvc.yaml" for suite in ("semicon", "schn")]
    log = warm.dvc(tmp_path / "clone", "repro", "--dry", "--force", *papers)
    stages = [line.split("'")[1] for line in log.splitlines() if line.startswith("Running stage ")]
    assert len(stages) == len(set(stages))
    for suite in ("semicon", "semicon/ablations", "schn", "schn/ablations"):
        runs = load_settings(ROOT, suite_files(ROOT)[suite]).grid.runs()
        for stage in ("train", "encode", "evaluate"):
            assert sum(name.startswith(f"papers/{suite}/dvc.yaml:{stage}@") for name in stages) == len(runs)
    assert sum(name.startswith("data/dvc.yaml:preprocess@") for name in stages) == len(SETS)
