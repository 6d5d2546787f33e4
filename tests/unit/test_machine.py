"""How one process becomes several, and when it refuses; CUDA is feigned."""

import os
import sys
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML

from hashrepro.errors import UserError
from hashrepro.settings import Machine

STAGES = Path(__file__).parents[2] / "stages"


@pytest.fixture
def machine(monkeypatch):
    """stages/machine.py as the stages import it."""
    monkeypatch.syspath_prepend(STAGES)
    for name in ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "")  # remembered, so that it is put back
        monkeypatch.delenv(name)
    import machine

    yield machine
    for name in ("machine", "common"):
        sys.modules.pop(name, None)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_one_of_several_processes_does_not_become_several(machine, two_gpus, monkeypatch):
    monkeypatch.setattr(os, "execv", lambda *words: pytest.fail("it started processes of its own"))
    monkeypatch.setenv("LOCAL_RANK", "1")
    machine.spread(Machine(processes=2))


def test_one_process_becomes_several(machine, two_gpus, monkeypatch):
    started = []
    monkeypatch.setattr(os, "execv", lambda *words: started.append(words))
    monkeypatch.setattr(sys, "argv", ["stages/train.py", "params.yaml"])
    monkeypatch.setenv("HASHREPRO_LAUNCHER", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    machine.spread(Machine())
    assert started == []
    machine.spread(Machine(processes=2))
    ((program, words),) = started
    assert program == words[0] == sys.executable
    assert words[1:] == [
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "stages/train.py", "params.yaml"
    ]  # fmt: skip
    assert os.environ["HASHREPRO_LAUNCHER"] == str(os.getpid())


@pytest.mark.parametrize(
    ("values", "what", "mend"),
    [
        (
            {"device": "cuda:0", "processes": 2},
            "cannot share the one device 'cuda:0'",
            "set machine.device to cuda",
        ),
        (
            {"processes": 3},
            "3 processes need a GPU each, and there are 2",
            "set machine.processes to 2 or less",
        ),
    ],
)
def test_gpus_that_are_not_enough(machine, two_gpus, values, what, mend):
    with pytest.raises(UserError, match=what) as error:
        machine.spread(Machine(**values))
    assert error.value.mend.startswith(mend)


def test_a_process_whose_launcher_has_ended_does_not_begin(machine, monkeypatch, tmp_path):
    # the tests' own process must not be told to die with its parent
    monkeypatch.setattr(machine, "signal_at_parents_end", lambda number: None)
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("HASHREPRO_LAUNCHER", str(os.getppid()))
    with machine.exclusive(tmp_path / "run"):
        assert not (tmp_path / "run.lock").exists()  # the launcher holds it
    monkeypatch.setenv("HASHREPRO_LAUNCHER", "1" if os.getppid() != 1 else "2")
    with pytest.raises(SystemExit, match="has ended"), machine.exclusive(tmp_path / "run"):
        raise AssertionError


def test_a_checkpoint_of_any_other_library_code_than_training_depends_on_is_another(machine, monkeypatch):
    monkeypatch.setattr(machine, "value_digest", lambda files: files)
    root = STAGES.parent
    deps = YAML(typ="safe").load(root / "dvc.yaml")["stages"]["train"]["deps"]
    own = [root / dep for dep in deps if dep.startswith("src/") and "${" not in dep]
    files = {file for dep in own for file in (dep.rglob("*.py") if dep.is_dir() else [dep])}
    files |= set((root / "src/hashrepro/methods").glob("*.py"))
    names = {str(file.relative_to(root / "src/hashrepro")) for file in files}
    assert len(names) > 40
    assert names <= set(machine.code_digest())
