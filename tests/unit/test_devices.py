"""Which device and how many threads a process gets; CUDA is feigned."""

import os

import pytest
import torch

from hashrepro.devices import prepare
from hashrepro.errors import UserError
from hashrepro.settings import Machine


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    """What `prepare` changes for the whole process is put back."""
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
    yield
    torch.set_num_threads(before[0])
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic = before[1:]
    torch.use_deterministic_algorithms(exact[0], warn_only=exact[1])
    torch.utils.deterministic.fill_uninitialized_memory = filled
    for kernel, was in zip(kernels, enabled, strict=True):
        getattr(cuda, f"enable_{kernel}_sdp")(was)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_one_process_on_the_cpu():
    assert prepare(Machine(device="cpu", threads=3)) == torch.device("cpu")
    assert torch.get_num_threads() == 3
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


def test_a_missing_gpu_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="'cuda:1' was asked for, but torch sees no CUDA device"):
        prepare(Machine(device="cuda:1"))


def test_a_gpu_is_exact(two_gpus):
    assert prepare(Machine()) == torch.device("cuda")
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.backends.cuda.mem_efficient_sdp_enabled()


def test_each_of_several_processes_has_its_gpu_and_its_share_of_the_threads(two_gpus, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert prepare(Machine(threads=5, processes=2)) == torch.device("cuda:1")
    assert torch.get_num_threads() == 2
