"""One stage, run by DVC where this is called: in a thread here, or in a Dask worker anywhere."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

GRACE = 10.0  # seconds from the interrupt to the kill
PATIENCE = 6  # times that a stage is tried again when a lock is held by nobody that DVC can name
_LOCKED = ("Unable to acquire lock", "Another process is training this run")


@dataclass(frozen=True)
class Job:
    """A stage to run, and what it may use.

    Attributes:
        stage: its address, as DVC writes it.
        root: the repository.
        options: of `dvc repro`, besides --single-item.
        environment: laid over the environment of the process that runs it.
        gpus, memory: GPUs and bytes that it needs.
        priority: of several that could start, the one with the highest does.
    """

    stage: str
    root: str
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    gpus: int = 0
    memory: int = 0
    priority: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """How a stage ended.

    Attributes:
        code: DVC's exit code.
        seconds: time of the last attempt.
        log: the last 3,000 characters that it printed.
        entry: what dvc.lock says of it, from a clone whose dvc.lock is not the head's.
    """

    code: int
    seconds: float
    log: str = ""
    entry: dict | None = None


def log_file(root: Path, stage: str) -> Path:
    return root / "work" / "logs" / f"{re.sub('[/:]', '_', stage)}.log"


def run_job(job: Job, stopped: Callable[[], bool] = lambda: False) -> Outcome:
    """Run a stage to its end, or until `stopped`; wait for what other dvc processes hold. Never raises for the stage.

    What it prints goes to work/logs/<stage>.log; the outcome has the last 3,000 characters.
    """
    root = Path(job.root)
    path = log_file(root, job.stage)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    # waiting for the lock: another dvc command must not fail a training that has just ended
    command = ["dvc", "--wait-for-lock", "repro", "--single-item", *job.options, job.stage]
    attempts = 0
    while True:
        begun, position = time.monotonic(), path.stat().st_size
        with open(path, "ab") as log:
            code = guarded(command, root, job.environment, log, stopped)
        seconds = time.monotonic() - begun
        with open(path, "rb") as log:
            log.seek(position)
            printed = log.read().decode(errors="replace")
        if code == 0 or stopped() or not _wait_for_others(printed, attempts, stopped):
            return Outcome(code, seconds, printed[-3000:])
        attempts += 1


def guarded(
    command: list[str], root: Path, environment: dict[str, str], output, stopped: Callable[[], bool]
) -> int:
    """Exit code of a command that ends with this process, and when `stopped`; see `guard`."""
    words = [sys.executable, "-P", "-m", "hashrepro.running.guard", str(GRACE), *command]
    with subprocess.Popen(
        words,
        cwd=root,
        env=_environment(environment),
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        start_new_session=True,  # Ctrl-C reaches it through its guard alone, in order
    ) as guard:
        while True:
            try:
                return guard.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                if stopped():
                    guard.stdin.close()


def _environment(changes: dict[str, str]) -> dict[str, str]:
    """This process's environment with `changes`, and this interpreter's dvc and python first in PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, **changes, "PATH": path}


def _wait_for_others(printed: str, attempts: int, stopped: Callable[[], bool]) -> bool:
    """Whether DVC failed for a lock alone and it makes sense to try again; returns when it does.

    A stage that another dvc process works on is waited for as long as that one runs. What DVC takes for such a process
    may be another program that has the number of a killed one: DVC's message says how to mend that.
    """
    error = printed[max(0, printed.rfind("ERROR:")) :]
    if "it is being blocked by" in error:
        numbers = [int(number) for number in re.findall(r"\(PID (\d+)\)", error)]
        if any(psutil.pid_exists(number) and not _is_dvc(number) for number in numbers):
            return False
        while any(_is_dvc(number) for number in numbers) and not stopped():
            time.sleep(0.5)
        return True
    if attempts < PATIENCE and any(text in printed[-3000:] for text in _LOCKED):
        time.sleep(min(2**attempts, GRACE))
        return True
    return False


def _is_dvc(number: int) -> bool:
    try:
        return any("dvc" in word for word in psutil.Process(number).cmdline())
    except psutil.Error:
        return False
