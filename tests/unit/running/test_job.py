"""What becomes of DVC's exit codes and messages; `dvc` itself is feigned."""

import os

import psutil
import pytest

from hashrepro.running import job as module
from hashrepro.running.job import PATIENCE, Job, log_file, run_job

BUSY = "ERROR: failed to reproduce 'a': 'runs/a' is busy, it is being blocked by:\n  (PID {}): dvc repro a\n"
LOCKED = "ERROR: Unable to acquire lock. Most likely another DVC process is running\n"
TRAINED = "train.py: Another process is training this run.\nERROR: failed to reproduce 'a': exited with 2\n"


@pytest.fixture
def dvc(monkeypatch):
    """Gives a function that sets what each call of dvc prints and returns; returns the commands."""

    def set_up(*calls, processes=()):
        calls, commands = list(calls), []

        def guarded(command, root, environment, log, stopped):
            commands.append(command)
            code, text = calls.pop(0)
            log.write(text.encode())
            log.flush()
            return code

        monkeypatch.setattr(module, "guarded", guarded)
        monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
        return commands

    return set_up


def test_a_stage_that_goes_well_runs_once_and_its_output_is_kept(dvc, tmp_path):
    commands = dvc((0, "trained\n"))
    job = Job("papers/x/dvc.yaml:train@a", str(tmp_path), options=("--force",))
    outcome = run_job(job)
    assert (outcome.code, outcome.log) == (0, "trained\n")
    assert commands == [
        ["dvc", "--wait-for-lock", "repro", "--single-item", "--force", "papers/x/dvc.yaml:train@a"]
    ]
    assert log_file(tmp_path, job.stage).read_text() == "trained\n"
    assert log_file(tmp_path, job.stage).parent == tmp_path / "work" / "logs"


def test_a_stages_own_failure_is_not_tried_again(dvc, tmp_path):
    commands = dvc((255, "ValueError\nERROR: failed to reproduce 'a': exited with 1\n"))
    assert run_job(Job("a", str(tmp_path))).code == 255
    assert len(commands) == 1


@pytest.mark.parametrize("text", [LOCKED, TRAINED])
def test_a_lock_without_a_name_is_tried_for_a_while(dvc, tmp_path, text):
    commands = dvc((255, text), (255, text), (0, "done\n"))
    outcome = run_job(Job("a", str(tmp_path)))
    assert (outcome.code, outcome.log, len(commands)) == (0, "done\n", 3)
    commands = dvc(*[(255, text)] * 20)
    assert run_job(Job("a", str(tmp_path))).code == 255
    assert len(commands) == 1 + PATIENCE


def test_what_an_earlier_attempt_printed_does_not_excuse_a_later_failure(dvc, tmp_path):
    commands = dvc((255, LOCKED), (255, "ERROR: failed to reproduce 'a': exited with 1\n"), (0, ""))
    assert run_job(Job("a", str(tmp_path))).code == 255
    assert len(commands) == 2


def test_a_busy_stage_is_waited_for_as_long_as_the_other_dvc_runs(dvc, tmp_path, monkeypatch):
    looks = []

    class Process:
        def __init__(self, number):
            looks.append(number)

        def cmdline(self):
            if len(looks) > 50:  # it has ended
                raise psutil.NoSuchProcess(12)
            return ["python", "/bin/dvc", "repro"]

    dvc((255, BUSY.format(12)), (0, "done\n"))
    monkeypatch.setattr(module.psutil, "pid_exists", lambda number: len(looks) <= 50)
    monkeypatch.setattr(module.psutil, "Process", Process)
    assert run_job(Job("a", str(tmp_path))).code == 0
    assert len(looks) > 50


def test_a_number_that_another_program_has_now_is_not_waited_for(dvc, tmp_path):
    commands = dvc((255, BUSY.format(os.getppid())))
    outcome = run_job(Job("a", str(tmp_path)))
    assert "is busy" in outcome.log
    assert len(commands) == 1


def test_a_stopped_stage_is_not_tried_again(dvc, tmp_path):
    commands = dvc((255, LOCKED))
    assert run_job(Job("a", str(tmp_path)), lambda: True).code == 255
    assert len(commands) == 1
