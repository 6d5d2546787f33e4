"""What is to be logged, on its way to a store that may not answer: no step is lost or logged twice."""

import os
import sys
import time
from collections.abc import Callable

from hashrepro.errors import UserError
from hashrepro.tracking.store import Tracking, failures, metrics, reason

PAUSE = 300.0  # seconds before a store that has failed is tried again with a training's steps: one may hang
PATIENCE = (
    60.0  # seconds in which a stage tries to deliver what it leaves, at its end; HASHREPRO_STORE_PATIENCE
)
BATCH = 1000  # values that MLflow takes at once


class Steps:
    """The steps of one run.

    A step is sent when it is made. One that the store does not take is kept with the time that it was made at, and
    goes with a later one: the training goes on. If the store has it and only the answer was lost, it is the same
    step, time and value, which the store keeps once.

    Attributes:
        last: the last step that the store has or that waits; what is not after it is not logged again.
    """

    def __init__(self, tracking: Tracking, run_id: str):
        self.tracking, self.run_id = tracking, run_id
        self.last = tracking.last_step(run_id)
        self._waiting: list[list] = []  # the values of a step stay together
        self._next = 0.0

    def add(self, step: int, values: dict[str, float]) -> None:
        """Have a step wait; nothing if the run has it."""
        if step > self.last:
            self.last = step
            self._waiting.append(metrics(values, step))

    def log(self, step: int, values: dict[str, float]) -> None:
        """Send a step, and those that wait; they wait on if the store does not answer."""
        self.add(step, values)
        if time.monotonic() < self._next:
            return
        try:
            self.send()
        except failures() as error:
            print(
                f"\nThe tracking store does not take step {step}, it is kept: {reason(error)}",
                file=sys.stderr,
            )
            self._next = time.monotonic() + PAUSE

    def send(self) -> None:
        """Send what waits. Raises what MLflow raises."""
        while self._waiting:
            count, batch = 0, []
            while count < len(self._waiting) and len(batch) + len(self._waiting[count]) <= BATCH:
                batch += self._waiting[count]
                count += 1
            self.tracking.log_metrics(self.run_id, batch)
            del self._waiting[:count]


def deliver(key: str, suite: str, send: Callable[[], object]) -> bool:
    """Whether `send` went well, tried again and again for `PATIENCE` seconds.

    If it did not, it is said what to do: a stage's work is done, and its files have all that the store would get.
    """
    end = time.monotonic() + float(os.environ.get("HASHREPRO_STORE_PATIENCE", PATIENCE))
    pause = 1.0
    while True:
        try:
            send()
        except (UserError, *failures()) as error:
            if isinstance(error, UserError) or time.monotonic() + pause > end:
                print(
                    f"\n{key} is finished, but the tracking store does not have all of it: {reason(error)}"
                    f"\n  mend:  when that is mended, hashrepro runs adopt {suite}\n",
                    file=sys.stderr,
                )
                return False
            time.sleep(pause)
            pause = min(2 * pause, 15.0)
        else:
            return True
