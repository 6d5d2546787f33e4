import subprocess
import threading
import time
from pathlib import Path

import pytest

from hashrepro.scheduler import repro_in_parallel, run_all, stale_stages

PIPELINE = """
stages:
  half:
    matrix: {side: [left, right]}
    cmd: echo ${item.side} | tee -a log > ${item.side}
    outs: ["${item.side}"]
  whole:
    cmd: cat left right > whole; echo whole >> log
    deps: [left, right]
    outs: [whole]
"""

STAGES = {
    "data": set(),
    "a": {"data"},
    "b": {"data"},
    "score a": {"a"},
    "score b": {"b"},
    "report": {"score a", "score b"},
}


def test_every_stage_runs_once_and_after_what_it_waits_for():
    begun, ended = [], []

    def run(name):
        assert STAGES[name] <= set(ended)
        begun.append(name)
        ended.append(name)
        return True

    assert set(run_all(STAGES, run, workers=2).values()) == {"done"}
    assert sorted(begun) == sorted(STAGES)


def test_a_failure_stops_only_what_waits_for_it():
    state = run_all(STAGES, lambda name: name != "a", workers=2)
    assert state == {
        "data": "done", "a": "failed", "b": "done", "score b": "done", "score a": "not run", "report": "not run",
    }  # fmt: skip


def test_as_many_at_a_time_as_asked_for():
    assert [most_at_a_time(workers) for workers in (1, 2, 3)] == [1, 2, 3]


def most_at_a_time(workers):
    lock, now, most = threading.Lock(), 0, 0

    def run(name):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        return True

    run_all({str(n): set() for n in range(6)}, run, workers)
    return most


@pytest.fixture
def pipeline(tmp_path, monkeypatch) -> Path:
    """A DVC repository of two stages that a third waits for; each adds a line to the file `log` when it runs."""
    monkeypatch.setenv("DVC_NO_ANALYTICS", "true")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    root = tmp_path / "repository"
    root.mkdir()
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(command, cwd=root, check=True)
    (root / "dvc.yaml").write_text(PIPELINE)
    return root


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of DVC's own dependencies
def test_forced_stages_run_once_each(pipeline):
    def build(force: bool) -> list[str]:
        assert repro_in_parallel(pipeline, [], workers=2, threads=2, force=force) == 0
        return sorted((pipeline / "log").read_text().split())

    assert build(force=False) == ["left", "right", "whole"]
    assert build(force=False) == ["left", "right", "whole"]
    assert build(force=True) == sorted(2 * ["left", "right", "whole"])
    assert stale_stages(pipeline, []) == {}
    assert stale_stages(pipeline, ["half@left"], force=True) == {"half@left": set()}
    assert stale_stages(pipeline, [], force=True)["whole"] == {"half@left", "half@right"}


def test_nothing_to_do():
    assert run_all({}, lambda name: False, workers=2) == {}
