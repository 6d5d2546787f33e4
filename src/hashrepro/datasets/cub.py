"""CUB-200-2011, and any set in its layout: birds, with the official split.

Wah et al. 2011, "The Caltech-UCSD Birds-200-2011 Dataset". As in SEMICON (ECCV 2022), the official test set
gives the queries and the official training set is the database, both in the order of images.txt.
"""

from pathlib import Path

import numpy as np

from hashrepro.datasets.base import Archive, ReaderOptions, Reading, Source, check_counts, located, one_hot
from hashrepro.datasets.lists import inner_path, joined, read_pairs

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

    expect_classes: int = 200
    expect_query: int = 5794
    expect_database: int = 5994


def read(folder: Path, options: Options, rng: np.random.Generator) -> Reading:
    """Read the annotation; ids are paths relative to images/. The split is official: `rng` is not used.

    Raises:
        UserError: an annotation file is missing, a line is malformed, or the counts are not those expected.
    """
    folder = located(Path(folder), SOURCE.root)
    classes = read_pairs(folder / "classes.txt", _LAYOUT)
    listed = read_pairs(folder / "images.txt", _LAYOUT)
    names = [inner_path(name, folder / "images.txt", number) for name, number in listed.values()]
    numbers = {key: c for c, key in enumerate(classes)}
    labels = joined(folder / "image_class_labels.txt", listed, numbers, _LAYOUT)
    is_query = joined(folder / "train_test_split.txt", listed, {"1": False, "0": True}, _LAYOUT).astype(bool)
    database = int((~is_query).sum())
    check_counts(options, folder, classes=len(classes), query=int(is_query.sum()), database=database)
    return Reading(
        ids=names,
        labels=one_hot(labels, len(classes)),
        is_query=is_query,
        class_names=[name.partition(".")[2].replace("_", " ") or name for name, _ in classes.values()],
        images=[folder / "images" / name for name in names],
        facts={"split": "official test set, official training set"},
    )
