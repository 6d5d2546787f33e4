"""map_costs.py [memory] [growth] [start] [threads]: what mean average precision costs beside the rows of bench_map.py.

memory: peak above codes and labels. growth: time a pair at growing sizes. start: the first call of a process, and the
first ever, against the plain loop's. threads: wall time on one thread and on two.
"""

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

if __name__ == "__main__":  # read when torch, numpy and numba load
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"

import bench_map
import numpy as np
from bench_map import SIZES, Size
from harness import cpu_seconds, peak_memory

from hashrepro.retrieval.average_precision import per_query
from hashrepro.retrieval.codes import Codes, random_codes
from hashrepro.retrieval.conventions import ADSH, EXPECTED

BOTH = {"expected": EXPECTED, "file order": ADSH}
FIRST = """
import time
import numpy as np
from hashrepro.retrieval.average_precision import per_query
from hashrepro.retrieval.codes import random_codes
from hashrepro.retrieval.conventions import EXPECTED
rng = np.random.default_rng(0)
codes, labels = random_codes(6000, 48, rng), np.eye(200, dtype=bool)[np.arange(6000) % 200]
begun = time.process_time()
per_query({"map": EXPECTED}, codes, codes, labels, labels, engine="numba")
print(time.process_time() - begun)
"""
PLAIN_FIRST = """
import torch
import plain_map
codes, labels = torch.randn(6000, 48).sign(), torch.eye(200)[torch.arange(6000) % 200]
plain_map.average_precisions(codes[:1], codes, labels[:1], labels)
print(0.0)
"""


def memory() -> None:
    """With both kinds of ties; after a small call, so that compiled code is not counted."""
    small = bench_map._sides(Size(10, 1000, 10, 1, 0))
    per_query(BOTH, *small, engine="numba")
    print(f"{'queries':>10}{'rows':>12}{'bits':>6}{'classes':>9}{'labels':>8}{'peak MB':>10}")
    for queries, rows, bits, classes, labels in (
        (116_931, 29_200, 48, 292, 1),
        (2_048, 1_000_000, 48, 20, 1),
        (2_048, 1_000_000, 64, 20, 2.5),
        (300, 10_000_000, 48, 10, 1),
        (300, 10_000_000, 64, 10, 1),
    ):
        sides = _random_sides(queries, rows, bits, classes, labels)
        peak = peak_memory(partial(per_query, BOTH, *sides, engine="numba"))
        print(f"{queries:>10}{rows:>12}{bits:>6}{classes:>9}{labels:>8}{peak:>10.1f}", flush=True)


def _random_sides(queries, rows, bits, classes, labels) -> tuple[Codes, Codes, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)

    def side(n: int) -> tuple[Codes, np.ndarray]:
        packed = rng.integers(0, 256, (n, bits // 8), dtype=np.uint8)
        marks = np.zeros((n, classes), np.bool_)
        marks[np.arange(n), rng.integers(0, classes, n)] = True
        if labels > 1:
            marks[np.arange(n), rng.integers(0, classes, n)] = True
        return Codes(packed, bits, np.ones(n, np.bool_)), marks

    (query, query_labels), (database, database_labels) = side(queries), side(rows)
    return query, database, query_labels, database_labels


def growth() -> None:
    print(f"{'queries':>10}{'rows':>12}{'seconds':>10}{'ps a pair':>11}")
    for queries, rows in ((1_000, 10_000), (1_000, 100_000), (10_000, 100_000), (1_000, 1_000_000)):
        sides = bench_map._sides(Size(queries, rows, 100, 1, 0))
        call = partial(per_query, {"map": EXPECTED}, *sides, engine="numba")
        seconds = min(cpu_seconds(call) for _ in range(3))
        print(f"{queries:>10}{rows:>12}{seconds:>10.3f}{seconds / queries / rows * 1e12:>11.0f}", flush=True)


def start() -> None:
    """CPU seconds. A process counts from its beginning, imports included; a call from its own."""
    with tempfile.TemporaryDirectory() as cache:
        for kind in ("ever, compiling", "with compiled code on disk", "with compiled code on disk"):
            call, process = _process(FIRST, cache)
            print(f"first call {kind}: call {call:.2f}, process {process:.2f}", flush=True)
    print(f"plain loop with one query: process {_process(PLAIN_FIRST, '')[1]:.2f}")
    codes, labels = (
        random_codes(6000, 48, np.random.default_rng(0)),
        np.eye(200, dtype=bool)[np.arange(6000) % 200],
    )
    sides = codes, codes, labels, labels
    per_query({"map": EXPECTED}, *sides, engine="numba")
    print(f"the call, warm: {cpu_seconds(lambda: per_query({'map': EXPECTED}, *sides, engine='numba')):.3f}")


def _process(program: str, cache: str) -> tuple[float, float]:
    """(seconds that it prints, CPU seconds of the whole process)"""
    environment = os.environ | ({"NUMBA_CACHE_DIR": cache} if cache else {})
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    )
    before = os.times()
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return float(run.stdout), used


def threads() -> None:
    sides = bench_map._sides(SIZES["map_food101"])
    for count in (1, 2):
        begun = time.perf_counter()
        per_query({"map": EXPECTED}, *sides, engine="numba", threads=count)
        print(f"{count} threads: {time.perf_counter() - begun:.2f} s of wall time", flush=True)


if __name__ == "__main__":
    for name in sys.argv[1:] or ("memory", "growth", "start", "threads"):
        print(f"{name}:")
        {"memory": memory, "growth": growth, "start": start, "threads": threads}[name]()
