"""The machine that a run runs on: device and exactness, one trainer a run, and what provenance says of it."""

import ctypes
import fcntl
import os
import platform
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import torch
from common import ROOT

from hashrepro.errors import UserError
from hashrepro.files import file_digest, value_digest
from hashrepro.settings import Machine


def prepare(machine: Machine) -> torch.device:
    """Set threads and exactness; return the device. TF32 stays off: signs are decided in full float32."""
    torch.set_num_threads(int(os.environ.get("HASHREPRO_THREADS", machine.threads)))
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    name = machine.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(
            f"The device {name!r} was asked for, but torch sees no CUDA device.",
            where="params.yaml: machine.device",
            mend="set machine.device to auto or cpu",
        )
    return torch.device(name)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the run's lock, so that a second trainer refuses; die with the parent, so that none is left behind."""
    with suppress(OSError, AttributeError):  # Linux only: be told when dvc is killed
        ctypes.CDLL("libc.so.6").prctl(1, signal.SIGTERM)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{folder}.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                "Another process is training this run.", where=folder, mend="wait for it to end, or stop it"
            ) from None
        yield


def code_digest() -> str:
    """Digest of the library files that decide a run's numbers: a checkpoint of other code is not continued."""
    files = sorted(
        path
        for package in ("images", "methods", "networks", "retrieval")
        for path in (ROOT / "src" / "hashrepro" / package).glob("*.py")
    )
    return value_digest({path.name: file_digest(path) for path in files})


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
