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

from hashrepro.errors import UserError
from hashrepro.files import file_digest, locked, value_digest
from hashrepro.methods.parallel import launched
from hashrepro.networks.synced import world_size
from hashrepro.processes import signal_at_parents_end
from hashrepro.settings import Machine

LAUNCHER = "HASHREPRO_LAUNCHER"  # environment variable: id of the process that started several


def prepare(machine: Machine) -> torch.device:
    """Set threads and exactness; return the device. TF32 stays off: signs are decided in full float32.

    One of several processes (see `spread`) gets its share of the threads, and the GPU of its own number.
    """
    together = int(os.environ["LOCAL_WORLD_SIZE"]) if launched() else 1
    threads = int(os.environ.get("HASHREPRO_THREADS", machine.threads))
    torch.set_num_threads(max(1, threads // together))
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
    if name.startswith("cuda"):
        # sums by atomic additions would come out in another order each time; what has no other form is named
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False
        for kernel in ("flash", "mem_efficient", "cudnn"):  # attention over a batch is too small to need them
            getattr(torch.backends.cuda, f"enable_{kernel}_sdp")(False)
        if launched():
            name = f"cuda:{os.environ['LOCAL_RANK']}"
    return torch.device(name)


def spread(machine: Machine) -> None:
    """Replace this process by `machine.processes` that run the same command together; return in each of those."""
    if machine.processes == 1 or launched():
        return
    if machine.device != "cpu" and torch.cuda.is_available():
        if ":" in machine.device:
            raise UserError(
                f"{machine.processes} processes cannot share the one device {machine.device!r}.",
                where="params.yaml: machine.device",
                mend="set machine.device to cuda: process N takes GPU N",
            )
        if machine.processes > torch.cuda.device_count():
            raise UserError(
                f"{machine.processes} processes need a GPU each, and there are {torch.cuda.device_count()}.",
                where="params.yaml: machine.processes",
                mend=f"set machine.processes to {torch.cuda.device_count()} or less",
            )
    os.environ[LAUNCHER] = str(os.getpid())  # which the launcher that this process becomes keeps
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # `prepare` shares the threads out
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    os.execv(sys.executable, [*torchrun, f"--nproc-per-node={machine.processes}", *sys.argv])


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the run's lock, so that a second trainer refuses; die with the parent, so that none is left behind.

    The lock outlives `spread`: its processes find it held by the one that started them.
    """
    signal_at_parents_end(signal.SIGTERM)  # dvc, which may be killed
    if launched():
        if os.environ.get(LAUNCHER, "") not in ("", str(os.getppid())):
            sys.exit("The process that started this one has ended.")
        yield
        return
    # kept by what `spread` makes of this process; a loader's process that outlives its killed trainer does not hold it
    with locked(f"{folder}.lock", "Another process is training this run.", where=folder, inheritable=True):
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
