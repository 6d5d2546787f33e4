"""Fashion-MNIST, the 5,500 images that come with this project: 50 queries and 500 database images a class.

Xiao, Rasul & Vollgraf, "Fashion-MNIST", arXiv:1708.07747. Queries are from the official test set, the
database from the official training set, in the order of the official files (so not sorted by class).
"""

from pathlib import Path

import numpy as np
from pydantic import Field

from hashrepro.datasets.base import ReaderOptions, Reading, Source, one_hot
from hashrepro.errors import UserError
from hashrepro.files import file_digest

SOURCE = Source(
    title="Fashion-MNIST (subset of 5,500)",
    home="https://github.com/zalandoresearch/fashion-mnist",
    terms="MIT licence, © 2017 Zalando SE, https://tech.zalando.com",
    citation="Xiao, Rasul and Vollgraf 2017, Fashion-MNIST",
    content="grey product photographs of 28 x 28 pixels, one garment each",
    images=5_500,
    classes=10,
    query=500,
    database=5_000,
    image_bytes=12_936_000,
    pixels=True,
    layout="the folder that holds fashion-mnist.npz; this project's own is data/quickstart",
    files=("fashion-mnist.npz",),
)

_DIGEST = "a429efae8466af1b6812cbf146ffdff84e4404588c7b10b8c96ef5141e1549a7"
_CLASS_NAMES = [
    *["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"],
    *["Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"],
]


class Options(ReaderOptions):
    """How many images a class to keep: the first ones, in the order of the file."""

    query_per_class: int = Field(50, ge=1, le=50, description="queries of each class")
    database_per_class: int = Field(500, ge=1, le=500, description="database images of each class")


def read(folder: Path, options: Options, rng: np.random.Generator) -> Reading:
    """Read fashion-mnist.npz; grey is repeated to three channels: images uint8 (n, 28, 28, 3).

    The split is fixed: `rng` is not used.

    Raises:
        UserError: the file is missing or is not the one that this reader was written for.
    """
    path = Path(folder) / "fashion-mnist.npz"
    mend = f"git checkout -- data/quickstart/fashion-mnist.npz, or name {SOURCE.layout}"
    if not path.is_file():
        raise UserError("the embedded data set is missing", where=path, mend=mend)
    if file_digest(path) != _DIGEST:
        raise UserError("the embedded data set was changed: its SHA-256 differs", where=path, mend=mend)
    with np.load(path, allow_pickle=False) as arrays:
        classes, is_query, source_row = arrays["labels"], arrays["is_query"], arrays["source_row"]
        images = arrays["images"]

    keep = np.zeros(len(classes), dtype=bool)
    for part, per_class in ((is_query, options.query_per_class), (~is_query, options.database_per_class)):
        for c in range(len(_CLASS_NAMES)):
            keep[np.flatnonzero(part & (classes == c))[:per_class]] = True
    ids = [f"{'test' if is_query[i] else 'train'}/{source_row[i]:05d}" for i in np.flatnonzero(keep)]
    return Reading(
        ids=ids,
        labels=one_hot(classes[keep], len(_CLASS_NAMES)),
        is_query=is_query[keep],
        class_names=_CLASS_NAMES,
        images=np.repeat(images[keep][..., None], 3, axis=-1),
        facts={"split": "official test and training sets, sampled"},
    )
