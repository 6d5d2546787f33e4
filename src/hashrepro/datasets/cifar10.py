"""CIFAR-10 with the protocol of ADSH, SEMICON and SCHN: 1,000 queries, 59,000 database images.

All 60,000 images are pooled (the official split is not used) and sorted by class; one permutation of a
class's 6,000 positions serves every class, and its first positions are the queries. Krizhevsky 2009,
"Learning Multiple Layers of Features from Tiny Images"; the split as in SCHN (MM Asia 2021), experiments.
"""

from pathlib import Path

import numpy as np
from pydantic import Field

from hashrepro.datasets.base import Archive, ReaderOptions, Reading, Source, check_counts, located, one_hot
from hashrepro.datasets.pickles import read_pickle
from hashrepro.datasets.splits import digests, draw_same_positions
from hashrepro.errors import UserError

_BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
SOURCE = Source(
    title="CIFAR-10",
    home="https://www.cs.toronto.edu/~kriz/cifar.html",
    terms="no licence is stated; the authors ask to cite Krizhevsky 2009",
    citation="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
    content="photographs of 32 x 32 pixels, one object each",
    images=60_000,
    classes=10,
    query=1_000,
    database=59_000,
    image_bytes=184_320_000,
    pixels=True,
    archives=(
        Archive(
            name="cifar-10-python.tar.gz",
            urls=("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
            size=170_498_071,
            digest="md5:c58f30108f718f92721af3b95e74349a",
        ),
    ),
    root="cifar-10-batches-py",
    layout="the folder cifar-10-batches-py (or the one above it) of the Python version: data_batch_1 to data_batch_5, "
    "test_batch, batches.meta",
    files=(*_BATCHES, "batches.meta"),
)


class Options(ReaderOptions):
    """`num_query` queries in all, equally many of every class; the counts are those of the whole pool."""

    num_query: int = Field(1000, ge=1, description="queries in all, equally many of every class")
    expect_classes: int = Field(10, description="classes that must be found")
    expect_images: int = Field(60_000, description="images that must be found, queries and database together")


def _read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(pixels uint8 (n, 3072), class numbers int64 (n,)) of one batch file."""
    batch = read_pickle(path)
    try:
        pixels, classes = batch[b"data"], np.array(batch[b"labels"], dtype=np.int64)
        if pixels.dtype != np.uint8 or pixels.shape != (len(classes), 3072):
            raise ValueError(f"data is {pixels.dtype} {pixels.shape}, uint8 ({len(classes)}, 3072) expected")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"not a CIFAR-10 batch: {error}", where=path, mend=f"expected: {SOURCE.layout}"
        ) from error
    return pixels, classes


def _read_class_names(path: Path) -> list[str]:
    try:
        return [name.decode() for name in read_pickle(path)[b"label_names"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"no list label_names: {error}", where=path, mend=f"expected: {SOURCE.layout}"
        ) from error


def read(folder: Path, options: Options, rng: np.random.Generator) -> Reading:
    """Read the six batches. `rng` draws the queries. Images are uint8 (n, 32, 32, 3), queries first.

    Raises:
        UserError: a file is missing, damaged or asks to run code, or the counts are not those expected.
    """
    folder = located(Path(folder), SOURCE.root)
    class_names = _read_class_names(folder / "batches.meta")
    batches = [_read_batch(folder / name) for name in _BATCHES]
    pixels = np.concatenate([pixels for pixels, _ in batches])
    classes = np.concatenate([classes for _, classes in batches])
    ids = [
        f"{name}/{i:05d}" for name, (_, some) in zip(_BATCHES, batches, strict=True) for i in range(len(some))
    ]
    check_counts(options, folder, classes=len(class_names), images=len(pixels))
    if not np.array_equal(np.unique(classes), np.arange(len(class_names))):
        raise UserError(
            f"labels are not the numbers 0..{len(class_names) - 1}",
            where=folder,
            mend="fetch the files again",
        )
    try:
        query, database = draw_same_positions(classes, options.num_query, rng)
    except ValueError as error:
        mend = "choose a num_query that every class can give its equal part of (official: 1000)"
        raise UserError(str(error), where=f"{options.key}.num_query", mend=mend) from error

    rows = np.concatenate([query, database])
    place = np.argsort(np.argsort(classes, kind="stable"))  # of every image in the pool sorted by class
    return Reading(
        ids=[ids[row] for row in rows],
        labels=one_hot(classes[rows], len(class_names)),
        is_query=np.arange(len(rows)) < len(query),
        class_names=class_names,
        images=pixels[rows].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1),
        facts={
            "split": f"{len(query)} queries drawn, equally many of every class; the rest is the database",
            "rows": digests(place[query], place[database]),
        },
    )
