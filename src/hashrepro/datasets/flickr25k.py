"""MIR-Flickr 25K with the protocol of SCHN (MM Asia 2021): 1,000 queries, 24,000 database images, 38 labels.

Huiskes & Lew 2008, "The MIR Flickr Retrieval Evaluation". The labels are the 24 "potential" annotations and the 14
"relevant" ones (`_r1`), each of which is part of a potential one; columns are in alphabetical order, rows in the order
of the images' numbers. 419 images have no label: as queries they score 0.
"""

from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from hashrepro.datasets.base import Archive, Reading, Source, check_counts
from hashrepro.datasets.lists import AGAIN, check_distinct, malformed, read_lines, whole_number
from hashrepro.datasets.splits import ListOptions, digests, draw, from_lists, uses_lists
from hashrepro.errors import UserError
from hashrepro.option import UNREAD, option

_ANNOTATIONS = "mirflickr25k_annotations_v080"
_LAYOUT = f"a folder with mirflickr/im<number>.jpg and {_ANNOTATIONS}/<label>.txt"
_POTENTIAL = (  # images of each label, in no order
    *(3700, 7912, 791, 4683, 8313, 3931, 684, 3216, 1177, 1322, 2711, 2895),
    *(2135, 10373, 1823, 990, 9992, 3331, 259, 8763, 742, 6081, 894, 6184),
)
_RELEVANT = (3982, 149, 1077, 484, 1350, 116, 214, 669, 590, 380, 3647, 3829, 668, 7849)
_REFERENCES = {
    "0e5552c6465d1ec3f5e4f6c69299f3560b618c6bd4ec193e31f19f5c628f48b8": "the reference's own test_image_m.txt",
    "829d270f92840bfe73aadd8b30fea12306a97e17adfa240c1f9f94d570aed3db": "the reference's own db_image.txt",
}
SOURCE = Source(
    title="MIR-Flickr 25K",
    home="https://press.liacs.nl/mirflickr/",
    terms="Creative Commons licences, each image its own (mirflickr/meta/license); credit the photographers",
    citation="Huiskes and Lew 2008, The MIR Flickr Retrieval Evaluation",
    content="photographs from Flickr, each with some of 24 topics",
    images=25_000,
    classes=38,
    query=1_000,
    database=24_000,
    image_bytes=3_069_184_257,  # of the archive, which holds little else
    archives=(
        Archive(
            name="mirflickr25k.zip",
            urls=("https://press.liacs.nl/mirflickr/mirflickr25k.v3b/mirflickr25k.zip",),
            size=3_069_184_257,
            digest="md5:a23d0a8564ee84cda5622a6c2f947785",
        ),
        Archive(
            name=f"{_ANNOTATIONS}.zip",
            urls=(f"https://press.liacs.nl/mirflickr/mirflickr25k.v3b/{_ANNOTATIONS}.zip",),
            size=207_220,
            digest="md5:aa0138c79892b1b670184d142380948f",  # from a single source
            into=_ANNOTATIONS,
        ),
    ),
    layout=_LAYOUT,
    files=(f"{_ANNOTATIONS}/*.txt", "mirflickr/im*.jpg"),
)


class Options(ListOptions):
    """Which labels, which images, which queries; counts that are not given are the official ones."""

    labels: Literal[38, 24] = option(
        38,
        "labels of MIR-Flickr: all, or without the 14 that are parts of others",
        paper=UNREAD,
        reference="38; every image with a relevant label has the potential one, too, so that hardly a pair's "
        "similarity depends on them (0.0013 %), but the label network's input does",
        others={"24": "the potential labels alone"},
    )
    drop_unlabelled: bool = option(
        False,
        "leave the images without a label out",
        paper=UNREAD,
        reference="keeps all 419; as queries they score 0, in training they are not even similar to themselves",
        others={"true": "24,581 images, and the best possible mAP is 1"},
    )
    split: Literal["random", "files"] = option(
        "random",
        "where MIR-Flickr's queries come from",
        paper=UNREAD,
        reference="puts the two parts of its files together and draws again, without a seed; the files' own 1,700 "
        "queries are not used",
        others={"files": "the queries of `query_list`, for example the reference's test_image_m.txt"},
    )
    num_query: int = Field(1000, ge=1, description="split: random: queries drawn")
    expect_frequencies: list[int] | None = Field(
        None, description="images of each label that must be found, in any order; null: the official ones"
    )
    expect_images: int = Field(25_000, ge=1, description="images of the set, numbered from 1")
    expect_unlabelled: int = Field(419, ge=0, description="images without a label that must be found")

    @model_validator(mode="after")
    def _official(self) -> "Options":
        if self.expect_frequencies is None:
            self.expect_frequencies = [*_POTENTIAL, *(_RELEVANT if self.labels == 38 else ())]
        return self

    def counts(self) -> dict[str, int]:
        return {**super().counts(), "classes": self.labels}


def _read_numbers(path: Path, count: int) -> np.ndarray:
    """int64: the images, from 0, that a label's file lists by their numbers from 1 to `count`."""
    lines = list(enumerate(read_lines(path, _LAYOUT), start=1))
    images = [whole_number(line, path, number) for number, line in lines]
    for (number, line), image in zip(lines, images, strict=True):
        if not 1 <= image <= count:
            raise malformed(path, number, f"there is no image {line}: they have the numbers 1 to {count}")
    check_distinct(((str(image), number) for (number, _), image in zip(lines, images, strict=True)), path)
    return np.array(images, dtype=np.int64) - 1


def _read_labels(folder: Path, options: Options) -> tuple[list[str], np.ndarray]:
    """Names of the labels, in alphabetical order, and bool (images, labels)."""
    files = {path.stem: path for path in folder.glob("*.txt") if path.stem.lower() != "readme"}
    if not files:
        raise UserError("there is no label file", where=folder, mend=f"expected: {_LAYOUT}")
    names = sorted(name for name in files if options.labels == 38 or not name.endswith("_r1"))
    expected = options.expect_frequencies
    labels = np.zeros((options.expect_images, len(names)), dtype=bool)
    for column, name in enumerate(names):
        labels[_read_numbers(files[name], options.expect_images), column] = True
    found = dict(zip(names, labels.sum(axis=0).tolist(), strict=True))
    if sorted(found.values()) != sorted(expected):
        left = Counter(expected) - Counter(found.values())
        odd = {name: count for name, count in found.items() if count not in expected}
        raise UserError(
            f"{len(found)} labels found, {len(expected)} expected; of these numbers of images, {odd} are not expected "
            f"and {sorted(left.elements())} are missing",
            where=folder,
            mend=f"{AGAIN}, or admit another set than the official one in params.yaml: "
            f"{options.key}.expect_frequencies: {list(found.values())}",
        )
    return names, labels


def read(folder: Path, options: Options, rng: np.random.Generator) -> Reading:
    """Read the annotation; ids are mirflickr/im<number>.jpg. `rng` draws the queries, which come first.

    Raises:
        UserError: a file or a line is not what it should be, counts differ, or a list names other images.
    """
    folder = Path(folder)
    class_names, labels = _read_labels(folder / _ANNOTATIONS, options)
    ids = [f"mirflickr/im{number}.jpg" for number in range(1, len(labels) + 1)]
    labelled = labels.any(axis=1)
    unlabelled = int((~labelled).sum())
    check_counts(options, folder, unlabelled=unlabelled)
    kept = np.flatnonzero(labelled | (not options.drop_unlabelled))
    if uses_lists(options):
        (query, database), remark = from_lists(ids, folder, options, _REFERENCES)
        query, database = query[np.isin(query, kept)], database[np.isin(database, kept)]
    else:
        try:
            query, database = (kept[rows] for rows in draw(len(kept), options.num_query, rng))
        except ValueError as error:
            mend = f"choose a number from 1 to {len(kept) - 1}"
            raise UserError(str(error), where=f"{options.key}.num_query", mend=mend) from error
        remark = f"{len(query)} queries drawn; all other images are the database"
    check_counts(options, folder, query=len(query), database=len(database))
    rows = np.concatenate([query, database])
    return Reading(
        ids=[ids[row] for row in rows],
        labels=labels[rows],
        is_query=np.arange(len(rows)) < len(query),
        class_names=class_names,
        images=[folder / ids[row] for row in rows],
        facts={
            "split": remark,
            "unlabelled": f"{unlabelled}, {'dropped' if options.drop_unlabelled else 'kept'}",
            "rows": digests(query, database),
        },
    )
