"""Counts of database rows by Hamming distance: all that the tie-aware measures need to know of a ranking."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from hashrepro.errors import UserError
from hashrepro.retrieval.codes import Codes
from hashrepro.retrieval.counting.engine_numpy import NumpyEngine
from hashrepro.retrieval.counting.problem import Engine, Problem, Share
from hashrepro.retrieval.counting.ranking import Ranking

ENGINES = ("auto", "numpy", "numba", "torch")
# The numpy engine has counted 40 million pairs by the time that numba is imported; most processes count twice.
_PAIRS_WORTH_NUMBA = 20_000_000
# Queries times bins that are counted at once: what is made of them takes up to 120 bytes each.
_CELLS = 2**18
_QUERIES_A_TASK = 128


@dataclass(frozen=True, eq=False)
class DistanceCounts:
    """How many database rows, and how many relevant ones, lie at each distance from each query.

    Attributes:
        relevant: int32 (q, b).
        total: int32 (q, b); every row sums to the size of the database.
        distances: float64 (b,), ascending: 0 .. bits, and bits / 2 as a bin of its own when the number of
            bits is odd and there are uncoded rows (they lie at bits / 2 from everything: inner product 0).
    """

    relevant: np.ndarray
    total: np.ndarray
    distances: np.ndarray

    def __len__(self) -> int:
        return len(self.total)

    @property
    def database(self) -> int:
        """Number of database rows."""
        return int(self.total[0].sum())

    @property
    def bits(self) -> int:
        return int(self.distances[-1])


@dataclass(frozen=True, eq=False)
class Scan:
    """What one pass over all pairs yields: counts, and sums for rankings with ties in database row order.

    Attributes:
        counts: DistanceCounts.
        cuts: lengths at which the ranked list was cut off, ascending.
        precision_sum: float64 (q, cuts), sum of the precisions at the ranks of the relevant rows kept.
        kept: int32 (q, cuts), number of relevant rows kept.
    """

    counts: DistanceCounts
    cuts: tuple[int, ...]
    precision_sum: np.ndarray
    kept: np.ndarray


def _engine(name: str, problem: Problem, device: Any) -> Engine:
    if name not in ENGINES:
        raise UserError(
            f"There is no counting engine '{name}'.",
            where="engine",
            mend=f"choose one of {', '.join(ENGINES)}",
        )
    if name == "torch" or (name == "auto" and str(device).startswith("cuda")):
        from hashrepro.retrieval.counting.engine_torch import TorchEngine

        return TorchEngine(problem, device)
    pairs = len(problem.query) * len(problem.database)
    if name == "numpy" or (name == "auto" and pairs < _PAIRS_WORTH_NUMBA):
        return NumpyEngine(problem)
    try:
        from hashrepro.retrieval.counting.engine_numba import NumbaEngine
    except ImportError as error:
        if name == "auto":
            return NumpyEngine(problem)
        raise UserError(
            f"The compiled engine needs numba, which cannot be imported ({error}).",
            where="engine: numba",
            mend='pip install numba, or choose engine "numpy", which gives the same numbers',
        ) from error
    return NumbaEngine(problem)


def _sharing(pool: ThreadPoolExecutor, threads: int) -> Share:
    def share(task, n) -> None:
        step = n if threads <= 1 else _QUERIES_A_TASK
        parts = [slice(start, min(start + step, n)) for start in range(0, n, step)]
        if len(parts) == 1:
            task(parts[0])
        else:
            for _ in pool.map(task, parts):
                pass

    return share


def scan_blocks(
    query: Codes,
    database: Codes,
    query_labels: np.ndarray,
    database_labels: np.ndarray,
    *,
    cuts: Sequence[int] = (),
    threads: int = 1,
    engine: str = "auto",
    device: Any = None,
    queries_a_block: int = 2048,
) -> Iterator[tuple[slice, Scan]]:
    """`scan`, a block of queries at a time: yields (the block's rows, its Scan), in order.

    Above the codes and labels that it is given it holds at most 64 MB, whatever the number of queries and rows.
    Blocks have `queries_a_block` queries, fewer for codes of more than about 120 bits. Other arguments and errors as
    in `scan`; errors come with the first block.
    """
    problem = Problem.of(query, database, query_labels, database_labels)
    counter = _engine(engine, problem, device)
    ascending = np.unique(np.asarray(cuts, np.int64))
    q, width = len(query), len(problem.bins)
    step = min(queries_a_block, max(1, _CELLS // width))
    with ThreadPoolExecutor(max(1, threads)) as pool:
        share = _sharing(pool, threads)
        for start in range(0, q, step):
            block = slice(start, min(start + step, q))
            total, relevant = np.zeros((2, block.stop - start, width), np.int32)
            counter.count(block, total, relevant, share)
            precision_sum, kept = np.empty((len(total), 0)), np.empty((len(total), 0), np.int32)
            if len(ascending):
                ranking = Ranking(total, relevant, ascending)
                counter.rank(block, ranking, share)
                precision_sum, kept = ranking.results()
            counts = DistanceCounts(relevant, total, problem.bins.distances)
            yield block, Scan(counts, tuple(ascending.tolist()), precision_sum, kept)


def scan(
    query: Codes,
    database: Codes,
    query_labels: np.ndarray,
    database_labels: np.ndarray,
    *,
    cuts: Sequence[int] = (),
    threads: int = 1,
    engine: str = "auto",
    device: Any = None,
) -> Scan:
    """Count all pairs by distance and relevance; with `cuts`, also rank with ties in database row order.

    All engines return identical numbers, to the last bit. The query-by-database matrix never exists; see
    `scan_blocks` for results that do not fit into memory either.

    Args:
        query, database: codes of the same length. query_labels, database_labels: bool (q, C) and (n, C).
        cuts: lengths of the ranked list to sum precisions over, in any order.
        threads: threads that share the queries.
        engine: "numpy"; "numba" (compiled on the first call ever, then cached); "torch" (on `device`); or "auto":
            torch where `device` is a CUDA device, else numpy for few pairs or without numba, else numba.
        device: where torch computes; None: its CPU.

    Raises:
        UserError: sizes that do not fit, no rows at all, an unknown engine, or one whose library is missing.
    """
    options = {"cuts": cuts, "threads": threads, "engine": engine, "device": device}
    parts = [part for _, part in scan_blocks(query, database, query_labels, database_labels, **options)]
    counts = DistanceCounts(
        np.concatenate([part.counts.relevant for part in parts]),
        np.concatenate([part.counts.total for part in parts]),
        parts[0].counts.distances,
    )
    precision_sum, kept = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("precision_sum", "kept")
    )
    return Scan(counts, parts[0].cuts, precision_sum, kept)
