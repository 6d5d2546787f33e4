"""Builds what is stale of some targets, several stages at a time: what `hashrepro run` and `repro --workers` share."""

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from hashrepro.running.clones import (
    IN_CLONES,
    Clones,
    Visit,
    producers,
    require_default_remote,
    sources_digest,
)
from hashrepro.running.dask_engine import Dask
from hashrepro.running.driver import Ends, run_all
from hashrepro.running.engines import Engine, Threads
from hashrepro.running.job import Job, log_file
from hashrepro.running.order import Earlier, priorities
from hashrepro.running.slots import Slots, gpus_for, visible_devices
from hashrepro.running.stages import kind_of, stale_stages, tally
from hashrepro.settings import Machine


@dataclass(frozen=True)
class Where:
    """Where stages run.

    Attributes:
        workers: stages at a time on this machine; None: as many as there are GPUs for, or 1.
        engine: "local" (threads) or "dask" (processes).
        scheduler: address of a Dask cluster that runs already.
        remote: name of the DVC remote by which its workers, each in its own clone, and this one share what they make;
            None: they all have this folder.
        clone: path of the clone on every worker; None: the folder that it was started in.
    """

    workers: int | None = None
    engine: str = "local"
    scheduler: str | None = None
    remote: str | None = None
    clone: str | None = None

    def open(self, root: Path, machine: Machine) -> Engine:
        """The engine, not yet entered.

        Raises:
            UserError: there are not enough GPUs for one training, or Dask is not installed.
        """
        if self.scheduler:
            return Dask(root, None, self.scheduler)
        devices = visible_devices(machine.device)
        workers = self.workers or max(1, len(devices) // machine.processes)
        slots = Slots(workers, devices, pinned=":" in machine.device)
        slots.require(machine.processes)
        return Dask(root, slots) if self.engine == "dask" else Threads(slots)


@dataclass(frozen=True)
class Estimates:
    """What a stage is expected to take, by its address: seconds, and bytes of memory."""

    cost: Callable[[str], float]
    memory: Callable[[str], int]

    @classmethod
    def of_earlier_runs(cls, root: Path, planned: Mapping[str, float] | None = None) -> "Estimates":
        """By what such stages took; `planned` has seconds by address for those that are like none."""
        earlier = Earlier(root, planned)
        return cls(earlier.cost, earlier.memory)


def build(
    root: Path,
    targets: list[str],
    machine: Machine,
    where: Where,
    estimates: Estimates | None = None,
    *,
    force: bool = False,
) -> int:
    """`dvc repro` of `targets`, several stages at a time, which share the CPU threads of the machine; the exit code.

    With `force`, as with DVC's own, stages run that are up to date, too, each once. What a stage prints goes to
    work/logs/<stage>.log; that of a failed one is shown at the end.

    Args:
        estimates: default: by earlier runs.

    Raises:
        UserError: an unknown target, or an engine that cannot be had.
        KeyboardInterrupt: Ctrl-C; all that was started has ended, and what was done has been printed.
    """
    stages = stale_stages(root, targets, force)
    if not stages:
        print("All is up to date.")
        return 0
    run = partial(_run, root, machine, estimates or Estimates.of_earlier_runs(root), force)
    if where.remote is None:
        return run(stages, where.open(root, machine))
    return _build_in_clones(root, machine, where, stages, run)


def _run(
    root: Path,
    machine: Machine,
    estimates: Estimates,
    force: bool,
    stages: dict[str, set[str]],
    opened: Engine,
) -> int:
    """Run `stages`, print how they ended; the exit code."""
    with opened as engine:
        together = engine.together()
        print(f"{len(stages)} stages: {tally(stages)}; {together} at a time on a machine")
        priority = priorities(stages, estimates.cost)
        jobs = {
            stage: Job(
                stage,
                str(root),
                options=("--force",) if force else (),
                environment={"HASHREPRO_THREADS": str(max(1, machine.threads // together))},
                gpus=gpus_for(stage, machine.processes),
                memory=estimates.memory(stage),
                priority=priority[stage],
            )
            for stage in stages
        }
        ends = run_all(stages, jobs, engine)
    return conclude(root, ends, force)


def _build_in_clones(
    root: Path, machine: Machine, where: Where, stages: dict[str, set[str]], run: Callable[..., int]
) -> int:
    """The data here, the runs in the workers' clones; reports are left to the `dvc repro --pull` that follows."""
    require_default_remote(root, where.remote)
    away = {stage: needs for stage, needs in stages.items() if kind_of(stage) in IN_CLONES}
    before = {need for needs in away.values() for need in needs} - set(away)
    while more := {need for stage in before for need in stages[stage]} - before:
        before |= more
    here = {stage: needs for stage, needs in stages.items() if stage in before}
    alone = machine.model_copy(update={"processes": 1})  # nothing is trained here, so no GPUs are needed
    if here and (code := run(here, replace(where, scheduler=None, engine="local").open(root, alone))):
        return code
    read = producers(root, away)
    if pushed := sorted({name for names in read.values() for name in names} - set(away)):
        push = ["dvc", "--wait-for-lock", "push", "--run-cache", "--remote", where.remote, *pushed]
        if code := subprocess.call(push, cwd=root):
            return code
    if not away:
        return 0
    visit = Visit(where.clone, where.remote, sources_digest(root))
    away = {stage: needs & set(away) for stage, needs in away.items()}
    return run(away, Clones(root, where.scheduler, visit, read))


def conclude(root: Path, ends: Ends, force: bool = False) -> int:
    """Print what failed and the summary; the exit code.

    Args:
        force: the stages were run whether or not they were stale, and again would all be.

    Raises:
        KeyboardInterrupt: it was what ended the run.
    """
    failed = ends.of("failed")
    for stage in failed:
        print(f"\n{stage} failed; the end of {log_file(root, stage)}:\n{ends.stages[stage].log}")
    print(ends.summary())
    if failed or ends.interrupted:
        again = "The same command without --force" if force else "The same command"
        print(f"{'Failed: ' + ', '.join(failed) + '. ' if failed else ''}{again} goes on where it stopped.")
    if ends.interrupted:
        raise KeyboardInterrupt
    return int(bool(failed))
