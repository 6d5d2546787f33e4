"""Mean average precision as its formula stands, a query at a time in torch; and by torchmetrics and ranx."""

import torch
from torch import Tensor


def average_precisions(
    query: Tensor, database: Tensor, query_labels: Tensor, database_labels: Tensor, *, stable: bool = False
) -> Tensor:
    """Of every query; ties in any order, or (`stable`, slower) in that of the database.

    Codes are ±1 floats (q, k) and (n, k), labels 0/1 floats (q, C) and (n, C).
    AP = mean over the relevant rows of (number of relevant rows up to it) / (its rank).
    """
    values = torch.zeros(len(query))
    for q in range(len(query)):
        relevant = database_labels @ query_labels[q] > 0
        distance = 0.5 * (database.shape[1] - database @ query[q])
        ranked = relevant[torch.argsort(distance, stable=stable)]
        ranks = ranked.nonzero().squeeze(1) + 1
        if len(ranks):
            values[q] = (torch.arange(1, len(ranks) + 1) / ranks).mean()
    return values


def torchmetrics_map(query: Tensor, database: Tensor, query_labels: Tensor, database_labels: Tensor) -> float:
    """RetrievalMAP over the full ranking; ties in the order of an unstable sort.

    It drops relevant rows whose score is not positive, so the score of distance d is k - d + 1.
    """
    from torchmetrics.retrieval import RetrievalMAP

    scores, relevant = _scores_and_relevance(query, database, query_labels, database_labels)
    queries = torch.arange(len(query))[:, None].expand_as(scores)
    return float(RetrievalMAP()(scores.flatten(), relevant.flatten(), indexes=queries.flatten()))


def ranx_map(query: Tensor, database: Tensor, query_labels: Tensor, database_labels: Tensor) -> float:
    """ranx's "map" over the full ranking, making its dictionaries included; ties in the order of its sort."""
    from ranx import Qrels, Run, evaluate

    scores, relevant = _scores_and_relevance(query, database, query_labels, database_labels)
    names = [str(row) for row in range(len(database))]
    judged, ranked = {}, {}
    for q in range(len(query)):
        judged[str(q)] = {names[row]: 1 for row in relevant[q].nonzero().squeeze(1).tolist()}
        ranked[str(q)] = dict(zip(names, scores[q].tolist(), strict=True))
    return float(evaluate(Qrels(judged), Run(ranked), "map"))


def _scores_and_relevance(query, database, query_labels, database_labels) -> tuple[Tensor, Tensor]:
    bits = database.shape[1]
    scores = bits - 0.5 * (bits - query @ database.T) + 1
    return scores, query_labels @ database_labels.T > 0
