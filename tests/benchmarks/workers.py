"""Wall time of a grid with one worker and with two, threads and Dask: what running stages side by side gains.

`workers.py` builds a repository of 8 stages that sleep, each followed by one that counts, and a last one that waits
for all: what is gained where stages do not hinder each other. `workers.py CLONE [TARGET...]` forces the targets of
a clone whose data are there, on 1 and on 2 workers: what is gained on this machine's cores or GPUs.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hashrepro.running.building import Estimates, Where, build
from hashrepro.running.command import ENGINES
from hashrepro.settings import Machine, load_settings

SECONDS = 5
PIPELINE = f"""
stages:
  train:
    matrix: {{n: [1, 2, 3, 4, 5, 6, 7, 8]}}
    cmd: sleep {SECONDS}; echo ${{item.n}} > model-${{item.n}}
    outs: ["model-${{item.n}}"]
  evaluate:
    matrix: {{n: [1, 2, 3, 4, 5, 6, 7, 8]}}
    cmd: wc -c < model-${{item.n}} > scores-${{item.n}}
    deps: ["model-${{item.n}}"]
    outs: ["scores-${{item.n}}"]
  report:
    cmd: cat scores-1 scores-2 scores-3 scores-4 scores-5 scores-6 scores-7 scores-8 > report
    deps: [scores-1, scores-2, scores-3, scores-4, scores-5, scores-6, scores-7, scores-8]
    outs: [report]
"""


def sleeping(folder: Path) -> Path:
    """A DVC repository of stages that sleep."""
    folder.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    (folder / ".dvc" / ".gitignore").write_text("/tmp\n/cache\n")
    (folder / "dvc.yaml").write_text(PIPELINE)
    return folder


def seconds(root: Path, targets: list[str], machine: Machine, where: Where, force: bool) -> float:
    """Wall time of a build.

    Raises:
        SystemExit: a stage failed.
    """
    begun = time.monotonic()
    if build(root, targets, machine, where, Estimates.of_earlier_runs(root), force=force):
        sys.exit("a stage failed")
    return time.monotonic() - begun


def main(words: list[str]) -> None:
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    for engine in ENGINES:
        taken = {}
        for workers in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                if words:
                    root, targets = Path(words[0]).resolve(), words[1:]
                    machine = load_settings(root).machine
                else:
                    os.environ["DVC_SITE_CACHE_DIR"] = f"{folder}/site"
                    root, targets, machine = sleeping(Path(folder) / "repository"), [], Machine(device="cpu")
                where = Where(workers, engine)
                taken[workers] = seconds(root, targets, machine, where, force=bool(words))
        ratio = taken[1] / taken[2]
        print(f"{engine}: 1 worker {taken[1]:.1f} s, 2 workers {taken[2]:.1f} s: {ratio:.2f} times as fast")


if __name__ == "__main__":
    main(sys.argv[1:])
