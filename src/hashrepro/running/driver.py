"""Every stage started when those that it waits for are done and there is room, that of the highest priority first."""

import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from typing import Literal

from tqdm import tqdm

from hashrepro.running.engines import Engine
from hashrepro.running.job import Job

POLL = 5.0  # seconds until memory is looked at again
State = Literal["done", "failed", "not run", "stopped"]


@dataclass(frozen=True)
class End:
    """How a stage ended: "not run" if something that it waits for did not end well, or all was stopped before."""

    state: State
    seconds: float = 0.0
    log: str = ""


@dataclass
class Ends:
    """How all stages ended, and how long that took."""

    stages: dict[str, End] = field(default_factory=dict)
    seconds: float = 0.0
    interrupted: bool = False

    def of(self, state: State) -> list[str]:
        return [stage for stage, end in self.stages.items() if end.state == state]

    def summary(self) -> str:
        """How many ended how, wall time, the sum of the stages' times, and how many ran at a time in the mean."""
        total = sum(end.seconds for end in self.stages.values())
        counts = [(state, len(self.of(state))) for state in ("done", "failed", "stopped", "not run")]
        text = ", ".join(f"{count} {state}" for state, count in counts if count) or "nothing to do"
        text += f"; {self.seconds:.0f} s for stages of {total:.0f} s together"
        if self.interrupted or not self.seconds:
            return text
        # not the gain over one by one: stages that share cores or disks slow each other down
        return f"{text}: {total / self.seconds:.2f} at a time"


def run_all(stages: dict[str, set[str]], jobs: dict[str, Job], engine: Engine) -> Ends:
    """Run all stages; a failure stops only what waits for it, an interrupt (Ctrl-C) all.

    Args:
        stages: address -> addresses that it waits for.
        jobs: of each stage.
    """
    ends = Ends()
    waiting = sorted(stages, key=lambda name: -jobs[name].priority)
    running: dict[Future, str] = {}
    begun = time.monotonic()
    with tqdm(total=len(stages), desc="stages", unit="stage", dynamic_ncols=True) as bar:

        def end(future: Future) -> None:
            name = running.pop(future)
            if engine.slots:
                engine.slots.give_back(name)
            ends.stages[name] = _end(future, ends.interrupted)
            bar.write(f"{ends.stages[name].state:<8}{ends.stages[name].seconds:7.0f} s  {name}")
            bar.update()

        try:
            while waiting or running:
                waiting = _start(waiting, stages, jobs, engine, ends, running)
                bar.set_postfix_str(", ".join(running.values()))
                for future in wait(running, timeout=POLL, return_when=FIRST_COMPLETED).done:
                    end(future)
        except KeyboardInterrupt:
            ends.interrupted = True
            bar.write("stopping what runs")
            engine.stop()
            for future in wait(running).done:
                end(future)
    for name in waiting:
        ends.stages.setdefault(name, End("not run"))
    ends.seconds = time.monotonic() - begun
    return ends


def _start(
    waiting: list[str],
    stages: dict[str, set[str]],
    jobs: dict[str, Job],
    engine: Engine,
    ends: Ends,
    running: dict[Future, str],
) -> list[str]:
    """Start what can be; what still waits. What no longer can be is ended as not run."""
    left = []
    for name in waiting:
        states = {ends.stages[need].state if need in ends.stages else "" for need in stages[name]}
        if states & {"failed", "not run"}:
            ends.stages[name] = End("not run")
            continue
        place = None
        if states <= {"done"}:
            job = jobs[name]
            place = engine.slots.take(name, job.gpus, job.memory) if engine.slots else {}
        if place is None:
            left.append(name)
        else:
            running[engine.submit(replace(job, environment={**job.environment, **place}))] = name
    return left


def _end(future: Future, interrupted: bool) -> End:
    if future.cancelled():
        return End("stopped")
    if error := future.exception():
        return End("stopped" if interrupted else "failed", log=str(error))
    outcome = future.result()
    state = "done" if outcome.code == 0 else "stopped" if interrupted else "failed"
    return End(state, outcome.seconds, outcome.log)
