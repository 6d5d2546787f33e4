"""Hamming distances between a query and every database code, as bins in ascending order of distance."""

from dataclasses import dataclass

import numpy as np

from hashrepro.errors import UserError
from hashrepro.retrieval.codes import Codes


@dataclass(frozen=True, eq=False)
class Bins:
    """The distances that can occur, ascending, each with a number.

    The distance is (bits - inner product) / 2, so a pair with an uncoded row is at bits / 2. For an odd
    number of bits that lies between two distances: `split` is then set, and those pairs have their own bin.

    Attributes:
        bits: code length.
        middle: the bin of the pairs with an uncoded row.
        split: whether the bins from `middle` on are moved up by one.
        distances: float64 (bins,), the distance that each bin stands for, ascending.
    """

    bits: int
    middle: int
    split: bool
    distances: np.ndarray

    @classmethod
    def of(cls, query: Codes, database: Codes) -> "Bins":
        """Raises UserError when the code lengths differ or either side is empty."""
        if query.bits != database.bits:
            raise UserError(
                f"Query codes have {query.bits} bits, database codes {database.bits}.",
                where="Hamming distance",
                mend="encode both with the same run",
            )
        if not len(query) or not len(database):
            raise UserError(
                f"There are {len(query)} query and {len(database)} database codes; neither may be empty.",
                where="Hamming distance",
                mend="check the split of the data set in its catalog",
            )
        bits = query.bits
        split = bool(bits % 2) and not (query.coded.all() and database.coded.all())
        distances = np.arange(bits + 1, dtype=np.float64)
        if split:
            distances = np.insert(distances, (bits + 1) // 2, bits / 2)
        return cls(bits, (bits + 1) // 2, split, distances)

    def __len__(self) -> int:
        return len(self.distances)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Query and database codes, laid out for counting.

    Attributes:
        query_words: uint64 (q, W). query_coded: bool (q,).
        database_words: uint64 (W, n), word by word, so that each word is read as one run of memory.
        uncoded: int64, the uncoded database rows.
        layout: the bins that distances are given in.
    """

    query_words: np.ndarray
    query_coded: np.ndarray
    database_words: np.ndarray
    uncoded: np.ndarray
    layout: Bins

    @classmethod
    def of(cls, query: Codes, database: Codes, layout: Bins | None = None) -> "Pairs":
        """`layout`: of the whole, where these are parts of it. UserError: lengths differ or a side is empty."""
        return cls(
            query_words=np.ascontiguousarray(query.words),
            query_coded=query.coded,
            database_words=np.ascontiguousarray(database.words.T),
            uncoded=np.flatnonzero(~database.coded),
            layout=layout or Bins.of(query, database),
        )

    @property
    def distances(self) -> np.ndarray:
        """float64 (bins,), the distance that each bin stands for, ascending."""
        return self.layout.distances

    @property
    def database(self) -> int:
        """Number of database codes."""
        return self.database_words.shape[1]

    def bins(self, query: int) -> np.ndarray:
        """The bin of every database row for one query row: uint8, or uint16 for long codes, (n,)."""
        bits, middle = self.layout.bits, self.layout.middle
        dtype = np.uint8 if bits < 255 else np.uint16
        if not self.query_coded[query]:
            return np.full(self.database, middle, dtype)
        words = self.query_words[query]
        bins = np.bitwise_count(self.database_words[0] ^ words[0]).astype(dtype, copy=False)
        for plane, word in zip(self.database_words[1:], words[1:], strict=True):
            bins += np.bitwise_count(plane ^ word)
        if self.layout.split:
            bins += bins >= middle
        if len(self.uncoded):
            bins[self.uncoded] = middle
        return bins
