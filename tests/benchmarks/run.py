"""run.py [ROW ...]: time the rows of every bench_*.py here (or only the named ones) and write bench/results.csv.

Prints one table. With names, only those rows of an existing results.csv change.
"""

import csv
import importlib
import os
import platform
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path

if __name__ == "__main__":  # read when torch, numpy and numba load
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"

import harness
import torch
from harness import Row

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results.csv"
COLUMNS = [field.name for field in fields(Row)]


def main(names: list[str]) -> None:
    harness.selected.update(names)
    print(machine(), flush=True)
    print(f"{'row':<28}{'ours':>12}{'plain':>12}  {'unit':<18}{'ratio':>9}{'peak MB':>10}", flush=True)
    rows = []
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        for row in importlib.import_module(path.stem).rows():
            if harness.wanted(row.name):
                rows.append(row)
                numbers = f"{row.ours:>12.4g}{row.plain:>12.4g}  {row.unit:<18}{row.ratio:>8.3g}x"
                print(f"{row.name:<28}{numbers}{row.peak_mb:>10.1f}", flush=True)
    if unknown := set(names) - {row.name for row in rows}:
        raise SystemExit(f"no such row: {', '.join(sorted(unknown))}; results.csv is unchanged")
    write(rows, keep=bool(names))


def machine() -> str:
    """What the figures were measured on."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    return (
        f"commit {commit.stdout.strip() or 'unknown'}, torch {torch.__version__}, "
        f"{model or platform.processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} thread; "
        "CPU time of the process, medians of interleaved timings"
    )


def write(rows: list[Row], *, keep: bool) -> None:
    """Write results.csv as a whole; with `keep`, its other rows stay, in their order."""
    table = {}
    if keep and RESULTS.exists():
        with RESULTS.open(newline="") as file:
            table = {line["name"]: line for line in csv.DictReader(file)}
    for row in rows:
        table[row.name] = {
            key: f"{value:.4g}" if isinstance(value, float) else value for key, value in asdict(row).items()
        }
    RESULTS.parent.mkdir(exist_ok=True)
    unfinished = RESULTS.with_suffix(".csv.tmp")
    with unfinished.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table.values())
    unfinished.replace(RESULTS)


if __name__ == "__main__":
    main(sys.argv[1:])
