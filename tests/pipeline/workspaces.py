"""A repository in a temporary folder, with a grid small enough to run."""

import fcntl
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from ruamel.yaml import YAML
from warm_stages import WarmStages

import hashrepro

ROOT = Path(__file__).parents[2]
TINY = {
    "iterations": 2, "epochs": 1, "samples": 12, "batch_size": 6, "evaluation_batch_size": 20,
    "backbone": "lite0", "batch_norm_momentum": 0.1, "learning_rate": 1.0e-4,
}  # fmt: skip


@dataclass
class Workspace:
    """A repository in a temporary folder, with this environment's commands."""

    root: Path
    log: str = ""
    warm: WarmStages | None = None

    def environment(self) -> dict[str, str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "DVC"))}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return {**clean, "PATH": path, "PYTHONPATH": str(self.root / "src")}

    def run(self, *command: str, ok: bool = True, **environment: str) -> str:
        """Output of a command, standard error included; fails the test if the exit code is not as expected."""
        result = subprocess.run(
            command,
            cwd=self.root,
            env={**self.environment(), **environment},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert (result.returncode == 0) == ok, result.stdout
        return result.stdout

    def script(self, *words: str, **environment: str) -> tuple[int, str]:
        """Exit code and output of `hashrepro` or a stage's script, in a process whose libraries are there already."""
        if words[0] == "hashrepro":
            words = (str(Path(sys.executable).with_name("hashrepro")), *words[1:])
        return self.warm.run(list(words), self.root, {**self.environment(), **environment})

    def edit(self, change) -> None:
        """Load params.yaml, let `change` alter it, write it back."""
        yaml = YAML()
        path = self.root / "params.yaml"
        values = yaml.load(path)
        change(values)
        yaml.dump(values, path)


@functools.cache
def compile_once() -> None:
    """Have numba's machine code beside our sources, from where `copy_sources` takes it: it takes 5 seconds to make."""
    import torch

    from hashrepro.images.cache import ImageCache, build_cache
    from hashrepro.images.loaders import evaluation_batches, train_batches
    from hashrepro.images.transforms import TrainView

    package = Path(hashrepro.__file__).parent
    grey = (0.5, 0.5, 0.5)
    with tempfile.TemporaryDirectory() as folder, open(package / "__init__.py") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker may be at it
        pixels = np.zeros((2, 24, 24, 3), np.uint8)
        build_cache(Path(folder, "c"), pixels, resize=16, crop=16, workers=0, progress=False)
        cache = ImageCache.open(Path(folder, "c"))
        rows = torch.arange(2)
        next(iter(evaluation_batches(cache, rows, 2, grey, grey)))
        next(iter(train_batches(cache, rows, 2, TrainView(cache.size), grey, grey, seed=0, path=())))


def copy_sources(destination: Path, *, papers: bool = False) -> None:
    """The files that git tracks or would track, so that no leftover of this machine takes part but machine code.

    The papers' pipelines stay behind unless they are wanted: every command of DVC reads all that there are.
    """
    compile_once()
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=True,
    ).stdout.decode()
    compiled = [str(path.relative_to(ROOT)) for path in (ROOT / "src").rglob("__pycache__/*.nb[ci]")]
    for name in filter(None, [*listed.split("\0"), *compiled]):
        if name.startswith("papers/") and not papers:
            continue
        if (ROOT / name).is_file() and not name.endswith("dvc.lock"):
            (destination / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, destination / name)  # numba goes by the time of the source


def write_birds(folder: Path) -> None:
    """A miniature of CUB-200-2011's layout: 3 classes of 4 database and 2 query images."""
    rng = np.random.default_rng(0)
    names = ["001.Auk", "002.Bunting", "003.Crow"]
    images, labels, split = [], [], []
    for label, name in enumerate(names):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 80, (40 + label, 48, 3)) + 60 * label
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / name / f"{number}.jpg")
            row = len(images) + 1
            images.append(f"{row} {name}/{number}.jpg")
            labels.append(f"{row} {label + 1}")
            split.append(f"{row} {int(number < 4)}")
    classes = [f"{number + 1} {name}" for number, name in enumerate(names)]
    for file, lines in {
        "images.txt": images, "image_class_labels.txt": labels, "train_test_split.txt": split, "classes.txt": classes,
    }.items():  # fmt: skip
        (folder / file).write_text("\n".join(lines) + "\n")


def shrink(values: dict) -> None:
    """The quick-start's grid at one code length, on 40 + 20 garments and on the miniature birds."""
    # Others are left out for time: all of SCHN's first variant but its name runs in the second, and SEMICON in a test
    values["grid"] |= {
        "methods": ["adsh", "schn_tomm"],
        "datasets": ["fashion", "birds"],
        "bits": [12],
        "seeds": [0],
    }
    values["machine"] |= {"threads": 1, "device": "cpu"}
    small = {**values["templates"]["photographs"], "resize": 40, "crop": 32, "workers": 1}
    values["datasets"] = {
        "fashion": {
            **small,
            "reader": "fashion_mnist",
            "folder": "data/quickstart",
            "options": {"query_per_class": 2, "database_per_class": 4},
        },
        "birds": {
            **small,
            "reader": "cub",
            "folder": "birds",
            "options": {"expect_classes": 3, "expect_query": 6, "expect_database": 12},
        },
    }
    other = {**TINY, "backbone": "timm:test_byobnet", "weights": "none"}  # small, for time
    values["train"] = {
        method: {name: dict(TINY if method == "adsh" else other) for name in ("fashion", "birds")}
        for method in ("adsh", "semicon", "schn_tomm")
    }
    # two samples of 12 cannot reach all of 40 database images
    values["train"]["schn_tomm"]["fashion"]["unsampled"] = "drop"
    values["report"] = {"published": {"birds": ["CUB200-2011"]}}
    values["evaluate"] |= {
        "precision_at": [1, 5, 10],
        "gallery_queries": 3,
        "gallery_hits": 5,
        "resamples": 200,
    }
