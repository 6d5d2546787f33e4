"""VegFru: 292 kinds of vegetables and fruit in photographs from the web, with the official split.

Hou, Feng and Wang 2017, "VegFru: A Domain-Specific Dataset for Fine-grained Visual Categorization". As in SEMICON
(ECCV 2022), the official test set gives the queries and the official training set is the database, both in the order
of their lists. Of eight files the published code notes that they are odd (houttuynia_cordata/v_08_18_0350.jpg and
kalimeris/v_08_19_0117.jpg of the vegetables, six of the fruits); here they are read like all others.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from hashrepro.datasets.base import ReaderOptions, Reading, Source, check_split, one_hot
from hashrepro.datasets.lists import check_per_class, inner_path, malformed, read_listed, whole_number
from hashrepro.errors import UserError
from hashrepro.option import UNREAD, option

_LISTS = {"train": ("train",), "train+val": ("train", "val")}  # that the database is read from
_PER_CLASS = {"train": 100, "train+val": 150}
_LAYOUT = (
    "the folder that holds vegfru_list/vegfru_train.txt, vegfru_list/vegfru_val.txt, vegfru_list/vegfru_test.txt, "
    "veg200_images/<class>/<name>.jpg and fru92_images/<class>/<name>.jpg"
)
SOURCE = Source(
    title="VegFru",
    home="https://github.com/ustc-vim/vegfru",
    terms="no licence is stated; the authors ask to cite Hou et al. 2017",
    citation="Hou, Feng and Wang 2017, VegFru: A Domain-Specific Dataset for Fine-grained Visual Categorization",
    content="photographs of vegetables and fruit, one kind each",
    images=146_131,
    classes=292,
    query=116_931,
    database=29_200,
    by_hand=(
        "Open https://github.com/ustc-vim/vegfru and follow the link to the data set, which lies on Baidu's disk "
        "(http://pan.baidu.com/s/1boSNcV9, with an account there). Others keep a copy at "
        "https://www.kaggle.com/datasets/zhaoyj688/vegfru, which this project has not compared with it.",
        "Unpack all of it into one folder, which then holds veg200_images/ with 200 class folders and fru92_images/ "
        "with 92.",
        "See that vegfru_train.txt, vegfru_val.txt and vegfru_test.txt are in its folder vegfru_list/; move them "
        "there if they are elsewhere. Their lines are like 'veg200_images/<class>/<name>.jpg 0'.",
        "Set datasets.NAME.folder in params.yaml to the folder that holds those three.",
    ),
    layout=_LAYOUT,
    files=("vegfru_list/vegfru_*.txt", "veg200_images/*/*", "fru92_images/*/*"),
)


class Options(ReaderOptions):
    """What the database is, and the counts that must be found."""

    database: Literal["train", "train+val"] = option(
        "train",
        "which official lists the database is made of",
        paper=UNREAD,
        reference="the training list alone, 29,200 images; a second loader, which nothing calls, adds the validation "
        "list",
        others={
            "train+val": "43,800 images, 150 a class: the training list, and after it the validation list"
        },
    )
    expect_classes: int = Field(292, description="classes that the lists must have")
    expect_query: int = Field(116_931, description="images that the test list must have")
    expect_database: int | None = Field(
        None,
        description="images that the database must have; null: 29,200, or 43,800 with the validation list",
    )

    @model_validator(mode="after")
    def _official(self) -> "Options":
        if self.expect_database is None:
            self.expect_database = _PER_CLASS[self.database] * SOURCE.classes
        return self


def _class_folders(listed: dict[str, tuple[str, Path, int]], where: Path) -> tuple[list[str], np.ndarray]:
    """(the folder of every class, int64 (n,) class numbers): every label stands with one folder, and only there.

    Raises:
        UserError: a line is malformed, a label and a folder do not belong together as in the lines before, or the
            labels are not 0, 1, 2, ... without a gap.
    """
    folder_of: dict[int, str] = {}
    label_of: dict[str, int] = {}
    labels = []
    for name, (rest, path, line) in listed.items():
        folder, label = name.rpartition("/")[0], whole_number(rest, path, line)
        if not folder:
            raise malformed(path, line, f"the path {name!r} has no class folder")
        if (folder_of.setdefault(label, folder), label_of.setdefault(folder, label)) != (folder, label):
            problem = f"label {label} stands with folder {folder} here, and with another partner before"
            raise malformed(path, line, problem)
        labels.append(label)
    gaps = sorted(set(range(len(folder_of))) - folder_of.keys())
    if gaps:
        raise UserError(
            f"the lists have {len(folder_of)} labels, but {gaps[0]} is not among them",
            where=where,
            mend="fetch the lists again, or number the classes 0, 1, 2, ...",
        )
    return [folder_of[label] for label in range(len(folder_of))], np.array(labels, dtype=np.int64)


def read(folder: Path, options: Options, rng: np.random.Generator) -> Reading:
    """Read the lists, queries first; ids are the lists' paths. The split is official: `rng` is not used.

    Raises:
        UserError: a list is missing, a line is malformed, an image stands twice, labels and folders do not fit
            together, or the counts are not those expected.
    """
    folder = Path(folder)
    lists = folder / "vegfru_list"
    test, *others = (lists / f"vegfru_{part}.txt" for part in ("test", *_LISTS[options.database]))
    listed = read_listed((test, *others), _LAYOUT)
    ids = [inner_path(name, path, line) for name, (_, path, line) in listed.items()]
    class_folders, labels = _class_folders(listed, lists)
    class_names = [name.rpartition("/")[2].replace("_", " ") for name in class_folders]
    is_query = np.array([path == test for _, path, _ in listed.values()], dtype=bool)
    query, database = check_split(options, folder, len(class_names), is_query)
    per_class = _PER_CLASS[options.database]
    if (query, database) == (SOURCE.query, per_class * SOURCE.classes):
        check_per_class(labels[~is_query], class_names, per_class, per_class, "database images", lists)
    return Reading(
        ids=ids,
        labels=one_hot(labels, len(class_names)),
        is_query=is_query,
        class_names=class_names,
        images=[folder / name for name in ids],
        facts={"split": f"queries: official list test; database: {options.database}"},
    )
