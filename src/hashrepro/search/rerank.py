"""Re-ranking: the nearest candidates by Hamming distance, put in order by the network's real-valued outputs."""

from collections.abc import Callable

import numpy as np

from hashrepro.errors import UserError
from hashrepro.retrieval.codes import Codes
from hashrepro.search.index import Hits
from hashrepro.search.nearest import MISSING

QUERY, BOTH = "query", "both"
MODES = {
    QUERY: "inner product of the query's outputs with the candidates' codes",
    BOTH: "inner product of the outputs of both",
}


def rerank(
    hits: Hits,
    query_outputs: np.ndarray,
    k: int,
    *,
    mode: str,
    codes: Callable[[np.ndarray], Codes] | None = None,
    outputs: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Hits:
    """Put the candidates of each query in descending order of inner product; equal ones keep their order.

    Args:
        hits: (q, c) candidates of an ordinary search.
        query_outputs: (q, bits), real-valued, before the sign was taken.
        k: how many hits to keep of each query.
        mode: one of MODES.
        codes: for "query": rows (n,) -> their codes (`Index.codes`).
        outputs: for "both": rows (n,) -> real-valued outputs (n, bits), for example by encoding their images again.

    Returns:
        Hits (q, min(k, c)) with their Hamming distances and, as `scores`, the inner products; rows that are -1 (none
        found) stay last, with score -inf.

    Raises:
        UserError: an unknown mode, or outputs of another shape than the candidates or codes call for.
    """
    if mode not in MODES:
        raise UserError(
            f"There is no re-ranking by '{mode}'.", where="rerank", mend=f"choose {' or '.join(MODES)}"
        )
    if query_outputs.ndim != 2 or len(query_outputs) != len(hits.rows):
        raise UserError(
            f"The outputs of {len(hits.rows)} queries cannot have the shape {query_outputs.shape}.",
            where="rerank",
            mend="give a row of outputs for every query",
        )
    rows, places = np.unique(hits.rows, return_inverse=True)
    there = rows != MISSING
    vectors = np.zeros((len(rows), query_outputs.shape[1]))
    if there.any():
        found = codes(rows[there]).unpack() if mode == QUERY else np.asarray(outputs(rows[there]))
        if found.shape != (there.sum(), query_outputs.shape[1]):
            raise UserError(
                f"The candidates have vectors {found.shape}, the queries {query_outputs.shape}.",
                where="rerank",
                mend="encode both with the network that is in the index",
            )
        vectors[there] = found
    scores = np.einsum(
        "qcb,qb->qc", vectors[places.reshape(hits.rows.shape)], query_outputs.astype(np.float64)
    )
    scores = np.where(hits.rows == MISSING, -np.inf, scores)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return Hits(*(np.take_along_axis(array, order, axis=1) for array in (hits.rows, hits.distances, scores)))
