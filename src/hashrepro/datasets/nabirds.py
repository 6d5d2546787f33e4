"""NABirds: North American birds in 555 visual categories (species, some by sex, age or plumage), official split.

Van Horn et al. 2015, "Building a bird recognition app and large scale dataset with citizen scientists". As in SEMICON
(ECCV 2022), the official test set gives the queries and the official training set is the database, both in the order
of images.txt, which is by random identifiers. The files are those of CUB-200-2011. classes.txt has all 1,011 nodes
of a tree of birds; only the 555 that images carry are classes here. The tree itself, hierarchy.txt, is not read.
"""

from pathlib import Path

import numpy as np
from pydantic import Field

from hashrepro.datasets.base import Archive, ReaderOptions, Reading, Source, check_split, located, one_hot
from hashrepro.datasets.lists import check_per_class, read_annotation, whole_number

_LAYOUT = (
    "the folder nabirds (or the one above it): images.txt, image_class_labels.txt, train_test_split.txt, "
    "classes.txt, images/<class number>/<name>.jpg"
)
SOURCE = Source(
    title="NABirds",
    home="https://dl.allaboutbirds.org/nabirds",
    terms="a form with terms of use comes before the download; the images must not be passed on",
    citation="Van Horn et al. 2015, Building a Bird Recognition App and Large Scale Dataset with Citizen Scientists",
    content="photographs of North American birds, one species, or sex, age or plumage of a species, each",
    images=48_562,
    classes=555,
    query=24_633,
    database=23_929,
    image_bytes=10_000_000_000,  # about
    archives=(
        Archive(
            name="nabirds.tar.gz",
            digest="md5:df21a9e4db349a14e2b08adfd45873bd",
            by_hand="https://dl.allaboutbirds.org/nabirds gives it after its form",
        ),
    ),
    by_hand=(
        "Open https://dl.allaboutbirds.org/nabirds, fill in the form, accept the terms of use, and download "
        "nabirds.tar.gz (about 10 GB).",
        "Put nabirds.tar.gz, not unpacked, into data/raw/NAME/, or name the folder that holds it in "
        "machine.archives of params.yaml.",
        "Or unpack it yourself (tar -xzf nabirds.tar.gz) and set datasets.NAME.folder in params.yaml to the folder "
        "nabirds/, which then holds images/, images.txt, image_class_labels.txt, train_test_split.txt and "
        "classes.txt.",
    ),
    root="nabirds",
    layout=_LAYOUT,
    files=("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt", "images/*/*"),
)


class Options(ReaderOptions):
    """The official counts; another set in the same layout states its own."""

    expect_classes: int = Field(555, description="classes that images must carry")
    expect_query: int = Field(24_633, description="images that the test set must have")
    expect_database: int = Field(23_929, description="images that the training set must have")


def read(folder: Path, options: Options, rng: np.random.Generator) -> Reading:
    """Read the annotation; ids are paths relative to images/. The split is official: `rng` is not used.

    Classes are those that images carry, in ascending order of their numbers in classes.txt.

    Raises:
        UserError: an annotation file is missing, a line is malformed, or the counts are not those expected.
    """
    folder = located(Path(folder), SOURCE.root)
    found = read_annotation(folder, _LAYOUT)
    numbers = [whole_number(key, folder / "classes.txt", line) for key, (_, line) in found.classes.items()]
    ascending = np.argsort(numbers, kind="stable")
    carried = ascending[np.isin(ascending, found.rows_of_classes)]
    column = np.zeros(len(numbers), dtype=np.int64)
    column[carried] = np.arange(len(carried))
    labels, is_query = column[found.rows_of_classes], found.is_query
    names = [name for name, _ in found.classes.values()]
    class_names = [names[row] for row in carried]
    query, database = check_split(options, folder, len(class_names), is_query)
    if (query, database) == (SOURCE.query, SOURCE.database):
        check_per_class(labels[~is_query], class_names, 4, 60, "database images", folder)
    images = folder / "images"
    return Reading(
        ids=found.names,
        labels=one_hot(labels, len(class_names)),
        is_query=is_query,
        class_names=class_names,
        images=[images / name for name in found.names],
        facts={"split": "official test set, official training set"},
    )
