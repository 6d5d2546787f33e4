"""The text files that annotations are kept in: lines with numbers, so that a malformed one can be named."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hashrepro.errors import UserError

AGAIN = "fetch the file again"


def read_lines(path: Path, layout: str) -> list[str]:
    """The lines of a UTF-8 file, without their ends (LF or CRLF), surrounding blanks and empty last lines.

    Raises:
        UserError: there is no such file, or it is not text; `layout` says what is expected.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n")]
    except FileNotFoundError:
        raise UserError("a file of the data set is missing", where=path, mend=f"expected: {layout}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the file cannot be read as text: {error}", where=path, mend=AGAIN) from error
    while lines and not lines[-1]:
        lines.pop()
    return lines


def malformed(path: Path, number: int, problem: str) -> UserError:
    """The error for line `number` (from 1) of an annotation file."""
    return UserError(problem, where=f"{path}:{number}", mend=AGAIN)


def is_inner(name: str) -> bool:
    """Whether a path, with / or \\ between folders, names something below the folder that it is seen from."""
    parts = name.replace("\\", "/").split("/")
    first = next((part for part in parts if part not in ("", ".")), "")
    return bool(parts[0] and first) and ".." not in parts and ":" not in first


def inner_path(name: str, path: Path, number: int) -> str:
    """`name`, an image's path in line `number` of the file `path`, checked to stay inside the data set's folder.

    Raises:
        UserError: it is empty, absolute, or climbs with "..".
    """
    if not is_inner(name):
        raise malformed(path, number, f"path {name!r} leaves the folder of the images")
    return name


def whole_number(value: str, path: Path, number: int) -> int:
    """`value`, from line `number` of the file `path`, as an int from 0 that fits into int64.

    Raises:
        UserError: it is anything but 1 to 18 digits.
    """
    if not (value.isascii() and value.isdecimal() and len(value) <= 18):
        raise malformed(path, number, f"{value!r} is not a whole number")
    return int(value)


def known(value: str, admissible: Mapping[str, int], path: Path, number: int) -> int:
    """The number that `admissible` gives for `value`, from line `number` of the file `path`.

    Raises:
        UserError: the value is not admissible.
    """
    if value not in admissible:
        raise malformed(path, number, f"value {value!r} is not one of {len(admissible)} known ones")
    return admissible[value]


def read_names(path: Path, layout: str) -> list[str]:
    """Lines that are one name each, which may have blanks: the names, in the order of the file.

    Raises:
        UserError: the file is missing, a line is empty, or a name stands twice.
    """
    names = read_lines(path, layout)
    check_distinct([(name, number) for number, name in enumerate(names, start=1)], path)
    return names


def check_distinct(names: Iterable[tuple[str, int]], path: Path) -> None:
    """Refuse a name that stands twice in the file `path`, and an empty one, given (name, line number) each.

    Raises:
        UserError: the second line is named, and the first in the sentence.
    """
    first: dict[str, int] = {}
    for name, number in names:
        if not name or name in first:
            problem = f"{name} stands twice: line {first[name]} has it, too" if name else "the name is empty"
            raise malformed(path, number, problem)
        first[name] = number


def read_listed(paths: Iterable[Path], layout: str) -> dict[str, tuple[str, Path, int]]:
    """Lines ``name rest`` of several lists, one list after another -> {name: (rest, file, line number)}.

    A name ends at the first blank; the rest may have blanks, or be missing ("").

    Raises:
        UserError: a file is missing, a line is empty, or a name stands twice, in one list or in two: an image
            that is both query and database would find itself.
    """
    listed: dict[str, tuple[str, Path, int]] = {}
    for path in paths:
        for number, line in enumerate(read_lines(path, layout), start=1):
            if not line:
                raise malformed(path, number, "not a line of the list: it is empty")
            name, *rest = line.split(maxsplit=1)
            if name in listed:
                _, other, first = listed[name]
                raise malformed(path, number, f"{name} stands twice: {other.name}:{first} has it, too")
            listed[name] = (rest[0] if rest else "", path, number)
    return listed


def check_per_class(
    classes: np.ndarray, names: Sequence[str], least: int, most: int, what: str, where: Path
) -> None:
    """Compare how many of `what` (a plural) each class has with the official set's `least` to `most`.

    Args:
        classes: int (n,), class numbers from 0, of the images that are counted.
        names: of the classes.

    Raises:
        UserError: the first class whose number lies outside is named. As the total is right, lines were changed.
    """
    counts = np.bincount(classes, minlength=len(names))
    wrong = np.flatnonzero((counts < least) | (counts > most))
    if len(wrong):
        official = f"{least}" if least == most else f"{least} to {most}"
        raise UserError(
            f"class {names[wrong[0]]!r} has {counts[wrong[0]]} {what}, and {official} in the official set; "
            f"{len(wrong)} of {len(names)} classes are off",
            where=where,
            mend="fetch the lists again: they were changed since",
        )


def read_pairs(path: Path, layout: str) -> dict[str, tuple[str, int]]:
    """Lines ``key value`` -> {key: (value, line number)}, in the order of the file; the value may have blanks.

    Raises:
        UserError: the file is missing, a line is not of this form, or a key stands twice.
    """
    listed = read_listed([path], layout)
    for key, (value, _, number) in listed.items():
        if not value:
            raise malformed(path, number, f"not a line 'key value': {key!r}")
    return {key: (value, number) for key, (value, _, number) in listed.items()}


def joined(path: Path, keys: Iterable[str], admissible: dict[str, int], layout: str) -> np.ndarray:
    """int64 (n,): for every key, the number that `admissible` gives for its value in this file of pairs.

    Raises:
        UserError: the file's keys are not the given ones, or a value is not admissible.
    """
    keys, pairs = list(keys), read_pairs(path, layout)
    if pairs.keys() != set(keys):
        other = min(pairs.keys() ^ set(keys))
        raise UserError(
            f"image {other} stands in only one of images.txt and {path.name}",
            where=path,
            mend="fetch both again",
        )
    numbers = {key: known(value, admissible, path, number) for key, (value, number) in pairs.items()}
    return np.array([numbers[key] for key in keys], dtype=np.int64)


@dataclass(frozen=True)
class Annotation:
    """The four files of CUB-200-2011's layout, joined on the image ids, in the order of images.txt.

    `names` are n paths relative to images/; `classes` is the content of classes.txt, {id: (name, line number)};
    `rows_of_classes` int64 (n,) says which line of it, from 0, an image belongs to; `is_query` is bool (n,).
    """

    names: list[str]
    classes: dict[str, tuple[str, int]]
    rows_of_classes: np.ndarray
    is_query: np.ndarray


def read_annotation(folder: Path, layout: str) -> Annotation:
    """Read images.txt, classes.txt, image_class_labels.txt and train_test_split.txt (1: training) of `folder`.

    Raises:
        UserError: a file is missing, a line is malformed, files disagree on the images, or an image stands twice.
    """
    classes = read_pairs(folder / "classes.txt", layout)
    listed = read_pairs(folder / "images.txt", layout)
    names = [inner_path(name, folder / "images.txt", number) for name, number in listed.values()]
    check_distinct(listed.values(), folder / "images.txt")
    lines = {key: line for line, key in enumerate(classes)}
    is_query = joined(folder / "train_test_split.txt", listed, {"1": False, "0": True}, layout).astype(bool)
    return Annotation(
        names, classes, joined(folder / "image_class_labels.txt", listed, lines, layout), is_query
    )
