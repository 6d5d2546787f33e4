"""What a scan is about: codes and labels of both sides, checked, and the bins that it counts in."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hashrepro.errors import UserError
from hashrepro.retrieval.codes import Codes
from hashrepro.retrieval.counting.distances import Bins
from hashrepro.retrieval.counting.ranking import Ranking
from hashrepro.retrieval.counting.relevance import check_labels

# share(task, n) calls task(part) for parts, slices with a start and a stop, that make up 0 .. n; on several threads.
Share = Callable[[Callable[[slice], None], int], None]
# Ranks are int32, and the table of harmonic numbers is exact up to there.
_ROWS_AT_MOST = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Problem:
    """Codes and labels of the queries and of the database.

    Attributes:
        query, database: codes of the same length.
        query_labels, database_labels: bool (q, C) and (n, C).
        bins: of the distances between any of the queries and any of the database rows.
    """

    query: Codes
    database: Codes
    query_labels: np.ndarray
    database_labels: np.ndarray
    bins: Bins

    @classmethod
    def of(
        cls, query: Codes, database: Codes, query_labels: np.ndarray, database_labels: np.ndarray
    ) -> "Problem":
        """Raises UserError when lengths, types or numbers of codes and labels do not fit."""
        bins = Bins.of(query, database)
        check_labels(query_labels, database_labels)
        for name, codes, labels in (
            ("query", query, query_labels),
            ("database", database, database_labels),
        ):
            if len(codes) != len(labels):
                raise UserError(
                    f"There are {len(codes)} codes but {len(labels)} rows of labels.",
                    where=name,
                    mend="take codes and labels of the same catalog; encode again if the catalog has changed",
                )
        if len(database) > _ROWS_AT_MOST:
            raise UserError(
                f"A database of {len(database)} rows is more than the {_ROWS_AT_MOST} that can be ranked.",
                where="database",
                mend="rank it in parts",
            )
        return cls(query, database, query_labels, database_labels, bins)

    @property
    def classes(self) -> int:
        return self.database_labels.shape[1]

    def tiles(self, rows: int) -> Iterator[slice]:
        """The database in runs of at most `rows` rows."""
        n = len(self.database)
        return (slice(start, min(start + rows, n)) for start in range(0, n, rows))


class Engine(Protocol):
    """Counts the pairs of one Problem for a block of its queries."""

    def count(self, queries: slice, total: np.ndarray, relevant: np.ndarray, share: Share) -> None:
        """Add to int32 (q, bins), which begin as 0."""

    def rank(self, queries: slice, ranking: Ranking, share: Share) -> None:
        """Rank all rows, in row order."""
