"""A small workspace whose data are prepared, cheap to copy; and commands that run in such a copy from a warm start."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from hashrepro.files import file_digest

HERE = Path(__file__).parent
KEY, SUITE = "adsh-birds-12-s0", "quickstart"
TRAIN, ENCODE = "train@adsh-birds-12-0", "encode@adsh-birds-12-0"
ITERATIONS, STEPS = 3, 6  # of the training
LEARNED = ("model.safetensors", "learned.safetensors", "history.csv")
READY = "data/dvc.yaml:preprocess@birds"


def one_run(values: dict) -> None:
    values["grid"] |= {"methods": ["adsh"], "datasets": ["birds"]}
    values["machine"] |= {"threads": 1}  # two wait for each other on a machine that is busy with other tests
    values["train"]["adsh"]["birds"] |= {"iterations": ITERATIONS, "evaluate_every": ITERATIONS}


def wait_for(condition: Callable[[], object], seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def processes(session: int) -> dict[int, str]:
    """The processes of a session that are not dead: id -> letter of their state."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended while we looked
            continue
        if int(words[3]) == session and words[0] != "Z":
            found[int(folder.name)] = words[0]
    return found


class Command:
    """A command that was started: its process leads a session, so that what it leaves behind is found."""

    def __init__(self, folder: Path):
        self.folder = folder
        wait_for(lambda: (folder / "pid").exists() and (folder / "pid").read_text().endswith("\n"))
        self.pid = int((folder / "pid").read_text())

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def ended(self) -> bool:
        return (self.folder / "code").exists()

    def wait_until_stopped(self) -> int:
        """Wait until one of its processes has stopped itself; the id of that process."""
        wait_for(lambda: self.ended or "T" in processes(self.pid).values())
        assert not self.ended, self.log
        return next(pid for pid, state in processes(self.pid).items() if state == "T")

    def signal(self, number: signal.Signals, pid: int | None = None) -> None:
        """Send a signal to one process, or as a terminal does to all; then let go on what had stopped."""
        os.kill(pid, number) if pid else os.killpg(self.pid, number)
        time.sleep(0.1)  # one that dies takes its children with it before they go on
        for left in processes(self.pid):
            try:
                os.kill(left, signal.SIGCONT)
            except ProcessLookupError:
                continue

    def end(self) -> int:
        """Wait until it has ended and nothing of it is left; its exit code, negative where a signal ended it."""
        wait_for(lambda: self.ended, 1000)  # a whole grid takes minutes on a slow machine
        wait_for(lambda: not processes(self.pid), 30)
        return int((self.folder / "code").read_text())


class Warm:
    """Starts DVC in a workspace; see `warm.py`."""

    def __init__(self, folder: Path):
        self.folder, self.count = folder, 0
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "DVC"))
        }
        environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
        self.server = subprocess.Popen(
            [sys.executable, HERE / "warm.py"], stdin=subprocess.PIPE, text=True, env=environment
        )

    def start(self, root: Path, *words: str, **environment: str) -> Command:
        """Start `dvc` with these words."""
        self.count += 1
        folder = self.folder / str(self.count)
        folder.mkdir()
        environment = {"PYTHONPATH": str(root / "src"), "DVC_NO_ANALYTICS": "1", **environment}
        request = {"folder": str(folder), "words": words, "cwd": str(root), "environment": environment}
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return Command(folder)

    def dvc(self, root: Path, *words: str, code: int = 0, **environment: str) -> str:
        """What `dvc` with these words prints; fails the test if the exit code is not as expected."""
        command = self.start(root, *words, **environment)
        assert command.end() == code, command.log
        return command.log

    def close(self) -> None:
        self.server.stdin.close()
        self.server.wait()


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A tracking store's file; what was changed is kept, and nothing of SQLite's own is left beside it."""
    with closing(sqlite3.connect(path)) as store, store:
        yield store


def copy_space(prepared: Path, root: Path) -> Path:
    """A copy of a workspace; its tracking store, if it has one, writes artifacts into the copy."""
    shutil.copytree(prepared, root, symlinks=True)
    if (root / "mlruns.db").exists():
        with opened(root / "mlruns.db") as store:
            place = (root / "mlartifacts").as_uri()
            store.execute("update experiments set artifact_location = ? where name = ?", (place, SUITE))
    return root


def keep_what_takes_time(built: Path, prepared: Path) -> None:
    """Give a workspace what another one has made and every run would make anew: compiled code, an empty store."""
    for compiled in (built / "src").rglob("__pycache__"):
        shutil.copytree(compiled, prepared / compiled.relative_to(built), dirs_exist_ok=True)
    with opened(built / "mlruns.db") as full, opened(prepared / "mlruns.db") as store:
        full.backup(store)
    with opened(prepared / "mlruns.db") as store:
        for table in (
            "metrics",
            "latest_metrics",
            "params",
            "tags",
            "input_tags",
            "inputs",
            "datasets",
            "runs",
        ):
            store.execute(f"delete from {table}")


def run_folder(root: Path) -> Path:
    return root / "runs" / SUITE / KEY


def scratch(root: Path) -> Path:
    return root / "work" / SUITE / KEY


def bits(root: Path, names: tuple[str, ...] = LEARNED) -> dict[str, str]:
    return {name: file_digest(run_folder(root) / name) for name in names}


def tracked(root: Path, name: str = "mlruns.db") -> list[tuple[str, list[int]]]:
    """Of every run in the store: its status, and the steps that it has a loss of."""
    steps = "select step from metrics where run_uuid = ? and key = 'loss' order by step"
    with opened(root / name) as store:
        runs = store.execute("select run_uuid, status from runs").fetchall()
        return [(status, [step for (step,) in store.execute(steps, (run,))]) for run, status in runs]


def steps_done_before(log: str) -> int | None:
    """How many steps of the training were done when the trainer that wrote this log began; None: it never did."""
    found = re.search(rf"(\d+)/{STEPS} \[00:00<", log)
    return int(found[1]) if found else None
