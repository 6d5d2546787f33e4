"""How `make bench` measures: two callables in turn on one thread, and the peak memory of ours.

A file ``bench_<topic>.py`` in this folder has ``rows() -> Iterator[Row]`` and makes its rows with `compare`:

    def rows():
        if wanted("dcc"):                     # skips the preparation too when only other rows are asked for
            B, Q, U = inputs()
            yield compare("dcc", lambda: dcc_sweep(B, Q, U), lambda: plain_dcc(B, Q, U), unit="ms per sweep")
"""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

SECONDS = {"s": 1.0, "ms": 1e3, "us": 1e6}
selected: set[str] = set()  # the rows to run; empty means all


@dataclass(frozen=True)
class Row:
    """One line of bench/results.csv.

    Attributes:
        name: unique among all rows.
        ours, plain: median CPU time of one item, in `unit`.
        unit: "s", "ms" or "us", and of what: "ms per sweep".
        ratio: plain / ours.
        peak_mb: memory that ours needs above its inputs, result included, in MB of 10^6 bytes; see `peak_memory`.
    """

    name: str
    ours: float
    plain: float
    unit: str
    ratio: float
    peak_mb: float


def wanted(*names: str) -> bool:
    """Whether any of these rows is to be run; ask before preparing inputs."""
    return not selected or not selected.isdisjoint(names)


def compare(
    name: str,
    ours: Callable[[], Any],
    plain: Callable[[], Any],
    *,
    unit: str,
    ours_items: int = 1,
    plain_items: int = 1,
    rounds: int = 3,
    check: Callable[[Any, Any], None] | None = None,
) -> Row:
    """Time two callables on the same inputs in the same run.

    Each is called once to warm up (compilation, caches), then they are timed in turn: ours, plain, ours, plain,
    ... `rounds` times. A timing is the CPU time of this process on one thread, so other work on the machine
    counts only through shared caches; a short callable is repeated within one timing until that lasts 50 ms.

    Args:
        unit: of the row; its first word is "s", "ms" or "us".
        ours_items, plain_items: items (queries, images, ...) that one call handles; times are divided by them,
            so a slow plain form may be given fewer.
        rounds: timings of each; the row has their medians.
        check: called with the two results of the warm-up; raises if they differ.
    """
    torch.set_num_threads(1)
    results = ours(), plain()
    torch.set_num_threads(1)  # again, because numba raises it when it starts
    if check is not None:
        check(*results)
    del results
    times = [(cpu_seconds(ours) / ours_items, cpu_seconds(plain) / plain_items) for _ in range(rounds)]
    mine, theirs = (
        statistics.median(column) * SECONDS[unit.split()[0]] for column in zip(*times, strict=True)
    )
    return Row(name, mine, theirs, unit, theirs / mine, peak_memory(ours))


def cpu_seconds(callable_: Callable[[], Any], lasting: float = 0.05) -> float:
    """CPU seconds of one call, all threads of this process: the mean of as many calls as last that many seconds."""
    begun, calls = time.process_time(), 0
    while (elapsed := time.process_time() - begun) < lasting or not calls:
        callable_()
        calls += 1
    return elapsed / calls


def peak_memory(callable_: Callable[[], Any]) -> float:
    """MB (10^6 bytes) that one call adds to the resident memory of this process at its highest.

    The kernel's own high-water mark (VmHWM), reset before the call after the allocator has given its free pages
    back: nothing is missed between samples. Resolution about 0.5 MB. NaN where there is no /proc.
    """
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists():
        return float("nan")
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    reset.write_text("5")
    before = _kilobytes(status, "VmRSS")
    result = callable_()
    peak = _kilobytes(status, "VmHWM")
    del result
    return max(0, peak - before) * 1024 / 1e6


def _kilobytes(status: Path, field: str) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(field))
