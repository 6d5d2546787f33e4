"""NUS-WIDE with the 21 or the 10 most frequent of its 81 concepts, from the official annotation.

Chua et al. 2009, "NUS-WIDE: A Real-World Web Image Database from National University of Singapore". As in SCHN (MM Asia
2021), images without any of the chosen concepts are left out; columns are in falling order of their frequency, rows in
the order of Imagelist.txt. The split of SCHN with 21 concepts is a list of 2,100 query names, 100 a concept. It has
no licence and cannot come with this project: a drawn split is made the same way but is another one, and whoever has the
list names it (`split: files`). With 10 concepts SCHN draws, from a branch that cannot run and without a number of
queries; 5,000 is what public ports of these protocols draw from the same 186,577 images.
"""

from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from hashrepro.datasets.base import Reading, Source, check_counts
from hashrepro.datasets.lists import AGAIN, check_distinct, inner_path, malformed, read_lines
from hashrepro.datasets.splits import (
    ListOptions,
    Split,
    digests,
    draw,
    draw_per_class,
    from_lists,
    uses_lists,
)
from hashrepro.errors import UserError
from hashrepro.option import UNREAD, option

_HOME = "https://lms.comp.nus.edu.sg/wp-content/uploads/2019/research/nuswide/NUS-WIDE.html"
_LAYOUT = (
    "a folder with Groundtruth/AllLabels/Labels_<concept>.txt, ImageList/Imagelist.txt and either "
    "Flickr/<folder>/<name>.jpg or images/<name>.jpg"
)
# images of each of the 21 most frequent concepts, and images with any of the first 21 or 10
_FREQUENCIES = (
    *(74190, 54087, 51577, 35264, 33887, 22561, 17835, 15051, 14345, 13392, 11307),
    *(9524, 8605, 8418, 7875, 6327, 6099, 5404, 5352, 5239, 5099),
)
_IMAGES = {21: 195_834, 10: 186_577}
_REFERENCES = {
    "a1966774165da8db56c05b0ea4f8f2353ea20fe0225d7414573ce43ee3080ba6": "the reference's own test_img.txt"
}
SOURCE = Source(
    title="NUS-WIDE",
    home=_HOME,
    terms="labels are free to download; images on request, with a signed agreement, and their owners keep all rights",
    citation="Chua et al. 2009, NUS-WIDE: A Real-World Web Image Database from National University of Singapore",
    content="photographs from Flickr, each with one or more of 81 concepts",
    images=195_834,
    classes=21,
    query=2_100,
    database=193_734,
    by_hand=(
        f"Make a folder for the set, and get the labels: Groundtruth.zip, linked from {_HOME}, unpacked into a folder "
        "Groundtruth; or NUS-WIDE.zip from https://huggingface.co/datasets/Lxyhaha/NUS-WIDE, which the owners' "
        "https://github.com/NExTplusplus/NUS-WIDE points to, unpacked so that its Groundtruth is there. "
        "Groundtruth/AllLabels must hold 81 files.",
        "Get the list of images: ImageList.zip, linked from the same page, unpacked so that there is "
        "ImageList/Imagelist.txt with 269,648 lines.",
        "Get the images: fill in the Agreement and Disclaimer Form of that page and send it to the address there. "
        "Unpack them so that there is Flickr/actor/0001_2124494179.jpg and so on. The bundle that the README of SCHN "
        "points to has them in one folder: images/0001_2124494179.jpg; either will do.",
        "Set datasets.NAME.folder in params.yaml to the folder, NAME being nuswide, nuswide10 or both.",
        "For the reference's own queries: put its test_img.txt into ImageList/, and set split: files and query_list: "
        "ImageList/test_img.txt in the options.",
    ),
    layout=_LAYOUT,
    # the last pattern finds the images of either layout
    files=("Groundtruth/AllLabels/Labels_*.txt", "ImageList/*.txt", "[Fi]*/**/*.jpg"),
)


class Options(ListOptions):
    """Which concepts, which queries; counts that are not given are the official ones."""

    concepts: Literal[21, 10] = option(
        21,
        "how many of the most frequent concepts make the labels; images with none of them are left out",
        paper=UNREAD,
        reference="21; a loader for 10 is there, but nothing can run it",
        others={"10": "186,577 images with the labels of the 10 most frequent concepts"},
    )
    split: Literal["drawn", "files"] = option(
        "drawn",
        "where NUS-WIDE's queries come from",
        paper=UNREAD,
        reference="a fixed list of 2,100 images, 100 a concept; it has no licence, so it is not part of this project, "
        "and drawn queries (100 a concept as well) are others",
        others={"files": "the queries of `query_list`, for whoever has the reference's test_img.txt"},
    )
    query_per_class: int | None = Field(
        None, ge=1, description="split: drawn: queries of each concept (default with 21 concepts: 100)"
    )
    num_query: int | None = Field(
        None, ge=1, description="split: drawn: queries of all images alike (default with 10 concepts: 5000)"
    )
    expect_frequencies: list[int] | None = Field(
        None,
        description="images of each concept that must be found, most frequent first; null: the official ones",
    )
    expect_images: int | None = Field(
        None, description="images with a label that must be found; null: 195834 or 186577"
    )

    @model_validator(mode="after")
    def _official(self) -> "Options":
        if self.num_query is None and self.query_per_class is None:
            self.query_per_class, self.num_query = {21: (100, None), 10: (None, 5_000)}[self.concepts]
        if self.expect_frequencies is None:
            self.expect_frequencies = list(_FREQUENCIES[: self.concepts])
        if self.expect_images is None:
            self.expect_images = _IMAGES[self.concepts]
        return self

    def counts(self) -> dict[str, int]:
        found = {**super().counts(), "classes": self.concepts}
        if self.split == "drawn":
            found.setdefault("query", self.num_query or self.query_per_class * self.concepts)
            found.setdefault("database", self.expect_images - found["query"])
        return found


def _read_names(path: Path) -> list[str]:
    """The image of each row, as folder/name.jpg."""
    names = [
        inner_path(line, path, number).replace("\\", "/")
        for number, line in enumerate(read_lines(path, _LAYOUT), start=1)
    ]
    check_distinct(((name, number) for number, name in enumerate(names, start=1)), path)
    return names


def _read_flags(path: Path, count: int) -> np.ndarray:
    """bool (count,) of a file with a 0 or 1 in each line."""
    content = path.read_bytes().translate(None, b" \t\r").rstrip(b"\n") + b"\n"
    characters = np.frombuffer(content, dtype=np.uint8)
    flags, ends = characters[0::2], characters[1::2]
    if len(flags) != len(ends) or ((flags | 1) != ord("1")).any() or (ends != ord("\n")).any():
        for number, line in enumerate(read_lines(path, _LAYOUT), start=1):
            if line not in ("0", "1"):
                raise malformed(path, number, f"not 0 or 1: {line!r}")
        raise UserError("not lines of 0 or 1 with their ends", where=path, mend=AGAIN)
    if len(flags) != count:
        problem = f"{len(flags)} lines, but ImageList/Imagelist.txt has {count}"
        raise UserError(problem, where=path, mend=AGAIN)
    return flags == ord("1")


def _read_labels(folder: Path, options: Options, count: int) -> tuple[list[str], np.ndarray]:
    """Names of the most frequent concepts and bool (count, concepts), both in falling order of frequency."""
    files = sorted(folder.glob("Labels_*.txt"))
    if len(files) < options.concepts:
        problem = f"{len(files)} files Labels_<concept>.txt, 81 expected"
        raise UserError(problem, where=folder, mend=f"expected: {_LAYOUT}")
    columns = {path.stem.removeprefix("Labels_"): _read_flags(path, count) for path in files}
    sums = {name: int(column.sum()) for name, column in columns.items()}
    ranked = sorted(sums, key=lambda name: -sums[name])
    names = ranked[: options.concepts]
    for name, following in zip(names, ranked[1:], strict=False):
        if sums[name] == sums[following]:
            problem = (
                f"concepts {name} and {following} have {sums[name]} images each: their order is not defined"
            )
            raise UserError(problem, where=folder, mend=AGAIN)
    _check_frequencies({name: sums[name] for name in names}, folder, options)
    return names, np.stack([columns[name] for name in names], axis=1)


def _check_frequencies(found: dict[str, int], folder: Path, options: Options) -> None:
    key, expected = f"{options.key}.expect_frequencies", options.expect_frequencies
    if len(expected) != len(found):
        problem = f"{len(expected)} numbers for {len(found)} concepts"
        raise UserError(problem, where=key, mend=f"the numbers found: {list(found.values())}")
    for rank, (name, wanted) in enumerate(zip(found, expected, strict=True), start=1):
        if found[name] != wanted:
            raise UserError(
                f"concept {name} has {found[name]} images; number {rank} by frequency should have {wanted}",
                where=folder / f"Labels_{name}.txt",
                mend=f"{AGAIN}, or admit another set than the official one in params.yaml: "
                f"{key}: {list(found.values())}",
            )


def _draw(labels: np.ndarray, names: list[str], options: Options, rng: np.random.Generator) -> Split:
    if options.num_query and options.query_per_class:
        problem = "num_query and query_per_class exclude each other"
        raise UserError(problem, where=options.key, mend="remove one of them")
    try:
        if options.query_per_class:
            return draw_per_class(labels, names, options.query_per_class, rng)
        return draw(len(labels), options.num_query, rng)
    except ValueError as error:
        mend = "choose fewer queries: num_query or query_per_class"
        raise UserError(str(error), where=options.key, mend=mend) from error


def read(folder: Path, options: Options, rng: np.random.Generator) -> Reading:
    """Read the annotation; ids are folder/name.jpg as in Imagelist.txt, in either layout of the images.

    Queries come first: concept by concept as drawn, or in the order of the list. `rng` draws them.

    Raises:
        UserError: a file or a line is not what it should be, counts differ, or a list names other images.
    """
    folder = Path(folder)
    nested = (folder / "Flickr").is_dir()
    if not nested and not (folder / "images").is_dir():
        raise UserError("neither Flickr/ nor images/ is there", where=folder, mend=f"expected: {_LAYOUT}")
    every_name = _read_names(folder / "ImageList" / "Imagelist.txt")
    concepts, labels = _read_labels(folder / "Groundtruth" / "AllLabels", options, len(every_name))
    labelled = np.flatnonzero(labels.any(axis=1))
    labels, names = labels[labelled], [every_name[row] for row in labelled]
    check_counts(options, folder, images=len(names))
    if uses_lists(options):
        (query, database), remark = from_lists(names, folder, options, _REFERENCES)
    else:
        query, database = _draw(labels, concepts, options, rng)
        remark = f"{len(query)} queries drawn by this project; all other images are the database"
    check_counts(options, folder, query=len(query), database=len(database))
    rows = np.concatenate([query, database])
    files = [names[row] if nested else names[row].rpartition("/")[2] for row in rows]
    name, times = Counter(files).most_common(1)[0]
    if times > 1:
        problem = f"{times} images of Imagelist.txt are called {name}, but images/ can hold but one"
        raise UserError(problem, where=folder / "images", mend="use the layout Flickr/<folder>/<name>.jpg")
    place = folder / ("Flickr" if nested else "images")
    return Reading(
        ids=[names[row] for row in rows],
        labels=labels[rows],
        is_query=np.arange(len(rows)) < len(query),
        class_names=concepts,
        images=[place / name for name in files],
        facts={
            "split": remark,
            "concepts": f"the {len(concepts)} most frequent of 81, most frequent first",
            "rows": digests(query, database),
        },
    )
