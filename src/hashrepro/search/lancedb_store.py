"""An index as a LanceDB table, in a folder or on object storage: one row an item, with its code.

lancedb 0.40.0 sends nothing anywhere (its OpenTelemetry bridge must be called to do so). Credentials and endpoints of
object storage come from the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT, ...), where lancedb reads them itself.
"""

import os
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hashrepro.errors import UserError
from hashrepro.retrieval.codes import Codes
from hashrepro.search.folder import damaged
from hashrepro.search.items import LEARNED, NETWORK, SCHEMA, Items
from hashrepro.search.kinds import FLAT
from hashrepro.search.nearest import in_order, nearest_of_blocks

os.environ.setdefault("LANCEDB_LOG", "error")  # it warns of every empty cluster; read when it is loaded

try:
    import lancedb
    from lancedb.index import BTree, IvfFlat
except ImportError as error:
    raise UserError(
        f"The store lancedb needs a library that is not installed ({error.name}).",
        where="store lancedb",
        mend="pip install lancedb",
    ) from error

# Whoever forks beside a table, as those who decode images do, leaves the table alone in the children.
warnings.filterwarnings("ignore", "lancedb fork support is experimental", RuntimeWarning)

_INSIDE = "lancedb"  # folder of the table where no URI is given, so that it moves with the index
_ROWS_A_BATCH = 65_536
_VALUES_A_FILTER = 1_000
_VALUES_WORTH_A_PASS = 20_000  # from here on reading the whole column is quicker than asking for them


def _schema(bits: int, facts: Mapping) -> pa.Schema:
    """Columns of the table; its metadata repeat its name, so that no other is taken for it."""
    code = pa.field("code", pa.list_(pa.uint8(), -(-bits // 8)))
    return pa.schema(
        [pa.field("row", pa.int64()), *SCHEMA, code], metadata={"hashrepro index": facts["table"]}
    )


def _batches(codes: Codes, items: Items, first: int, schema: pa.Schema) -> pa.RecordBatchReader:
    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(codes), _ROWS_A_BATCH):
            part = slice(start, min(start + _ROWS_A_BATCH, len(codes)))
            packed = np.ascontiguousarray(codes.packed[part])
            rows = pa.array(np.arange(first + part.start, first + part.stop))
            code = pa.FixedSizeListArray.from_arrays(pa.array(packed.reshape(-1)), packed.shape[1])
            columns = [column.combine_chunks() for column in items.table[part].columns]
            yield from pa.table([rows, *columns, code], schema=schema).combine_chunks().to_batches()

    return pa.RecordBatchReader.from_batches(schema, batches())


def _connect(folder: Path, facts: Mapping) -> "lancedb.DBConnection":
    uri = str(folder / _INSIDE) if facts["uri"] is None else facts["uri"]
    try:
        return lancedb.connect(uri)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"LanceDB cannot be reached: {error}", where=uri, mend="check the URI and its credentials"
        ) from error


class LanceStore:
    """A store in a LanceDB table; see `stores.Store` for what each method promises.

    An exact search reads the column of codes in batches and compares them with faiss: all queries share one pass, and
    ties are settled by row. Over a million codes that took half the CPU time of LanceDB's own scan for one query
    and a twentieth for twenty. Rows may lie in another order than they were added (LanceDB merges small
    fragments), so a row has its number in a column.
    """

    def __init__(self, table: "lancedb.table.Table", folder: Path, facts: Mapping, threads: int):
        self.table, self.bits, self.kind, self.threads = table, facts["bits"], facts["kind"], threads
        self.folder, self.facts = folder, facts

    @classmethod
    def build(cls, folder: Path, codes: Codes, items: Items, facts: dict, threads: int) -> dict:
        # a name of its own: at a URI there may be the tables of other indexes, and of the one that is replaced
        name = f"{facts['suite'].replace('/', '-')}-{facts['run']}-{uuid.uuid4().hex}"
        facts = {**facts, "table": name}
        database, schema = _connect(folder, facts), _schema(facts["bits"], facts)
        try:
            table = database.create_table(name, _batches(codes, items, 0, schema), schema=schema)
        except (ValueError, RuntimeError, OSError) as error:
            what, mend = f"LanceDB cannot write: {error}", "check the URI, its credentials and its space"
            raise UserError(what, where=database.uri, mend=mend) from error
        for column in ("id", "row"):
            table.create_index(column, config=BTree())
        if facts["kind"] != FLAT:
            lists = facts["parameters"]["lists"]
            table.create_index("code", config=IvfFlat(distance_type="hamming", num_partitions=lists))
        return {**facts, "files": {}, "rows": len(codes), "counts": items.counts()}

    @classmethod
    def remove(cls, facts: Mapping) -> None:
        if facts["uri"] is not None:
            _connect(Path(), facts).drop_table(facts["table"], ignore_missing=True)

    @classmethod
    def open(cls, folder: Path, facts: Mapping, threads: int) -> "LanceStore":
        database, name = _connect(folder, facts), facts["table"]
        try:
            table = database.open_table(name)
        except (ValueError, RuntimeError, OSError) as error:
            what = f"The LanceDB table '{name}' at {database.uri} cannot be opened: {error}"
            raise damaged(what, folder, facts) from error
        if not table.schema.equals(_schema(facts["bits"], facts), check_metadata=True):
            raise damaged(f"The LanceDB table '{name}' belongs to another index.", folder, facts)
        return cls(table, folder, facts, threads)

    def add(self, folder: Path, codes: Codes, items: Items, facts: Mapping) -> dict:
        self.table.checkout_latest()
        self.table.add(_batches(codes, items, len(self), _schema(self.bits, facts)))
        self.table.optimize()  # takes the new rows into the indexes; until then they are searched one by one
        return {**facts, "rows": len(self), "counts": self.counts()}

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Around whatever reads the table's files, which may be gone or damaged."""
        try:
            yield
        except (RuntimeError, OSError) as error:
            what = f"The LanceDB table '{self.facts['table']}' cannot be read: {error}"
            raise damaged(what, self.folder, self.facts) from error

    def _blocks(self, *columns: str) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        with self._reading():
            for batch in self.table.search().select(["row", *columns]).to_batches(batch_size=_ROWS_A_BATCH):
                yield batch["row"].to_numpy(), batch

    def _codes(self, column: pa.Array) -> Codes:
        packed = column.flatten().to_numpy().reshape(len(column), column.type.list_size)
        return Codes(packed, self.bits, np.ones(len(packed), np.bool_))

    def search(self, query: Codes, k: int, parameters: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
        if self.kind == FLAT:
            return self.search_exact(query, k)
        found = [self._probe(packed, k, parameters["probes"]) for packed in query.packed]
        return tuple(np.concatenate(side) for side in zip(*found, strict=True))

    def _probe(self, packed: np.ndarray, k: int, probes: int) -> tuple[np.ndarray, np.ndarray]:
        """One query through the IVF index: all rows no farther than the k-th that it finds, the first k of them."""
        search = self.table.search(packed, vector_column_name="code").distance_type("hamming").nprobes(probes)
        search = search.select(["row", "_distance"])
        with self._reading():
            found = search.limit(k).to_arrow()
            if len(found) == k:
                farthest = found["_distance"].to_numpy().max()
                found = search.distance_range(None, float(farthest) + 0.5).limit(len(self)).to_arrow()
        rows, distances = np.full((1, max(k, len(found))), -1), np.zeros((1, max(k, len(found))), np.int32)
        rows[0, : len(found)], distances[0, : len(found)] = found["row"], found["_distance"]
        return in_order(rows, distances, k)

    def search_exact(self, query: Codes, k: int) -> tuple[np.ndarray, np.ndarray]:
        blocks = ((rows, self._codes(batch["code"])) for rows, batch in self._blocks("code"))
        return nearest_of_blocks(blocks, query, k, self.threads)

    def _take(self, rows: np.ndarray, *columns: str) -> pa.Table:
        """Columns of rows in the order asked for; only those rows are read unless they are many."""
        wanted = np.unique(rows)
        if not len(wanted):
            return self.table.schema.empty_table().select(["row", *columns])
        if len(wanted) <= _VALUES_A_FILTER:
            condition = f"row IN ({', '.join(map(str, wanted))})"
            query = self.table.search().where(condition).select(["row", *columns]).limit(len(wanted))
            with self._reading():
                found = query.to_arrow()
        else:
            batches = [
                batch.filter(pa.array(np.isin(some, wanted))) for some, batch in self._blocks(*columns)
            ]
            found = pa.Table.from_batches(batches)
        place = np.argsort(found["row"].to_numpy())
        return found.take(pa.array(place[np.searchsorted(wanted, rows)]))

    def codes(self, rows: np.ndarray) -> Codes:
        return self._codes(self._take(rows, "code")["code"].combine_chunks())

    def items(self, rows: np.ndarray) -> Items:
        return Items(self._take(rows, *SCHEMA.names).select(SCHEMA.names).cast(SCHEMA))

    def contains(self, ids: pa.Array) -> np.ndarray:
        if len(ids) > _VALUES_WORTH_A_PASS:
            columns = (batch["id"] for _, batch in self._blocks("id"))
            there = [column.filter(pc.is_in(column, value_set=ids)) for column in columns]
        else:
            there = [
                self._with_ids(ids[start : start + _VALUES_A_FILTER])
                for start in range(0, len(ids), _VALUES_A_FILTER)
            ]
        return pc.is_in(ids, value_set=pa.chunked_array(there, pa.string())).to_numpy(zero_copy_only=False)

    def _with_ids(self, ids: pa.Array) -> pa.Array:
        """Those of the ids that a row has, found through the index of the column."""
        quoted = ", ".join("'" + name.replace("'", "''") + "'" for name in ids.to_pylist())
        query = self.table.search().where(f"id IN ({quoted})").select(["id"]).limit(len(ids))
        with self._reading():
            return query.to_arrow()["id"].combine_chunks()

    def counts(self) -> dict[str, int]:
        learned = self.table.count_rows(f"origin = '{LEARNED}'")
        return {LEARNED: learned, NETWORK: len(self) - learned}

    def __len__(self) -> int:
        return self.table.count_rows()
