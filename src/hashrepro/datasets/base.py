"""What a reader is: one file of this folder that knows one data set's layout.

A reader is a module with the constants and the function of `Reader` below. A new data set is one such file
and a block in params.yaml.
"""

import importlib
import pkgutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from hashrepro.datasets.catalog import Catalog
from hashrepro.errors import UserError


@dataclass(frozen=True)
class Archive:
    """One file to fetch.

    Args:
        name: its file name on disk.
        urls: mirrors, tried in order.
        size: bytes, None when unknown.
        digest: "md5:<hex>" or "sha256:<hex>", None when no trustworthy one is known.
        unpack: whether it is a tar or zip archive (otherwise it is used as it is).
    """

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    digest: str | None = None
    unpack: bool = True


@dataclass
class Reading:
    """What a reader found. `images` are n paths of encoded files, or uint8 (n, h, w, 3) for small images.

    `ids`, `labels`, `is_query`, `class_names`, `facts` are as in `Catalog`.
    """

    ids: list[str]
    labels: np.ndarray
    is_query: np.ndarray
    class_names: list[str]
    images: list[Path] | np.ndarray
    facts: dict = field(default_factory=dict)

    def catalog(self, name: str) -> Catalog:
        """The catalog of this reading under the data set's name."""
        return Catalog(name, self.ids, self.labels, self.is_query, self.class_names, self.facts)


class ReaderOptions(BaseModel):
    """Base of every reader's `Options`. Fields named ``expect_*`` are counts that must be found exactly."""

    model_config = ConfigDict(extra="forbid")
    _key: str = PrivateAttr("datasets.<name>.options")

    @property
    def key(self) -> str:
        """The block of params.yaml that these options come from, for messages."""
        return self._key


class Reader(Protocol):
    """The contract of a reader module.

    ROOT is the folder inside the unpacked archive that holds the set ("" when there is none); a user may name
    that folder or the one above it. FILES are glob patterns, relative to it, of all that `read` looks at.
    """

    TITLE: str
    HOME: str
    TERMS: str
    ARCHIVES: tuple[Archive, ...]
    LAYOUT: str
    ROOT: str
    FILES: tuple[str, ...]
    Options: type[ReaderOptions]

    def read(self, folder: Path, options: ReaderOptions, rng: np.random.Generator) -> Reading: ...


_NOT_READERS = {"base", "catalog", "download", "fetching", "pickles", "transfer", "unpack"}


def load_reader(name: str) -> Reader:
    """The reader module of this name.

    Raises:
        UserError: there is no such reader; the message lists those there are.
    """
    package = importlib.import_module(__package__)
    there = sorted({module.name for module in pkgutil.iter_modules(package.__path__)} - _NOT_READERS)
    if name not in there:
        raise UserError(
            f"unknown reader {name!r}",
            where="datasets.<name>.reader",
            mend=f"choose one of {', '.join(there)}",
        )
    return importlib.import_module(f"{__package__}.{name}")


def parse_options(name: str, reader: Reader, values: dict | None) -> ReaderOptions:
    """The reader's options from the block ``datasets.<name>.options`` of params.yaml.

    Raises:
        UserError: an unknown key or a value of the wrong kind, with its full key.
    """
    key = f"datasets.{name}.options"
    try:
        options = reader.Options(**(values or {}))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([key, *map(str, first["loc"])])
        known = ", ".join(reader.Options.model_fields)
        raise UserError(
            f"{first['msg']}: {first['input']!r}", where=where, mend=f"known keys: {known}"
        ) from None
    options._key = key
    return options


def located(folder: Path, root: str) -> Path:
    """The folder that holds the set: `folder`/`root` where that exists, otherwise `folder` itself."""
    return folder / root if root and (folder / root).is_dir() else folder


def check_counts(options: ReaderOptions, folder: Path, **found: int) -> None:
    """Compare each found count with the option ``expect_<name>``.

    Raises:
        UserError: a count differs; the message names the key and value that would admit it.
    """
    expected = {what: getattr(options, f"expect_{what}") for what in found}
    if found == expected:
        return
    wrong = [what for what in found if found[what] != expected[what]]
    admit = ", ".join(f"{options.key}.expect_{what}: {found[what]}" for what in wrong)
    raise UserError(
        "; ".join(f"{found[what]} {what} found, {expected[what]} expected" for what in wrong),
        where=folder,
        mend=f"complete the folder, or admit another set than the official one in params.yaml: {admit}",
    )


def one_hot(classes: np.ndarray, count: int) -> np.ndarray:
    """bool (n, count) with one True a row, from int class numbers (n,)."""
    return np.asarray(classes)[:, None] == np.arange(count)
