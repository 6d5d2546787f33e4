"""The machine that a run runs on: device and exactness, processes, one trainer a run, what provenance says of it."""

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import torch
from common import ROOT

from hashrepro.devices import one_gpu_each
from hashrepro.files import file_digest, locked, value_digest
from hashrepro.learning.parallel import launched
from hashrepro.networks.synced import world_size
from hashrepro.processes import become_several, end_without_launcher, signal_at_parents_end
from hashrepro.settings import Machine


def spread(machine: Machine) -> None:
    """Replace this process by `machine.processes` that run the same command together; return in each of those."""
    if machine.processes == 1 or launched():
        return
    one_gpu_each(machine, machine.processes)
    become_several(machine.processes, sys.argv)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the run's lock, so that a second trainer refuses; die with the parent, so that none is left behind.

    The lock outlives `spread`: its processes find it held by the one that started them.
    """
    signal_at_parents_end(signal.SIGTERM)  # dvc, which may be killed
    if launched():
        end_without_launcher()
        yield
        return
    # kept by what `spread` makes of this process; a loader's process that outlives its killed trainer does not hold it
    with locked(f"{folder}.lock", "Another process is training this run.", where=folder, inheritable=True):
        yield


def code_digest() -> str:
    """Digest of the library files that decide a run's numbers: a checkpoint of other code is not continued."""
    source = ROOT / "src" / "hashrepro"
    packages = ("images", "learning", "methods", "networks", "retrieval")
    files = sorted(path for package in packages for path in (source / package).rglob("*.py"))
    files += [source / "seeds.py", source / "datasets" / "catalog.py"]
    return value_digest({str(path.relative_to(source)): file_digest(path) for path in files})


def commit() -> tuple[str, bool]:
    """The commit that is checked out, and whether tracked sources differ from it (locks and reports aside)."""

    def git(*words: str) -> str:
        result = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
        return result.stdout.strip() if result.returncode == 0 else ""

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!*dvc.lock", ":!reports")
    return git("rev-parse", "HEAD") or "unknown", bool(changed)


def machine_facts(device: torch.device) -> dict:
    """What the run ran on."""
    packages = ("hashrepro", "torch", "torchvision", "timm", "numpy", "dvc", "mlflow")
    return {
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"CPU, {torch.get_num_threads()} threads",
        "processes": world_size(),
        "cpu": _cpu_name(),
        "platform": platform.platform(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "dvc_stage": os.environ.get("DVC_STAGE", ""),
    }


def _cpu_name() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"
