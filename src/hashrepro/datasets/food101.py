"""Food-101: 101 dishes, 1,000 images each, with the official split.

Bossard, Guillaumin and Van Gool 2014, "Food-101 - Mining Discriminative Components with Random Forests". As in SEMICON
(ECCV 2022), the official test set, reviewed by people, gives the queries, and the official training set, whose labels
were left noisy on purpose, is the database, both in the order of their lists.
"""

import itertools
from pathlib import Path

import numpy as np
from pydantic import Field

from hashrepro.datasets.base import Archive, ReaderOptions, Reading, Source, check_split, located, one_hot
from hashrepro.datasets.lists import (
    check_distinct,
    check_per_class,
    inner_path,
    known,
    malformed,
    read_listed,
    read_names,
)

_LAYOUT = (
    "the folder food-101 (or the one above it): meta/labels.txt, meta/train.txt, meta/test.txt, "
    "images/<class>/<id>.jpg"
)
SOURCE = Source(
    title="Food-101",
    home="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
    terms="images from Foodspotting, which belong to their owners there; for scientific fair use only",
    citation="Bossard, Guillaumin and Van Gool 2014, Food-101 - Mining Discriminative Components with Random Forests",
    content="photographs of food, at most 512 pixels long, one dish each",
    images=101_000,
    classes=101,
    query=25_250,
    database=75_750,
    image_bytes=5_000_000_000,  # about: the archive's size, most of which is JPEG
    archives=(
        Archive(
            name="food-101.tar.gz",
            urls=(
                "https://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
                "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
            ),
            size=4_996_278_331,
            digest="md5:85eeb15f3717b99a5da872d97d918f87",
        ),
    ),
    root="food-101",
    layout=_LAYOUT,
    files=("meta/labels.txt", "meta/train.txt", "meta/test.txt", "images/*/*"),
)


class Options(ReaderOptions):
    """The official counts; another set in the same layout states its own."""

    expect_classes: int = Field(101, description="classes that labels.txt must have")
    expect_query: int = Field(25_250, description="images that the test list must have")
    expect_database: int = Field(75_750, description="images that the training list must have")


def _class(name: str, rest: str, numbers: dict[str, int], path: Path, line: int) -> int:
    """The class number of the image `name`, a path ``class/id``; there must be nothing behind it."""
    folder, _, image = name.partition("/")
    if not image or rest:
        raise malformed(path, line, f"not a line 'class/id': {f'{name} {rest}'.strip()!r}")
    return known(folder, numbers, path, line)


def read(folder: Path, options: Options, rng: np.random.Generator) -> Reading:
    """Read the lists, queries first; ids are paths relative to images/. The split is official: `rng` is not used.

    Raises:
        UserError: a list is missing, a line is malformed, an image stands twice, or the counts are not those expected.
    """
    folder = located(Path(folder), SOURCE.root)
    names, train, test = (folder / "meta" / f"{name}.txt" for name in ("labels", "train", "test"))
    class_names = read_names(names, _LAYOUT)
    class_folders = [name.lower().replace(" ", "_") for name in class_names]
    check_distinct(zip(class_folders, itertools.count(1)), names)
    numbers = {name: c for c, name in enumerate(class_folders)}
    listed = read_listed((test, train), _LAYOUT)
    ids = [inner_path(f"{name}.jpg", path, line) for name, (_, path, line) in listed.items()]
    labels = np.array(
        [_class(name, rest, numbers, path, line) for name, (rest, path, line) in listed.items()],
        dtype=np.int64,
    )
    is_query = np.array([path == test for _, path, _ in listed.values()], dtype=bool)
    query, database = check_split(options, folder, len(class_names), is_query)
    if (query, database) == (SOURCE.query, SOURCE.database):
        check_per_class(labels[is_query], class_names, 250, 250, "queries", test)
        check_per_class(labels[~is_query], class_names, 750, 750, "database images", train)
    images = folder / "images"
    return Reading(
        ids=ids,
        labels=one_hot(labels, len(class_names)),
        is_query=is_query,
        class_names=class_names,
        images=[images / name for name in ids],
        facts={"split": "official test set, official training set"},
    )
