"""Stages on Dask workers: real processes, started once; what they run is feigned, but for one slow test.

Functions that go to a worker are defined inside others, so that they are sent whole: workers cannot import tests.
"""

import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from hashrepro.errors import UserError
from hashrepro.running.building import Estimates, Where, build
from hashrepro.running.dask_engine import DEATHS, Dask
from hashrepro.running.job import Job, Outcome
from hashrepro.running.slots import Slots
from hashrepro.running.stages import stale_stages
from hashrepro.settings import Machine


def feign():
    """What workers run in place of DVC; a job's environment says what is to happen."""

    def run(job, stopped):
        import os
        import time
        from pathlib import Path

        begun = Path(job.root) / job.stage
        with open(begun, "a") as file:
            file.write(f"{os.getpid()}\n")
        attempts = len(begun.read_text().split())
        if job.environment.get("dies", 0) >= attempts:
            os.kill(os.getpid(), 9)
        while job.environment.get("waits") and not stopped():
            time.sleep(0.02)
        if job.environment.get("fails"):
            raise RuntimeError("no such luck")
        (begun.with_suffix(".end")).write_text("")
        return Outcome(0, 1.0, os.environ.get("OMP_NUM_THREADS", "unset"))

    return run


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "3")
        with Dask(tmp_path_factory.mktemp("root"), Slots(2, []), run=feign()) as engine:
            yield engine


def submit(engine, folder, stage, **happens):
    return engine.submit(Job(stage, str(folder), environment=happens))


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_stages_have_this_process_environment_not_that_of_dask(engine, tmp_path):
    assert submit(engine, tmp_path, "a").result(60) == Outcome(0, 1.0, "3")


def test_a_failure_in_a_worker_is_not_tried_again(engine, tmp_path):
    future = submit(engine, tmp_path, "a", fails=1)
    assert str(future.exception(60)) == "no such luck"
    assert len((tmp_path / "a").read_text().split()) == 1


def test_all_listens_on_this_machine_alone(engine):
    own = psutil.Process()
    found = [c for process in (own, *own.children(recursive=True)) for c in process.net_connections("tcp")]
    assert {c.laddr.ip for c in found if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


def test_cancelled_stages_are_ended_before_stop_returns(engine, tmp_path):
    futures = [submit(engine, tmp_path, name, waits=1) for name in ("a", "b")]
    wait_for(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
    engine.stop()
    assert all((tmp_path / f"{name}.end").exists() for name in ("a", "b"))
    assert all("cancelled" in str(future.exception(60)) for future in futures)


def test_the_stage_of_a_killed_worker_goes_to_another(engine, tmp_path):
    assert submit(engine, tmp_path, "a", dies=1).result(120).code == 0
    assert len(set((tmp_path / "a").read_text().split())) == 2


@pytest.mark.slow
def test_a_stage_whose_workers_all_die_is_given_up(engine, tmp_path):
    assert submit(engine, tmp_path, "a", dies=DEATHS).result(120).code == 0
    deadly = submit(engine, tmp_path, "b", dies=99)
    assert "workers died" in str(deadly.exception(120))
    assert len((tmp_path / "b").read_text().split()) == 1 + DEATHS


@pytest.mark.parametrize(
    ("workers", "asked"),
    [
        ([{}, {}], {}),  # without resources any worker will do
        ([{"GPU": 1}, {"GPU": 2}, {}], {"GPU": 2}),
        ([{"GPU": 2, "MEMORY": 64e9}], {"GPU": 2, "MEMORY": 8e9}),
        ([{"MEMORY": 4e9}], {"MEMORY": 4e9}),  # no worker has more: it must run somewhere
    ],
)
def test_a_joined_cluster_is_asked_for_what_its_workers_declare(tmp_path, workers, asked):
    engine = Dask(tmp_path, None, "tcp://127.0.0.1:1")
    engine._workers = lambda: [{"resources": resources} for resources in workers]
    assert engine._resources(Job("train@a", "/", gpus=2, memory=8 * 10**9)) == asked


def test_a_training_that_no_worker_has_gpus_for(tmp_path):
    engine = Dask(tmp_path, None, "tcp://127.0.0.1:1")
    engine._workers = lambda: [{"resources": {"GPU": 1}}]
    with pytest.raises(UserError, match="takes 2 GPUs, and no worker has more than 1"):
        engine._resources(Job("train@a", "/", gpus=2))


def test_a_scheduler_that_is_not_there(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    engine = Dask(tmp_path, None, address, patience=0.5)
    with pytest.raises(UserError, match="No Dask scheduler answers") as error, engine:
        pass
    assert error.value.where == address


SLEEPERS = """
stages:
  train:
    matrix: {n: [a, b, c]}
    cmd: echo ${item.n} >> begun; python -c "import time; time.sleep(3)"; echo ${item.n} > ${item.n}
    outs: ["${item.n}"]
"""
BUILD = """
import sys
from pathlib import Path
from hashrepro.running.building import Where, build
from hashrepro.settings import Machine
if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1]), [], Machine(device="cpu"), Where(2, "dask")))
"""


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["worker", "head", "interrupt"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of DVC's own dependencies
def test_a_killed_worker_or_head_leaves_no_orphan_and_the_work_goes_on(pipeline, whom):
    """Real DVC stages: the worker's is run again on another, the head's by the same command."""
    (pipeline / "dvc.yaml").write_text(SLEEPERS)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    script = pipeline.parent / "build.py"
    script.write_text(BUILD)
    head = subprocess.Popen(
        [sys.executable, script, pipeline],
        env=environment,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests may run in the background
    )
    begun = pipeline / "begun"
    wait_for(lambda: begun.exists() and len(begun.read_text().split()) >= 2)
    guards = [
        p
        for p in psutil.Process(head.pid).children(recursive=True)
        if "hashrepro.running.guard" in p.cmdline()
    ]
    assert len(guards) == 2
    family = [*guards[0].children(recursive=True), guards[0]]
    if whom == "worker":
        guards[0].parent().kill()
    else:
        family += [*guards[1].children(recursive=True), guards[1]]
        if whom == "head":
            head.kill()
        else:
            os.killpg(head.pid, signal.SIGINT)
    _, left = psutil.wait_procs(family, 30)
    assert left == []
    code = head.wait(120)
    assert (code == 0) == (whom == "worker")
    if whom != "worker":
        quick = Estimates(lambda stage: 1.0, lambda stage: 0)
        assert build(pipeline, [], Machine(device="cpu"), Where(2), quick) == 0
    assert stale_stages(pipeline, []) == {}
    assert len(begun.read_text().split()) <= 3 + (1 if whom == "worker" else 2)
