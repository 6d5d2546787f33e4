"""Which images there are in files and folders, and which labels a table gives them."""

import csv
import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from hashrepro.errors import UserError


@dataclass(frozen=True)
class Found:
    """What is in some files and folders.

    Attributes:
        paths: absolute paths of the images, each once, sorted.
        others: how many other files there are.
        repeated: how many folders were met a second time, through links, and not entered again.
    """

    paths: list[str]
    others: int
    repeated: int


def find_images(places: Sequence[str | Path]) -> Found:
    """The images in files and, at any depth, in folders.

    In a folder, an image is a file whose ending says so; a file that is named itself is taken for one whatever its
    ending. Hidden files and folders are passed over. Links are followed; a folder that several of them lead to, as in
    a loop, is entered once.

    Raises:
        UserError: there is no such file or folder, it cannot be read, a name is not UTF-8, or there is no image.
    """
    Image.init()
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    images, entered, others, repeated = {}, set(), 0, 0
    for place in map(os.path.abspath, places):
        if os.path.isfile(place):
            images[utf8(place)] = None
            continue
        if not os.path.isdir(place):
            what = (
                "This is neither a file nor a folder." if os.path.lexists(place) else "There is no such file."
            )
            raise UserError(what, where=place, mend="give the path of an image or of a folder of images")
        for folder, folders, files in os.walk(place, onerror=_unreadable, followlinks=True):
            status = os.stat(folder)
            if (key := (status.st_dev, status.st_ino)) in entered:
                repeated += 1
                folders.clear()
                continue
            entered.add(key)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in files:
                if name.startswith("."):
                    continue
                if os.path.splitext(name)[1].lower() in endings:
                    images[utf8(os.path.join(folder, name))] = None
                else:
                    others += 1
    if not images:
        what = f"There is no image in {len(places)} places" + (
            f", only {others} other files." if others else "."
        )
        raise UserError(
            what, where=", ".join(map(str, places)), mend="give images, or folders that have some"
        )
    return Found(sorted(images, key=str.encode), others, repeated)


def utf8(path: str) -> str:
    """`path`, if it can be stored as text. UserError: it cannot."""
    try:
        path.encode()
    except UnicodeEncodeError:
        where = repr(os.fsencode(path))
        raise UserError("The name is not UTF-8.", where=where, mend="rename the file or folder") from None
    return path


def _unreadable(error: OSError) -> None:
    what = f"The folder cannot be read: {error.strerror}."
    raise UserError(what, where=error.filename, mend="correct its path or permissions") from error


def read_labels(table: str | Path, class_names: Sequence[str]) -> dict[str, list[int]]:
    """{absolute path: numbers of its classes} of a CSV file with the columns `path` and `labels`.

    Paths are absolute, or seen from the table's folder. Several labels in a cell are separated by ";"; an empty cell
    is an image whose labels are unknown.

    Raises:
        UserError: the table is missing or lacks a column, an image stands twice, or a label is none of `class_names`.
    """
    table = Path(table)
    numbers = {name: number for number, name in enumerate(class_names)}
    labels: dict[str, list[int]] = {}
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if missing := {"path", "labels"} - set(reader.fieldnames or ()):
                what = f"The table has no column {sorted(missing)[0]!r}."
                raise UserError(what, where=f"{table}:1", mend="begin it with the line: path,labels")
            for row in reader:
                where = f"{table}:{reader.line_num}"
                path = os.path.abspath(table.parent / (row["path"] or "").strip())
                if path in labels:
                    raise UserError(
                        "This image stands in the table twice.", where=where, mend="remove one row"
                    )
                names = [name.strip() for name in (row["labels"] or "").split(";")]
                labels[path] = sorted({_number(name, numbers, where) for name in names if name})
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        mend = "give a CSV file in UTF-8 with the columns path and labels"
        raise UserError(f"The table cannot be read: {error}", where=table, mend=mend) from error
    return labels


def _number(name: str, numbers: dict[str, int], where: str) -> int:
    if name not in numbers:
        close = difflib.get_close_matches(name, numbers, n=1)
        suggestion = f" Did you mean {close[0]!r}?" if close else ""
        what = f"{name!r} is not one of the {len(numbers)} classes of this index.{suggestion}"
        raise UserError(what, where=where, mend="correct the label, or leave the cell empty: unknown")
    return numbers[name]
