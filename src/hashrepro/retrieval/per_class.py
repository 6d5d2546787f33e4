"""Average precision by class of the query."""

import numpy as np
import pandas as pd


def per_class(average_precision: np.ndarray, query_labels: np.ndarray) -> pd.DataFrame:
    """Mean average precision of the queries of each class.

    A query with several labels counts in each of its classes, a query without a label in none.

    Args:
        average_precision: float64 (q,); NaN: query left out.
        query_labels: bool (q, C).

    Returns:
        a row a class, columns class (0 .. C - 1), queries (those that count) and map (NaN without queries).
    """
    counted = ~np.isnan(average_precision)
    queries = query_labels[counted].sum(axis=0)
    sums = average_precision[counted] @ query_labels[counted]
    means = np.where(queries > 0, sums / np.maximum(queries, 1), np.nan)
    return pd.DataFrame({"class": np.arange(len(queries)), "queries": queries, "map": means})
