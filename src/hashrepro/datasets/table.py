"""Your own images, named and labelled by a table: a CSV or TSV file with a row an image, one or several labels each.

Cells are read as text, so that labels such as NA or 007 stay what they are; blanks around them do not count. Rows keep
the order of the table; classes are sorted by the bytes of their names.
"""

import re
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from pydantic import Field

from hashrepro.datasets.base import Reading, Source
from hashrepro.datasets.lists import is_inner
from hashrepro.datasets.splits import OwnOptions, check_answerable, draw_own
from hashrepro.errors import UserError

_SPLITS = {"query": True, "test": True, "database": False, "train": False}
SOURCE = Source(
    title="your table",
    home="docs/datasets.md",
    terms="your own",
    citation="none: your own images",
    content="your own images, each with the labels that a table gives it",
    layout="a folder with a CSV file (.tsv: separated by tabs) whose first line names its columns, and the images of "
    "its rows anywhere below that folder",
    files=("**/*",),
)


class Options(OwnOptions):
    """Which columns of which table say what."""

    file: str = Field("labels.csv", description="the table, seen from the data set's folder")
    path: str = Field(
        "path",
        description="column with the images' paths, seen from the data set's folder (/ or \\ between folders)",
    )
    label: str = Field("label", description="column with the labels, unless `label_columns` is given")
    separator: str | None = Field(
        None,
        min_length=1,
        description="what stands between several labels in a cell, for example ; or |; null: a cell is one label",
    )
    label_columns: list[str] | None = Field(
        None, min_length=2, description="columns with 0 or 1, one a label, in place of `label`"
    )
    split: str | None = Field(
        "split",
        description="column that says query (or test) or database (or train) of each row; without such a column, or "
        "with null, queries are drawn",
    )
    drop_unlabelled: bool = Field(
        False, description="several labels an image: leave out rows without any; false: they are an error"
    )


def _read(path: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """(cells as text, named by the first line; int line number of each row). Blank lines are left out."""
    separator = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    try:
        cells = pd.read_csv(  # header=None: with a header, a row of too many cells would shift its columns
            path,
            sep=separator,
            header=None,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            encoding="utf-8-sig",
        )
    except FileNotFoundError:
        raise UserError("there is no table", where=path, mend=f"expected: {SOURCE.layout}") from None
    except (OSError, ValueError) as error:  # pandas' own and UnicodeDecodeError are ValueErrors
        mend = "save it as UTF-8, each row with as many cells as the first"
        line = re.search(r"in line (\d+)", str(error))
        where = f"{path}:{line[1]}" if line else path
        raise UserError(f"the table cannot be read: {str(error).strip()}", where=where, mend=mend) from error
    ends = 1 + cells.apply(lambda column: column.str.count("\n")).sum(axis=1).to_numpy()
    lines = np.concatenate([[1], 1 + np.cumsum(ends)[:-1]])
    cells = cells.apply(lambda column: column.str.strip())
    cells.columns = pd.Index(cells.iloc[0])
    filled = (cells != "").any(axis=1).to_numpy() & (np.arange(len(cells)) > 0)
    if not filled.any():
        raise UserError("the table has no rows", where=path, mend="write a row for every image")
    return cells[filled], lines[filled]


def _column(cells: pd.DataFrame, name: str, path: Path, key: str) -> list[str]:
    times = list(cells.columns).count(name)
    if times != 1:
        problem = f"there is no column {name!r}" if not times else f"{times} columns are called {name!r}"
        known = ", ".join(cells.columns)
        raise UserError(problem, where=f"{path}:1", mend=f"set {key} to one of: {known}")
    return cells[name].tolist()


def _paths(column: list[str], path: Path, lines: np.ndarray) -> list[str]:
    """The images' paths with / between folders, checked to be distinct and to stay below the folder."""
    seen: dict[str, int] = {}
    for name, line in zip(column, lines.tolist(), strict=True):
        if not is_inner(name):
            problem = f"{name!r} is no path of an image below the data set's folder" if name else "no path"
            mend = "write it as seen from that folder; images elsewhere: choose a folder above them all"
            raise UserError(problem, where=f"{path}:{line}", mend=mend)
        inner = PurePosixPath(name.replace("\\", "/")).as_posix()
        if (known := seen.setdefault(inner, line)) != line:
            problem = f"image {name!r} stands in line {known}, too"
            raise UserError(problem, where=f"{path}:{line}", mend="remove one of the rows")
    return list(seen)


def _labels(
    cells: pd.DataFrame, options: Options, path: Path, lines: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """(class names, bool (rows, classes))."""
    if options.label_columns:
        if options.separator:
            problem = "separator is for a column of labels, label_columns have 0 or 1"
            raise UserError(problem, where=options.key, mend="remove one of the two")
        if len(set(options.label_columns)) < len(options.label_columns):
            key = f"{options.key}.label_columns"
            raise UserError("a column is named twice", where=key, mend="name each once")
        flags = []
        for name in options.label_columns:
            column = _column(cells, name, path, f"{options.key}.label_columns")
            for value, line in zip(column, lines.tolist(), strict=True):
                if value not in ("0", "1"):
                    problem = f"column {name!r} has {value!r} where 0 or 1 should be"
                    raise UserError(problem, where=f"{path}:{line}", mend="correct the cell")
            flags.append([value == "1" for value in column])
        return options.label_columns, np.array(flags).T
    column = _column(cells, options.label, path, f"{options.key}.label")
    if options.separator:
        sets = [{part.strip() for part in cell.split(options.separator)} - {""} for cell in column]
    else:
        sets = [{cell} - {""} for cell in column]
    names = sorted(set().union(*sets), key=str.encode)
    numbers = {name: c for c, name in enumerate(names)}
    labels = np.zeros((len(sets), len(names)), dtype=bool)
    for row, labelled in enumerate(sets):
        labels[row, [numbers[name] for name in labelled]] = True
    return names, labels


def _unlabelled(labels: np.ndarray, options: Options, path: Path, lines: np.ndarray) -> np.ndarray:
    """bool (rows,): the rows to leave out because they have no label."""
    empty = ~labels.any(axis=1)
    several = bool(options.separator or options.label_columns)
    if empty.any() and not (several and options.drop_unlabelled):
        mend = f", or set {options.key}.drop_unlabelled: true" if several else ""
        raise UserError(
            f"{empty.sum()} rows have no label, the first here",
            where=f"{path}:{lines[empty.argmax()]}",
            mend=f"label or remove them{mend}",
        )
    return empty


def _given_split(cells: pd.DataFrame, options: Options, path: Path, lines: np.ndarray) -> np.ndarray | None:
    """bool (rows,): what the column of the split says; None when queries are to be drawn."""
    explicit = "split" in options.model_fields_set
    if options.split is None or (not explicit and options.split not in cells.columns):
        return None
    key = f"{options.key}.split"
    column = _column(cells, options.split, path, key)
    if options.num_query or options.query_per_class:
        problem = f"column {options.split!r} says which rows are queries, and yet a number is to be drawn"
        mend = f"remove num_query and query_per_class, or set {key}: null"
        raise UserError(problem, where=options.key, mend=mend)
    for value, line in zip(column, lines.tolist(), strict=True):
        if value.lower() not in _SPLITS:
            problem = f"column {options.split!r} has {value!r}, none of {', '.join(_SPLITS)}"
            mend = f"correct the cell, or set {key}: null to have queries drawn"
            raise UserError(problem, where=f"{path}:{line}", mend=mend)
    return np.array([_SPLITS[value.lower()] for value in column], dtype=bool)


def read(folder: Path, options: Options, rng: np.random.Generator) -> Reading:
    """Read the table; ids are the images' paths. `rng` draws the queries, if no column gives them.

    Raises:
        UserError: the table, a column or a cell is not what it should be (file:line), a path leaves the folder or
            stands twice, or there are too few classes or images.
    """
    folder = Path(folder)
    if not is_inner(options.file):
        problem = f"{options.file!r} is no file in the data set's folder, where its changes would be noticed"
        raise UserError(problem, where=f"{options.key}.file", mend="put it into that folder")
    path = folder / options.file
    cells, lines = _read(path)
    ids = _paths(_column(cells, options.path, path, f"{options.key}.path"), path, lines)
    class_names, labels = _labels(cells, options, path, lines)
    empty = _unlabelled(labels, options, path, lines)
    is_query = _given_split(cells, options, path, lines)
    kept = np.flatnonzero(~empty)
    labels, ids = labels[kept], [ids[row] for row in kept]
    if len(class_names) < 2:
        raise UserError(
            f"there are {len(class_names)} classes", where=path, mend="a search needs two or more"
        )
    if is_query is None:
        split, remark = draw_own(labels, class_names, options, rng)
        is_query = np.zeros(len(ids), dtype=bool)
        is_query[split[0]] = True
    else:
        is_query = is_query[kept]
        split = np.flatnonzero(is_query), np.flatnonzero(~is_query)
        remark = f"given by the table's column {options.split}"
        check_answerable(labels, class_names, split, path)
    return Reading(
        ids=ids,
        labels=labels,
        is_query=is_query,
        class_names=class_names,
        images=[folder / name for name in ids],
        facts={"split": remark, "unlabelled": f"{empty.sum()} rows left out"},
    )
