"""Where stages run: what an engine does, and the one of this process's own threads."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, Self

from hashrepro.running.job import Job, Outcome, run_job
from hashrepro.running.slots import Slots


class Engine(Protocol):
    """Runs jobs. A context manager: what it has started ends with it.

    Attributes:
        slots: the places of this machine, to be taken before a job is submitted; None where the engine's own scheduler
            holds jobs back until there is room.
    """

    slots: Slots | None

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def together(self) -> int:
        """Stages that run at a time on one machine, and share its CPU threads."""

    def submit(self, job: Job) -> "Future[Outcome]":
        """Begin a job, or queue it."""

    def stop(self) -> None:
        """Interrupt all jobs; their futures end soon after."""


class Threads:
    """A thread of this process for each running stage.

    Args:
        run: runs one job, until its second argument says to stop.
    """

    def __init__(self, slots: Slots, run: Callable[[Job, Callable[[], bool]], Outcome] = run_job):
        self.slots, self._run = slots, run
        self._pool, self._stopped = ThreadPoolExecutor(slots.workers), threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._pool.shutdown()

    def together(self) -> int:
        return self.slots.workers

    def submit(self, job: Job) -> "Future[Outcome]":
        return self._pool.submit(self._run, job, self._stopped.is_set)

    def stop(self) -> None:
        self._stopped.set()
