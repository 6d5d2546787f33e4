"""Stages on the workers of a Dask cluster: processes of this machine, or a cluster that is there already.

Dask gives the stages to workers and gives those of a worker that died to others; what needs which GPU or how much
memory it knows from the resources that workers declare: ``dask worker --resources "GPU=1 MEMORY=64e9"``.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from hashrepro.errors import UserError
from hashrepro.running.job import GRACE, Job, Outcome, run_job
from hashrepro.running.slots import Slots

DEATHS = 2  # of its worker that a stage survives: the third one fails it
_running: set[str] = set()  # in a worker: keys of the stages that it runs


class Dask:
    """Workers of a Dask cluster, each running one stage at a time.

    Args:
        root: the repository.
        slots: of this machine, for a cluster of its own; None with `scheduler`, whose cluster has resources instead.
        scheduler: address of a running cluster, tcp://HOST:PORT.
        run: runs one job in a worker, until its second argument says to stop.
        patience: seconds in which the scheduler must answer.

    Raises:
        UserError: Dask is not installed, or nothing answers at `scheduler`.
    """

    def __init__(
        self,
        root: Path,
        slots: Slots | None,
        scheduler: str | None = None,
        run: Callable[[Job, Callable[[], bool]], Outcome] = run_job,
        patience: float = 10.0,
    ):
        try:
            import distributed  # noqa: F401
        except ImportError:
            raise UserError(
                "The engine dask needs the package distributed, which is not installed.",
                mend="pip install 'hashrepro[dask]', or leave --engine and --scheduler out",
            ) from None
        self.root, self.slots, self.scheduler, self._run = root, slots, scheduler, run
        self._patience = patience
        self._client, self._ending = None, ExitStack()
        self._pending: dict[object, tuple[str, Future]] = {}  # Dask's future -> stage, our future

    def __enter__(self) -> Self:
        from distributed import Client

        if self.scheduler:
            try:
                self._client = Client(self.scheduler, timeout=self._patience, set_as_default=False)
            except (OSError, ValueError) as error:
                raise UserError(
                    f"No Dask scheduler answers: {error}",
                    where=self.scheduler,
                    mend="start one with `dask scheduler`, and workers with `dask worker tcp://HOST:8786 --nthreads 1`",
                ) from None
            if not self._workers():
                print(f"waiting for a worker to join {self.scheduler}", flush=True)
                self._client.wait_for_workers(1)
        else:
            self._client = Client(self._own_cluster(), set_as_default=False)
        self._ending.callback(self._client.close)
        return self

    def _own_cluster(self):
        import dask
        from distributed import LocalCluster

        settings = {
            "distributed.scheduler.allowed-failures": DEATHS,
            "distributed.nanny.pre-spawn-environ": {},  # stages have the environment of this process
            "distributed.worker.preload": [__name__],  # see `dask_setup`
        }
        self._ending.enter_context(dask.config.set(settings))
        cluster = LocalCluster(
            n_workers=self.slots.workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=0,  # it would measure the worker, not the stage below it
            security=True,  # keys for this cluster alone: any user of the machine reaches its ports, and could run code
            local_directory=str(self.root / "work" / "dask"),
        )
        return self._ending.enter_context(cluster)

    def __exit__(self, *error: object) -> None:
        if self._pending:
            self.stop()
        self._ending.close()

    def together(self) -> int:
        if self.slots:
            return self.slots.workers
        hosts = Counter(worker["host"] for worker in self._workers())
        return max(hosts.values())

    def submit(self, job: Job) -> "Future[Outcome]":
        outcome: Future[Outcome] = Future()
        outcome.set_running_or_notify_cancel()
        sent = self._client.submit(
            _run_here,
            job,
            self._run,
            key=f"{job.stage} {os.getpid()} {time.monotonic_ns()}",
            pure=False,
            priority=job.priority,
            resources=self._resources(job),
        )
        self._pending[sent] = job.stage, outcome
        sent.add_done_callback(self._ended)
        return outcome

    def stop(self) -> None:
        """Cancel all; return when the workers have ended what they ran."""
        self._client.cancel(list(self._pending))
        end = time.monotonic() + 2 * GRACE
        with suppress(OSError):  # a worker that is gone has ended what it ran
            while any(self._client.run(_busy).values()) and time.monotonic() < end:
                time.sleep(0.2)

    def _ended(self, sent) -> None:
        from distributed import KilledWorker

        stage, outcome = self._pending.pop(sent)
        if sent.cancelled():
            outcome.set_exception(
                RuntimeError("The Dask scheduler has lost this stage, or it was cancelled.")
            )
        elif sent.status != "error":
            result = sent.result()
            self._note(stage, result)
            outcome.set_result(result)
        elif isinstance(error := sent.exception(), KilledWorker):
            outcome.set_exception(RuntimeError(f"Its workers died, one after another (memory?): {error}"))
        else:
            outcome.set_exception(error)

    def _note(self, stage: str, outcome: Outcome) -> None:
        """What there is to remember of a stage, before anything that waits for it begins."""

    def _workers(self) -> list[dict]:
        return list(self._client.scheduler_info(n_workers=-1)["workers"].values())

    def _resources(self, job: Job) -> dict[str, float]:
        """What the job asks of a worker: of that only which any worker declares, and no more than the best one has."""
        if not self.scheduler:
            return {}
        best: dict[str, float] = {}
        for worker in self._workers():
            for name, amount in worker["resources"].items():
                best[name] = max(amount, best.get(name, 0))
        if 0 < best.get("GPU", 0) < job.gpus:
            raise UserError(
                f"A training takes {job.gpus} GPUs, and no worker has more than {best['GPU']:.0f}.",
                where="params.yaml: machine.processes",
                mend=f"set machine.processes to {best['GPU']:.0f} or less, or start workers with more",
            )
        wanted = {"GPU": job.gpus, "MEMORY": job.memory}
        return {name: min(amount, best[name]) for name, amount in wanted.items() if amount and name in best}


def _run_here(job: Job, run: Callable[[Job, Callable[[], bool]], Outcome]) -> Outcome:
    """In a worker: run a job until the client cancels it or is gone.

    Raises:
        UserError: the worker would run several stages at a time on its one set of devices.
    """
    import dask
    from distributed import get_worker

    worker = get_worker()
    if worker.state.nthreads > 1:
        raise UserError(
            f"This Dask worker has {worker.state.nthreads} threads, and a stage needs a worker of its own.",
            where=worker.address,
            mend="start it with --nthreads 1; --nworkers N starts several",
        )
    for name, value in dask.config.get("distributed.nanny.pre-spawn-environ").items():
        if os.environ.get(name) == str(value):  # set for arithmetic in the worker, not for stages
            del os.environ[name]
    key = worker.get_current_task()

    def stopped() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state == "cancelled"

    _running.add(key)
    try:
        return run(job, stopped)
    finally:
        _running.discard(key)


def dask_setup(worker) -> None:
    """Dask calls this in each worker of a cluster of our own.

    Ctrl-C reaches the workers too, in the group of processes of the one that it is meant for, which ends them in order.
    A handler that does nothing, since what is ignored would be ignored by the stages as well.
    """
    signal.signal(signal.SIGINT, lambda *_: None)


def _busy() -> int:
    return len(_running)
