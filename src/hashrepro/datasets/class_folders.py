"""Your own images in a folder of class folders: the queries are drawn, or given by folders of their own.

A class is a folder, its name is the class's name, and every image file below it belongs to it, however deep. Classes
and, within a class, images are sorted by the bytes of their names, whatever the locale; that is the order of the rows.
"""

import os
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from pydantic import Field

from hashrepro.datasets.base import Reading, Source, one_hot
from hashrepro.datasets.splits import OwnOptions, check_answerable, draw_own
from hashrepro.errors import UserError

_SPLIT_NAMES = {"database", "gallery", "query", "test", "train", "val", "valid", "validation"}
SOURCE = Source(
    title="your folder of class folders",
    home="docs/datasets.md",
    terms="your own",
    citation="none: your own images",
    content="your own images, each in the folder of its class",
    layout="a folder with a folder for every class, <class>/<image>; or with two such folders, <query>/<class>/<image> "
    "and <database>/<class>/<image>, named by the options query and database",
    files=("*/**/*",),
)


class Options(OwnOptions):
    """Where queries come from."""

    query: str | None = Field(
        None, description="subfolder with the queries' class folders, when queries are not to be drawn"
    )
    database: str | None = Field(None, description="subfolder with the database's class folders, likewise")


def _extensions() -> set[str]:
    """Lower-case endings of the files that Pillow can open."""
    return {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}


def _in_bytes(name: str) -> bytes:
    """What names are sorted by.

    Raises:
        UserError: the name is not UTF-8, so that no catalog could keep it.
    """
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise UserError(
            "the name is not UTF-8", where=repr(os.fsencode(name)), mend="rename the file or folder"
        ) from None


def _unreadable(error: OSError) -> None:
    raise UserError(
        f"the folder cannot be read: {error.strerror}",
        where=error.filename,
        mend="correct its path or permissions",
    ) from error


def _hidden_by_link(path: str) -> UserError:
    problem = "a link to a folder, this deep: changes behind it would not be noticed"
    return UserError(problem, where=path, mend="put the folder itself there, or link to the folder above")


def _images_below(folder: Path, extensions: set[str]) -> tuple[list[Path], int]:
    """(image files at any depth, sorted; how many other files there are). Hidden files and folders do not count."""
    images, others = [], 0
    for place, folders, files in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if os.path.islink(path := os.path.join(place, name)):
                raise _hidden_by_link(path)
        shown = [Path(place, name) for name in files if not name.startswith(".")]
        images += [path for path in shown if path.suffix.lower() in extensions]
        others += sum(path.suffix.lower() not in extensions for path in shown)
    return sorted(images, key=lambda path: _in_bytes(path.relative_to(folder).as_posix())), others


def _classes_of(folder: Path, links: bool) -> tuple[dict[str, list[Path]], int]:
    """({class name: its images}, sorted; how many files below `folder` are not images).

    Args:
        links: whether a class folder may be a link.
    """
    classes, others, extensions = {}, 0, _extensions()
    try:
        entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except OSError as error:
        _unreadable(error)
    for entry in sorted(entries, key=lambda entry: _in_bytes(entry.name)):
        if not entry.is_dir():
            others += 1
            continue
        if entry.is_symlink() and not links:
            raise _hidden_by_link(entry.path)
        images, rest = _images_below(Path(entry.path), extensions)
        if not images:
            problem = f"the class folder has no image file ({rest} files that Pillow does not know by their endings)"
            raise UserError(problem, where=entry.path, mend="fill it or remove it")
        classes[entry.name] = images
        others += rest
    if not classes:
        raise UserError("there is no class folder", where=folder, mend=f"expected: {SOURCE.layout}")
    return classes, others


def _part(folder: Path, options: Options, key: str) -> Path:
    name = getattr(options, key)
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or ".." in parts or Path(name).is_absolute():
        raise UserError(
            f"{name!r} is not a folder inside the data set's", where=f"{options.key}.{key}", mend="name one"
        )
    return folder.joinpath(*parts)


def read(folder: Path, options: Options, rng: np.random.Generator) -> Reading:
    """Read names of folders and files; ids are paths relative to `folder`. `rng` draws the queries, if they are drawn.

    Where folders give the split, a class may have database images alone: they are what queries should not find. A class
    with queries needs database images as well.

    Raises:
        UserError: there are no classes, one class, too few images in one, or a folder cannot be read.
    """
    folder = Path(folder)
    given = options.query is not None
    if given != (options.database is not None):
        problem = "query and database name two folders of class folders; one of them is missing"
        raise UserError(problem, where=options.key, mend="set both, or neither: then queries are drawn")
    if given and (options.num_query or options.query_per_class):
        problem = "queries are given by folders, and yet a number of them is to be drawn"
        raise UserError(problem, where=options.key, mend="remove num_query and query_per_class")
    roots = [_part(folder, options, "query"), _part(folder, options, "database")] if given else [folder]
    if given and (roots[0].is_relative_to(roots[1]) or roots[1].is_relative_to(roots[0])):
        problem = "one of the folders of queries and of database images lies in the other"
        raise UserError(problem, where=options.key, mend="name two folders beside each other")

    parts = [_classes_of(root, links=not given) for root in roots]
    class_names = sorted({name for classes, _ in parts for name in classes}, key=_in_bytes)
    if not given and all(name.lower() in _SPLIT_NAMES for name in class_names):
        problem = f"the folders {', '.join(class_names)} look like parts of a split, not like classes"
        # shown to be copied: the queries' folder must not be the one called database
        asked = [name for name in class_names if name.lower() in ("query", "test")]
        rest = [name for name in class_names if name not in asked]
        query, database = (asked or rest)[0], (rest or asked)[-1]
        mend = f"for example, {options.key}.query: {query}, {options.key}.database: {database}"
        raise UserError(problem, where=folder, mend=mend)
    if len(class_names) < 2:
        problem = f"there is one class only: {class_names[0]!r}"
        raise UserError(problem, where=roots[0], mend=f"expected: {SOURCE.layout}")
    images = [path for classes, _ in parts for files in classes.values() for path in files]
    numbers = {name: c for c, name in enumerate(class_names)}
    labels = one_hot(
        [numbers[name] for classes, _ in parts for name, files in classes.items() for _ in files],
        len(class_names),
    )
    if given:
        count = sum(len(files) for files in parts[0][0].values())
        split = np.arange(count), np.arange(count, len(images))
        remark = f"queries: the folder {options.query}; database: the folder {options.database}"
        check_answerable(labels, class_names, split, folder)
    else:
        split, remark = draw_own(labels, class_names, options, rng)
    is_query = np.zeros(len(images), dtype=bool)
    is_query[split[0]] = True
    return Reading(
        ids=[path.relative_to(folder).as_posix() for path in images],
        labels=labels,
        is_query=is_query,
        class_names=class_names,
        images=images,
        facts={"split": remark, "other_files": sum(others for _, others in parts)},
    )
