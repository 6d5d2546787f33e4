"""A training that is killed outright goes on where it was, in the same MLflow run, and ends in the same bits."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hashrepro.files import file_digest

pytestmark = pytest.mark.timeout(1200)  # whole processes, on a slow machine, too

TRAIN = "train@adsh-birds-12-0"
KEY = "adsh-birds-12-s0"


def long_training(values):
    values["grid"] |= {"methods": ["adsh"], "datasets": ["birds"]}
    values["train"]["adsh"]["birds"] |= {"iterations": 12, "evaluate_every": 5}


def wait_for(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def trainers(root: Path) -> list[int]:
    """Processes that run this workspace's train stage."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (
                b"stages/train.py" in (folder / "cmdline").read_bytes()
                and (folder / "cwd").readlink() == root
            ):
                found.append(int(folder.name))
        except OSError:  # it ended while we looked
            continue
    return found


@pytest.mark.skipif(
    not Path("/proc/self/cmdline").exists(), reason="looks for orphans in /proc, which is Linux's"
)
@pytest.mark.filterwarnings("ignore:The ``noload``:DeprecationWarning")
def test_killed_and_run_again(fresh):
    from mlflow import MlflowClient

    space = fresh("killed")
    space.edit(long_training)
    space.run("dvc", "repro", "data/dvc.yaml:preprocess@birds")
    checkpoint = space.root / "work" / "quickstart" / KEY / "checkpoint.safetensors"
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment["PYTHONPATH"] = str(space.root / "src")
    dvc = subprocess.Popen(
        ["dvc", "repro", TRAIN],
        cwd=space.root,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_for(checkpoint.exists)
    os.kill(dvc.pid, signal.SIGKILL)
    dvc.wait()
    for trainer in trainers(space.root):
        os.kill(trainer, signal.SIGKILL)
    wait_for(lambda: not trainers(space.root))
    folder = space.root / "runs" / "quickstart" / KEY
    assert not (folder / "model.safetensors").exists()

    space.run("dvc", "repro", TRAIN)
    assert not checkpoint.exists()
    names = ("model.safetensors", "learned.safetensors", "history.csv")
    resumed = [file_digest(folder / name) for name in names]
    client = MlflowClient(f"sqlite:///{space.root}/mlruns.db")
    (run,) = client.search_runs([client.get_experiment_by_name("quickstart").experiment_id])
    assert run.info.status == "FINISHED"
    steps = [entry.step for entry in client.get_metric_history(run.info.run_id, "loss")]
    assert steps == list(range(1, 13))

    space.run("dvc", "repro", "--force", "--single-item", TRAIN)
    assert [file_digest(folder / name) for name in names] == resumed
