"""CUB-200-2011, and any set in its layout: birds, with the official split.

Wah et al. 2011, "The Caltech-UCSD Birds-200-2011 Dataset". As in SEMICON (ECCV 2022), the official test set
gives the queries and the official training set is the database, both in the order of images.txt.
"""

from pathlib import Path, PurePosixPath

import numpy as np

from hashrepro.datasets.base import Archive, ReaderOptions, Reading, check_counts, located, one_hot
from hashrepro.errors import UserError

TITLE = "CUB-200-2011"
HOME = "https://www.vision.caltech.edu/datasets/cub_200_2011/"
TERMS = "images belong to their photographers; for non-commercial research and education only"
ARCHIVES = (
    Archive(
        name="CUB_200_2011.tgz",
        urls=("https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",),
        size=1_150_585_339,
        digest="md5:97eceeb196236b17998738112f37df78",
    ),
)
ROOT = "CUB_200_2011"
LAYOUT = (
    f"the folder {ROOT} (or the one above it): images.txt, image_class_labels.txt, train_test_split.txt, "
    "classes.txt, images/<class>/<name>.jpg"
)
FILES = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt", "images/*/*")


class Options(ReaderOptions):
    """The official counts; another set in the same layout states its own."""

    expect_classes: int = 200
    expect_query: int = 5794
    expect_database: int = 5994


def _read_pairs(path: Path) -> dict[str, tuple[str, int]]:
    """Lines ``key value`` -> {key: (value, line number)}, in the order of the file."""
    if not path.is_file():
        raise UserError("a file of the data set is missing", where=path, mend=f"expected: {LAYOUT}")
    pairs = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        key, _, value = line.strip().partition(" ")
        if not value.strip() or key in pairs:
            problem = f"key {key} stands twice" if key in pairs else f"not a line 'key value': {line!r}"
            raise UserError(problem, where=f"{path}:{number}", mend="fetch the file again")
        pairs[key] = (value.strip(), number)
    return pairs


def _column(path: Path, ids: list[str], admissible: dict[str, int]) -> np.ndarray:
    """int64 (n,): for every image id the number that `admissible` gives for its value in this file."""
    pairs = _read_pairs(path)
    if pairs.keys() != set(ids):
        other = min(pairs.keys() ^ set(ids))
        raise UserError(
            f"image {other} stands in only one of images.txt and {path.name}",
            where=path,
            mend="fetch both again",
        )
    for value, number in pairs.values():
        if value not in admissible:
            raise UserError(
                f"value {value!r} is not one of {len(admissible)} known ones",
                where=f"{path}:{number}",
                mend="fetch the file again",
            )
    return np.array([admissible[pairs[key][0]] for key in ids])


def _image_paths(folder: Path) -> dict[str, str]:
    """{image id: path relative to images/}, checked to lie there."""
    pairs = _read_pairs(folder / "images.txt")
    for name, number in pairs.values():
        where = f"{folder / 'images.txt'}:{number}"
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise UserError(
                f"path {name!r} leaves the folder images", where=where, mend="fetch the file again"
            )
        if not (folder / "images" / name).is_file():
            raise UserError(
                f"image {name} is missing in the folder images", where=where, mend=f"expected: {LAYOUT}"
            )
    return {key: name for key, (name, _) in pairs.items()}


def read(folder: Path, options: Options, rng: np.random.Generator) -> Reading:
    """Read the annotation; ids are paths relative to images/. The split is official: `rng` is not used.

    Raises:
        UserError: a file is missing, a line is malformed, or the counts are not those expected.
    """
    folder = located(Path(folder), ROOT)
    classes = _read_pairs(folder / "classes.txt")
    images = _image_paths(folder)
    keys = list(images)
    labels = _column(folder / "image_class_labels.txt", keys, {key: c for c, key in enumerate(classes)})
    is_query = _column(folder / "train_test_split.txt", keys, {"1": False, "0": True}).astype(bool)
    database = int((~is_query).sum())
    check_counts(options, folder, classes=len(classes), query=int(is_query.sum()), database=database)
    return Reading(
        ids=list(images.values()),
        labels=one_hot(labels, len(classes)),
        is_query=is_query,
        class_names=[name.partition(".")[2].replace("_", " ") or name for name, _ in classes.values()],
        images=[folder / "images" / name for name in images.values()],
        facts={
            "title": TITLE,
            "home": HOME,
            "terms": TERMS,
            "split": "official test set, official training set",
        },
    )
