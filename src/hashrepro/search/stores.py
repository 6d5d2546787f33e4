"""What an index asks of a store, and the stores by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from hashrepro.retrieval.codes import Codes
from hashrepro.search.items import Items
from hashrepro.search.kinds import FAISS


class Store(Protocol):
    """Codes and items by row number, 0 .. n - 1 in the order of their addition."""

    @classmethod
    def build(cls, folder: Path, codes: Codes, items: Items, facts: dict, threads: int) -> dict:
        """Write a new store; returns `facts`, completed by what is needed to open it ("files", "rows", "counts")."""

    @classmethod
    def remove(cls, facts: Mapping) -> None:
        """Remove what `build` has left outside the folder, if anything."""

    @classmethod
    def open(cls, folder: Path, facts: Mapping, threads: int) -> "Store":
        """What `build` wrote. UserError: damaged. FileNotFoundError: a file of the folder is not there."""

    def add(self, folder: Path, codes: Codes, items: Items, facts: Mapping) -> dict:
        """Append rows, all or none; the caller has made sure that no id is there. Returns the completed facts."""

    def search(self, query: Codes, k: int, parameters: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
        """(rows int64 (q, k), distances int32 (q, k)) as its kind finds them, by distance and row; -1: none found."""

    def search_exact(self, query: Codes, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The same over all rows, whatever the kind."""

    def codes(self, rows: np.ndarray) -> Codes:
        """The codes of rows, in the order asked for."""

    def items(self, rows: np.ndarray) -> Items:
        """The items of rows, in the order asked for."""

    def contains(self, ids: pa.Array) -> np.ndarray:
        """bool (n,): which of the ids (strings) a row has."""

    def counts(self) -> dict[str, int]:
        """Number of rows by origin."""

    def __len__(self) -> int: ...


def store_class(name: str) -> type[Store]:
    """The store called `name`, one of `kinds.STORES`; its library is loaded only here."""
    if name == FAISS:
        from hashrepro.search.faiss_store import FaissStore

        return FaissStore
    from hashrepro.search.lancedb_store import LanceStore

    return LanceStore
