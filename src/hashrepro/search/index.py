"""An index: codes and items in a folder that can be built, searched, added to and moved."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from hashrepro.errors import UserError
from hashrepro.files import whole
from hashrepro.retrieval.codes import Codes
from hashrepro.search.folder import (
    check_facts,
    check_free,
    damaged,
    read_facts,
    readable_facts,
    remove_unlisted,
    write_facts,
    writing,
)
from hashrepro.search.items import Items
from hashrepro.search.kinds import LANCEDB, at_search, resolve
from hashrepro.search.stores import Store, store_class


@dataclass(frozen=True, eq=False)
class Hits:
    """The nearest rows of q queries, nearest first and equally near ones by row number.

    Attributes:
        rows: int64 (q, k), row numbers of the index; -1 where an approximate search found fewer than k.
        distances: int32 (q, k), Hamming distances in bits; -1 there too.
        scores: float64 (q, k), inner products where the hits were re-ranked by them; otherwise None.
    """

    rows: np.ndarray
    distances: np.ndarray
    scores: np.ndarray | None = None


@dataclass(frozen=True)
class Added:
    """How many items `Index.add` has added, and how many it left out because their ids were there."""

    added: int
    skipped: int


def _check_codes(codes: Codes, bits: int, what: str) -> None:
    if codes.bits != bits:
        raise UserError(
            f"The {what} codes have {codes.bits} bits, the index {bits}.",
            where=f"{what} codes",
            mend="encode with the network that is in the index",
        )
    if uncoded := int((~codes.coded).sum()):
        raise UserError(
            f"{uncoded} of {len(codes)} {what} codes were never set.",
            where=f"{what} codes",
            mend="give the codes of the network for these rows",
        )


def _check_sides(codes: Codes, items: Items) -> None:
    if len(codes) != len(items):
        raise UserError(
            f"There are {len(codes)} codes for {len(items)} items.",
            where="index",
            mend="give a code for every item",
        )


class Index:
    """An index that `build` or `open` made.

    Attributes:
        folder: where it is. It can be moved or copied as a whole; a table at a URI stays where it is.
        facts: what index.json says: what `build` was given, "bits", "store", "kind", "parameters", "uri", "rows",
            "counts" by origin, and "recall" where it was measured.
    """

    def __init__(self, folder: Path, facts: dict, store: Store):
        self.folder, self.facts, self._store = folder, facts, store

    @property
    def bits(self) -> int:
        return self.facts["bits"]

    @property
    def class_names(self) -> list[str]:
        return self.facts["class_names"]

    @classmethod
    def build(
        cls,
        folder: Path,
        codes: Codes,
        items: Items,
        facts: Mapping,
        *,
        store: str = "faiss",
        kind: str = "flat",
        parameters: Mapping[str, int] | None = None,
        uri: str | None = None,
        force: bool = False,
        threads: int = 1,
        beside: Callable[[Path], None] | None = None,
    ) -> "Index":
        """Make an index: the folder is there when all of it is, and not before.

        Args:
            codes, items: n rows, in the order of their numbers.
            facts: JSON-serialisable, with at least "run", "suite", "dataset", "catalog" and "model" (digests), and
                "class_names".
            store, kind, parameters: see `kinds`; parameters that are not given take their default.
            uri: where the table of a LanceDB store is, as lancedb takes it; None: inside the folder.
            force: replace an index that is there.
            threads: that faiss may use. With one, the same input gives the same files.
            beside: writes further files into the folder that it is given, before that has its final name.

        Raises:
            UserError: uncoded or no rows, ids that repeat, an unknown parameter, a folder that is no index.
        """
        folder = Path(folder)
        _check_codes(codes, codes.bits, "database")
        _check_sides(codes, items)
        if not len(items):
            raise UserError("There is nothing to index.", where=folder, mend="choose a run with a database")
        if repeated := items.table["id"].to_pandas().duplicated().sum():
            raise UserError(
                f"{repeated} ids come more than once.", where="items", mend="give every item its own id"
            )
        if uri is not None and store != LANCEDB:
            raise UserError(
                f"The store {store} has no URI.", where=uri, mend="leave it out, or take --store lancedb"
            )
        if uri is not None and "://" not in uri:
            uri = str(Path(uri).absolute())  # so that it is found from any working directory
        resolved = resolve(store, kind, parameters or {}, len(codes))
        check_facts(facts)
        check_free(folder, force)
        facts = {
            **facts,
            "bits": codes.bits,
            "store": store,
            "kind": kind,
            "parameters": resolved,
            "uri": uri,
        }
        # an index that is replaced is held, so that no addition writes into the folder that takes its place
        held = writing(folder) if folder.exists() else nullcontext()
        with held, whole(folder) as temporary:
            temporary.mkdir()
            if beside is not None:
                beside(temporary)
            replaced = readable_facts(folder)
            facts = store_class(store).build(temporary, codes, items, facts, threads=threads)
            write_facts(temporary, facts)
        if replaced is not None:
            store_class(replaced["store"]).remove(replaced)
        return cls.open(folder, threads=threads)

    @classmethod
    def open(cls, folder: Path, *, threads: int = 1) -> "Index":
        """Open what `build` made; with `threads` for searching.

        Raises:
            UserError: no index, or a damaged one.
        """
        folder = Path(folder)
        while True:
            facts = read_facts(folder)
            try:
                store = store_class(facts["store"]).open(folder, facts, threads)
                break
            except FileNotFoundError as error:
                if read_facts(folder) == facts:  # not: replaced by an addition between the two readings
                    raise damaged("A file of the index is missing.", Path(error.filename), facts) from None
        if (
            len(store) != facts["rows"]
        ):  # a table can be ahead: its addition was killed, or made from elsewhere
            facts = {**facts, "rows": len(store), "counts": store.counts()}
        return cls(folder, facts, store)

    def contains(self, ids: Sequence[str] | pa.Array) -> np.ndarray:
        """bool (n,): which ids the index has."""
        return self._store.contains(ids if isinstance(ids, pa.Array) else pa.array(ids, pa.string()))

    def add(self, codes: Codes, items: Items) -> Added:
        """Append the items whose ids are not there yet; rows that are there keep their numbers.

        An addition that is killed leaves the index as it was, and can be repeated.

        Raises:
            UserError: codes of another length, or another command is adding.
        """
        _check_codes(codes, self.bits, "added")
        _check_sides(codes, items)
        with writing(self.folder):
            latest = Index.open(self.folder, threads=self._store.threads)
            if latest.facts["model"] != self.facts["model"]:
                raise UserError(
                    "The index was made again with another network while these images were encoded.",
                    where=self.folder,
                    mend="add them again: they are encoded by the network that is there now",
                )
            ids = items.table["id"].combine_chunks()
            new = ~latest.contains(ids) & ~ids.to_pandas().duplicated().to_numpy()
            if new.any():
                latest.facts = latest._store.add(self.folder, codes[new], items[new], latest.facts)
                write_facts(self.folder, latest.facts)
                remove_unlisted(self.folder, latest.facts)
            self.facts, self._store = latest.facts, latest._store
        return Added(int(new.sum()), int((~new).sum()))

    def search(self, codes: Codes, k: int, *, parameters: Mapping[str, int] | None = None) -> Hits:
        """The `k` nearest rows of each query; all rows where there are fewer than k.

        A flat index finds the same in every store. Another one may miss rows, and of those at the distance of the
        k-th it keeps any; a store in memory always the same ones.

        Args:
            codes: of q queries.
            parameters: of the index's kind, in place of the stored ones; see `kinds.at_search`.

        Raises:
            UserError: codes of another length or never set, k < 1, or a parameter that a search cannot change.
        """
        _check_codes(codes, self.bits, "query")
        if k < 1:
            raise UserError(f"A search cannot return {k} rows.", where="k", mend="give a number >= 1")
        chosen = at_search(self.facts["kind"], self.facts["parameters"], parameters or {})
        k = min(k, len(self))
        if not len(codes):
            return Hits(np.empty((0, k), np.int64), np.empty((0, k), np.int32))
        return Hits(*self._store.search(codes, k, chosen))

    def search_exact(self, codes: Codes, k: int) -> Hits:
        """The same over all rows, whatever the kind of the index: what an approximate search is measured against."""
        _check_codes(codes, self.bits, "query")
        return Hits(*self._store.search_exact(codes, min(k, len(self))))

    def items(self, rows: np.ndarray) -> Items:
        """The items of rows, in the order asked for. IndexError for a row that is not there."""
        return self._store.items(self._present(rows))

    def codes(self, rows: np.ndarray) -> Codes:
        """The codes of rows, in the order asked for. IndexError for a row that is not there."""
        return self._store.codes(self._present(rows))

    def _present(self, rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows, np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of an index of {len(self)}")
        return rows

    def counts(self) -> dict[str, int]:
        """Number of rows by origin of the code: {"learned": n, "network": m}."""
        return self._store.counts()

    def record_recall(self, frame: pd.DataFrame) -> None:
        """Keep what `recall.measure_recall` returned in index.json, with the number of rows that it holds for."""
        with writing(self.folder):
            table = json.loads(frame.to_json(orient="records", double_precision=6))
            facts = {**read_facts(self.folder), "recall": {"rows": len(self), "table": table}}
            write_facts(self.folder, facts)
        self.facts = {**self.facts, "recall": facts["recall"]}

    def __len__(self) -> int:
        return len(self._store)
