"""dvc.yaml names every file that a stage's numbers come from."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
# Plumbing: where files are, how errors look, what is logged, how options are documented, whether a run is up to date
# (it is where DVC asks). It decides no number.
PLUMBING = {"__init__", "devices", "errors", "files", "option", "processes", "recorded", "settings"}
# Of preprocessing: how archives come and are unpacked (their digests tell what is in them), how a cache is read back.
UNUSED = {
    *("answers", "checking", "contents", "download", "fetching", "pieces", "transfer", "unpack"),
    *("cache", "pool"),
}
READERS = {
    path.stem
    for path in (ROOT / "src/hashrepro/datasets").glob("*.py")
    if "SOURCE = Source(" in path.read_text()
}
METHODS = ("adsh", "semicon", "schn", "schn_tomm")


# Reads a JSON line [libraries, script, modules] at a time; prints the modules that are imported after these imports.
# Each is a fork, so that all of them share what libraries cost.
IMPORT = """
import importlib, json, os, sys
sys.path[:0] = ["stages", "src"]
for line in sys.stdin:
    libraries, *names = json.loads(line)
    for name in libraries:
        importlib.import_module(name)
    if (pid := os.fork()) == 0:
        for name in names:
            importlib.import_module(name)
        files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
        print(json.dumps(files), flush=True)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""
# `evaluate` comes before torch is there
QUESTIONS = [
    ([], "evaluate"),
    ([], "report"),
    *(
        (["pyarrow", "pydantic", "requests"], "preprocess", f"hashrepro.datasets.{reader}")
        for reader in sorted(READERS)
    ),
    *(
        (["pandas", "numba", "torch", "timm"], stage, f"hashrepro.methods.{method}")
        for stage in ("train", "encode")
        for method in METHODS
    ),
]


@pytest.fixture(scope="module")
def modules():
    """The words of a question -> name and file of every module that they import."""
    lines = "".join(f"{json.dumps(question)}\n" for question in QUESTIONS)
    output = subprocess.run(
        [sys.executable, "-c", IMPORT], input=lines, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    answers = map(json.loads, output.splitlines())
    return {tuple(words): answer for (_, *words), answer in zip(QUESTIONS, answers, strict=True)}


def own(modules: dict[str, str]) -> set[str]:
    """Files below src/ among them, but for plumbing."""
    files = [file for name, file in modules.items() if name.split(".")[0] == "hashrepro"]
    paths = {Path(file).resolve().relative_to(ROOT) for file in files}
    return {str(path) for path in paths if path.stem not in PLUMBING and path.parent.name != "tracking"}


def declared(stage: dict, method: str = "") -> list[str]:
    return [dep.replace("${item.method}", method) for dep in stage["deps"]]


def uncovered(files: set[str], deps: list[str]) -> list[str]:
    return sorted(f for f in files if not any(f == dep or f.startswith(f"{dep}/") for dep in deps))


@pytest.mark.parametrize("stage", ["train", "encode"])
@pytest.mark.parametrize("method", METHODS)
def test_of_training_and_encoding(modules, stage, method):
    deps = declared(YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"][stage], method)
    files = own(modules[stage, f"hashrepro.methods.{method}"])
    assert uncovered(files, deps) == []
    others = {
        f"src/hashrepro/{package}/{other}.py" for package in ("methods", "networks") for other in METHODS
    }
    allowed = {f"src/hashrepro/{package}/{method}.py" for package in ("methods", "networks")}
    allowed.add(
        "src/hashrepro/networks/schn.py"
    )  # schn_tomm stands on it; one list of dependencies serves all
    assert others & set(deps) <= allowed


@pytest.mark.parametrize("stage", ["evaluate", "report"])
def test_of_scoring_and_reporting(modules, stage):
    deps = declared(YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"][stage])
    assert uncovered(own(modules[stage,]), deps) == []


def test_scoring_does_without_torch(modules):
    assert "torch" not in modules["evaluate",]
    assert "torch" in modules["train", "hashrepro.methods.adsh"]


@pytest.mark.parametrize("reader", sorted(READERS))
def test_of_preprocessing(modules, reader):
    stage = YAML(typ="safe").load(ROOT / "data/dvc.yaml")["stages"]["preprocess"]["do"]
    deps = [dep.replace("${item.reader}", reader) for dep in stage["deps"]]
    files = own(modules["preprocess", f"hashrepro.datasets.{reader}"])
    assert [file for file in uncovered(files, deps) if Path(file).stem not in UNUSED] == []
    assert not READERS - {reader} & {Path(dep).stem for dep in deps}
    assert all(dep.startswith("data/") or (ROOT / dep).exists() for dep in deps)


def test_every_dependency_exists():
    for stage in YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"].values():
        for method in METHODS:
            for dep in declared(stage, method):
                assert dep.startswith(("data/", "runs/")) or (ROOT / dep).exists(), dep
