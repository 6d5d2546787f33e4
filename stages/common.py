"""What every stage begins with: where things are, the checked settings, how an error is shown, what a skipped run is.

A run whose parts do not fit together is skipped: its training writes markers in place of its outputs, later stages
pass them on, and the report says why.
"""

import functools
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hashrepro.errors import UserError
from hashrepro.files import disk_trouble, value_digest, whole, write_json
from hashrepro.processes import signal_at_parents_end
from hashrepro.settings import Dataset, Settings, load_settings
from hashrepro.tracking import Tracking

if TYPE_CHECKING:
    from hashrepro.learning.base import Method

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
    def identity(self) -> dict[str, str | int]:
        return {"method": self.method, "dataset": self.dataset, "bits": self.bits, "seed": self.seed}

    def target(self, stage: str) -> str:
        """DVC's name of one of the run's stages, seen from the repository."""
        return self.settings.suite.address(stage, tuple(self.identity.values()))

    @property
    def folder(self) -> Path:
        return ROOT / "runs" / self.settings.suite.name / self.key

    @property
    def work(self) -> Path:
        """Scratch folder for checkpoints, outside what DVC tracks: it survives a killed stage."""
        return ROOT / "work" / self.settings.suite.name / self.key

    @property
    def kind(self) -> "type[Method]":
        """The method's class."""
        # torch and timm: stages that train nothing do without
        from hashrepro.learning.base import load_method

        return load_method(self.settings.kind(self.method))

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
    """Run `main` on the command line's words; bad input and a full disk end with a message and exit code 2."""

    @functools.wraps(main)
    def command() -> None:
        name = Path(sys.argv[0]).name
        # dvc, which may be killed: a rerun would write beside this process
        signal_at_parents_end(signal.SIGTERM)
        try:
            main(*sys.argv[1:])
        except KeyboardInterrupt:
            print(f"\n{name}: stopped. The same command goes on where it was.\n", file=sys.stderr)
            sys.exit(130)
        except Exception as error:
            if (shown := error if isinstance(error, UserError) else disk_trouble(error)) is None:
                raise
            print(f"\n{name}: {shown}\n", file=sys.stderr)
            sys.exit(2)

    return command


def run_params(run: Run) -> dict:
    """All that a user chose for a run, as logged: which run it is, and its recipe."""
    return run.settings.run_params(**run.identity)


def params_digest(run: Run) -> str:
    return value_digest(run_params(run))


def write_marker(path: Path, reason: str) -> None:
    """A safetensors file without tensors: it stands where a skipped run's model or codes would be, and says why."""
    with whole(path) as temporary:
        save_file({}, temporary, metadata={"skipped": reason})


def skipped(path: Path, made_by: str) -> str | None:
    """Why the run that left this safetensors file was skipped; None if it was not.

    Args:
        made_by: DVC's name of the stage that writes it.

    Raises:
        UserError: there is no such file, or it is damaged.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get("skipped")
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"This file is not there or is not whole ({error}).",
            where=path,
            mend=f"run the stage before this one: dvc repro {made_by}",
        ) from None


def write_skipped(run: Run, reason: str, mlflow_run_id: str) -> None:
    """What training leaves of a skipped run: markers for its tensors, a history of no iterations, train.json."""
    for name in ("model", "learned"):
        write_marker(run.folder / f"{name}.safetensors", reason)
    with whole(run.folder / "history.csv") as path:
        path.write_text("iteration\n")
    about = {
        **run.identity,
        "kind": run.settings.kind(run.method),
        "method_title": run.settings.method_title(run.method),
        "paper": run.kind.PAPER,
        "params_digest": params_digest(run),
        "mlflow_run_id": mlflow_run_id,
        "skipped": reason,
    }
    write_json(run.folder / "train.json", about)


def skip(run: Run, reason: str) -> None:
    """In place of training a run whose parts do not fit together: say why, write markers, leave an MLflow run.

    The run in the tracking store is at once a finished one, so that the report from the store says why, too.
    """
    reason = " ".join(reason.split())
    print(f"{run.key} is skipped: {reason}")
    tracking = Tracking(ROOT, run.settings.suite.name)
    digest = params_digest(run)
    tags = {name: str(value) for name, value in run.identity.items()}
    run_id = tracking.start(run.key, digest, {**tags, "params_digest": digest}, run_params(run))
    write_skipped(run, reason, run_id)
    tracking.log_files(run_id, "", run.folder / "train.json")
    tracking.tag(run_id, skipped=reason, trained="skipped", evaluated="yes")
    tracking.end(run_id)
