"""What the commands around an index begin with: which index is meant, its network, and what it is, in words."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hashrepro.errors import UserError
from hashrepro.search.folder import anew
from hashrepro.search.index import Index
from hashrepro.search.items import LEARNED, NETWORK
from hashrepro.search.kinds import PARAMETERS
from hashrepro.search.runs import TrainedRun
from hashrepro.settings import Settings, load_settings

if TYPE_CHECKING:
    from hashrepro.search.encoder import Encoder


def parameters(arguments: argparse.Namespace) -> dict[str, int]:
    """The parameters of the kinds of index that were given."""
    names = [name for values in PARAMETERS.values() for name in values]
    return {name: value for name in names if (value := getattr(arguments, name, None)) is not None}


def find_index(root: Path, suite: str, name: str | None) -> Path:
    """The folder of an index: a folder that is one, the key of a run, or the only one that there is.

    Raises:
        UserError: there is none, or more than one to choose from; those that there are.
    """
    places = root / "indexes"
    there = sorted(path.parent for path in places.rglob("index.json") if not path.parent.name.startswith("."))
    if name is None:
        if len(there) == 1:
            return there[0]
        what = "Which index?" if there else "There is no index yet."
    else:
        for folder in (Path(name), places / suite / name):
            if (folder / "index.json").exists():
                return folder
        what = f"There is no index {name!r}."
    names = ", ".join(path.name if path.parent == places / suite else str(path) for path in there)
    mend = f"name one of: {names}" if there else "make one: hashrepro index RUN"
    raise UserError(what, where=places, mend=mend)


def open_index(arguments: argparse.Namespace, root: Path) -> tuple[Index, Settings]:
    """The index that a command is about, and the settings."""
    settings = load_settings(root, arguments.params)
    folder = find_index(root, settings.suite.name, arguments.index)
    return Index.open(folder, threads=settings.machine.threads), settings


def open_encoder(opened: Index, settings: Settings) -> "Encoder":
    """The network that made an index's codes.

    Raises:
        UserError: the folder has another one.
    """
    # torch and timm take seconds: only when all that needs neither is checked
    from hashrepro.devices import prepare
    from hashrepro.search.encoder import Encoder

    encoder = Encoder.open(opened.folder, prepare(settings.machine))
    check_model(opened, encoder.about.model)
    return encoder


def check_model(opened: Index, model: str) -> None:
    """See to it that the weights in an index's folder are those that its codes are of.

    Raises:
        UserError: they are not.
    """
    if model != opened.facts["model"]:
        raise UserError(
            "The network in this folder is not the one that made its codes.",
            where=opened.folder,
            mend=f"make the index again: {anew(opened.folder, opened.facts)}",
        )


def run_of(opened: Index, root: Path) -> TrainedRun:
    """The run that an index was made of, by whose queries it is measured.

    Raises:
        UserError: it is not here any more, or is another one by now.
    """
    facts = opened.facts
    run = TrainedRun.open(root, facts["suite"], facts["run"])
    if run.model != facts["model"] or run.catalog.digest != facts["catalog"]:
        raise UserError(
            f"The run {facts['run']} was trained again since this index was made.",
            where=opened.folder,
            mend=f"make it again: {anew(opened.folder, facts)}",
        )
    return run


def describe(opened: Index) -> str:
    """In words: what an index is, and where its codes come from."""
    facts, counts = opened.facts, opened.counts()
    shape = " ".join(f"{name}={value}" for name, value in facts["parameters"].items())
    kind = f"{facts['store']} {facts['kind']}" + (f" ({shape})" if shape else "")
    origins = f"{counts[LEARNED]:,} codes learned in training, {counts[NETWORK]:,} by the network"
    return f"{len(opened):,} images, {opened.bits} bits, {kind}; {origins}"
