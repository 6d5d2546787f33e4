"""An index in memory: a faiss binary index and a Parquet file of items, in the folder of the index."""

from collections.abc import Callable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hashrepro.files import whole
from hashrepro.retrieval.codes import Codes
from hashrepro.search.folder import checked_file, damaged, describe_file
from hashrepro.search.items import Items
from hashrepro.search.kinds import FLAT, HNSW, IVF
from hashrepro.search.nearest import faiss_threads, flat_index, in_order, nearest, padded, unpadded

if TYPE_CHECKING:
    import faiss

_TRAINING_CODES_A_LIST = 64
_SEED = 1234


def _new(codes: Codes, kind: str, parameters: Mapping[str, int]) -> "faiss.IndexBinary":
    import faiss

    packed = padded(codes)
    d = 8 * packed.shape[1]
    if kind == FLAT:
        return flat_index(packed)
    if kind == IVF:
        index = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(d), d, parameters["lists"])
        index.cp.seed, index.cp.max_points_per_centroid = _SEED, _TRAINING_CODES_A_LIST
        index.cp.min_points_per_centroid = 1  # the default number of lists heeds it; a chosen one is a choice
        index.train(packed)
    else:
        index = faiss.IndexBinaryHNSW(d, parameters["links"])
        index.hnsw.efConstruction = parameters["build_effort"]
    index.add(packed)
    return index


class FaissStore:
    """A store in memory; see `stores.Store` for what each method promises.

    With one thread the same codes and parameters give the same files, byte for byte; more threads link the rows
    of an HNSW index in another order.
    """

    def __init__(self, index: "faiss.IndexBinary", items: Callable[[], Items], facts: Mapping, threads: int):
        self.index, self.bits, self.kind, self.threads = index, facts["bits"], facts["kind"], threads
        self._items = cache(items)

    @classmethod
    def build(cls, folder: Path, codes: Codes, items: Items, facts: dict, threads: int) -> dict:
        """Write the files of a new index into `folder`; `facts` with what index.json says of them."""
        with faiss_threads(threads):
            index = _new(codes, facts["kind"], facts["parameters"])
        return cls(index, lambda: items, facts, threads)._write(folder, items, facts)

    @classmethod
    def remove(cls, facts: Mapping) -> None:
        """All is in the folder."""

    @classmethod
    def open(cls, folder: Path, facts: Mapping, threads: int) -> "FaissStore":
        import faiss

        codes, items = (checked_file(folder, facts, part) for part in ("codes", "items"))
        try:
            index = faiss.read_index_binary(str(codes))
            # Opened now and read when first asked for, as an addition may remove the name meanwhile.
            file = pq.ParquetFile(pa.memory_map(str(items)))
        except (RuntimeError, pa.ArrowException) as error:
            raise damaged(f"The index cannot be read: {error}", folder, facts) from error
        rows = file.metadata.num_rows
        if index.d != 64 * -(-facts["bits"] // 64) or index.ntotal != rows:
            raise damaged(
                f"There are {index.ntotal} codes of {index.d} bits for {rows} items of {facts['bits']} bits.",
                folder,
                facts,
            )
        return cls(index, lambda: Items(file.read()), facts, threads)

    def _write(self, folder: Path, items: Items, facts: Mapping) -> dict:
        """Write codes and items under names of their own (the number of rows); index.json makes them valid."""
        import faiss

        paths = {
            "codes": folder / f"codes-{len(items)}.faiss",
            "items": folder / f"items-{len(items)}.parquet",
        }
        with whole(paths["codes"]) as temporary:
            faiss.write_index_binary(self.index, str(temporary))
        with whole(paths["items"]) as temporary:
            pq.write_table(items.table, temporary)
        files = {part: describe_file(path) for part, path in paths.items()}
        return {**facts, "files": files, "rows": len(items), "counts": items.counts()}

    def add(self, folder: Path, codes: Codes, items: Items, facts: Mapping) -> dict:
        with faiss_threads(self.threads):
            self.index.add(padded(codes))
        together = Items(pa.concat_tables([self._items().table, items.table]))
        self._items = lambda: together
        vars(self).pop("_flat", None)
        return self._write(folder, together, facts)

    @cached_property
    def _flat(self) -> "faiss.IndexBinaryFlat":
        """All codes in the order of their rows."""
        import faiss

        if self.kind == FLAT:
            return self.index
        if self.kind == HNSW:
            return faiss.downcast_IndexBinary(self.index.storage)
        packed, lists = np.empty((self.index.ntotal, self.index.code_size), np.uint8), self.index.invlists
        for number in range(self.index.nlist):
            if size := lists.list_size(number):
                rows = faiss.rev_swig_ptr(lists.get_ids(number), size)
                packed[rows] = faiss.rev_swig_ptr(lists.get_codes(number), packed[0].nbytes * size).reshape(
                    size, -1
                )
        return flat_index(packed)

    def search(self, query: Codes, k: int, parameters: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
        if self.kind == FLAT:
            return self.search_exact(query, k)
        if self.kind == IVF:
            self.index.nprobe = min(parameters["probes"], self.index.nlist)
        else:
            self.index.hnsw.efSearch = max(parameters["search_effort"], k)
        with faiss_threads(self.threads):
            distances, rows = self.index.search(padded(query), k)
        return in_order(rows, distances, k)

    def search_exact(self, query: Codes, k: int) -> tuple[np.ndarray, np.ndarray]:
        with faiss_threads(self.threads):
            return nearest(self._flat, query, k)

    def codes(self, rows: np.ndarray) -> Codes:
        import faiss

        flat = self._flat
        packed = faiss.rev_swig_ptr(flat.xb.data(), flat.ntotal * flat.code_size).reshape(flat.ntotal, -1)
        return unpadded(packed[rows], self.bits)

    def items(self, rows: np.ndarray) -> Items:
        return self._items()[rows]

    def contains(self, ids: pa.Array) -> np.ndarray:
        return pc.is_in(ids, value_set=self._items().table["id"]).to_numpy(zero_copy_only=False)

    def counts(self) -> dict[str, int]:
        return self._items().counts()

    def __len__(self) -> int:
        return self.index.ntotal
