"""The pictures of an index's rows: of the data set's images from its cache, of added ones from their files."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hashrepro.datasets.catalog import Catalog
from hashrepro.errors import UserError
from hashrepro.images.processed import open_cache, open_catalog
from hashrepro.search.about import View

if TYPE_CHECKING:
    from hashrepro.images.cache import ImageCache


class Pictures:
    """Pictures of one index, as far as they are on this machine.

    Args:
        root: the repository.
        facts: of the index.
    """

    def __init__(self, root: Path, facts: dict):
        self._catalog_digest, self._dataset = facts["catalog"], facts["dataset"]
        self._root = root
        try:
            self.catalog, self.cache = self.require_dataset()
        except UserError:  # an index can be searched without its data set
            self.catalog = self.cache = None

    def require_dataset(self) -> tuple[Catalog, "ImageCache"]:
        """Catalog and images of the index's data set.

        Raises:
            UserError: it has not been preprocessed here, or is in another state than the index's.
        """
        catalog, cache = open_catalog(self._root, self._dataset), open_cache(self._root, self._dataset)
        if catalog.digest != self._catalog_digest:
            raise UserError(
                f"The index is of another state of the data set {self._dataset!r}.",
                where=cache.folder,
                mend="make the index again from a run on this one, or preprocess the data set as it was",
            )
        return catalog, cache

    def of_row(self, catalog_row: int) -> np.ndarray | None:
        """uint8 (h, w, 3) of a row of the catalog; None without the data set, or if it cannot be read."""
        return None if self.cache is None else _or_none(lambda: self.cache.pixels(int(catalog_row)))

    def of_file(self, path: str | Path, view: View) -> np.ndarray | None:
        """uint8 (h, w, 3) of a file, turned and cut as the index's view says; None if it cannot be read any more."""
        from hashrepro.search.views import picture  # torch, which the encoder has loaded by now

        return _or_none(lambda: np.asarray(picture(path, view)))

    def of_item(self, path: str, catalog_row: int, view: View) -> np.ndarray | None:
        """uint8 (h, w, 3) of an item of the index, or None."""
        return self.of_row(catalog_row) if catalog_row >= 0 else self.of_file(path, view)


def _or_none(read: Callable[[], np.ndarray]) -> np.ndarray | None:
    try:
        return read()
    except Exception:  # whatever became of the file: a page with a gap is better than no page
        return None
