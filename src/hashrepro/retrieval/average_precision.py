"""Average precision of rankings by Hamming distance, exact under ties, from counts by distance.

Let a distance hold n database rows, r of them relevant, with N0 rows and R0 relevant ones nearer, and let t
of its n places lie within the list kept. With D = H[N0 + t] - H[N0] (H: harmonic numbers) the group adds to
the sum of precisions at relevant ranks, on average over all orders of its rows (McSherry & Najork 2008),

    (r / n) (t ρ + (R0 + 1 - ρ (N0 + 1)) D),    ρ = (r - 1) / (n - 1)  (0 for n = 1),

and m relevant rows on consecutive ranks after p rows and R0 relevant ones add

    sum over i = 1..m of (R0 + i) / (p + i) = m + (R0 - p) (H[p + m] - H[p]),

which gives the best order (p = N0, m = min(r, t)) and the worst (p = N0 + n - r, m = max(0, t - (n - r))).
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import astuple
from functools import lru_cache
from typing import Any

import numpy as np

from hashrepro.retrieval.codes import Codes
from hashrepro.retrieval.conventions import (
    NO_HIT,
    NORMALISERS,
    TIES,
    Convention,
    check,
    cut_lengths,
    list_length,
)
from hashrepro.retrieval.counts import DistanceCounts, Scan, scan, scan_blocks
from hashrepro.retrieval.harmonic import ONE, Harmonic

# Queries times bins at once: the closed form in numpy takes up to 120 bytes each.
_CELLS = 2**18
# Blocks of queries and conventions share the table of one size of database.
_harmonic = lru_cache(maxsize=1)(Harmonic)


def _difference(harmonic: Harmonic, start: np.ndarray, length: np.ndarray) -> np.ndarray:
    return (harmonic[start + length] - harmonic[start]) / ONE


def _expected(n, r, n0, r0, t, harmonic):
    """Expected sum of precisions of one group; arrays or numbers as in the module's formula."""
    rho = (r - 1) / np.maximum(n - 1, 1)
    sums = t * rho + (r0 + 1 - rho * (n0 + 1)) * _difference(harmonic, n0, t)
    return np.where(r > 0, r / np.maximum(n, 1) * sums, 0.0)


def _in_a_row(m, p, r0, harmonic):
    return m + (r0 - p) * _difference(harmonic, p, m)


def _hypergeometric(n: int, r: int, t: int) -> tuple[np.ndarray, np.ndarray]:
    """(j, P(j)): j relevant rows among t drawn of n without return, r of the n being relevant."""
    j = np.arange(max(0, t - (n - r)), min(r, t) + 1)
    ratio = (r - j[:-1]) * (t - j[:-1]) / ((j[:-1] + 1) * (n - r - t + j[:-1] + 1))
    # Outwards from the mode, so that nothing overflows and the large terms carry no long product.
    mode = int(np.searchsorted(-ratio, -1.0))
    down = np.cumprod(1 / ratio[:mode][::-1])[::-1]
    weights = np.concatenate([down, [1.0], np.cumprod(ratio[mode:])])
    return j, weights / weights.sum()


def _expected_ratio(before: float, n: int, r: int, n0: int, r0: int, t: int, harmonic: Harmonic) -> float:
    """Expected (sum of precisions) / (relevant rows retrieved) of a list that ends `t` rows into a group.

    `before` is the sum of precisions of the nearer groups. Given that j of the t places are relevant, their
    order is again random, so the group's formula holds for t rows with j relevant ones.
    """
    j, probability = _hypergeometric(n, r, t)
    sums = before + _expected(np.full_like(j, t), j, n0, r0, t, harmonic)
    hits = r0 + j
    return float(probability @ np.where(hits > 0, sums / np.maximum(hits, 1), 0.0))


def _divide(sums, kept, relevant, length, normaliser, no_hit):
    divisor = {"retrieved": kept, "all_relevant": relevant, "min_k": np.minimum(relevant, length)}[normaliser]
    empty = 0.0 if no_hit == "zero" else np.nan
    return np.where(divisor > 0, sums / np.maximum(divisor, 1), empty)


def average_precision(
    counts: DistanceCounts,
    *,
    ties: str = "expected",
    normaliser: str = "retrieved",
    no_hit: str = "zero",
    top_k: int | str | None = None,
) -> np.ndarray:
    """Average precision of each query, float64 (q,).

    Args:
        counts: by distance, from `counts.scan`.
        ties: "expected" (mean over all orders of the rows at equal distance), "best" or "worst" (relevant
            rows first or last among those at equal distance).
        normaliser: divisor of the sum of precisions: relevant rows "retrieved" (under ties="expected" the
            mean of the quotient, exactly), "all_relevant", or "min_k" = min(list length, all relevant).
        no_hit: a query whose divisor is 0 yields 0 ("zero") or NaN ("skip"). Under ties="expected" with
            normaliser="retrieved" that is a query that no order of the ties gives a hit.
        top_k: None, "drop_last" or a list length; see Convention. A "retrieved" figure of a list that ends
            within a tie need not lie between its best and worst, as a late hit lowers it.

    Raises:
        UserError: an unknown option.
    """
    check("ties", ties, {name: text for name, text in TIES.items() if name != "file_order"})
    check("normaliser", normaliser, NORMALISERS)
    check("no_hit", no_hit, NO_HIT)
    return _average_precision(counts, ties, normaliser, no_hit, top_k)


def _average_precision(counts, ties, normaliser, no_hit, top_k) -> np.ndarray:
    length, harmonic = list_length(top_k, counts.database), _harmonic(counts.database)
    # Loaded by the compiled engine; both forms give the same bits.
    compiled = sys.modules.get("hashrepro.retrieval.closed_form")
    form = compiled.sums if compiled else _sums
    result = np.empty(len(counts))
    step = max(1, _CELLS // len(counts.distances))
    for start in range(0, len(counts), step):
        block = slice(start, start + step)
        total, relevant = counts.total[block], counts.relevant[block]
        sums, hits, cut_bin, before = form(total, relevant, length, ties, harmonic)
        result[block] = _divide(sums, hits, relevant.sum(axis=1), length, normaliser, no_hit)
        if ties == "expected" and normaliser == "retrieved":
            for q in np.flatnonzero(cut_bin >= 0):
                b = cut_bin[q]
                n0, r0 = (int(value[q, :b].sum()) for value in (total, relevant))
                n, r = int(total[q, b]), int(relevant[q, b])
                result[start + q] = _expected_ratio(before[q], n, r, n0, r0, length - n0, harmonic)
    return result


def _sums(total, relevant, length, ties, harmonic) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sums of precisions within the first `length` ranks, for each query of counts (q, bins).

    Returns:
        (sums float64 (q,), relevant rows kept int64 (q,), the bin with relevant rows that the list ends within, or -1,
        and the sum of the nearer bins).
    """
    n, r = total.astype(np.int64), relevant.astype(np.int64)
    n0, r0 = n.cumsum(axis=1) - n, r.cumsum(axis=1) - r
    t = np.clip(length - n0, 0, n)
    if ties == "expected":
        sums, hits = _expected(n, r, n0, r0, t, harmonic), np.minimum(r, t)
    elif ties == "best":
        hits = np.minimum(r, t)
        sums = _in_a_row(hits, n0, r0, harmonic)
    else:
        hits = np.maximum(0, t - (n - r))
        sums = _in_a_row(hits, n0 + n - r, r0, harmonic)
    # One by one, as the compiled form adds.
    sums = sums.cumsum(axis=1)
    cut = (t > 0) & (t < n) & (r > 0)
    cut_bin = np.where(cut.any(axis=1), cut.argmax(axis=1), -1)
    before = np.where(cut_bin > 0, sums[np.arange(len(sums)), np.maximum(cut_bin - 1, 0)], 0.0)
    return sums[:, -1], hits.sum(axis=1), cut_bin, before


def scan_average_precision(scanned: Scan, convention: Convention) -> np.ndarray:
    """Average precision of each query under `convention`, float64 (q,).

    For ties="file_order" the scan must have been made with the convention's list length among its cuts.
    """
    if convention.ties == "file_order":
        return _file_order(scanned, convention)
    return _average_precision(scanned.counts, *astuple(convention))


def _file_order(scanned: Scan, convention: Convention) -> np.ndarray:
    length = list_length(convention.top_k, scanned.counts.database)
    cut = scanned.cuts.index(length)
    return _divide(
        scanned.precision_sum[:, cut],
        scanned.kept[:, cut],
        scanned.counts.relevant.sum(axis=1),
        length,
        convention.normaliser,
        convention.no_hit,
    )


def scan_for(
    conventions: Iterable[Convention],
    query: Codes,
    database: Codes,
    query_labels: np.ndarray,
    database_labels: np.ndarray,
    **options: Any,
) -> Scan:
    """One scan that serves all `conventions`; sizes, `options` and errors as in `counts.scan`."""
    cuts = cut_lengths(conventions, len(database))
    return scan(query, database, query_labels, database_labels, cuts=cuts, **options)


def per_query(
    conventions: Mapping[str, Convention],
    query: Codes,
    database: Codes,
    query_labels: np.ndarray,
    database_labels: np.ndarray,
    *,
    threads: int = 1,
    engine: str = "auto",
    device: Any = None,
) -> dict[str, np.ndarray]:
    """Average precision of each query in each of the named conventions, float64 (q,); NaN: left out.

    Scans by blocks of queries, so that memory above the codes, the labels and the result stays below 64 MB.
    Sizes, engines and errors as in `counts.scan`.
    """
    cuts = cut_lengths(conventions.values(), len(database))
    options = {"cuts": cuts, "threads": threads, "engine": engine, "device": device}
    results = {name: np.empty(len(query)) for name in conventions}
    for block, part in scan_blocks(query, database, query_labels, database_labels, **options):
        for name, rule in conventions.items():
            results[name][block] = scan_average_precision(part, rule)
    return results


def mean_average_precisions(scanned: Scan, conventions: Mapping[str, Convention]) -> dict[str, float]:
    """mAP in each of the named conventions: the mean over the queries that are not left out, NaN if all are."""
    means = {}
    for name, rule in conventions.items():
        per_query = scan_average_precision(scanned, rule)
        counted = per_query[~np.isnan(per_query)]
        means[name] = float(counted.mean()) if len(counted) else float("nan")
    return means
