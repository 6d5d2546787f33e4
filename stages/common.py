"""What every stage begins with: where things are, the checked settings, the machine, and how an error is shown."""

import ctypes
import fcntl
import functools
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from hashrepro.datasets.catalog import Catalog
from hashrepro.errors import UserError
from hashrepro.files import file_digest, value_digest
from hashrepro.images.cache import ImageCache
from hashrepro.settings import Dataset, Machine, Settings, load_settings

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Run:
    """One cell of a grid, and its folders."""

    settings: Settings
    method: str
    dataset: str
    bits: int
    seed: int

    @property
    def key(self) -> str:
        return f"{self.method}-{self.dataset}-{self.bits}-s{self.seed}"

    @property
    def folder(self) -> Path:
        return ROOT / "runs" / self.settings.suite.name / self.key

    @property
    def work(self) -> Path:
        """Scratch folder for checkpoints, outside what DVC tracks: it survives a killed stage."""
        return ROOT / "work" / self.settings.suite.name / self.key

    @property
    def block(self) -> Dataset:
        return self.settings.dataset(self.dataset)

    @property
    def recipe(self):
        return self.settings.recipe(self.method, self.dataset)

    @classmethod
    def from_arguments(cls, arguments: list[str]) -> "Run":
        file, method, dataset, bits, seed = arguments
        return cls(load_settings(ROOT, file), method, dataset, int(bits), int(seed))


def stage(main: Callable[..., None]) -> Callable[[], None]:
    """Run `main` on the command line's words; bad input ends with its message and exit code 2, not a traceback."""

    @functools.wraps(main)
    def command() -> None:
        try:
            main(*sys.argv[1:])
        except UserError as error:
            sys.exit(f"\n{Path(sys.argv[0]).name}: {error}\n")

    return command


def prepare(machine: Machine) -> torch.device:
    """Set threads and exactness; return the device. TF32 stays off: signs are decided in full float32."""
    torch.set_num_threads(machine.threads)
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


def open_dataset(name: str) -> tuple[Catalog, ImageCache]:
    """Catalog and images that `preprocess` wrote."""
    folder = ROOT / "data" / "processed" / name
    if not (folder / "catalog.parquet").exists():
        raise UserError(
            f"The data set {name!r} has not been preprocessed.",
            where=folder,
            mend=f"dvc repro data/dvc.yaml:preprocess@{name}",
        )
    catalog, cache = Catalog.read(folder / "catalog.parquet"), ImageCache.open(folder)
    if len(catalog.ids) != len(cache):
        raise UserError(
            f"The catalog has {len(catalog.ids)} images, the cache {len(cache)}.",
            where=folder,
            mend=f"dvc repro -f data/dvc.yaml:preprocess@{name}",
        )
    return catalog, cache


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


def run_params(run: Run) -> dict:
    """All that a user chose for a run, as logged: which run it is, and its recipe."""
    identity = {"method": run.method, "dataset": run.dataset, "bits": run.bits, "seed": run.seed}
    return {**identity, **run.recipe.model_dump(mode="json")}


def params_digest(run: Run) -> str:
    return value_digest(run_params(run))


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
