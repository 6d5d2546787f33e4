"""CUB-200-2011, and any set in its layout: birds, with the official split.

Wah et al. 2011, "The Caltech-UCSD Birds-200-2011 Dataset". As in SEMICON (ECCV 2022), the official test set
gives the queries and the official training set is the database, both in the order of images.txt.
"""

from pathlib import Path

import numpy as np
from pydantic import Field

from hashrepro.datasets.base import Archive, ReaderOptions, Reading, Source, check_split, located, one_hot
from hashrepro.datasets.lists import check_per_class, read_annotation

_LAYOUT = (
    "the folder CUB_200_2011 (or the one above it): images.txt, image_class_labels.txt, train_test_split.txt, "
    "classes.txt, images/<class>/<name>.jpg"
)
SOURCE = Source(
    title="CUB-200-2011",
    home="https://www.vision.caltech.edu/datasets/cub_200_2011/",
    terms="images belong to their photographers; for non-commercial research and education only",
    citation="Wah et al. 2011, The Caltech-UCSD Birds-200-2011 Dataset",
    content="photographs of birds, one species each",
    images=11_788,
    classes=200,
    query=5_794,
    database=5_994,
    image_bytes=1_150_000_000,  # about: the archive's size, most of which is JPEG
    archives=(
        Archive(
            name="CUB_200_2011.tgz",
            urls=("https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",),
            size=1_150_585_339,
            digest="md5:97eceeb196236b17998738112f37df78",
        ),
    ),
    root="CUB_200_2011",
    layout=_LAYOUT,
    files=("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt", "images/*/*"),
)


class Options(ReaderOptions):
    """The official counts; another set in the same layout states its own."""

    expect_classes: int = Field(200, description="classes that classes.txt must have")
    expect_query: int = Field(5794, description="images that the test set must have")
    expect_database: int = Field(5994, description="images that the training set must have")


def read(folder: Path, options: Options, rng: np.random.Generator) -> Reading:
    """Read the annotation; ids are paths relative to images/. The split is official: `rng` is not used.

    Raises:
        UserError: an annotation file is missing, a line is malformed, or the counts are not those expected.
    """
    folder = located(Path(folder), SOURCE.root)
    found = read_annotation(folder, _LAYOUT)
    labels, is_query = found.rows_of_classes, found.is_query
    class_names = [name.partition(".")[2].replace("_", " ") or name for name, _ in found.classes.values()]
    query, database = check_split(options, folder, len(class_names), is_query)
    if (query, database) == (SOURCE.query, SOURCE.database):
        check_per_class(labels[~is_query], class_names, 29, 30, "database images", folder)
    images = folder / "images"
    return Reading(
        ids=found.names,
        labels=one_hot(labels, len(class_names)),
        is_query=is_query,
        class_names=class_names,
        images=[images / name for name in found.names],
        facts={"split": "official test set, official training set"},
    )
