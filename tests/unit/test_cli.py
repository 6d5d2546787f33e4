import shutil
from pathlib import Path

import pytest

from hashrepro.cli import main, repository
from hashrepro.overview import BEGIN, END

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


@pytest.fixture
def edited(clone):
    """A function: replace one text of params.yaml."""

    def edit(old: str, new: str) -> None:
        path = clone / "params.yaml"
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))

    return edit


def test_check_names_a_cell_without_a_recipe(edited, capsys):
    edited("\ndatasets:\n", "\ndatasets:\n  lonely: {<<: *photographs, reader: fashion_mnist, options: {}}\n")
    edited("datasets: [fashion]", "datasets: [fashion, lonely]")
    assert main(["check"]) == 2
    assert "There is no recipe for adsh on lonely." in capsys.readouterr().err


def test_check_says_what_will_be_skipped_and_why(edited, capsys):
    edited("bits: [12, 48] ", "bits: [5, 12] ")
    edited("seeds: [0] ", "seeds: [0, 1] ")
    assert main(["check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (skipped,) = [line for line in lines if "skipped:" in line]
    assert skipped.startswith("semicon on fashion with 5 bits will be skipped: 5 bits cannot be shared")
    assert lines[-1] == "params.yaml is in order: 16 runs in the suite quickstart, 2 of them to be skipped."


def test_check_warns_of_what_a_recipe_asks_for_in_vain(edited, capsys):
    edited("    fashion: &schn_fashion ", "    fashion: &schn_fashion\n      milestones: [3, 4] ")
    assert main(["check"]) == 0
    warnings = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("train.schn.fashion")
    ]
    assert warnings == [
        "train.schn.fashion: milestone 4 of 4 iterations never takes effect",
        "train.schn.fashion_tuning: milestone 4 of 4 iterations never takes effect",
    ]


def test_check_allows_recipes_for_data_sets_to_come(edited, capsys):
    edited(
        "    fashion_tuning: *schn_fashion\n",
        "    fashion_tunning: *schn_fashion\n    to_come: *schn_fashion\n",
    )
    assert main(["check"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "without a block" in line]
    title, names = line.split(": ", 1)
    assert title == "recipes for data sets without a block"
    assert {"fashion_tunning (a misspelling of fashion_tuning?)", "to_come"} <= set(names.split(", "))
    assert "cub" not in names.split(", ")


def test_check_still_reads_recipes_for_data_sets_to_come(edited, capsys):
    edited("    fashion_tuning: *schn_fashion\n", "    to_come: {backbone: lite0, gama: 10}\n")
    assert main(["check"]) == 2
    assert "train.schn.to_come.gama" in capsys.readouterr().err


@pytest.fixture
def started(clone, monkeypatch):
    """What `repro` would start: ("build", its keywords) or ("dvc", its words)."""
    calls = []

    def build(root, targets, machine, where, force):
        calls.append(("build", {"targets": targets, "workers": where.workers, "force": force}))
        return 0

    monkeypatch.setattr("hashrepro.running.building.build", build)
    monkeypatch.setattr("hashrepro.cli.run", lambda *words, root: calls.append(("dvc", words)) or 0)
    return calls


def test_repro_forces_in_one_place_only(started):
    assert main(["repro", "--force", "report"]) == 0
    assert started == [("dvc", ("dvc", "--wait-for-lock", "repro", "--force", "report"))]
    started.clear()
    assert main(["repro", "--force", "--workers", "2", "report"]) == 0
    assert started == [
        ("build", {"targets": ["report"], "workers": 2, "force": True}),
        ("dvc", ("dvc", "--wait-for-lock", "repro", "report")),
    ]


def test_repro_warns_only_of_what_it_builds(started, capsys, edited):
    edited("    fashion: &schn_fashion ", "    fashion: &schn_fashion\n      milestones: [4] ")
    edited("    fashion_tuning: *schn_fashion\n", "    to_come: *schn_fashion\n")
    assert main(["repro"]) == 0
    output = capsys.readouterr().out
    warnings = [line for line in output.splitlines() if line.startswith("train.")]
    assert warnings == ["train.schn.fashion: milestone 4 of 4 iterations never takes effect"]
    assert "without a block" not in output


def test_show_before_there_are_results(clone, capsys):
    assert main(["show"]) == 2
    assert "mend:  hashrepro repro" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["data"], ["data", "list"]])
def test_data_lists_size_source_terms_and_state(clone, capsys, words):
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "cifar10: CIFAR-10, 60,000 images, 10 classes\n    state  not here\n" in text
    assert "nabirds: NABirds, 48,562 images, 555 classes\n    state  not here: by hand" in text
    assert "download 170 MB" in text
    assert "non-commercial research" in text


def test_check_wants_every_key_that_dvc_follows(edited, capsys):
    edited("\ndatasets:\n", "\ndatasets:\n  mine: {reader: table, folder: here, resize: 48, crop: 48}\n")
    assert main(["check"]) == 2
    message = capsys.readouterr().err
    assert "The block lacks title, options, seed, validation" in message
    assert "<<: *photographs" in message


def test_data_check_says_what_is_missing_file_by_file(clone, capsys):
    assert main(["data", "check", "cub"]) == 1
    assert "CUB_200_2011.tgz" in capsys.readouterr().out
    raw = clone / "data" / "raw" / "cub"
    raw.mkdir(parents=True)
    (raw / "CUB_200_2011.tgz").write_bytes(b"not it")
    assert main(["data", "check", "cub"]) == 1
    assert "wrong" in capsys.readouterr().out


def test_data_check_of_an_unknown_set(clone, capsys):
    assert main(["data", "check", "cup"]) == 2
    assert "Did you mean 'cub'?" in capsys.readouterr().err


def test_data_docs_writes_between_the_marks(clone):
    (clone / "docs").mkdir()
    page = clone / "docs" / "datasets.md"
    page.write_text(f"before\n{BEGIN}\nsome stale text\n{END}\nafter\n")
    assert main(["data", "docs"]) == 0
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n| name |")
    assert text.endswith(f"{END}\nafter\n")
    assert "some stale text" not in text


def test_ctrl_c_ends_a_command_without_a_traceback(clone, monkeypatch, capsys):
    def stopped(arguments, root):
        raise KeyboardInterrupt

    monkeypatch.setattr("hashrepro.cli.check", stopped)
    assert main(["check"]) == 130
    assert capsys.readouterr().err == "hashrepro: stopped\n"


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    words = ("repro", "show", "report", "check", "data", "ui", "index", "add", "search", "recall", "score")
    assert all(f"    {word} " in text for word in words)
    assert "examples:" in text
