"""Which images are queries: splits that are drawn or given by lists, and the digests that guard the drawn ones.

Rows are int64 numbers of images in the order of the annotation; a split is (query rows, database rows). A draw takes
nothing but permutations from its generator. NumPy may change what a generator gives from one release to the next:
splits of the papers' sets that can be known without their files stand in splits.csv as digests, and `check_recorded`
compares.
"""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
from pydantic import Field

from hashrepro.datasets.base import ReaderOptions, Reading
from hashrepro.datasets.lists import read_lines
from hashrepro.errors import UserError

Split = tuple[np.ndarray, np.ndarray]


def draw(count: int, num_query: int, rng: np.random.Generator) -> Split:
    """`num_query` of `count` rows, in the order drawn, and the others, ascending.

    Raises:
        ValueError: no query or no database row would be left.
    """
    if not 0 < num_query < count:
        raise ValueError(f"{num_query} queries cannot be drawn from {count} images and leave a database")
    order = rng.permutation(count)
    return order[:num_query], np.sort(order[num_query:])


def draw_per_class(
    labels: np.ndarray, class_names: Sequence[str], per_class: int, rng: np.random.Generator
) -> Split:
    """Class by class in the order of columns: `per_class` of the images that carry the label and are not drawn yet.

    Args:
        labels: bool (n, C).

    Returns:
        C * per_class query rows, class-major, each class in the order drawn; the other rows, ascending.

    Raises:
        ValueError: a class has too few images, or none is left for the database.
    """
    drawn = np.zeros(len(labels), dtype=bool)
    query = []
    for name, column in zip(class_names, labels.T, strict=True):
        left = np.flatnonzero(column & ~drawn)
        if len(left) < per_class:
            raise ValueError(f"class {name!r} has {len(left)} images to draw {per_class} queries from")
        query.append(rng.permutation(left)[:per_class])
        drawn[query[-1]] = True
    if drawn.all():
        raise ValueError("every image would be a query")
    return np.concatenate(query), np.flatnonzero(~drawn)


def draw_same_positions(classes: np.ndarray, num_query: int, rng: np.random.Generator) -> Split:
    """One permutation of the positions within a class serves every class; its first positions are the queries.

    Args:
        classes: int (n,), class numbers 0..C-1, every class as often.

    Returns:
        `num_query` query rows, class-major, each class in the order drawn; the others, class-major and ascending.

    Raises:
        ValueError: the classes differ in size, or `num_query` does not divide into them.
    """
    sizes = np.bincount(classes)
    per_class, rest = divmod(num_query, len(sizes))
    if rest or not 0 < per_class < sizes.min() or sizes.min() != sizes.max():
        raise ValueError(
            f"{num_query} queries cannot be drawn evenly from classes of {sizes.tolist()} images"
        )
    by_class = np.argsort(classes, kind="stable").reshape(len(sizes), -1)
    order = rng.permutation(by_class.shape[1])
    query, database = order[:per_class], np.sort(order[per_class:])
    return by_class[:, query].ravel(), by_class[:, database].ravel()


class ListOptions(ReaderOptions):
    """A split that lists may give; the reader adds `split`, which says whether they do. See `from_lists`."""

    query_list: str | None = Field(
        None,
        description="split: files: text file with the name of a query image a line; seen from the set's folder",
    )
    database_list: str | None = Field(
        None, description="split: files: the same for the database; without it, all other images"
    )
    expect_query: int | None = Field(None, description="queries that must be found; null: as drawn or listed")
    expect_database: int | None = Field(
        None, description="database images that must be found; null: as drawn or listed"
    )


class OwnOptions(ReaderOptions):
    """How queries are drawn from a user's own images."""

    query_per_class: int | None = Field(
        None, ge=1, description="queries drawn from each class (default: 10); the others are the database"
    )
    num_query: int | None = Field(
        None, ge=1, description="queries drawn from all images alike, in place of `query_per_class`"
    )


def draw_own(
    labels: np.ndarray, class_names: Sequence[str], options: OwnOptions, rng: np.random.Generator
) -> tuple[Split, str]:
    """The split of a user's own images (labels bool (n, C)) that `options` ask for, and a remark in one line.

    Raises:
        UserError: both ways of drawing are asked for, or there are too few images; a class is named.
    """
    if options.num_query and options.query_per_class:
        raise UserError(
            "num_query and query_per_class exclude each other", where=options.key, mend="remove one of them"
        )
    if options.num_query:
        try:
            split = draw(len(labels), options.num_query, rng)
        except ValueError as error:
            mend = f"choose a number from 1 to {len(labels) - 1}"
            raise UserError(str(error), where=f"{options.key}.num_query", mend=mend) from error
        lost = len(_unanswerable(labels, split))
        return split, f"{options.num_query} queries drawn" + (
            f", {lost} of them without a label in common with any database image" if lost else ""
        )

    per_class = options.query_per_class or 10
    key, sizes = f"{options.key}.query_per_class", labels.sum(axis=0)
    if sizes.min() <= per_class:
        few = np.flatnonzero(sizes <= per_class)
        raise UserError(
            f"class {class_names[few[0]]!r} has {sizes[few[0]]} images; {per_class} queries and one image for the "
            f"database make {per_class + 1} ({len(few)} of {len(sizes)} classes have fewer)",
            where=key,
            mend=f"give them more images, leave them out, lower {key}, or set {options.key}.num_query instead",
        )
    try:
        return draw_per_class(labels, class_names, per_class, rng), f"{per_class} queries of each class drawn"
    except ValueError as error:
        mend = f"lower {key}, or set {options.key}.num_query instead"
        raise UserError(str(error), where=key, mend=mend) from error


def check_answerable(labels: np.ndarray, class_names: Sequence[str], split: Split, where: object) -> None:
    """See to it that in a split given by a user every query shares a label with some database image.

    Raises:
        UserError: there is no query, no database image, or a query that would score 0 whatever its code.
    """
    mend = "move an image of such a class to the database, or remove its queries"
    for part, rows in zip(("query", "database"), split, strict=True):
        if not len(rows):
            raise UserError(
                f"there is no {part} image", where=where, mend="give the set images of both kinds"
            )
    lost = _unanswerable(labels, split)
    if len(lost):
        names = ", ".join(repr(class_names[c]) for c in np.flatnonzero(labels[lost[0]]))
        raise UserError(
            f"{len(lost)} queries share no label with any database image (the first: {names})",
            where=where,
            mend=mend,
        )


def _unanswerable(labels: np.ndarray, split: Split) -> np.ndarray:
    """The query rows that share no label with any database row."""
    query, database = split
    return query[~(labels[query] & labels[database].any(axis=0)).any(axis=1)]


def uses_lists(options: ListOptions) -> bool:
    """Whether `options` ask for a split by lists.

    Raises:
        UserError: a list is missing, or given to a split that does not use it.
    """
    wanted = options.split == "files"
    if wanted and options.query_list is None:
        raise UserError("split: files needs a list", where=options.key, mend=f"set {options.key}.query_list")
    if not wanted and (options.query_list or options.database_list):
        mend = f"set {options.key}.split: files, or remove the list"
        raise UserError(f"split: {options.split} uses no list", where=options.key, mend=mend)
    return wanted


def from_lists(
    names: Sequence[str], folder: Path, options: ListOptions, references: Mapping[str, str]
) -> tuple[Split, str]:
    """The split of the files options.query_list and options.database_list, which have one image a line.

    Args:
        names: paths of the images, row by row; an image is found by its file name, whatever folder the list names.
        folder: what a list's relative path is seen from.
        references: SHA-256 of a known list (with LF line ends) -> what it is.

    Returns:
        the rows, in the order of the lists (no database list: all other rows, ascending), and a remark in one line.

    Raises:
        UserError: a list is missing; a line names no image, several, or one named before.
    """
    rows: dict[str, int | None] = {}
    for row, name in enumerate(names):
        name = name.rpartition("/")[2]
        rows[name] = None if name in rows else row
    seen: dict[int, str] = {}
    parts, remarks = [], []
    for what, listed in (("queries", options.query_list), ("database", options.database_list)):
        if listed is None:
            continue
        path = Path(folder, Path(listed).expanduser())
        lines = read_lines(path, "a text file with one image name a line")
        parts.append(_rows(path, lines, rows, seen))
        identity = hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
        remarks.append(
            f"{what} from {path.name} ({references.get(identity, f'a list of yours, SHA-256 {identity}')})"
        )
    if len(parts) < 2:
        parts.append(np.setdiff1d(np.arange(len(names)), parts[0]))
        remarks.append("all other images are the database")
    if not (len(parts[0]) and len(parts[1])):
        problem = f"the lists give {len(parts[0])} queries and {len(parts[1])} database images"
        raise UserError(problem, where=options.key, mend="name lists that leave some of either")
    return (parts[0], parts[1]), ", ".join(remarks)


def _rows(path: Path, lines: list[str], rows: dict[str, int | None], seen: dict[int, str]) -> np.ndarray:
    found = np.empty(len(lines), dtype=np.int64)
    for i, line in enumerate(lines):
        where = f"{path}:{i + 1}"
        row = rows.get(line.replace("\\", "/").rpartition("/")[2], -1)
        if row is None or row < 0:
            problem = "is the name of several images" if row is None else f"is none of the {len(rows)} images"
            raise UserError(f"{line!r} {problem}", where=where, mend="correct or remove the line")
        if row in seen:
            mend = "remove one of the two lines"
            raise UserError(f"{line!r} is listed before: {seen[row]}", where=where, mend=mend)
        seen[row] = where
        found[i] = row
    return found


def digest(rows: np.ndarray) -> str:
    """SHA-256 (hexadecimal) of row numbers as little-endian int64."""
    return hashlib.sha256(np.ascontiguousarray(rows, dtype="<i8").tobytes()).hexdigest()


def digests(query: np.ndarray, database: np.ndarray) -> dict[str, str]:
    """What a reader that draws keeps of its split under ``facts["rows"]``, for `check_recorded`."""
    return {"query": digest(query), "database": digest(database)}


def recorded() -> list[dict[str, str]]:
    """The rows of splits.csv.

    dataset (its name in params.yaml), reader, options ("key=value key=value": those the split depends on), seed,
    n_query, n_database, query_sha256, database_sha256.
    """
    text = resources.files(__package__).joinpath("splits.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def check_recorded(reader_name: str, options: ReaderOptions, seed: int, reading: Reading) -> None:
    """Compare a reading's split with the recorded one, if there is one of that data set, options and seed.

    Raises:
        UserError: the split is another one: this version of NumPy draws other numbers.
    """
    for row in recorded():
        settings = dict(pair.split("=") for pair in row["options"].split())
        if (
            (row["reader"], row["seed"]) == (reader_name, str(seed))
            and all(str(getattr(options, key, None)) == value for key, value in settings.items())
            and reading.facts["rows"] != {"query": row["query_sha256"], "database": row["database_sha256"]}
        ):
            raise UserError(
                f"NumPy {np.__version__} draws another split of {row['dataset']} than the recorded one",
                where="hashrepro/datasets/splits.csv",
                mend="install the locked version: pip install --requirement requirements.lock",
            )
