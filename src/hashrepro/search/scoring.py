"""Scores of an index: over the rows whose codes were learned, over those that the network coded, and over all."""

import numpy as np
import pandas as pd

from hashrepro.errors import UserError
from hashrepro.retrieval.codes import Codes
from hashrepro.retrieval.scores import brief_scores
from hashrepro.search.index import Index

PRECISION_AT = 10


def score_index(index: Index, query: Codes, query_labels: np.ndarray, *, threads: int = 1) -> pd.DataFrame:
    """Score the codes of an index, exactly, whatever its kind.

    A learned code has used its image's labels, a network code has not, so the two are never averaged without being
    shown apart.

    Args:
        index: its rows without labels are counted and left out, as nobody knows what they are relevant to.
        query: q codes. query_labels: bool (q, C) for the C classes of the index.
        threads: see `counts.scan`.

    Returns:
        One row for "learned", "network" and "all": database, rows (scored), unlabelled (left out), map (ties in
        random order, whole ranking) and precision_at_10; NaN where no row is left.

    Raises:
        UserError: codes of another length, or labels of other classes.
    """
    classes = len(index.class_names)
    if query_labels.shape != (len(query), classes):
        raise UserError(
            f"The labels of {len(query)} queries for {classes} classes cannot have the shape {query_labels.shape}.",
            where="query labels",
            mend="take queries of the data set that the index was made from",
        )
    rows = np.arange(len(index))
    items, codes = index.items(rows), index.codes(rows)
    labels, learned = items.label_matrix(classes), items.learned
    labelled = labels.any(axis=1)
    table = []
    for name, part in (("learned", learned), ("network", ~learned), ("all", np.ones(len(rows), np.bool_))):
        chosen = part & labelled
        scores = {"map": np.nan, f"precision_at_{PRECISION_AT}": np.nan}
        if chosen.any() and len(query):
            sides = (query, codes[chosen], query_labels, labels[chosen])
            scores = brief_scores(*sides, precision_at=[PRECISION_AT], threads=threads)
        counts = {"rows": int(chosen.sum()), "unlabelled": int((part & ~labelled).sum())}
        table.append({"database": name, **counts, **scores})
    return pd.DataFrame(table)
