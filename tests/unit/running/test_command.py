import argparse
from pathlib import Path

import pytest

from hashrepro.errors import UserError
from hashrepro.running.command import add_commands, require_sense, suite_targets

ROOT = Path(__file__).parents[3]


@pytest.fixture
def parse():
    """Arguments of `hashrepro run` as the command line gives them."""
    top = argparse.ArgumentParser(exit_on_error=False)
    commands = top.add_subparsers()

    def command(name, function, text):
        sub = commands.add_parser(name, help=text)
        sub.set_defaults(function=function)
        return sub

    add_commands(command)
    return lambda *words: top.parse_args(["run", *words])


@pytest.mark.parametrize(
    ("file", "names", "targets"),
    [
        ("params.yaml", [], ["dvc.yaml"]),
        ("papers/semicon/params.yaml", [], ["papers/semicon/dvc.yaml"]),
        (
            "papers/semicon/params.yaml",
            ["report", "*@semicon-cub-*", "data/dvc.yaml:preprocess@cub"],
            [
                "papers/semicon/dvc.yaml:report",
                "papers/semicon/dvc.yaml:*@semicon-cub-*",
                "data/dvc.yaml:preprocess@cub",
            ],
        ),
    ],
)
def test_targets_are_those_of_the_suite(file, names, targets):
    assert suite_targets(file, names) == targets


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--remote", "shared"], "--remote does nothing without --scheduler"),
        (
            ["--scheduler", "tcp://head:8786", "--clone", "/data/clone"],
            "--clone does nothing without --remote",
        ),
        (["--scheduler", "tcp://head:8786", "--workers", "2"], "--workers does nothing with --scheduler"),
    ],
)
def test_options_that_would_do_nothing_are_refused(parse, words, what):
    with pytest.raises(UserError, match=what):
        require_sense(parse("semicon", *words))


def test_options_that_go_together(parse):
    arguments = parse("semicon", "report", "--scheduler", "tcp://h:1", "--remote", "shared", "--clone", "/c")
    require_sense(arguments)
    assert (arguments.grid, arguments.targets, arguments.workers) == ("semicon", ["report"], None)


@pytest.mark.parametrize(
    "words", [["--workers", "0"], ["--memory-per-stage", "-1"], ["--memory-per-stage", "nan"]]
)
def test_numbers_that_make_no_sense_are_refused(parse, words, capsys):
    with pytest.raises((SystemExit, argparse.ArgumentError)):
        parse("semicon", *words)


def test_a_suite_is_built_with_the_pages_of_its_parts(parse, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "hashrepro.running.building.build", lambda root, targets, *rest, **more: calls.append(targets)
    )
    monkeypatch.setattr("subprocess.call", lambda words, cwd: calls.append(words) or 0)
    arguments = parse("semicon")
    assert arguments.function(arguments, ROOT) == 0
    targets = ["papers/semicon/dvc.yaml", "papers/semicon/ablations/dvc.yaml"]
    assert calls == [targets, ["dvc", "--wait-for-lock", "repro", *targets]]
    calls.clear()
    arguments = parse("semicon", "report")
    assert arguments.function(arguments, ROOT) == 0
    assert calls[0] == ["papers/semicon/dvc.yaml:report"]
