"""Whether the store and a suite's runs agree: what is tracked and belongs to no cell, what is built and not tracked."""

import fcntl
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hashrepro.files import file_digest, read_json

if TYPE_CHECKING:
    from mlflow.entities import Run


@dataclass(frozen=True)
class Tracked:
    """A run in the store. `trained`: "no", "yes" or "skipped"; `model`: SHA-256 of its network; `place`: a clone."""

    id: str
    key: str
    params: str
    fingerprint: str = ""
    place: str = ""
    trained: str = "yes"
    evaluated: bool = True
    model: str | None = None
    map: float | None = None
    started: str = ""

    @classmethod
    def of(cls, run: "Run") -> "Tracked":
        tags, started = run.data.tags, datetime.fromtimestamp(run.info.start_time / 1000, UTC)
        return cls(
            run.info.run_id,
            tags.get("hashrepro.run", run.info.run_name),
            tags.get("params_digest", ""),
            tags.get("hashrepro.fingerprint", ""),
            tags.get("hashrepro.place", ""),
            tags.get("hashrepro.trained", "no"),
            tags.get("hashrepro.evaluated") == "yes",
            tags.get("hashrepro.model"),
            run.data.metrics.get("last.learned.map", run.data.metrics.get("last.network.map")),
            started.isoformat(" ", "minutes").removesuffix("+00:00"),
        )

    @property
    def state(self) -> str:
        """A word for a list."""
        if self.trained == "no":
            return "unfinished"
        return "skipped" if self.trained == "skipped" else "scored" if self.evaluated else "trained"


@dataclass(frozen=True)
class Built:
    """What a cell's folder in runs/ and its scratch folder have; `model` is None if it was skipped."""

    params: str | None = None  # None: training has not finished here
    model: str | None = None
    fingerprint: str | None = None
    scored: bool = False
    checkpoint: str | None = None  # fingerprint of the training that can be gone on with
    training: bool = False  # a process of this machine trains it now


@dataclass(frozen=True)
class Finding:
    """Something amiss, the run that it is about, and what mends it."""

    what: str
    which: str
    mend: str


def built(folder: Path, work: Path, stale: bool = False) -> Built:
    """Look at a cell: its folder runs/<suite>/<run> and its scratch folder work/<suite>/<run>.

    Args:
        stale: the scores that may be there are of an earlier training.
    """
    mark = work / "fingerprint"
    now = {
        "checkpoint": mark.read_text()
        if (work / "checkpoint.safetensors").exists() and mark.exists()
        else None,
        "training": _held(work.with_name(f"{work.name}.lock")),
    }
    try:
        about = read_json(folder / "train.json")
        model = None if "skipped" in about else file_digest(folder / "model.safetensors")
    except (FileNotFoundError, json.JSONDecodeError):
        return Built(**now)
    scored = not stale and (folder / "scores.json").exists()
    return Built(about["params_digest"], model, about.get("fingerprint"), scored, **now)


def _held(lock: Path) -> bool:
    """Whether a process holds a trainer's lock; it is not touched if there is no such file."""
    try:
        with open(lock) as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except (BlockingIOError, PermissionError):
        return True
    return False


def compare(
    tracked: list[Tracked],
    cells: dict[str, str],
    found: dict[str, Built],
    *,
    suite: str,
    place: str,
    build: str,
) -> list[Finding]:
    """All that is amiss, in the order of the grid, at last what belongs to none of its cells.

    Args:
        tracked: the suite's runs in the store, newest first.
        cells: key of every cell of the grid -> digest of its parameters as they are now.
        found: key -> what is built of it here.
        place: this clone, as the store knows it.
        build: command that builds the suite.
    """
    findings = []
    for key, params in cells.items():
        own = [run for run in tracked if run.key == key]
        findings += _of_cell(own, params, found.get(key, Built()), key, suite, place, build)
    for run in tracked:
        if run.key not in cells:
            findings.append(Finding("belongs to no cell of the grid", _name(run), _delete(run)))
    return findings


def _of_cell(
    runs: list[Tracked], params: str, here: Built, key: str, suite: str, place: str, build: str
) -> list[Finding]:
    findings, adopt = [], f"hashrepro runs adopt {suite}"
    current = [run for run in runs if run.trained != "no" and run.params == params]
    if here.params == params:
        counts = next((run for run in current if run.model == here.model), None)
        if counts is None:
            findings.append(Finding("is built, but not tracked", key, adopt))
        elif here.scored and not counts.evaluated:
            findings.append(Finding("is scored, but its scores are not tracked", _name(counts), adopt))
    else:  # nothing of today's is built here: the newest stands for the cell
        counts = current[0] if current else None
    unfinished = [run for run in runs if run.trained == "no" and run.place == place]
    for run in runs:
        what, mend = None, _delete(run)
        if run in unfinished:
            if here.training and run is unfinished[0]:
                continue
            if counts is None and here.params and run.fingerprint == here.fingerprint:
                continue  # it is what adopting goes on with
            if run.fingerprint == here.checkpoint and here.params is None:
                what, mend = "was stopped, and can go on", build
            else:
                what = "was stopped, and nothing of it is left"
        elif run.trained == "no":  # another clone's business
            continue
        elif run.params != params:
            what = "has other parameters than the grid now"
        elif run is not counts:
            newer = counts is None or current.index(run) < current.index(counts)
            what = "is newer than the run of what is built here" if newer else "was done again since"
        if what:
            findings.append(Finding(what, _name(run), mend))
    return findings


def _name(run: Tracked) -> str:
    return f"{run.key} {run.id}"


def _delete(run: Tracked) -> str:
    return f"mlflow runs delete --run-id {run.id}"
