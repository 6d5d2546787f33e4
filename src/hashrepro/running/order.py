"""Which of several stages goes first, and what each is expected to take."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean

from hashrepro.files import read_json
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


class Earlier:
    """What stages of earlier runs took, from runs/**/train.json and encode.json of the repository at `root`.

    An estimate is the stage's own last figure; else the mean over the runs of its method and data set; else, of
    seconds, what was planned; else the mean over all stages of its kind; else the default.

    Args:
        planned: seconds by address, for stages that are like none of earlier runs.
    """

    def __init__(self, root: Path, planned: Mapping[str, float] | None = None):
        self._planned = planned or {}
        self._known: dict[str, list[tuple[str, dict]]] = {}
        for kind in ("train", "encode"):
            self._known[kind] = [
                (re.sub(r"-s(\d+)$", r"-\1", path.parent.name), _read(path))
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
        known = [(cell, about[key]) for cell, about in self._known.get(kind_of(address), []) if key in about]
        own = address.partition("@")[2]
        for alike in (lambda cell: cell == own, lambda cell: cell.rsplit("-", 2)[0] == own.rsplit("-", 2)[0]):
            if values := [value for cell, value in known if alike(cell)]:
                return fmean(values)
        if planned is not None:
            return planned
        return fmean(value for _, value in known) if known else default


def _read(path: Path) -> dict:
    try:
        return read_json(path)
    except ValueError:  # damaged: DVC will make it anew
        return {}
