"""What a checkpoint remembers of a training beside its state: what it took, and that it has ended."""

import hashlib
import time

import torch

from hashrepro.learning.checkpoints import Checkpoints

B = {"B": torch.ones(10)}


def test_what_a_training_took_adds_up_over_its_processes(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    first = Checkpoints(tmp_path / "run", "print")
    now += 7
    first.save(B, {})
    now += 1000  # lost: it is killed before the next
    memory = first.spent()["peak_memory_mb"]
    second = Checkpoints(tmp_path / "run", "print")
    assert second.spent()["seconds"] == 0
    _, facts = second.load(B)
    assert "spent" not in facts
    now += 5
    assert second.spent()["seconds"] == 7 + 5
    assert second.spent()["peak_memory_mb"] >= memory
    second.save(B, {})
    third = Checkpoints(tmp_path / "run", "print")
    third.load(B)
    assert third.spent()["seconds"] == 12


def test_the_most_memory_of_all_processes_counts(tmp_path):
    first = Checkpoints(tmp_path / "run", "print")
    first._before = {"peak_memory_mb": 1e9, "peak_gpu_memory_mb": 5.0}
    first.save(B, {})
    second = Checkpoints(tmp_path / "run", "print")
    second.load(B)
    assert second.spent()["peak_memory_mb"] == 1e9
    assert second.spent()["peak_gpu_memory_mb"] >= 5.0


def test_its_end_is_noted_with_what_it_wrote_until_it_starts_anew(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run", "print")
    checkpoints.save(B, {})
    assert checkpoints.finished is None
    (tmp_path / "model").write_bytes(b"weights")
    checkpoints.finish(tmp_path / "model")
    again = Checkpoints(tmp_path / "run", "print")
    assert again.finished == {"model": hashlib.md5(b"weights").hexdigest()}
    assert again.load(B) is not None
    again.start_anew()
    assert again.finished is None
    assert again.load(B) is None
    checkpoints.save(B, {})
    checkpoints.finish(tmp_path / "model")
    assert Checkpoints(tmp_path / "run", "another").finished is None
