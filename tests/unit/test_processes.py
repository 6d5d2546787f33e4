"""No process outlives the one it belongs to, whenever that one is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the signal is Linux's")

# A parent starts a child, which says its number; the child calls `end_with` before or after its parent is killed.
SCRIPT = """
import os, sys, time
from hashrepro.processes import end_with
parent = os.getpid()
if os.fork() == 0:
    if sys.argv[1] == "late":
        print(os.getpid(), flush=True)
        while os.getppid() == parent:
            time.sleep(0.01)
    end_with(parent)
    if sys.argv[1] == "early":
        print(os.getpid(), flush=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("when", ["early", "late"])
def test_the_child_ends_with_its_killed_parent(when):
    with subprocess.Popen([sys.executable, "-c", SCRIPT, when], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        assert alive(child)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        end = time.monotonic() + 30
        while alive(child):
            assert time.monotonic() < end, "the child outlived its parent"
            time.sleep(0.01)
