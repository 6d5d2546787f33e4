"""Which of several stages goes first, and what each is expected to take."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean

from hashrepro.files import read_json_if_whole
from hashrepro.running.stages import kind_of

DEFAULT_MEMORY = {"train": 2.0, "encode": 2.0}  # GB; a stage of any other kind: 1


def urgencies(stages: dict[str, set[str]], cost: Callable[[str], float]) -> dict[str, float]:
    """Seconds from each stage's start to the end of the longest chain that waits for it, itself included.

    Args:
        stages: address -> addresses that it waits for, in an order that works.
        cost: seconds that a stage is expected to take.

    Whatever order the others have, all can't be done sooner than this after the stage starts; so the highest first.
    """
    ahead = dict.fromkeys(stages, 0.0)
    found = {}
    for name in reversed(stages):
        found[name] = cost(name) + ahead[name]
        for need in stages[name]:
            ahead[need] = max(ahead[need], found[name])
    return found


def priorities(stages: dict[str, set[str]], cost: Callable[[str], float]) -> dict[str, float]:
    """As `urgencies`, but a trained run is encoded and scored before anything else begins.

    These stages are short beside a training: the whole takes hardly longer, a fault in them shows after the first
    training and not after the last, and a training's checkpoint, which stays until then, is soon gone.
    """
    found = urgencies(stages, cost)
    first = max(found.values(), default=0.0)
    return {name: value + first * (kind_of(name) in ("encode", "evaluate")) for name, value in found.items()}


class Earlier:
    """What stages of earlier runs took, from runs/**/train.json and encode.json of the repository at `root`.

    An estimate is the stage's own last figure; else the mean over the runs of its method and data set in its suite;
    else, of seconds, what was planned; else the mean over the runs of its method and data set in any suite; else that
    over all stages of its kind; else the default. Memory is that of one process times those that trained together.

    Args:
        planned: seconds by address, for stages that are like none of earlier runs.
    """

    def __init__(self, root: Path, planned: Mapping[str, float] | None = None):
        self._planned = planned or {}
        self._known: dict[str, list[tuple[str, str, dict]]] = {}
        for kind in ("train", "encode"):
            self._known[kind] = [
                (
                    path.parents[1].relative_to(root / "runs").as_posix(),
                    re.sub(r"-s(\d+)$", r"-\1", path.parent.name),
                    read_json_if_whole(path),
                )
                for path in sorted((root / "runs").rglob(f"{kind}.json"))
            ]

    def cost(self, address: str) -> float:
        """Seconds that a stage is expected to take; 1 when nothing of its kind has been run."""
        return self._estimate(address, "seconds", 1.0, self._planned.get(address))

    def memory(self, address: str) -> int:
        """Bytes that a stage is expected to need; by default what `DEFAULT_MEMORY` says."""
        default = DEFAULT_MEMORY.get(kind_of(address), 1.0)
        return int(1e6 * self._estimate(address, "peak_memory_mb", 1e3 * default))

    def _estimate(self, address: str, key: str, default: float, planned: float | None = None) -> float:
        known = [
            (suite, cell, about[key] * (about.get("processes", 1) if key == "peak_memory_mb" else 1))
            for suite, cell, about in self._known.get(kind_of(address), [])
            if key in about
        ]
        own, home = address.partition("@")[2], _suite_of(address)
        alike = [entry for entry in known if entry[1].rsplit("-", 2)[0] == own.rsplit("-", 2)[0]]
        here = [entry for entry in alike if entry[0] == home]
        if found := [entry for entry in here if entry[1] == own] or here:
            return fmean(value for *_, value in found)
        if planned is not None:
            return planned
        found = alike or known
        return fmean(value for *_, value in found) if found else default


def _suite_of(address: str) -> str:
    """The suite whose pipeline has a stage: each lies in papers/ in a folder of the suite's name."""
    pipeline = address.rpartition(":")[0].removesuffix("dvc.yaml").strip("/")
    return pipeline.removeprefix("papers/") or "quickstart"
