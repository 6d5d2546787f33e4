"""What DVC has recorded of stages, in its dvc.lock files: which bytes they read, and which they made."""

import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path, PurePosixPath

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from hashrepro.errors import UserError
from hashrepro.settings import Suite


def read_lock(path: Path, patience: float = 10.0) -> dict[str, dict]:
    """The stages in a dvc.lock file, by name; none where there is no such file.

    DVC writes the file in place: while it does so in another process, it is looked at again.

    Args:
        patience: seconds until a file that is not whole counts as torn.

    Raises:
        UserError: it is torn.
    """
    end = time.monotonic() + patience
    while True:
        try:
            return YAML(typ="safe").load(path)["stages"] | {}
        except FileNotFoundError:
            return {}
        except (YAMLError, KeyError, TypeError) as error:
            if time.monotonic() > end:
                raise UserError(f"{path.name} is not whole.", where=path, mend=torn(path)) from error
        time.sleep(0.2)


def torn(path: object) -> str:
    """What mends a dvc.lock file that DVC was killed over, or that a full disk has cut."""
    return (
        f"remove {path}, and run the same command again: "
        "DVC finds what it had recorded in its cache, and trains nothing again"
    )


def lock_entries(root: Path, addresses: Iterable[str]) -> dict[str, dict]:
    """What dvc.lock files say of some stages, by address; a stage that they do not know is left out.

    Raises:
        UserError: as `read_lock`.
    """
    found = {}
    for path, names in by_lock(addresses).items():
        stages = read_lock(root / path)
        found |= {address: stages[name] for name, address in names.items() if name in stages}
    return found


def scores_fit(entries: dict[str, dict], train: str, encode: str, evaluate: str) -> bool:
    """Whether a run's scores are those of its last training: each stage has read what the one before it made last.

    A training that was done again leaves what was scored before behind, until encode and evaluate run, too. A stage
    without an entry is one that DVC has not recorded here: nothing speaks against it.

    Args:
        entries: of dvc.lock, by address, as `lock_entries` gives them.
        train, encode, evaluate: addresses of the run's stages.
    """
    found = [entries[name] for name in (train, encode, evaluate) if name in entries]
    for before, after in pairwise(found):
        made = {out["path"]: out["md5"] for out in before.get("outs", [])}
        if any(made.get(dep["path"], dep["md5"]) != dep["md5"] for dep in after["deps"]):
            return False
    return True


def stale_scores(
    root: Path, suite: Suite, runs: Iterable[tuple[str, str, int, int]]
) -> set[tuple[str, str, int, int]]:
    """Those of a suite's runs whose scores are not of their last training, see `scores_fit`."""
    chains = {run: [suite.address(stage, run) for stage in ("train", "encode", "evaluate")] for run in runs}
    entries = lock_entries(root, (name for chain in chains.values() for name in chain))
    return {run for run, chain in chains.items() if not scores_fit(entries, *chain)}


def by_lock(addresses: Iterable[str]) -> dict[PurePosixPath, dict[str, str]]:
    """Path of the dvc.lock file -> name in it -> address."""
    found: dict[PurePosixPath, dict[str, str]] = {}
    for address in addresses:
        pipeline, _, name = address.rpartition(":")
        found.setdefault(PurePosixPath(pipeline or "dvc.yaml").with_suffix(".lock"), {})[name] = address
    return found
