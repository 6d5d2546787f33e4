"""Which device and how many threads a process gets, and how one becomes several; CUDA is feigned."""

import os
import sys
from pathlib import Path

import pytest
import torch

from hashrepro.errors import UserError
from hashrepro.settings import Machine

STAGES = Path(__file__).parents[2] / "stages"


@pytest.fixture
def machine(monkeypatch):
    """stages/machine.py as the stages import it; what it changes for the whole process is put back."""
    monkeypatch.syspath_prepend(STAGES)
    for name in ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "HASHREPRO_THREADS", "CUBLAS_WORKSPACE_CONFIG"):
        monkeypatch.setenv(name, "")  # remembered, so that it is put back
        monkeypatch.delenv(name)
    matmul, cudnn, cuda = torch.backends.cuda.matmul, torch.backends.cudnn, torch.backends.cuda
    kernels = ("flash", "mem_efficient", "cudnn")
    before = (torch.get_num_threads(), matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic)
    exact = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    filled = torch.utils.deterministic.fill_uninitialized_memory
    enabled = [getattr(cuda, f"{kernel}_sdp_enabled")() for kernel in kernels]
    import machine

    yield machine
    torch.set_num_threads(before[0])
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic = before[1:]
    torch.use_deterministic_algorithms(exact[0], warn_only=exact[1])
    torch.utils.deterministic.fill_uninitialized_memory = filled
    for kernel, was in zip(kernels, enabled, strict=True):
        getattr(cuda, f"enable_{kernel}_sdp")(was)
    for name in ("machine", "common"):
        sys.modules.pop(name, None)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_one_process_on_the_cpu(machine):
    assert machine.prepare(Machine(device="cpu", threads=3)) == torch.device("cpu")
    assert torch.get_num_threads() == 3
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


def test_a_missing_gpu_is_named(machine, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="'cuda:1' was asked for, but torch sees no CUDA device"):
        machine.prepare(Machine(device="cuda:1"))


def test_a_gpu_is_exact(machine, two_gpus):
    assert machine.prepare(Machine()) == torch.device("cuda")
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.backends.cuda.mem_efficient_sdp_enabled()


def test_each_of_several_processes_has_its_gpu_and_its_share_of_the_threads(machine, two_gpus, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert machine.prepare(Machine(threads=5, processes=2)) == torch.device("cuda:1")
    assert torch.get_num_threads() == 2
    machine.spread(Machine(processes=2))  # it is one of them already: nothing happens


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
