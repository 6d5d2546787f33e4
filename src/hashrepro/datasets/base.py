"""What a reader is: one file of this folder that knows one data set's layout.

A reader is a module with the constants and the function of `Reader` below. A new data set is one such file
and a block in params.yaml.
"""

import importlib
import pkgutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from hashrepro.datasets.catalog import Catalog
from hashrepro.errors import UserError


@dataclass(frozen=True)
class Archive:
    """One file that a data set is distributed in.

    Args:
        name: its file name, as the official distribution has it.
        urls: official address first, then mirrors, tried in order; none when no program may fetch it.
        size: bytes, None when unknown.
        digest: "md5:<hex>" or "sha256:<hex>", None when no trustworthy one is known.
        unpack: whether it is a tar or zip archive (otherwise it is used as it is).
        into: folder that it is unpacked into, beside the other archives of the set; "" for none of its own.
        by_hand: how a person gets it (form, request, password), for an archive without an address.
    """

    name: str
    urls: tuple[str, ...] = ()
    size: int | None = None
    digest: str | None = None
    unpack: bool = True
    into: str = ""
    by_hand: str = ""


@dataclass(frozen=True)
class Source:
    """Where a data set comes from and what it is: all that `hashrepro data` and docs/datasets.md tell of it.

    Args:
        title: the name that papers use.
        home: address of its official page.
        terms: what its owners allow, in one line.
        citation: paper that introduced it.
        content: what the pictures show and how they are labelled, in one line.
        images, classes, query, database: the counts of the official set under this project's default options; None
            when they are the user's own.
        image_bytes: bytes of all image files together, for estimates of disk and time; None when unknown.
        pixels: whether it comes as small pictures already decoded, not as a file each.
        archives: its files; none when it is not distributed as archives.
        by_hand: lines that tell a person how to get what no program may fetch; empty when all can be.
        layout: the folder that `read` wants, in one line.
        root: the folder inside the unpacked archives that holds the set ("" when there is none); a user may name that
            folder or the one above it.
        files: glob patterns, relative to it, of all that `read` looks at.
    """

    title: str
    home: str
    terms: str
    citation: str
    content: str
    layout: str
    files: tuple[str, ...]
    root: str = ""
    images: int | None = None
    classes: int | None = None
    query: int | None = None
    database: int | None = None
    image_bytes: int | None = None
    pixels: bool = False
    archives: tuple[Archive, ...] = ()
    by_hand: tuple[str, ...] = ()


@dataclass
class Reading:
    """What a reader found. `images` are n paths of encoded files, or uint8 (n, h, w, 3) for small images.

    `ids`, `labels`, `is_query`, `class_names` are as in `Catalog`; `facts` are JSON-serialisable remarks, "split" (how
    queries and database came about, in one line) among them. `crop_bottom` rows of pixels are to be removed at the
    bottom of every image file before anything else is done with it.
    """

    ids: list[str]
    labels: np.ndarray
    is_query: np.ndarray
    class_names: list[str]
    images: list[Path] | np.ndarray
    facts: dict = field(default_factory=dict)
    crop_bottom: int = 0

    def __post_init__(self):
        if len(self.images) != len(self.ids):
            raise ValueError(f"{len(self.images)} images, {len(self.ids)} ids")

    def only(self, rows: np.ndarray) -> "Reading":
        """The reading of these rows (int64 row numbers) alone, in their order."""
        images = self.images[rows] if isinstance(self.images, np.ndarray) else [self.images[i] for i in rows]
        return replace(
            self,
            ids=[self.ids[row] for row in rows],
            labels=self.labels[rows],
            is_query=self.is_query[rows],
            images=images,
            facts=dict(self.facts),
        )

    def catalog(self, name: str) -> Catalog:
        """The catalog of this reading under the data set's name."""
        return Catalog(name, self.ids, self.labels, self.is_query, self.class_names, self.facts)


COUNTS = ("images", "classes", "query", "database")


class ReaderOptions(BaseModel):
    """Base of every reader's `Options`. Fields named ``expect_*`` are counts that must be found exactly."""

    model_config = ConfigDict(extra="forbid")
    _key: str = PrivateAttr("datasets.<name>.options")

    def counts(self) -> dict[str, int]:
        """What of classes, images, query and database these options say must be found, by name."""
        stated = {what: getattr(self, f"expect_{what}", None) for what in COUNTS}
        return {what: count for what, count in stated.items() if count is not None}

    @property
    def key(self) -> str:
        """The block of params.yaml that these options come from, for messages."""
        return self._key


class Reader(Protocol):
    """The contract of a reader module.

    `read` gives paths of images without looking whether they are there: `preprocess` names all that are missing or
    damaged at once.
    """

    SOURCE: Source
    Options: type[ReaderOptions]

    def read(self, folder: Path, options: ReaderOptions, rng: np.random.Generator) -> Reading: ...


_NOT_READERS = {"base", "catalog", "lists", "pickles", "splits"}


def reader_names() -> list[str]:
    """The names of all readers there are, sorted."""
    package = importlib.import_module(__package__)
    return sorted({module.name for module in pkgutil.iter_modules(package.__path__)} - _NOT_READERS)


def load_reader(name: str) -> Reader:
    """The reader module of this name.

    Raises:
        UserError: there is no such reader; the message lists those there are.
    """
    if name not in (there := reader_names()):
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
    """Compare each found count with the option ``expect_<name>``, where that is not None.

    Raises:
        UserError: a count differs; the message names the key and value that would admit it.
    """
    expected = {what: getattr(options, f"expect_{what}") for what in found}
    wrong = [what for what in found if expected[what] not in (None, found[what])]
    if not wrong:
        return
    admit = ", ".join(f"{options.key}.expect_{what}: {found[what]}" for what in wrong)
    raise UserError(
        "; ".join(f"{found[what]} {what} found, {expected[what]} expected" for what in wrong),
        where=folder,
        mend=f"complete the folder, or admit another set than the official one in params.yaml: {admit}",
    )


def check_split(options: ReaderOptions, folder: Path, classes: int, is_query: np.ndarray) -> tuple[int, int]:
    """Compare classes, queries and database images with what `options` expect; returns the latter two.

    Args:
        is_query: bool (n,).

    Raises:
        UserError: a count differs; see `check_counts`.
    """
    query, database = int(is_query.sum()), int((~is_query).sum())
    check_counts(options, folder, classes=classes, query=query, database=database)
    return query, database


def one_hot(classes: np.ndarray, count: int) -> np.ndarray:
    """bool (n, count) with one True a row, from int class numbers (n,)."""
    return np.asarray(classes)[:, None] == np.arange(count)
