"""FGVC-Aircraft: 100 model variants of aircraft, 100 images each, with the official split.

Maji et al. 2013, "Fine-Grained Visual Classification of Aircraft". As in SEMICON (ECCV 2022), the official test set
gives the queries, and training and validation set together are the database, both in the order of their lists.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from hashrepro.datasets.base import Archive, ReaderOptions, Reading, Source, check_split, located, one_hot
from hashrepro.datasets.lists import check_per_class, inner_path, known, read_listed, read_names
from hashrepro.option import UNREAD, option

BANNER = 20  # rows of pixels
_LEVELS = {
    "variant": ("variants.txt", 100),
    "family": ("families.txt", 70),
    "manufacturer": ("manufacturers.txt", 30),
}
_LAYOUT = (
    "the folder fgvc-aircraft-2013b (or the one above it): data/variants.txt, data/images_variant_trainval.txt, "
    "data/images_variant_test.txt, data/images/<id>.jpg"
)
SOURCE = Source(
    title="FGVC-Aircraft",
    home="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
    terms="images belong to their photographers; for non-commercial research only",
    citation="Maji, Kannala, Rahtu, Blaschko and Vedaldi 2013, Fine-Grained Visual Classification of Aircraft",
    content="photographs of aircraft, one model variant each",
    images=10_000,
    classes=100,
    query=3_333,
    database=6_667,
    image_bytes=2_750_000_000,  # about: the archive's size, most of which is JPEG
    archives=(
        Archive(
            name="fgvc-aircraft-2013b.tar.gz",
            urls=("https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",),
            size=2_753_340_328,
            digest="md5:d4acdd33327262359767eeaa97a4f732",
        ),
    ),
    root="fgvc-aircraft-2013b",
    layout=_LAYOUT,
    files=("data/*.txt", "data/images/*"),
)


class Options(ReaderOptions):
    """What is a class, what is done with the banner, and the counts that must be found."""

    level: Literal["variant", "family", "manufacturer"] = Field(
        "variant",
        description="what a class is: one of 100 variants (Boeing 737-700), 70 families (Boeing 737) or "
        "30 manufacturers (Boeing); the papers use variants",
    )
    banner: Literal["keep", "crop"] = option(
        "keep",
        "what is done with the notice of copyright, the last 20 rows of pixels of every image",
        paper=UNREAD,
        reference="keeps it: networks see its text, which names the photographer",
        others={"crop": "removes the 20 rows before anything else, as the data set's authors ask"},
    )
    expect_classes: int | None = Field(
        None, description="classes that the list must have; null: 100, 70 or 30, as the level is"
    )
    expect_query: int = Field(3333, description="images that the test list must have")
    expect_database: int = Field(
        6667, description="images that the list of training and validation must have"
    )

    @model_validator(mode="after")
    def _official(self) -> "Options":
        if self.expect_classes is None:
            self.expect_classes = _LEVELS[self.level][1]
        return self


def read(folder: Path, options: Options, rng: np.random.Generator) -> Reading:
    """Read the lists, queries first; ids are paths relative to data/images/. The split is official: `rng` is not used.

    Raises:
        UserError: a list is missing, a line is malformed, an image stands twice, or the counts are not those expected.
    """
    data = located(Path(folder), SOURCE.root) / "data"
    class_names = read_names(data / _LEVELS[options.level][0], _LAYOUT)
    numbers = {name: c for c, name in enumerate(class_names)}
    test, trainval = (data / f"images_{options.level}_{part}.txt" for part in ("test", "trainval"))
    listed = read_listed((test, trainval), _LAYOUT)
    ids = [inner_path(f"{name}.jpg", path, line) for name, (_, path, line) in listed.items()]
    labels = np.array(
        [known(rest, numbers, path, line) for rest, path, line in listed.values()], dtype=np.int64
    )
    is_query = np.array([path == test for _, path, _ in listed.values()], dtype=bool)
    query, database = check_split(options, data, len(class_names), is_query)
    if options.level == "variant" and (query, database) == (SOURCE.query, SOURCE.database):
        check_per_class(labels, class_names, 100, 100, "images", data)
        check_per_class(labels[~is_query], class_names, 66, 67, "database images", trainval)
    images = data / "images"
    return Reading(
        ids=ids,
        labels=one_hot(labels, len(class_names)),
        is_query=is_query,
        class_names=class_names,
        images=[images / name for name in ids],
        facts={"split": "official test set, official training and validation set", "level": options.level},
        crop_bottom=BANNER if options.banner == "crop" else 0,
    )
