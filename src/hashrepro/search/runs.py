"""A finished run as a search needs it: its codes, and the data set that they are of."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError, safe_open

from hashrepro.datasets.catalog import Catalog
from hashrepro.errors import UserError
from hashrepro.files import file_digest, read_json, value_digest
from hashrepro.images.processed import open_cache, open_catalog
from hashrepro.retrieval.codes import Codes, read_codes
from hashrepro.search.items import LEARNED, NETWORK, Items
from hashrepro.settings import Settings

if TYPE_CHECKING:
    from hashrepro.images.cache import ImageCache

CODES = "codes.safetensors"


def run_folder(root: Path, suite: str, key: str | None) -> Path:
    """The folder of a run that has codes.

    Raises:
        UserError: no key, there is no such run, it was skipped, or it has no codes yet; the runs that there are.
    """
    suites = root / "runs" / suite
    there = sorted(path.parent.name for path in suites.glob(f"*/{CODES}"))
    listed = f"one of: {', '.join(there)}" if there else "hashrepro repro, which makes runs"
    if key is None:
        raise UserError("Which run?", where=suites, mend=f"name {listed}" if there else listed)
    folder = suites / key
    if not folder.is_dir():
        raise UserError(f"The suite {suite} has no run {key!r}.", where=suites, mend=f"name {listed}")
    try:
        with safe_open(folder / CODES, framework="numpy") as file:
            skipped = (file.metadata() or {}).get("skipped")
    except FileNotFoundError:
        what = f"The run {key} has no codes yet."
        raise UserError(what, where=folder / CODES, mend="dvc repro finishes it") from None
    except (OSError, SafetensorError) as error:
        what = f"The codes of the run {key} are damaged: {error}."
        raise UserError(what, where=folder / CODES, mend="dvc repro makes them again") from error
    if skipped:
        raise UserError(f"The run {key} was skipped: {skipped}", where=folder, mend=f"name {listed}")
    return folder


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A run, its data set, and its codes by name ("query", "learned", "network", ...)."""

    root: Path
    folder: Path
    trained: dict  # train.json
    catalog: Catalog
    codes: dict[str, Codes]

    @cached_property
    def model(self) -> str:
        """SHA-256 of its network's weights."""
        return file_digest(self.folder / "model.safetensors")

    @cached_property
    def cache(self) -> "ImageCache":
        """The images of its data set."""
        return open_cache(self.root, self.catalog.name)

    @classmethod
    def open(cls, root: Path, suite: str, key: str | None) -> "TrainedRun":
        """Read a run.

        Raises:
            UserError: as `run_folder` and `open_catalog`; or the run is of other data than what is preprocessed now.
        """
        folder = run_folder(root, suite, key)
        codes, header = read_codes(folder / CODES)
        try:
            trained = read_json(folder / "train.json")
            catalog = open_catalog(root, trained["dataset"])
            cache = read_json(root / "data" / "processed" / catalog.name / "images.json")
            same = trained["data_digest"] == value_digest([catalog.digest, cache])
        except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
            what = f"The record of the run or of its data set cannot be read: {error!r}."
            raise UserError(what, where=folder / "train.json", mend="dvc repro makes it again") from error
        if not same or header["catalog"] != catalog.digest:
            raise UserError(
                f"The run {folder.name} was trained on another state of the data set {catalog.name!r}.",
                where=root / "data" / "processed" / catalog.name,
                mend=f"train it again on this one (dvc repro), or preprocess {catalog.name} as it was",
            )
        return cls(root, folder, trained, catalog, codes)

    def database(self, kind: str) -> tuple[Codes, Items]:
        """Codes and items of the database rows, in catalog order.

        Args:
            kind: "learned", where rows whose code was never set take the network's; or "network".
        """
        network, rows = self.codes["network"], self.catalog.database_rows
        if kind == NETWORK:
            return network, Items.of_catalog(self.catalog, rows, NETWORK)
        learned = self.codes["learned"]
        packed = np.where(learned.coded[:, None], learned.packed, network.packed)
        codes = Codes(packed, learned.bits, learned.coded | network.coded)
        origins = np.where(learned.coded, LEARNED, NETWORK).tolist()
        return codes, Items.of_catalog(self.catalog, rows, origins)


def recipe_changed(run: TrainedRun, settings: Settings) -> bool:
    """Whether params.yaml has another recipe today than the one that the run was trained by."""
    trained = run.trained
    try:
        params = settings.run_params(*(trained[name] for name in ("method", "dataset", "bits", "seed")))
    except UserError:  # no such recipe any more
        return True
    return value_digest(params) != trained["params_digest"]
