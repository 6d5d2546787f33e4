"""kill_often FOLDER SEED KILLS METHOD:WORKERS...: SIGKILL small trainings at random moments, each up to so often; print
as JSON what was seen.

A process of its own: it imports everything once and forks every attempt, so an attempt costs what it trains. Every
attempt is killed a random time after a random number of new checkpoints, in the middle of whatever it does then.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

from tiny_training import DATABASE, learn_and_write, write_cache

from hashrepro.images.cache import ImageCache
from hashrepro.images.loaders import evaluation_batches, train_batches
from hashrepro.images.transforms import TrainView

SIZES = {"iterations": 3, "epochs": 2, "samples": 7}
EPOCHS = 6
PATIENCE = 60  # seconds


def fork(*arguments) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            learn_and_write(*arguments)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return pid


def state(pid: int) -> str:
    """The state letter of a process; empty once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def children(pid: int) -> set[int]:
    try:
        return {int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    except (FileNotFoundError, ProcessLookupError):
        return set()


def until_killed(
    pid: int, checkpoint: Path, rng: random.Random, epoch_seconds: float
) -> tuple[bool, set[int]]:
    """Let an attempt run for a while and kill it: (it had not ended by itself, its children of then)."""

    def mark() -> int:
        return checkpoint.stat().st_ino if checkpoint.exists() else 0

    wanted, last, ended = rng.randrange(2), mark(), False
    while wanted and not (ended := os.waitpid(pid, os.WNOHANG)[0] == pid):
        if mark() != last:
            wanted, last = wanted - 1, mark()
        time.sleep(0.001)
    if not ended:
        time.sleep(rng.uniform(0, epoch_seconds))
        ended = os.waitpid(pid, os.WNOHANG)[0] == pid
    if ended:
        return False, set()
    workers = children(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True, workers


def torment(name: str, workers: int, folder: Path, cache: Path, rng: random.Random, most_kills: int) -> dict:
    """One training undisturbed, and the same one killed again and again."""
    begun = time.monotonic()
    os.waitpid(fork(name, cache, folder / "whole", folder / "expected", workers, SIZES), 0)
    epoch_seconds = (time.monotonic() - begun) / EPOCHS
    kills, seen = 0, set()
    while kills < most_kills:
        pid = fork(name, cache, folder / "killed", folder / "found", workers, SIZES)
        killed, orphans = until_killed(pid, folder / "killed" / "checkpoint.safetensors", rng, epoch_seconds)
        if not killed:
            break
        kills, seen = kills + 1, seen | orphans
    if not (folder / "found").exists():
        os.waitpid(fork(name, cache, folder / "killed", folder / "found", workers, SIZES), 0)
    end = time.monotonic() + PATIENCE
    while (left := {pid for pid in seen if state(pid) not in ("", "Z")}) and time.monotonic() < end:
        time.sleep(0.1)
    files = [folder / "expected", folder / "found"]
    expected, found = (file.read_bytes() if file.exists() else b"" for file in files)
    return {
        "kills": kills,
        "same": expected == found != b"",
        "loader_processes": len(seen),
        "left": len(left),
    }


def warm_up(cache: ImageCache) -> None:
    """Compile what loads images here once, and not in every fork."""
    grey = (0.5, 0.5, 0.5)
    next(iter(evaluation_batches(cache, DATABASE, 4, grey, grey)))
    next(iter(train_batches(cache, DATABASE, 4, TrainView(cache.size), grey, grey, seed=0, path=())))


def main(folder: Path, seed: int, kills: int, trainings: list[str]) -> None:
    write_cache(folder / "cache")
    warm_up(ImageCache.open(folder / "cache"))
    report = {}
    for training in trainings:
        name, workers = training.split(":")
        (folder / training).mkdir()
        rng = random.Random(f"{seed} {training}")
        report[training] = torment(name, int(workers), folder / training, folder / "cache", rng, kills)
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
