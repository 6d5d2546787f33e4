"""The data sets as they stand preprocessed below data/processed/: catalog and images."""

from pathlib import Path
from typing import TYPE_CHECKING

from hashrepro.datasets.catalog import Catalog
from hashrepro.errors import UserError

if TYPE_CHECKING:
    from hashrepro.images.cache import ImageCache


def folder_of(root: Path, name: str) -> Path:
    """Where the data set `name` is, in the repository at `root`.

    Raises:
        UserError: it has not been preprocessed.
    """
    folder = root / "data" / "processed" / name
    if not (folder / "catalog.parquet").exists():
        raise UserError(
            f"The data set {name!r} has not been preprocessed.",
            where=folder,
            mend=f"dvc repro data/dvc.yaml:preprocess@{name}",
        )
    return folder


def open_catalog(root: Path, name: str) -> Catalog:
    """The catalog of a data set. UserError: it is missing or damaged."""
    return Catalog.read(folder_of(root, name) / "catalog.parquet")


def open_cache(root: Path, name: str) -> "ImageCache":
    """The images of a data set. UserError: they are missing or damaged."""
    from hashrepro.images.cache import ImageCache  # numba, which what needs the catalog alone does without

    return ImageCache.open(folder_of(root, name))


def open_dataset(root: Path, name: str) -> tuple[Catalog, "ImageCache"]:
    """Catalog and images of a data set. UserError: one is missing or damaged, or they are not of one set."""
    catalog, cache = open_catalog(root, name), open_cache(root, name)
    if len(catalog.ids) != len(cache):
        raise UserError(
            f"The catalog has {len(catalog.ids)} images, the cache {len(cache)}.",
            where=folder_of(root, name),
            mend=f"dvc repro -f data/dvc.yaml:preprocess@{name}",
        )
    return catalog, cache
