"""What an approximate index misses, and the time that it saves, measured against the exact search of the same codes."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from hashrepro.retrieval.codes import Codes
from hashrepro.search.index import Index

_ROUNDS = 3


def recall_by_distance(found: np.ndarray, exact: np.ndarray) -> float:
    """Mean share of the `k` hits of a query that are no farther than its true k-th nearest row.

    Not by row number: of equally near rows any are right, and there are many.

    Args:
        found: int (q, k) distances of the approximate search, -1 where it found none.
        exact: int (q, k) distances of the exact one, ascending.
    """
    return float(((found >= 0) & (found <= exact[:, -1:])).mean())


def _seconds(search: Callable[[], object]) -> float:
    begun = time.process_time()
    search()
    return time.process_time() - begun


def measure_recall(
    index: Index,
    queries: Codes,
    ks: Sequence[int] = (1, 10, 100),
    settings: Sequence[Mapping[str, int]] = ({},),
) -> pd.DataFrame:
    """Search all `queries` both ways, for every list length and setting.

    Args:
        index: of any kind; a flat one has recall 1.
        queries: q codes. ks: list lengths; those above the number of rows are cut to it.
        settings: parameters that act at search ({"probes": 8}) in place of the stored ones, one after another.

    Returns:
        One row a setting and k: parameters ("probes=8"), k, recall (see `recall_by_distance`), ms and exact_ms (CPU
        milliseconds a query, medians of three interleaved runs), and speedup = exact_ms / ms.

    Raises:
        UserError: as `Index.search`.
    """
    rows = []
    for given in settings:
        chosen = {**index.facts["parameters"], **given}
        text = " ".join(f"{name}={value}" for name, value in chosen.items())
        for k in dict.fromkeys(min(k, len(index)) for k in ks):

            def approximate(k: int = k, given: Mapping[str, int] = given) -> np.ndarray:
                return index.search(queries, k, parameters=given).distances

            def exact(k: int = k) -> np.ndarray:
                return index.search_exact(queries, k).distances

            recall = recall_by_distance(approximate(), exact())  # warms both up
            times = [(_seconds(approximate), _seconds(exact)) for _ in range(_ROUNDS)]
            ours, theirs = (
                1e3 * statistics.median(column) / len(queries) for column in zip(*times, strict=True)
            )
            rows.append((text, k, recall, ours, theirs, theirs / ours))
    return pd.DataFrame(rows, columns=["parameters", "k", "recall", "ms", "exact_ms", "speedup"])
