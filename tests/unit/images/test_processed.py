"""A data set as preprocessing left it: what is missing, and what does not belong together."""

import numpy as np
import pytest
from PIL import Image

from hashrepro.datasets.catalog import Catalog
from hashrepro.errors import UserError
from hashrepro.images.building import build_cache
from hashrepro.images.processed import open_catalog, open_dataset


def processed(root, images: int, rows: int):
    folder = root / "data" / "processed" / "birds"
    paths = []
    for number in range(images):
        paths.append(root / f"{number}.png")
        Image.new("RGB", (9, 8), (number, 0, 0)).save(paths[-1])
    build_cache(folder, paths, resize=8, crop=8, workers=0, progress=False)
    labels = np.ones((rows, 1), bool)
    Catalog("birds", [str(i) for i in range(rows)], labels, np.arange(rows) == 0, ["bird"]).write(
        folder / "catalog.parquet"
    )


def test_catalog_and_images_of_one_set_open_together(tmp_path):
    processed(tmp_path, 3, 3)
    catalog, cache = open_dataset(tmp_path, "birds")
    assert catalog.ids == ["0", "1", "2"]
    assert [int(picture[0, 0, 0]) for picture in cache.pictures([0, 1, 2])] == [0, 1, 2]


@pytest.mark.parametrize("open_", [open_catalog, open_dataset])
def test_a_set_that_was_not_preprocessed_names_the_command(tmp_path, open_):
    with pytest.raises(UserError, match="'birds' has not been preprocessed") as error:
        open_(tmp_path, "birds")
    assert error.value.mend == "dvc repro data/dvc.yaml:preprocess@birds"


def test_a_catalog_and_a_cache_of_different_sets_are_refused(tmp_path):
    processed(tmp_path, 3, 4)
    with pytest.raises(UserError, match="The catalog has 4 images, the cache 3"):
        open_dataset(tmp_path, "birds")
