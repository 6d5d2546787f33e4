import shutil
from pathlib import Path

import pytest

from hashrepro.cli import main, repository

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path, monkeypatch):
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "stages").mkdir()
    monkeypatch.chdir(tmp_path / "stages")
    return tmp_path


def test_outside_a_repository(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 2
    assert "not inside a hashrepro repository" in capsys.readouterr().err


def test_check_finds_the_repository_above_and_counts_its_runs(clone, capsys):
    assert repository() == clone
    assert main(["check"]) == 0
    assert "8 runs in the suite quickstart" in capsys.readouterr().out


def test_check_names_a_cell_without_a_recipe(clone, capsys):
    path = clone / "params.yaml"
    path.write_text(path.read_text().replace("datasets: [fashion]", "datasets: [fashion, cub]"))
    assert main(["check"]) == 2
    assert "There is no recipe for schn on cub." in capsys.readouterr().err


def test_show_before_there_are_results(clone, capsys):
    assert main(["show"]) == 2
    assert "mend:  hashrepro repro" in capsys.readouterr().err


def test_data_lists_source_terms_and_state(clone, capsys):
    assert main(["data"]) == 0
    text = capsys.readouterr().out
    assert "cifar10: CIFAR-10" in text
    assert "download, 163 MiB" in text
    assert "not here; dvc repro data/dvc.yaml:preprocess@cub" in text


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(word in text for word in ("repro", "show", "report", "check", "data", "ui", "examples:"))
