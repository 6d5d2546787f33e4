"""One command that ends, with all that it started, when whoever asked for it ends: killed outright, too.

``python -m hashrepro.running.guard SECONDS COMMAND...`` runs COMMAND until its standard input ends. That is a pipe
whose other end the asking process holds, so the system closes it whatever becomes of that process; and of all its
threads together, while the signal at a parent's end (PR_SET_PDEATHSIG) comes when the one thread ends that started
the child. Then COMMAND and all below it are interrupted as by Ctrl-C, and killed SECONDS later.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import psutil

from hashrepro.processes import signal_at_parents_end

INTERRUPTED = 128 + signal.SIGINT  # exit code, as of a shell's command
_SET_CHILD_SUBREAPER = 36  # prctl: orphans below this process become its children, and can be found


def main(words: list[str]) -> int:
    """Run the command; its exit code, or 128 and the signal's number if a signal ended it."""
    grace, command = float(words[0]), words[1:]
    with suppress(OSError, AttributeError):  # Linux only; elsewhere orphans of a killed child are not found
        ctypes.CDLL("libc.so.6").prctl(_SET_CHILD_SUBREAPER, 1)
    interrupted = threading.Event()
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        preexec_fn=_as_child,
    )
    threading.Thread(target=_end_with_input, args=(grace, interrupted), daemon=True).start()
    code = child.wait()
    _end_all(signal.SIGTERM, grace)  # what a killed child has left behind
    if interrupted.is_set():
        return INTERRUPTED
    return code if code >= 0 else 128 - code


def _as_child() -> None:
    """In the child, before it becomes the command: end when the guard is killed; hear the interrupt.

    What a script starts in the background ignores it, and so would all below: a stage would go on until it is killed.
    """
    signal_at_parents_end(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _end_with_input(grace: float, interrupted: threading.Event) -> None:
    while os.read(0, 1024):
        pass
    interrupted.set()
    _end_all(signal.SIGINT, grace)
    os._exit(INTERRUPTED)


def _end_all(number: signal.Signals, grace: float) -> None:
    """Send a signal to every process below this one; kill those that are there `grace` seconds later."""
    below = psutil.Process().children(recursive=True)
    _send(below, number)
    psutil.wait_procs(below, grace)
    while below := [p for p in psutil.Process().children(recursive=True) if _runs(p)]:
        _send(below, signal.SIGKILL)
        psutil.wait_procs(below, 1)


def _send(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
