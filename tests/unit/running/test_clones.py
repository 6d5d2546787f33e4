"""Stages on machines without a common folder: two clones and a folder as their DVC remote."""

import os
import subprocess
from pathlib import Path

import pytest

from hashrepro.errors import UserError
from hashrepro.running.clones import (
    Visit,
    clone_root,
    lock_entries,
    merge_entries,
    producers,
    require_default_remote,
    run_in_clone,
    sources_digest,
)
from hashrepro.running.job import Job

of_dvc = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of DVC's own dependencies
CHAIN = """
stages:
  train:
    cmd: echo train >> ran; mkdir -p runs; cat source.txt > runs/model
    deps: [source.txt]
    outs: [runs/model]
  evaluate:
    cmd: echo evaluate >> ran; wc -c < runs/model > runs/metrics.json
    deps: [runs/model]
    metrics: [runs/metrics.json]
"""


def sh(*words: object, cwd: Path) -> str:
    return subprocess.run([*map(str, words)], cwd=cwd, check=True, capture_output=True, text=True).stdout


def commit(root: Path) -> None:
    sh("git", "add", "-A", cwd=root)
    sh("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "all", cwd=root)


@pytest.fixture
def head(pipeline):
    """A repository with a DVC remote, from which it can be cloned."""
    (pipeline / "dvc.yaml").write_text(CHAIN)
    (pipeline / "source.txt").write_text("first")
    (pipeline / "README.md").write_text("about")
    (pipeline / ".gitignore").write_text("work/\nran\nruns/\n")
    config = f"[core]\n    remote = shared\n['remote \"shared\"']\n    url = {pipeline.parent / 'remote'}\n"
    (pipeline / ".dvc" / "config").write_text(config)
    commit(pipeline)
    return pipeline


@of_dvc
def test_sources_are_what_results_depend_on_as_it_is_now(head):
    first = sources_digest(head)
    (head / "README.md").write_text("about something else")
    (head / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    (head / "ran").write_text("what a stage made")
    assert sources_digest(head) == first
    (head / "source.txt").write_text("second")
    assert sources_digest(head) != first


@of_dvc
def test_entries_come_and_go_by_the_file_of_their_stage(pipeline):
    entries = {
        "train@a": {"cmd": "a", "outs": [{"path": "a", "hash": "md5", "md5": "1" * 32, "size": 1}]},
        "papers/x/dvc.yaml:train@b": {"cmd": "b"},
    }
    (pipeline / "papers" / "x").mkdir(parents=True)
    assert lock_entries(pipeline, entries) == {}
    merge_entries(pipeline, entries)
    merge_entries(pipeline, {"train@c": {"cmd": "c"}})
    assert lock_entries(pipeline, [*entries, "train@c", "no such"]) == {**entries, "train@c": {"cmd": "c"}}
    assert "train@b" in (pipeline / "papers" / "x" / "dvc.lock").read_text()


@of_dvc
def test_a_clone_without_the_remote_is_refused(head):
    require_default_remote(head, "shared")
    with pytest.raises(UserError, match="default DVC remote of this clone is not 'other'"):
        require_default_remote(head, "other")


def test_the_clone_is_around_the_working_folder_or_named(head, monkeypatch, tmp_path):
    monkeypatch.chdir(head / ".dvc")
    assert clone_root(None) == clone_root(str(head)) == head
    with pytest.raises(UserError, match="no clone of the repository"):
        clone_root(str(tmp_path))


@of_dvc
def test_a_clone_of_other_sources_runs_nothing(head, monkeypatch):
    clone = head.parent / "clone"
    sh("git", "clone", "-q", head, clone, cwd=head)
    visit = Visit(str(clone), "shared", sources_digest(head))
    (clone / "source.txt").write_text("other")
    with pytest.raises(UserError, match="files of this clone are not those of the head") as error:
        run_in_clone(visit, Job("train", str(head)), lambda: False)
    assert error.value.where == f"{os.uname().nodename}:{clone}"
    assert not (clone / "ran").exists()


@pytest.mark.slow
@of_dvc
def test_what_one_clone_made_another_reads_and_the_head_gets(head):
    clones = [head.parent / name for name in ("one", "two")]
    for clone in clones:
        sh("git", "clone", "-q", head, clone, cwd=head)
    read = producers(head, ["train", "evaluate"])
    assert read == {"train": [], "evaluate": ["train"]}
    entries = {}
    for stage, clone in zip(("train", "evaluate"), clones, strict=True):
        brought = {name: entries[name] for name in read[stage]}
        visit = Visit(str(clone), "shared", sources_digest(head), brought)
        outcome = run_in_clone(visit, Job(stage, str(head)), lambda: False)
        assert outcome.code == 0, outcome.log
        entries[stage] = outcome.entry
    assert [(clone / "ran").read_text() for clone in clones] == ["train\n", "evaluate\n"]
    sh("dvc", "repro", "--pull", cwd=head)
    assert not (head / "ran").exists()  # all came from the remote
    assert (head / "runs" / "metrics.json").read_text().strip() == str(len("first"))
    assert "up to date" in sh("dvc", "status", cwd=head)
