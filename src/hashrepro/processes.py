"""Processes that end with the one that started them, even when that one is killed."""

import ctypes
import os
import signal
from contextlib import suppress


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
