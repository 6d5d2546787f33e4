"""Stages on machines that share no folder: each works in a clone of its own, and a DVC remote carries what is made.

The head builds the data and pushes them; a worker pulls what its stage reads, runs it, and pushes what it made, with
the entry in DVC's run cache; the head takes all from there by ``dvc repro --pull``. Which bytes a stage reads is said
by the entries of dvc.lock of the stages before it: they go along with the stage, and its own comes back.
"""

import os
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import chdir
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from hashrepro.errors import UserError
from hashrepro.files import file_digest, value_digest, whole
from hashrepro.running.dask_engine import Dask
from hashrepro.running.job import Job, Outcome, guarded, log_file, run_job
from hashrepro.running.recorded import by_lock, lock_entries, read_lock
from hashrepro.running.stages import kind_of

IN_CLONES = ("train", "encode", "evaluate")  # kinds of stages; the head runs the others
_NO_SOURCES = (":!*.lock", ":!*.md", ":!docs", ":!tests", ":!reports", ":!bench", ":!.dvc")


@dataclass(frozen=True)
class Visit:
    """What a stage brings to a clone.

    Attributes:
        clone: the clone; None: the repository around the worker's working folder.
        remote: the DVC remote, which is the default one of every clone.
        sources: digest of the head's sources, see `sources_digest`.
        entries: address -> entry of dvc.lock, of the stages whose outputs it reads.
    """

    clone: str | None
    remote: str
    sources: str
    entries: dict[str, dict] = field(default_factory=dict)


class Clones(Dask):
    """A Dask cluster whose workers have clones; submits with each stage the entries of those that it reads from.

    Args:
        producers: address -> addresses of the stages whose outputs it reads.
    """

    def __init__(self, root: Path, scheduler: str, visit: Visit, producers: dict[str, list[str]]):
        super().__init__(root, None, scheduler)
        self._visit, self._producers = visit, producers
        self._entries = lock_entries(root, {name for names in producers.values() for name in names})

    def submit(self, job: Job) -> "Future[Outcome]":
        entries = {name: self._entries[name] for name in self._producers[job.stage] if name in self._entries}
        self._run = partial(run_in_clone, replace(self._visit, entries=entries))
        return super().submit(job)

    def _note(self, stage: str, outcome: Outcome) -> None:
        if outcome.entry:
            self._entries[stage] = outcome.entry


def run_in_clone(visit: Visit, job: Job, stopped: Callable[[], bool]) -> Outcome:
    """In a worker: bring its clone to what the stage reads, run it, push what it made.

    Raises:
        UserError: there is no such clone, its sources are not the head's, or it has not the same remote.
    """
    root = clone_root(visit.clone)
    if sources_digest(root) != visit.sources:
        raise UserError(
            "The files of this clone are not those of the head: what it makes would not be the head's.",
            where=f"{os.uname().nodename}:{root}",
            mend="commit and push on the head, `git pull` here; `git status` must be clean on both",
        )
    require_default_remote(root, visit.remote)
    merge_entries(root, visit.entries)

    def transfer(*words: str) -> Outcome:
        path = log_file(root, f"{job.stage}:{words[0]}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as log:
            code = guarded(["dvc", "--wait-for-lock", *words], root, {}, log, stopped)
        return Outcome(code, 0.0, path.read_text(errors="replace")[-3000:])

    if visit.entries:
        # forced: DVC itself would pull only what is not there, not in place of what is there of another time
        pulled = transfer("pull", "--force", "--remote", visit.remote, *visit.entries)
        if pulled.code:
            return pulled
    done = run_job(replace(job, root=str(root), options=(*job.options, "--pull")), stopped)
    if done.code:
        return done
    pushed = transfer("push", "--run-cache", "--remote", visit.remote, job.stage)
    if pushed.code:
        return replace(pushed, seconds=done.seconds)
    return replace(done, entry=lock_entries(root, [job.stage])[job.stage])


def clone_root(clone: str | None) -> Path:
    """The clone at `clone`, or around the working folder.

    Raises:
        UserError: there is none.
    """
    start = Path(clone).expanduser() if clone else Path.cwd()
    for folder in (start, *([] if clone else start.parents)):
        if (folder / ".dvc" / "config").exists():
            return folder.resolve()
    raise UserError(
        "This worker finds no clone of the repository.",
        where=f"{os.uname().nodename}:{start}",
        mend="start the worker in its clone (cd CLONE; dask worker ...), or say --clone PATH",
    )


def sources_digest(root: Path) -> str:
    """Digest of what git tracks and a result may depend on: all but documents, tests, reports and dvc.lock files."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", ".", *_NO_SOURCES], cwd=root, capture_output=True, check=True
    ).stdout.decode()
    names = sorted(name for name in listed.split("\0") if name and (root / name).is_file())
    return value_digest({name: file_digest(root / name) for name in names})


def require_default_remote(root: Path, remote: str) -> None:
    """See to it that the clone at `root` has the DVC remote `remote`, as its default.

    Raises:
        UserError: it has not.
    """
    from dvc.config import Config

    found = Config(dvc_dir=str(root / ".dvc"))
    if found.get("core", {}).get("remote") != remote or remote not in found.get("remote", {}):
        raise UserError(
            f"The default DVC remote of this clone is not {remote!r}, by which the machines share what they make.",
            where=f"{os.uname().nodename}:{root}",
            mend=f"dvc remote add --local --default {remote} ADDRESS, with one address on all machines",
        )


def merge_entries(root: Path, entries: dict[str, dict]) -> None:
    """Put stages' entries, by address, into the dvc.lock files at `root`, while no dvc command reads or writes them."""
    from dvc.repo import Repo
    from dvc.utils.serialize import dump_yaml

    if lock_entries(root, entries) == entries:
        return
    with Repo(str(root), _wait_for_lock=True) as repo, repo.lock:
        for path, names in by_lock(entries).items():
            stages = read_lock(root / path) | {name: entries[address] for name, address in names.items()}
            with whole(root / path) as temporary:
                dump_yaml(str(temporary), {"schema": "2.0", "stages": stages})


def producers(root: Path, stages: Iterable[str]) -> dict[str, list[str]]:
    """Of each stage, the stages whose outputs it reads, by address.

    Evaluating reads what training left, too: by that it finds the run in the tracking store. DVC need not know.
    """
    from dvc.repo import Repo

    with chdir(root), Repo(_wait_for_lock=True) as repo:
        graph = repo.index.graph
        known = {stage.addressing: stage for stage in graph}  # an address is relative to the working folder
        found = {name: set(graph.successors(known[name])) for name in stages}
        for name, read in found.items():
            if kind_of(name) == "evaluate":
                below = {stage for near in read for stage in graph.successors(near)}
                read |= {stage for stage in below if kind_of(stage.addressing) == "train"}
        return {name: sorted(stage.addressing for stage in read) for name, read in found.items()}
