"""A training that is killed outright goes on where it was, in the same MLflow run, and ends in the same bits."""

import fcntl
import json
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
SCRIPT = ("stages/train.py", "params.yaml", "adsh", "birds", "12", "0")
KEY = "adsh-birds-12-s0"
HERE = Path(__file__).parent
linux = pytest.mark.skipif(
    not Path("/proc/self/cmdline").exists(), reason="looks for orphans in /proc, which is Linux's"
)


def long_training(values):
    values["grid"] |= {"methods": ["adsh"], "datasets": ["birds"]}
    values["machine"] |= {"threads": 1}  # two wait for each other on a machine that is busy with other tests
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


def start(space, *command: str) -> subprocess.Popen:
    """A command of the workspace, left running."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment["PYTHONPATH"] = str(space.root / "src")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=space.root, env=environment, start_new_session=True, **quiet)


@pytest.fixture(scope="module")
def space(fresh):
    space = fresh("killed")
    space.edit(long_training)
    space.run("dvc", "repro", "data/dvc.yaml:preprocess@birds")
    return space


@linux
def test_killed_at_random_moments(tmp_path):
    """See `kill_often`: in no attempt is a bit lost, and no process that loads images is left behind."""
    paths = [HERE.parents[1] / "src", HERE.parent / "unit" / "methods"]
    output, errors = (
        tmp_path / "output",
        tmp_path / "errors",
    )  # no pipes: a process left behind would hold them open
    with open(output, "w") as out, open(errors, "w") as err:
        subprocess.run(
            [sys.executable, HERE / "kill_often.py", tmp_path, "0"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"},
            stdout=out,
            stderr=err,
            check=False,
            timeout=900,
        )
    found = json.loads(output.read_text() or "{}")
    assert len(found) == 4, errors.read_text()
    for name, seen in found.items():
        assert seen["same"], (name, seen, errors.read_text())
        assert seen["left"] == 0, (name, seen)
    assert sum(seen["kills"] for seen in found.values()) >= 4  # about 28: else the test tests nothing
    assert sum(seen["loader_processes"] for seen in found.values()) >= 1


def test_a_second_trainer_of_a_run_refuses(space):
    lock = space.root / "work" / "quickstart" / f"{KEY}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        output = space.run(sys.executable, *SCRIPT, ok=False)
    assert "Another process is training this run." in output
    assert not (space.root / "runs" / "quickstart" / KEY).exists()


@linux
@pytest.mark.filterwarnings("ignore:The ``noload``:DeprecationWarning")
def test_killed_and_run_again(space):
    from mlflow import MlflowClient

    checkpoint = space.root / "work" / "quickstart" / KEY / "checkpoint.safetensors"
    dvc = start(space, "dvc", "repro", TRAIN)
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


@linux
def test_processes_that_train_together_die_together(space):
    """Two processes under torchrun, whose launcher is killed; and once more, to the end."""

    def two(values):
        values["machine"] |= {"processes": 2, "checkpoint_minutes": 0}
        values["train"]["adsh"]["birds"] |= {"iterations": 1, "epochs": 2}

    space.edit(two)
    folder = space.root / "runs" / "quickstart" / KEY
    (folder / "train.json").unlink(missing_ok=True)
    checkpoint = space.root / "work" / "quickstart" / KEY / "checkpoint.safetensors"
    launcher = start(space, sys.executable, *SCRIPT)
    wait_for(lambda: len(trainers(space.root)) == 3)  # the launcher and what it launched
    lock = checkpoint.parent.with_name(f"{KEY}.lock")
    with open(lock, "w") as file, pytest.raises(BlockingIOError):  # the launcher has kept it
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.kill(launcher.pid, signal.SIGKILL)
    launcher.wait()
    wait_for(lambda: not trainers(space.root))
    assert not (folder / "train.json").exists()

    space.run(sys.executable, *SCRIPT)
    assert json.loads((folder / "train.json").read_text())["processes"] == 2
    assert not checkpoint.exists()
    assert not trainers(space.root)
    assert (folder / "history.csv").read_text().count("\n") == 1 + 1
