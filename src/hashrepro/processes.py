"""Processes that end with the one that started them, even when that one is killed; one that becomes several."""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

_LAUNCHER = "HASHREPRO_LAUNCHER"  # environment variable: id of the process that started several


def signal_at_parents_end(number: signal.Signals) -> None:
    """Have this process be sent a signal when its parent ends. Linux only; elsewhere nothing happens."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").prctl(1, number)  # PR_SET_PDEATHSIG


def end_with(parent: int) -> None:
    """Have this process end when `parent`, which started it, ends; at once when it has ended already.

    A loader's process of torch looks its parent's id up itself, and when the parent is killed before it does, it
    takes whoever adopted it for its parent and waits for work forever.
    """
    signal_at_parents_end(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def become_several(processes: int, words: Sequence[str]) -> NoReturn:
    """Replace this process by torchrun, which starts so many of `words`: a script or -m MODULE, and arguments."""
    os.environ[_LAUNCHER] = str(os.getpid())  # which the launcher that this process becomes keeps
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # `devices.prepare` shares the threads out
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    os.execv(sys.executable, [*torchrun, f"--nproc-per-node={processes}", *words])


def end_without_launcher() -> None:
    """In one of several: end when what `become_several` made has ended already."""
    if os.environ.get(_LAUNCHER, "") not in ("", str(os.getppid())):
        sys.exit("The process that started this one has ended.")
