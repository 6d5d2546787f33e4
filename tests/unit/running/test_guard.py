"""No process below a stage outlives the one that asked for it, whenever that one ends; each test starts real ones."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hashrepro.running.job import guarded

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds orphans as Linux does")

PATHS = {"PYTHONPATH": os.pathsep.join(sys.path)}

# A child that says its number, and has a grandchild that says its own and ignores the interrupt.
FAMILY = """
import os, signal, sys, time
if os.fork() == 0:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
os.write(1, f"{os.getpid()}\\n".encode())
time.sleep(600)
"""
# Asks for such a family in a thread, and says when that thread has ended.
ASKER = """
import subprocess, sys, threading, time
def ask():
    global guard
    words = [sys.executable, "-m", "hashrepro.running.guard", "0.3", sys.executable, "-c", sys.argv[1]]
    guard = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)
thread = threading.Thread(target=ask)
thread.start()
thread.join()
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def all_end(pids: list[int]) -> None:
    end = time.monotonic() + 30
    while left := [pid for pid in pids if alive(pid)]:
        assert time.monotonic() < end, f"{left} outlived the one that they belong to"
        time.sleep(0.01)


@pytest.fixture
def asker():
    with subprocess.Popen(
        [sys.executable, "-c", ASKER, FAMILY], stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_a_killed_asker_takes_the_family_with_it(asker):
    """The thread that asked has ended long before, which did not."""
    family = [int(asker.stdout.readline()) for _ in range(2)]
    (guard,) = psutil.Process(asker.pid).children()
    assert all(map(alive, family))
    asker.kill()
    all_end([*family, guard.pid])


def test_an_interrupt_is_heard_where_it_was_ignored():
    """As in what a script starts in the background: the command ends in order, long before it would be killed."""
    code = "try: print('begun', flush=True); time.sleep(600)\nexcept KeyboardInterrupt: print('stopped')"
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "hashrepro.running.guard",
            "600",
            sys.executable,
            "-c",
            f"import time\n{code}",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **PATHS},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    ) as guard:
        assert guard.stdout.readline() == "begun\n"
        guard.stdin.close()
        assert guard.stdout.readline() == "stopped\n"


def test_a_killed_guard_takes_the_child_with_it(asker):
    """What is below the child must see to its own end, as stages do: no one is left to know of it."""
    family = [int(asker.stdout.readline()) for _ in range(2)]
    (guard,) = psutil.Process(asker.pid).children()
    (child,) = guard.children()
    guard.kill()
    all_end([child.pid])
    for pid in {*family} - {child.pid}:
        os.kill(pid, signal.SIGKILL)


def test_a_stop_is_not_taken_for_a_success(tmp_path):
    """Of a command, too, that ends well when it is interrupted."""
    command = "import time\nprint('begun', flush=True)\ntry: time.sleep(600)\nexcept KeyboardInterrupt: pass"
    output = tmp_path / "output"
    with open(output, "wb") as file:
        code = guarded(
            [sys.executable, "-c", command], tmp_path, PATHS, file, lambda: "begun" in output.read_text()
        )
    assert code == 130


@pytest.mark.parametrize(("command", "code"), [("import os; os.kill(os.getpid(), 9)", 137), ("exit(3)", 3)])
def test_the_exit_code_is_the_commands(tmp_path, command, code):
    with open(tmp_path / "output", "wb") as file:
        assert guarded([sys.executable, "-c", command], tmp_path, PATHS, file, lambda: False) == code
