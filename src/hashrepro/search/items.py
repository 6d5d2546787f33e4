"""What an index knows of its rows: id, labels, where the code comes from, and where the picture is."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from hashrepro.datasets.catalog import Catalog
from hashrepro.errors import UserError

LEARNED, NETWORK = "learned", "network"
ORIGINS = (LEARNED, NETWORK)
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("labels", pa.list_(pa.field("item", pa.int32(), nullable=False)), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("catalog_row", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True, eq=False)
class Items:
    """`n` rows of an index, in the order of their row numbers; a pyarrow table of `SCHEMA`.

    Its columns: `id`; `labels`, the numbers of the classes, none where they are unknown; `origin` of the code:
    "learned" in training or by the "network"; `path`, the absolute file of an image that was added, "" for one of
    the data set; `catalog_row`, its row in the catalog of the data set, -1 for an added one.

    Raises:
        UserError: another schema, or an unknown origin.
    """

    table: pa.Table

    def __post_init__(self) -> None:
        if not self.table.schema.equals(SCHEMA):
            raise UserError(
                f"The items have the columns {self.table.schema.to_string()!r}.",
                where="items",
                mend="make them with Items.of",
            )
        if unknown := set(self.table["origin"].unique().to_pylist()) - set(ORIGINS):
            raise UserError(
                f"A code cannot come from {min(unknown)!r}.",
                where="origin of an item",
                mend=f"use one of {', '.join(ORIGINS)}",
            )

    @classmethod
    def of(
        cls,
        ids: Sequence[str],
        labels: Sequence[Sequence[int]],
        origin: str | Sequence[str],
        *,
        paths: Sequence[str] | None = None,
        catalog_rows: Sequence[int] | np.ndarray | None = None,
    ) -> "Items":
        """From columns of n values; one `origin` may stand for all. UserError when the lengths differ."""
        n = len(ids)
        columns = {
            "id": ids,
            "labels": labels,
            "origin": [origin] * n if isinstance(origin, str) else origin,
            "path": [""] * n if paths is None else paths,
            "catalog_row": [-1] * n if catalog_rows is None else catalog_rows,
        }
        if wrong := [name for name, column in columns.items() if len(column) != n]:
            raise UserError(
                f"There are {n} ids, but {len(columns[wrong[0]])} values of {wrong[0]}.",
                where="items",
                mend="give a value for every id",
            )
        arrays = [pa.array(columns[field.name], field.type) for field in SCHEMA]
        return cls(pa.Table.from_arrays(arrays, schema=SCHEMA))

    @classmethod
    def of_catalog(cls, catalog: Catalog, rows: np.ndarray, origin: str | Sequence[str]) -> "Items":
        """The rows `rows` of a catalog."""
        rows = np.asarray(rows, np.int64)
        labels = [np.flatnonzero(catalog.labels[row]).astype(np.int32) for row in rows]
        return cls.of([catalog.ids[row] for row in rows], labels, origin, catalog_rows=rows)

    @property
    def ids(self) -> list[str]:
        return self.table["id"].to_pylist()

    @property
    def labels(self) -> list[list[int]]:
        return self.table["labels"].to_pylist()

    @property
    def origins(self) -> list[str]:
        return self.table["origin"].to_pylist()

    @property
    def paths(self) -> list[str]:
        return self.table["path"].to_pylist()

    @property
    def catalog_rows(self) -> np.ndarray:
        """int64 (n,)."""
        return self.table["catalog_row"].to_numpy()

    @cached_property
    def learned(self) -> np.ndarray:
        """bool (n,): the code was learned in training."""
        return np.array([origin == LEARNED for origin in self.origins], np.bool_)

    def label_matrix(self, classes: int) -> np.ndarray:
        """bool (n, classes). UserError for a label outside them."""
        matrix = np.zeros((len(self), classes), np.bool_)
        column = self.table["labels"].combine_chunks()
        counts, values = np.diff(column.offsets.to_numpy()), column.flatten().to_numpy()
        if len(values) and not 0 <= values.min() <= values.max() < classes:
            raise UserError(
                f"A label is {int(values.max() if values.max() >= classes else values.min())}, "
                f"but there are {classes} classes.",
                where="labels of the items",
                mend="number the classes from 0 in the order of the index's class names",
            )
        matrix[np.repeat(np.arange(len(self)), counts), values] = True
        return matrix

    def counts(self) -> dict[str, int]:
        """Number of rows by origin."""
        learned = int(self.learned.sum())
        return {LEARNED: learned, NETWORK: len(self) - learned}

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, rows: np.ndarray | slice) -> "Items":
        """Rows by number, by bool mask or by slice, in the order asked for."""
        if isinstance(rows, slice):
            rows = np.arange(len(self))[rows]
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return Items(self.table.take(pa.array(rows, pa.int64())))
