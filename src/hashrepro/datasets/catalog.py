"""The catalog: one row an image, with its id, its labels and its part in the protocol."""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hashrepro.errors import UserError
from hashrepro.files import value_digest, whole

_SPLITS = {False: "database", True: "query"}


@dataclass(frozen=True, eq=False)
class Catalog:
    """What a data set's annotation says, in the order that every later stage keeps.

    Args:
        name: the data set's name in params.yaml.
        ids: n distinct stable names of the images, for example their relative paths.
        labels: bool (n, C); two images are similar when they share at least one label.
        is_query: bool (n,); every other row is a database row.
        class_names: C names, one a column of `labels`.
        facts: JSON-serialisable remarks (reader, options, counts); not part of the digest.

    Row i is image i of the image cache. The order of the database rows decides every tie that a convention
    breaks by file order.

    Raises:
        ValueError: shapes disagree, ids repeat, or there is no query or no database row.
    """

    name: str
    ids: list[str]
    labels: np.ndarray
    is_query: np.ndarray
    class_names: list[str]
    facts: dict = field(default_factory=dict)

    def __post_init__(self):
        n = len(self.ids)
        if self.labels.shape != (n, len(self.class_names)) or self.labels.dtype != bool:
            raise ValueError(f"labels must be bool ({n}, {len(self.class_names)}): {self.labels.shape}")
        if self.is_query.shape != (n,) or self.is_query.dtype != bool:
            raise ValueError(f"is_query must be bool ({n},): {self.is_query.shape}")
        if len(set(self.ids)) != n:
            raise ValueError("ids are not distinct")
        if self.is_query.all() or not self.is_query.any():
            raise ValueError("a catalog needs query rows and database rows")

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def query_rows(self) -> np.ndarray:
        """int64 row numbers of the queries, in catalog order."""
        return np.flatnonzero(self.is_query)

    @cached_property
    def database_rows(self) -> np.ndarray:
        """int64 row numbers of the database, in catalog order."""
        return np.flatnonzero(~self.is_query)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of everything but `facts`."""
        bits = np.packbits(self.labels).tobytes() + np.packbits(self.is_query).tobytes()
        return value_digest(
            {
                "name": self.name,
                "ids": list(self.ids),
                "class_names": list(self.class_names),
                "bits": hashlib.sha256(bits).hexdigest(),
            }
        )

    def write(self, path: str | Path) -> None:
        """Write one Parquet file: columns id, labels (their numbers), split; the rest is schema metadata."""
        rows, columns = np.nonzero(self.labels)
        starts = np.searchsorted(rows, np.arange(len(self) + 1))
        labels = pa.ListArray.from_arrays(pa.array(starts, pa.int32()), pa.array(columns, pa.int32()))
        split = pa.array([_SPLITS[bool(query)] for query in self.is_query])
        metadata = {
            "name": self.name,
            "class_names": json.dumps(list(self.class_names)),
            "digest": self.digest,
            "facts": json.dumps(self.facts, sort_keys=True, allow_nan=False),
        }
        table = pa.table({"id": pa.array(self.ids, pa.string()), "labels": labels, "split": split})
        with whole(path) as temporary:
            pq.write_table(table.replace_schema_metadata(metadata), temporary)

    @classmethod
    def read(cls, path: str | Path) -> "Catalog":
        """Read what `write` wrote.

        Raises:
            UserError: the file is missing, not a catalog, or its content is not what its digest says.
        """
        mend = "make it again: dvc repro -f of that data set's preprocess stage"
        try:
            table = pq.read_table(path)
            metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
            class_names = json.loads(metadata["class_names"])
            column = table["labels"].combine_chunks()
            labels = np.zeros((len(table), len(class_names)), dtype=bool)
            counts = np.diff(column.offsets.to_numpy())
            labels[np.repeat(np.arange(len(table)), counts), column.values.to_numpy()] = True
            catalog = cls(
                name=metadata["name"],
                ids=table["id"].to_pylist(),
                labels=labels,
                is_query=np.array(table["split"].to_pylist()) == _SPLITS[True],
                class_names=class_names,
                facts=json.loads(metadata["facts"]),
            )
        except FileNotFoundError:
            raise UserError("there is no catalog", where=path, mend=mend) from None
        except (OSError, pa.ArrowException, AttributeError, KeyError, IndexError, ValueError) as error:
            raise UserError(f"the catalog cannot be read: {error}", where=path, mend=mend) from error
        if catalog.digest != metadata["digest"]:
            raise UserError("the catalog's content is not what its digest says", where=path, mend=mend)
        return catalog
