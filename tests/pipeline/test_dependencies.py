"""dvc.yaml names every file that a stage's numbers come from."""

import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
# Plumbing: where files are, how errors look, what is logged, how options are documented. It decides no number.
PLUMBING = {"__init__", "devices", "errors", "files", "option", "processes", "settings", "tracking"}
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


def imported(script: str, *words: str) -> set[str]:
    """Files below src/ that a stage script and the modules that `words` name import."""
    code = (
        "import sys, importlib; sys.path[:0] = ['stages', 'src']; "
        f"importlib.import_module({script!r}); [importlib.import_module(w) for w in {list(words)!r}]; "
        "print(*[m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'hashrepro'], sep='\\n')"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    paths = {Path(line).resolve().relative_to(ROOT) for line in output.splitlines()}
    return {str(path) for path in paths if path.stem not in PLUMBING}


def declared(stage: dict, method: str = "") -> list[str]:
    return [dep.replace("${item.method}", method) for dep in stage["deps"]]


def uncovered(files: set[str], deps: list[str]) -> list[str]:
    return sorted(f for f in files if not any(f == dep or f.startswith(f"{dep}/") for dep in deps))


@pytest.mark.parametrize("stage", ["train", "encode"])
@pytest.mark.parametrize("method", METHODS)
def test_of_training_and_encoding(stage, method):
    deps = declared(YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"][stage], method)
    files = imported(stage, f"hashrepro.methods.{method}")
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
def test_of_scoring_and_reporting(stage):
    deps = declared(YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"][stage])
    assert uncovered(imported(stage), deps) == []


def test_scoring_does_without_torch():
    code = "import sys; sys.path[:0] = ['stages', 'src']; import evaluate; print('torch' in sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "False"


@pytest.mark.parametrize("reader", sorted(READERS))
def test_of_preprocessing(reader):
    stage = YAML(typ="safe").load(ROOT / "data/dvc.yaml")["stages"]["preprocess"]["do"]
    deps = [dep.replace("${item.reader}", reader) for dep in stage["deps"]]
    files = imported("preprocess", f"hashrepro.datasets.{reader}")
    assert [file for file in uncovered(files, deps) if Path(file).stem not in UNUSED] == []
    assert not READERS - {reader} & {Path(dep).stem for dep in deps}
    assert all(dep.startswith("data/") or (ROOT / dep).exists() for dep in deps)


def test_every_dependency_exists():
    for stage in YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"].values():
        for method in METHODS:
            for dep in declared(stage, method):
                assert dep.startswith(("data/", "runs/")) or (ROOT / dep).exists(), dep
