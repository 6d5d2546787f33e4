"""The text files that annotations are kept in: lines with numbers, so that a malformed one can be named."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from hashrepro.errors import UserError

AGAIN = "fetch the file again"


def read_lines(path: Path, layout: str) -> list[str]:
    """The lines of a UTF-8 file, without their ends (LF or CRLF) and without surrounding blanks.

    Raises:
        UserError: there is no such file, or it is not text; `layout` says what is expected.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise UserError("a file of the data set is missing", where=path, mend=f"expected: {layout}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the file cannot be read as text: {error}", where=path, mend=AGAIN) from error
    return [line.strip() for line in (lines if lines[-1] else lines[:-1])]


def malformed(path: Path, number: int, problem: str) -> UserError:
    """The error for line `number` (from 1) of an annotation file."""
    return UserError(problem, where=f"{path}:{number}", mend=AGAIN)


def inner_path(name: str, path: Path, number: int) -> str:
    """`name`, an image's path in line `number` of the file `path`, checked to stay inside the data set's folder.

    Raises:
        UserError: it is absolute or climbs with "..".
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]:
        raise malformed(path, number, f"path {name!r} leaves the folder of the images")
    return name


def read_pairs(path: Path, layout: str) -> dict[str, tuple[str, int]]:
    """Lines ``key value`` -> {key: (value, line number)}, in the order of the file; the value may have blanks.

    Raises:
        UserError: the file is missing, a line is not of this form, or a key stands twice.
    """
    pairs: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(read_lines(path, layout), start=1):
        key, _, value = line.partition(" ")
        if not value.strip() or key in pairs:
            problem = f"key {key} stands twice" if key in pairs else f"not a line 'key value': {line!r}"
            raise malformed(path, number, problem)
        pairs[key] = (value.strip(), number)
    return pairs


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
    for value, number in pairs.values():
        if value not in admissible:
            raise malformed(path, number, f"value {value!r} is not one of {len(admissible)} known ones")
    return np.array([admissible[pairs[key][0]] for key in keys])
