"""Whatever happens to a run, the same command run again ends in the bits of a run that nothing happened to.

docs/faults.md is the table of these tests. Most run in forks of a warmed process (`warm.py`), one on the command line.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import psutil
import pytest
from fault_space import (
    ENCODE,
    ITERATIONS,
    KEY,
    LEARNED,
    READY,
    STEPS,
    TRAIN,
    bits,
    copy_space,
    keep_what_takes_time,
    one_run,
    processes,
    run_folder,
    scratch,
    steps_done_before,
    tracked,
    wait_for,
)
from tracking_server import TrackingServer

pytestmark = [
    pytest.mark.timeout(1200),  # whole processes, on a slow machine, too
    pytest.mark.skipif(
        not Path("/proc/self/stat").exists(), reason="looks for orphans in /proc, which is Linux's"
    ),
]
SCRIPT = ("stages/train.py", "params.yaml", "adsh", "birds", "12", "0")
ONCE = [("FINISHED", list(range(1, ITERATIONS + 1)))]  # one tracked run, every step one time


@pytest.fixture(scope="module")
def prepared(fresh, warm):
    """A workspace with its data made and nothing trained."""
    space = fresh("prepared")
    shutil.rmtree(
        space.root / "papers", ignore_errors=True
    )  # DVC reads the stages of every file for every command
    space.edit(one_run)
    warm.dvc(space.root, "repro", READY)
    return space


@pytest.fixture(scope="module")
def undisturbed(prepared, warm, tmp_path_factory) -> dict[str, str]:
    """What a run comes to that nothing happens to."""
    root = copy_space(prepared.root, tmp_path_factory.mktemp("undisturbed") / "space")
    warm.dvc(root, "repro", ENCODE)
    assert tracked(root) == ONCE
    assert not scratch(root).exists()
    keep_what_takes_time(root, prepared.root)
    return bits(root, (*LEARNED, "codes.safetensors"))


@pytest.fixture
def root(prepared, undisturbed, tmp_path) -> Path:
    """A workspace of a test's own, in which only the training is to do."""
    return copy_space(prepared.root, tmp_path / "space")


@pytest.fixture
def rerun(root, warm, undisturbed):
    """A function: run the same command again; it must end as if nothing had happened. Returns its log."""

    def again(done: int, **environment: str) -> str:
        log = warm.dvc(root, "repro", TRAIN, **environment)
        assert bits(root) == {name: undisturbed[name] for name in LEARNED}
        assert steps_done_before(log) == done
        assert tracked(root) == ONCE
        assert {path.name for path in run_folder(root).iterdir()} == {*LEARNED, "train.json"}
        assert {path.name for path in scratch(root).iterdir()} == {
            "checkpoint.safetensors",
            "fingerprint",
            "finished.json",
        }
        return log

    return again


def outputs(root: Path) -> set[str]:
    """Names of what stands in the run's folder as a result."""
    return {path.name for path in run_folder(root).glob("[!.]*")}


def test_ctrl_c_in_training(root, warm, rerun):
    command = warm.start(root, "repro", TRAIN, INJECT="stop@saved-2")
    command.wait_until_stopped()
    command.signal(signal.SIGINT)
    assert command.end() == 255
    assert "train.py: stopped. The same command goes on where it was." in command.log
    assert "Traceback" not in command.log
    assert outputs(root) == set()
    rerun(done=4)
    assert "up to date" in warm.dvc(root, "repro", TRAIN)


@pytest.mark.parametrize("torn", [True, False], ids=["in a stage", "between stages"])
def test_lock_file_torn(prepared, root, warm, undisturbed, torn):
    """DVC writes it in place: killed meanwhile, or on a full disk, it leaves the beginning of it."""
    warm.dvc(root, "repro", ENCODE)
    lock = root / "dvc.lock"
    text = lock.read_text()
    last = max(text.index(f"  {stage}:") for stage in (TRAIN, ENCODE))
    lock.write_text(text[: last + 30 if torn else last])
    if torn:
        output = type(prepared)(root).run("hashrepro", "repro", "--workers", "2", ok=False)
        assert "mend:  remove ./dvc.lock" in output
        lock.unlink()
    log = warm.dvc(root, "repro", ENCODE)
    assert log.count("is cached - skipping run, checking out outputs") == 1 + torn
    assert steps_done_before(log) is None
    names = (*LEARNED, "codes.safetensors")
    assert bits(root, names) == {name: undisturbed[name] for name in names}
    assert tracked(root) == ONCE


@pytest.mark.slow
@pytest.mark.parametrize("to", ["the trainer", "dvc"])
def test_terminated_in_training(root, warm, rerun, to):
    command = warm.start(root, "repro", TRAIN, INJECT="stop@saved-1")
    trainer = command.wait_until_stopped()
    command.signal(signal.SIGTERM, trainer if to == "the trainer" else command.pid)
    assert command.end() == (255 if to == "the trainer" else -signal.SIGTERM)
    rerun(done=2)


@pytest.mark.slow
def test_trainer_killed_as_it_writes_a_checkpoint(root, warm, rerun):
    assert "exited with -" in warm.dvc(root, "repro", TRAIN, code=255, INJECT="kill@checkpoint-2")
    assert len(list(scratch(root).glob(".*"))) == 1
    rerun(done=2)


def test_trainer_killed_as_it_writes_its_outputs(root, warm, rerun):
    warm.dvc(root, "repro", TRAIN, code=255, INJECT="kill@output")
    assert outputs(root) == set()
    assert len(list(run_folder(root).glob(".*"))) == 1  # rerun sees it gone
    rerun(done=STEPS)


def test_disk_full_as_a_checkpoint_is_written(root, warm, rerun):
    log = warm.dvc(root, "repro", TRAIN, code=255, INJECT="full@checkpoint-2")
    assert "train.py: The disk refuses: File too large." in log
    assert f"where: {scratch(root)}/checkpoint.safetensors" in log
    assert "mend:" in log
    assert "Traceback" not in log
    assert list(scratch(root).glob(".*")) == []
    rerun(done=2)


def test_disk_full_as_dvc_commits_what_was_trained(root, warm, rerun, undisturbed):
    """DVC deletes the outputs and runs the stage again, which has kept what it needs to write them once more."""
    log = warm.dvc(root, "repro", TRAIN, code=255, INJECT="full@commit")
    assert "File too large" in log
    assert tracked(root) == ONCE
    spent = json.loads((run_folder(root) / "train.json").read_text())["seconds"]
    rerun(done=STEPS)
    assert json.loads((run_folder(root) / "train.json").read_text())["seconds"] > spent
    # asked for once more, it trains
    log = warm.dvc(root, "repro", "--force", "--single-item", TRAIN)
    assert steps_done_before(log) == 0
    assert bits(root) == {name: undisturbed[name] for name in LEARNED}
    assert [steps for _, steps in tracked(root)] == 2 * [ONCE[0][1]]
    # and the rest of the pipeline removes what was kept
    warm.dvc(root, "repro", ENCODE)
    assert bits(root, tuple(undisturbed)) == undisturbed
    assert not scratch(root).exists()


@pytest.mark.slow
def test_a_disk_too_small_that_grows(prepared, undisturbed, warm, tmp_path):
    """A file system of its own, too small for the first checkpoint, then for the second, for the rest, for nothing."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", disk], check=False, capture_output=True).returncode:
        pytest.skip("may not mount here")
    try:
        root = copy_space(prepared.root, disk / "space")
        used = shutil.disk_usage(disk).used >> 20
        done = []  # steps done when each attempt began
        for room in (20, 60, 90, 110, 1000):
            subprocess.run(["mount", "-o", f"remount,size={used + room}m", disk], check=True)
            command = warm.start(root, "repro", ENCODE)
            code = command.end()
            done.append(steps_done_before(command.log))
            if code == 0:
                break
            assert "No space left on device" in command.log or "disk is full" in command.log
        assert len(done) >= 3
        assert done == sorted(done)
        assert bits(root, tuple(undisturbed)) == undisturbed
        assert tracked(root) == ONCE
        assert not scratch(root).exists()
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ctrl-c", "killed"])
def test_dvc_ended_as_it_commits_what_was_trained(root, warm, rerun, how):
    command = warm.start(root, "repro", TRAIN, INJECT="stop@commit")
    dvc = command.wait_until_stopped()
    assert dvc == command.pid
    command.signal(signal.SIGINT if how == "ctrl-c" else signal.SIGKILL, dvc)
    assert command.end() == (252 if how == "ctrl-c" else -signal.SIGKILL)
    rerun(done=STEPS)


def read_only(root: Path) -> dict[str, str]:
    """Have DVC find its cache read-only; what must be in its environment for that."""
    if os.geteuid():
        for folder, _, _ in os.walk(root / ".dvc" / "cache", topdown=False):
            os.chmod(folder, 0o555)
        return {}
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("root can write anywhere, and may not mount here")
    return {"INJECT": "readonly"}


def test_cache_read_only(root, warm, rerun):
    log = warm.dvc(root, "repro", TRAIN, code=255, **read_only(root))
    assert "Read-only file system" in log or "Permission denied" in log
    for folder, _, _ in os.walk(root / ".dvc" / "cache"):
        os.chmod(folder, 0o755)
    rerun(done=STEPS)


@pytest.mark.parametrize("target", [TRAIN, pytest.param(ENCODE, marks=pytest.mark.slow)])
def test_two_at_once(root, warm, undisturbed, target):
    """Of the same target, and of one that needs it: the second says who is at work and harms nothing."""
    first = warm.start(root, "repro", TRAIN, INJECT="stop@saved-1")
    first.wait_until_stopped()
    log = warm.dvc(root, "repro", target, code=255)
    assert "is busy, it is being blocked by" in log
    assert f"(PID {first.pid})" in log
    first.signal(signal.SIGCONT)
    assert first.end() == 0
    assert bits(root) == {name: undisturbed[name] for name in LEARNED}
    assert tracked(root) == ONCE
    warm.dvc(root, "repro", target)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(data: bytes) -> bytes:
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def other_run(data: bytes) -> bytes:
    from safetensors.torch import load, save

    from hashrepro.learning.checkpoints import digest

    size = int.from_bytes(data[:8], "little")
    facts = json.loads(data[8 : 8 + size])["__metadata__"]["facts"].replace(
        '"fingerprint": "', '"fingerprint": "0'
    )
    tensors = load(data)
    return save(tensors, {"facts": facts, "digest": str(digest(tensors, facts))})


@pytest.mark.parametrize(
    "damage", [flip, *(pytest.param(how, marks=pytest.mark.slow) for how in (cut, other_run))]
)
def test_checkpoint_damaged(root, warm, rerun, damage):
    warm.dvc(root, "repro", TRAIN, code=255, INJECT="kill@saved-2")
    checkpoint = scratch(root) / "checkpoint.safetensors"
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    log = rerun(done=0)
    assert f"The checkpoint {checkpoint} is damaged (" in log
    assert "): training starts from the beginning." in log


def test_dvc_killed_on_the_command_line(prepared, root, undisturbed, tmp_path):
    """The real `dvc`, started by its name: its trainer dies with it, and it ends in what the forks have come to."""
    space = type(prepared)(root)
    with open(tmp_path / "log", "w") as log:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        # a shell that stays beside what it runs, which bash does not, and which `exec` in dvc.yaml prevents
        environment = {**os.environ, "PATH": path, "PYTHONPATH": str(root / "src"), "SHELL": "/bin/sh"}
        how = {"cwd": root, "env": environment, "stdout": log, "stderr": log, "start_new_session": True}
        dvc = subprocess.Popen(["dvc", "repro", TRAIN], **how)
    wait_for((scratch(root) / "checkpoint.safetensors").exists)
    os.kill(dvc.pid, signal.SIGKILL)
    dvc.wait()
    wait_for(lambda: not processes(dvc.pid), 30)
    assert outputs(root) == set()

    log = space.run("dvc", "repro", TRAIN)
    assert 0 < steps_done_before(log) < STEPS
    assert bits(root) == {name: undisturbed[name] for name in LEARNED}
    assert tracked(root) == ONCE


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["hashrepro", "dvc"])
def test_hashrepro_run_killed(prepared, root, undisturbed, tmp_path, whom):
    """`hashrepro run` with a worker, or the DVC that the worker runs: all below ends with it."""
    space = type(prepared)(root)
    words = ("hashrepro", "run", "quickstart", TRAIN, "--workers", "1")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(root / "src"), "SHELL": "/bin/sh"}
    with open(tmp_path / "log", "w") as log:
        how = {"cwd": root, "env": environment, "stdout": log, "stderr": log, "start_new_session": True}
        command = subprocess.Popen(words, **how)
    checkpoint = scratch(root) / "checkpoint.safetensors"
    wait_for(lambda: checkpoint.exists() or command.poll() is not None)
    assert checkpoint.exists(), (tmp_path / "log").read_text()
    family = psutil.Process(command.pid).children(recursive=True)
    dvc = next(process for process in family if Path(process.cmdline()[1]).name == "dvc")
    (command if whom == "hashrepro" else dvc).kill()
    command.wait()
    wait_for(lambda: not any(process.is_running() and process.status() != "zombie" for process in family), 60)
    assert outputs(root) == set()

    space.run(*words)
    assert bits(root) == {name: undisturbed[name] for name in LEARNED}
    assert tracked(root) == ONCE


def test_a_second_trainer_of_a_run_refuses(root, warm):
    lock = scratch(root).with_name(f"{KEY}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        log = warm.dvc(root, "repro", TRAIN, code=255)
    assert "Another process is training this run." in log
    assert not run_folder(root).exists()


@pytest.mark.slow
def test_processes_that_train_together_die_together(prepared, root):
    """Two processes under torchrun, whose launcher is killed; and once more, to the end."""

    def two(values):
        values["machine"] |= {"processes": 2, "checkpoint_minutes": 0}
        values["train"]["adsh"]["birds"] |= {"iterations": 1, "epochs": 2}

    space = type(prepared)(root)
    space.edit(two)
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    launcher = subprocess.Popen([sys.executable, *SCRIPT], cwd=root, env=environment, start_new_session=True)
    # what the launcher starts leads a session of its own
    below = [launcher.pid]
    wait_for(lambda: below.extend(p.pid for p in psutil.Process(launcher.pid).children()) or len(below) == 3)
    lock = scratch(root).with_name(f"{KEY}.lock")
    with open(lock, "w") as file, pytest.raises(BlockingIOError):  # the launcher has kept it
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    launcher.kill()
    launcher.wait()
    wait_for(lambda: not any(map(psutil.pid_exists, below)), 60)
    assert not (run_folder(root) / "train.json").exists()

    space.run(sys.executable, *SCRIPT)
    assert json.loads((run_folder(root) / "train.json").read_text())["processes"] == 2
    assert (run_folder(root) / "history.csv").read_text().count("\n") == 1 + 1


@pytest.fixture
def server(tmp_path):
    """A tracking server: (its address, a function that starts it, a function that kills it)."""
    made = TrackingServer(tmp_path, tmp_path / "server.db")
    yield made.address, made.start, partial(made.end, signal.SIGKILL)
    made.end(signal.SIGKILL)


@pytest.mark.slow
def test_tracking_server_killed_in_training(prepared, root, warm, undisturbed, server, tmp_path):
    """The training ends all the same; when the server is back, `hashrepro runs adopt` gives it what it lacks."""
    address, start, kill = server
    tracking = {"MLFLOW_TRACKING_URI": address, "HASHREPRO_STORE_PATIENCE": "1"}
    start()
    command = warm.start(root, "repro", TRAIN, INJECT="stop@saved-2", **tracking)
    command.wait_until_stopped()
    kill()
    command.signal(signal.SIGCONT)
    assert command.end() == 0
    assert "is finished, but the tracking store does not have all of it" in command.log
    assert bits(root) == {name: undisturbed[name] for name in LEARNED}

    start()
    type(prepared)(root).run("hashrepro", "runs", "adopt", **tracking)
    assert tracked(tmp_path, "server.db") == ONCE
    kill()
    # down when a stage begins: said before the work
    log = warm.dvc(root, "repro", "--force", "--single-item", TRAIN, code=255, **tracking)
    assert "The tracking store does not answer" in log
    assert steps_done_before(log) is None
