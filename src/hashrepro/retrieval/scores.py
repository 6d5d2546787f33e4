"""All scores and curves of one run's codes, and the nearest database rows of single queries."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hashrepro.retrieval import curves
from hashrepro.retrieval.average_precision import scan_average_precision
from hashrepro.retrieval.codes import Codes
from hashrepro.retrieval.conventions import EXPECTED, NAMED, Convention, cut_lengths
from hashrepro.retrieval.counting.distances import Pairs
from hashrepro.retrieval.counts import scan_blocks
from hashrepro.retrieval.means import QueryMeans
from hashrepro.retrieval.ndcg import ndcg
from hashrepro.retrieval.per_class import per_class

# The conventions that every run is scored in, beside the one that its paper used.
CONVENTIONS = {
    "map": EXPECTED,
    "map_best": Convention("best", "all_relevant", "zero", None),
    "map_worst": Convention("worst", "all_relevant", "zero", None),
    "map_file_order": Convention("file_order", "all_relevant", "zero", None),
    **{f"map_{name}": NAMED[name] for name in ("adsh", "fish", "thulab", "trec")},
}
# The scores that are kept query by query.
PER_QUERY = ("map", "map_reference")


def conventions_of(reference: Convention, map_at: Sequence[int] = ()) -> dict[str, Convention]:
    """Every mAP that a run is scored in, by the name of its score.

    Args:
        reference: the convention of the paper that the codes are compared with: map_reference.
        map_at: list lengths k of map_at_<k>: ties in expectation, divided by min(k, relevant), so that a list of
            nothing but relevant rows scores 1, and a late hit never lowers the score.
    """
    lists = {f"map_at_{k}": Convention("expected", "min_k", "zero", k) for k in map_at}
    return {**CONVENTIONS, "map_reference": reference, **lists}


@dataclass(frozen=True, eq=False)
class Scored:
    """What codes are worth.

    Attributes:
        scores: by name, 0 to 1, NaN where every query is left out: map (EXPECTED), map_best, map_worst,
            map_file_order (full ranking, all relevant rows), map_adsh, map_fish, map_thulab, map_trec, map_reference,
            map_at_<k>, map_class_mean (mean over the classes that have queries of the mAP of their queries),
            precision_at_<N>, recall_at_<N>, precision_radius_<r>, recall_radius_<r>, ndcg, ndcg_at_<N>; and uncoded
            (number of database rows without a code, as a float).
        curves: "precision_at" with columns n, precision, recall; "precision_recall" with columns radius, precision,
            recall; "per_class" with columns class, queries, map.
        per_query: the average precisions map and map_reference, float64 (q,), NaN: query left out.
    """

    scores: dict[str, float]
    curves: dict[str, pd.DataFrame]
    per_query: dict[str, np.ndarray]


def _lengths(asked: Sequence[int], database: int) -> list[int]:
    """The list lengths of a curve: 1, 2, 5, 10, 20, 50, ... up to the database, and those asked for."""
    steps = {m * 10**e for e in range(len(str(database))) for m in (1, 2, 5)}
    return sorted({*(n for n in steps if n <= database), database, *asked})


def evaluate_codes(
    query: Codes,
    database: Codes,
    query_labels: np.ndarray,
    database_labels: np.ndarray,
    *,
    precision_at: Sequence[int],
    radius: int,
    reference: Convention,
    map_at: Sequence[int] = (),
    ndcg_at: Sequence[int] = (),
    threads: int = 1,
    engine: str = "auto",
) -> Scored:
    """Score codes in every convention, by one pass over the pairs; memory grows by two numbers a query.

    Args:
        query, database: codes of the same length; query_labels, database_labels: bool (q, C) and (n, C).
        precision_at: list lengths N to report precision and recall of.
        radius: Hamming radius to report precision and recall of.
        reference: the convention of the paper that the codes are compared with.
        map_at, ndcg_at: list lengths to report map_at_<k> and ndcg_at_<N> of, beside the full ranking.
        threads, engine: see `counts.scan`.

    Raises:
        UserError: sizes, lengths or a radius that do not fit.
    """
    curves.check_radius(radius, database.bits)
    conventions, lengths = conventions_of(reference, map_at), _lengths(precision_at, len(database))
    means, kept = QueryMeans(), {name: np.empty(len(query)) for name in PER_QUERY}
    cuts = cut_lengths(conventions.values(), len(database))
    sides = (query, database, query_labels, database_labels)
    for block, scanned in scan_blocks(*sides, cuts=cuts, threads=threads, engine=engine):
        for name, rule in conventions.items():
            values = scan_average_precision(scanned, rule)
            means.add(name, values)
            if name in kept:
                kept[name][block] = values
        counts = scanned.counts
        means.add("precision by length", curves.precision_at(counts, lengths))
        means.add("recall by length", curves.recall_at(counts, lengths))
        radii, precision, recall = curves.precision_recall(counts)
        means.add("precision by radius", precision)
        means.add("recall by radius", recall)
        means.add("ndcg", ndcg(counts, [None, *ndcg_at]))

    classes = per_class(kept["map"], query_labels)
    with_queries = classes["map"].dropna()
    scores = {name: means[name] for name in conventions}
    scores["map_class_mean"] = with_queries.mean() if len(with_queries) else np.nan
    names = ["ndcg", *(f"ndcg_at_{n}" for n in ndcg_at)]
    scores |= dict(zip(names, means["ndcg"], strict=True))
    by_length, by_radius = {"n": lengths}, {"radius": radii}
    for part in ("precision", "recall"):
        by_length[part], by_radius[part] = means[f"{part} by length"], means[f"{part} by radius"]
        scores |= {f"{part}_at_{n}": by_length[part][lengths.index(n)] for n in precision_at}
        scores[f"{part}_radius_{radius}"] = by_radius[part][radius]
    scores["uncoded"] = (~database.coded).sum()

    frames = {"precision_at": pd.DataFrame(by_length), "precision_recall": pd.DataFrame(by_radius)}
    return Scored(
        {name: float(value) for name, value in scores.items()}, {**frames, "per_class": classes}, kept
    )


def brief_scores(
    query: Codes,
    database: Codes,
    query_labels: np.ndarray,
    database_labels: np.ndarray,
    *,
    precision_at: Sequence[int] = (),
    threads: int = 1,
    engine: str = "auto",
) -> dict[str, float]:
    """The headline mAP and precision_at_<N> alone: `evaluate_codes`' numbers without ranking ties in file order.

    Sizes, lengths and errors as there.
    """
    means, sides = QueryMeans(), (query, database, query_labels, database_labels)
    for _, scanned in scan_blocks(*sides, threads=threads, engine=engine):
        means.add("map", scan_average_precision(scanned, EXPECTED))
        means.add("precision_at", curves.precision_at(scanned.counts, precision_at))
    at = {f"precision_at_{n}": value for n, value in zip(precision_at, means["precision_at"], strict=True)}
    return {name: float(value) for name, value in {"map": means["map"], **at}.items()}


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
