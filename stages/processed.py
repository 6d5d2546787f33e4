"""The data sets as `preprocess` left them."""

from common import ROOT

from hashrepro.datasets.catalog import Catalog
from hashrepro.errors import UserError
from hashrepro.images.cache import ImageCache


def open_dataset(name: str) -> tuple[Catalog, ImageCache]:
    """Catalog and images that `preprocess` wrote."""
    folder = ROOT / "data" / "processed" / name
    if not (folder / "catalog.parquet").exists():
        raise UserError(
            f"The data set {name!r} has not been preprocessed.",
            where=folder,
            mend=f"dvc repro data/dvc.yaml:preprocess@{name}",
        )
    catalog, cache = Catalog.read(folder / "catalog.parquet"), ImageCache.open(folder)
    if len(catalog.ids) != len(cache):
        raise UserError(
            f"The catalog has {len(catalog.ids)} images, the cache {len(cache)}.",
            where=folder,
            mend=f"dvc repro -f data/dvc.yaml:preprocess@{name}",
        )
    return catalog, cache
