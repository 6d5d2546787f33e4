"""Slow, plain definitions that the tests hold the library against."""

import itertools
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest


def hamming(query_values: np.ndarray, database_values: np.ndarray) -> np.ndarray:
    """(q, n) distances of ±1 (or all-zero) rows: (bits - inner product) / 2."""
    return (query_values.shape[1] - query_values.astype(float) @ database_values.T) / 2


def similar(query_labels: np.ndarray, database_labels: np.ndarray) -> np.ndarray:
    """(q, n) bool: at least one label in common."""
    return np.array([[bool((a & b).any()) for b in database_labels] for a in query_labels])


def ratio_of_list(ranked: list[bool], length: int, normaliser: str) -> Fraction | None:
    """Average precision of one ranked list of relevance, None where the divisor is 0."""
    ranks = [rank for rank, hit in enumerate(ranked[:length], start=1) if hit]
    total = sum(Fraction(hit, rank) for hit, rank in enumerate(ranks, start=1))
    divisor = {"retrieved": len(ranks), "all_relevant": sum(ranked), "min_k": min(sum(ranked), length)}
    return total / divisor[normaliser] if divisor[normaliser] else None


def orders(groups: list[list[bool]]):
    """Every ranked list of relevance, each as often as orders of the items give it (equal shares)."""
    arrangements = [list(itertools.permutations(group)) for group in groups]
    for combination in itertools.product(*arrangements):
        yield [hit for group in combination for hit in group]


def groups_of(distances: np.ndarray, relevant: np.ndarray) -> list[list[bool]]:
    return [[bool(hit) for hit in relevant[distances == d]] for d in np.unique(distances)]


def loop_average_precision(distances: np.ndarray, relevant: np.ndarray, length: int) -> float:
    """The plain loop of the reference protocols: stable sort, cut, mean precision of the relevant kept."""
    ranked = relevant[np.argsort(distances, kind="stable")][:length]
    ranks = np.flatnonzero(ranked) + 1
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks)) if len(ranks) else 0.0


@pytest.fixture(scope="session")
def oracles() -> SimpleNamespace:
    return SimpleNamespace(
        hamming=hamming,
        similar=similar,
        ratio_of_list=ratio_of_list,
        orders=orders,
        groups_of=groups_of,
        loop_average_precision=loop_average_precision,
    )
