"""What every stage begins with: where things are, the checked settings, and how an error is shown."""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hashrepro.errors import UserError
from hashrepro.files import value_digest
from hashrepro.settings import Dataset, Settings, load_settings

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


def run_params(run: Run) -> dict:
    """All that a user chose for a run, as logged: which run it is, and its recipe."""
    identity = {"method": run.method, "dataset": run.dataset, "bits": run.bits, "seed": run.seed}
    return {**identity, **run.recipe.model_dump(mode="json")}


def params_digest(run: Run) -> str:
    return value_digest(run_params(run))
