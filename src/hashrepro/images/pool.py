"""Work that is spread over processes which import nothing of the caller's and end with it."""

import multiprocessing
import os
import signal
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import Any

from hashrepro.errors import UserError
from hashrepro.processes import end_with

_AHEAD = 16  # pieces of work that wait for each process, while this one writes to a slow disk


def _begin(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which lets them finish their piece
    end_with(parent)


@contextmanager
def _script_hidden() -> Iterator[None]:
    """A process that is started within would otherwise run the caller's script again: it would import torch."""
    script, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def each(function: Callable, pieces: Iterable, workers: int) -> Iterator[tuple[Any, Any]]:
    """(piece, function(piece)) of every piece, in any order, as `workers` processes finish them; 0 = this process.

    Only a few pieces at a time are taken and kept. The processes are started afresh, not forked, since this one may
    have threads; so what they run must be importable.

    Raises:
        UserError: a process was killed.
    """
    if not workers:
        yield from ((piece, function(piece)) for piece in pieces)
        return
    pieces, running = iter(pieces), {}
    fresh = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, fresh, _begin, (os.getpid(),))
    try:
        while True:
            with _script_hidden():
                for piece in islice(pieces, _AHEAD * workers - len(running)):
                    running[pool.submit(function, piece)] = piece
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "A process that decodes images was killed; most often, the memory did not suffice.",
            mend="run it again with fewer workers; what was done is kept",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
