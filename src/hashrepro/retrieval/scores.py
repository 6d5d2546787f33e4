"""All scores and curves of one run's codes, and the nearest database rows of single queries."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hashrepro.retrieval import curves
from hashrepro.retrieval.average_precision import mean_average_precisions, scan_for
from hashrepro.retrieval.codes import Codes
from hashrepro.retrieval.conventions import EXPECTED, Convention
from hashrepro.retrieval.distances import Pairs

# The conventions that every run is scored in, beside the one that its paper used.
CONVENTIONS = {
    "map": EXPECTED,
    "map_best": Convention("best", "all_relevant", "zero", None),
    "map_worst": Convention("worst", "all_relevant", "zero", None),
    "map_file_order": Convention("file_order", "all_relevant", "zero", None),
}


def _lengths(asked: Sequence[int], database: int) -> list[int]:
    """The list lengths of a curve: 1, 2, 5, 10, 20, 50, ... up to the database, and those asked for."""
    steps = {m * 10**e for e in range(len(str(database))) for m in (1, 2, 5)}
    return sorted({n for n in {*steps, *asked, database} if n <= database})


def evaluate_codes(
    query: Codes,
    database: Codes,
    query_labels: np.ndarray,
    database_labels: np.ndarray,
    *,
    precision_at: Sequence[int],
    radius: int,
    reference: Convention,
    threads: int = 1,
    engine: str = "auto",
) -> tuple[dict[str, float], dict[str, pd.DataFrame]]:
    """Score codes in every convention.

    Args:
        query, database: codes of the same length; query_labels, database_labels: bool (q, C) and (n, C).
        precision_at: list lengths N to report the precision of.
        radius: Hamming radius to report precision and recall of.
        reference: the convention of the paper that the codes are compared with.
        threads, engine: see `counts.scan`.

    Returns:
        scores: map (EXPECTED), map_best, map_worst, map_file_order (full ranking, all relevant rows),
            map_reference, precision_at_<N>, precision_radius_<r>, recall_radius_<r> (all 0 to 1), and uncoded
            (number of database rows without a code, as a float).
        curves: "precision_at" with columns n, precision, recall; "precision_recall" with columns radius,
            precision, recall.

    Raises:
        UserError: sizes, lengths or a radius that do not fit.
    """
    conventions = {**CONVENTIONS, "map_reference": reference}
    sides = (query, database, query_labels, database_labels)
    scanned = scan_for(conventions.values(), *sides, threads=threads, engine=engine)
    counts = scanned.counts
    scores = mean_average_precisions(scanned, conventions)
    at = curves.precision_at(counts, precision_at)
    scores |= {f"precision_at_{n}": float(value) for n, value in zip(precision_at, at, strict=True)}
    scores[f"precision_radius_{radius}"] = curves.precision_within(counts, radius)
    scores[f"recall_radius_{radius}"] = curves.recall_within(counts, radius)
    scores["uncoded"] = float((~database.coded).sum())

    n = _lengths(precision_at, len(database))
    by_length = {"n": n, "precision": curves.precision_at(counts, n), "recall": curves.recall_at(counts, n)}
    by_radius = dict(zip(("radius", "precision", "recall"), curves.precision_recall(counts), strict=True))
    return scores, {"precision_at": pd.DataFrame(by_length), "precision_recall": pd.DataFrame(by_radius)}


def first_hits(
    query: Codes, database: Codes, rows_of_queries: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The `k` nearest database rows of some queries; ties in database row order.

    Returns:
        (rows int64 (m, k), distances float64 (m, k)) for the m query rows `rows_of_queries`; fewer than k
        columns when the database is smaller.

    Raises:
        UserError: code lengths differ or a side is empty.
    """
    pairs = Pairs.of(query[np.asarray(rows_of_queries)], database)
    rows = np.empty((len(pairs.query_coded), min(k, len(database))), np.int64)
    distances = np.empty(rows.shape)
    for q in range(len(rows)):
        bins = pairs.bins(q)
        rows[q] = np.argsort(bins, kind="stable")[: rows.shape[1]]
        distances[q] = pairs.distances[bins[rows[q]]]
    return rows, distances
