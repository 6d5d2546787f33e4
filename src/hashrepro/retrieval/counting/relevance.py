"""Which database rows are similar to a query: those that share at least one label."""

from dataclasses import dataclass

import numpy as np

from hashrepro.errors import UserError


def check_labels(query_labels: np.ndarray, database_labels: np.ndarray) -> None:
    """UserError unless both are bool matrices (images, classes) of the same classes."""
    for name, labels in (("query_labels", query_labels), ("database_labels", database_labels)):
        if labels.ndim != 2 or labels.dtype != np.bool_:
            raise UserError(
                f"Labels are a bool matrix (images, classes), not {labels.dtype} {labels.shape}.",
                where=name,
                mend="take the labels from the catalog",
            )
    if query_labels.shape[1] != database_labels.shape[1]:
        raise UserError(
            f"Query labels have {query_labels.shape[1]} classes, database labels {database_labels.shape[1]}.",
            where="query_labels, database_labels",
            mend="take both from the same catalog",
        )


@dataclass(frozen=True, eq=False)
class Relevance:
    """Database rows listed by class, and classes listed by query (both as one array cut by offsets).

    A query's relevant rows are the union of its classes' lists. The lists cost as much memory as there are
    labels, and reading one costs as much time as it has rows, whatever the number of classes.

    Attributes:
        class_rows: int32, the rows of class 0, of class 1, ..., ascending within a class.
        class_starts: int64 (C + 1,), where each class begins in `class_rows`.
        query_classes: int32, the classes of query 0, of query 1, ....
        query_starts: int64 (q + 1,), where each query begins in `query_classes`.
        database: number of database rows.
    """

    class_rows: np.ndarray
    class_starts: np.ndarray
    query_classes: np.ndarray
    query_starts: np.ndarray
    database: int

    @classmethod
    def of(cls, query_labels: np.ndarray, database_labels: np.ndarray) -> "Relevance":
        """From bool matrices (q, C) and (n, C); UserError when they are anything else."""
        check_labels(query_labels, database_labels)
        rows, classes = np.nonzero(database_labels)
        return cls(
            class_rows=rows[np.argsort(classes, kind="stable")].astype(np.int32),
            class_starts=np.concatenate([[0], database_labels.sum(axis=0).cumsum()]).astype(np.int64),
            query_classes=np.nonzero(query_labels)[1].astype(np.int32),
            query_starts=np.concatenate([[0], query_labels.sum(axis=1).cumsum()]).astype(np.int64),
            database=len(database_labels),
        )

    def rows(self, query: int) -> np.ndarray:
        """The relevant database rows of one query, ascending."""
        classes = self.query_classes[self.query_starts[query] : self.query_starts[query + 1]]
        lists = [self.class_rows[self.class_starts[c] : self.class_starts[c + 1]] for c in classes]
        if len(lists) == 1:
            return lists[0]
        similar = np.zeros(self.database, np.bool_)
        for rows in lists:
            similar[rows] = True
        return np.flatnonzero(similar)
