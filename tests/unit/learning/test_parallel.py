"""Two processes that share every batch end where one process that has them whole ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from parallel_worker import RUNS
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_training import write_cache

WORKER = Path(__file__).with_name("parallel_worker.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What one process, and each of two, left."""
    folder = tmp_path_factory.mktemp("parallel")
    write_cache(folder / "cache")
    paths = os.pathsep.join([str(WORKER.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, WORKER, folder], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("key", RUNS)
def test_two_processes_learn_what_one_learns(folder, key):
    one, two = folder / "0 of 1", folder / "0 of 2"
    for name in (key, f"{key}, own"):
        expected, found = load_file(one / name), load_file(two / name)
        assert found.keys() == expected.keys()
        assert any(value.dtype == torch.float64 for value in found.values())
        for tensor, value in found.items():
            size = expected[tensor].abs().max().item() if tensor.startswith("optimiser") else 1e-3
            torch.testing.assert_close(
                value, expected[tensor], rtol=0, atol=1e-6 * size, msg=f"{key}: {tensor}"
            )
    with safe_open(one / key, "pt") as first, safe_open(two / key, "pt") as second:
        histories = [json.loads(file.metadata()["facts"])["history"] for file in (first, second)]
    assert len(histories[0]) == 2
    for row, other in zip(*histories, strict=True):
        assert row == pytest.approx(other, rel=1e-9)


@pytest.mark.parametrize("key", [*RUNS, "dropping"])
def test_all_that_the_processes_hold_is_the_same_to_the_bit(folder, key):
    first, second = (load_file(folder / f"{number} of 2" / f"{key}, own") for number in (0, 1))
    for name, value in first.items():
        assert torch.equal(value, second[name]) == (name != "drawn"), name


def test_processes_that_were_cut_in_an_epoch_end_as_undisturbed_ones(folder):
    for process in ("0 of 1", "0 of 2", "1 of 2"):
        expected, resumed = ((folder / process / name).read_bytes() for name in ("expected", "resumed"))
        assert resumed == expected


def test_process_0_goes_first_and_is_the_only_one_that_saves(folder):
    assert (folder / "order").read_text() == "0" + "01"
    for key in RUNS:
        assert not (folder / "1 of 2" / key).exists()
        assert [path.name for path in (folder / f"checkpoints, 2, {key}").iterdir()].count("fingerprint") == 1


def test_processes_that_disagree_say_so(folder):
    for number in (0, 1):
        said = (folder / f"{number} of 2" / "disagreement").read_text()
        assert "The processes no longer agree: U and 0 others differ in a test." in said
    assert not (folder / "0 of 1" / "disagreement").exists()


def test_a_batch_that_is_too_small_to_share(folder):
    for number in (0, 1):
        said = (folder / f"{number} of 2" / "too many").read_text()
        assert "A batch of 1 images cannot be shared by 2 processes." in said
        assert "set machine.processes to 1 or less" in said
