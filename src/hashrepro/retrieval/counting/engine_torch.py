"""Counting on a GPU, or wherever torch computes: blocks of inner products of ±1, then histograms.

All numbers that leave the device are whole, and exact on the way: inner products of ±1 and 0 are so in float16 up to
2048 bits, in float32 for every length. Precisions are summed on the CPU as the numpy engine sums them.
Importing this module loads torch.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hashrepro.errors import UserError
from hashrepro.retrieval.codes import Codes
from hashrepro.retrieval.counting.problem import Problem, Share
from hashrepro.retrieval.counting.ranking import Ranking

# Bytes that a pair takes while it is counted or ranked (sorting holds several int64 of it), and the share of the free
# memory of a GPU that is used. On a CPU blocks are small enough to stay in its caches.
_BYTES_A_PAIR = 96
_SHARE = 0.5
_CPU_BYTES = 2**24
_QUERIES = 256
_FLOAT16_BITS = 2048


class TorchEngine:
    """See `problem.Engine`. Raises UserError when there is no such device."""

    def __init__(self, problem: Problem, device: Any) -> None:
        try:
            self._device = torch.device("cpu" if device is None else device)
            torch.empty(0, device=self._device)
        except (RuntimeError, AssertionError) as error:
            raise UserError(
                f"torch cannot compute on '{device}' ({str(error).splitlines()[0]}).",
                where="device",
                mend="name a device that this machine has, or take the engine numba",
            ) from error
        on_gpu = self._device.type == "cuda"
        self._problem = problem
        self._float = torch.float16 if on_gpu and problem.bins.bits <= _FLOAT16_BITS else torch.float32
        free = _SHARE * torch.cuda.mem_get_info(self._device)[0] if on_gpu else _CPU_BYTES
        a_row = 8 * (problem.bins.bits + problem.classes)
        self._rows = max(1, min(2**20, int(free // (_BYTES_A_PAIR * _QUERIES + a_row))))
        # Bin of every doubled distance, bits - inner product = 0 .. 2 bits; a pair of two codes has an even one.
        doubled = np.arange(2 * problem.bins.bits + 1) / 2
        self._bin_of = self._tensor(np.searchsorted(problem.bins.distances, doubled))

    def count(self, queries: slice, total: np.ndarray, relevant: np.ndarray, share: Share) -> None:
        width = total.shape[1]
        for part, bins, similar in self._pairs(queries):
            q = len(bins)
            # One histogram of (query, relevant or not, bin).
            of_query = torch.arange(q, device=self._device)[:, None]
            cells = ((of_query * 2 + similar) * width + bins).flatten()
            counts = torch.bincount(cells, minlength=q * 2 * width).reshape(q, 2, width).cpu().numpy()
            total[part] += counts.sum(axis=1).astype(np.int32)
            relevant[part] += counts[:, 1].astype(np.int32)

    def rank(self, queries: slice, ranking: Ranking, share: Share) -> None:
        width = ranking.rank.shape[1]
        for part, bins, similar in self._pairs(queries):
            in_order, order = bins.sort(dim=1, stable=True)
            hit_query, place = similar.gather(1, order).nonzero(as_tuple=True)
            hit_bin = in_order[hit_query, place]
            cells = torch.arange(len(bins), device=self._device)[:, None] * width + bins
            counts = torch.bincount(cells.flatten(), minlength=len(bins) * width).reshape(-1, width)
            hits = torch.bincount(hit_query * width + hit_bin, minlength=len(bins) * width).reshape(-1, width)
            # Rank and number of a hit: what its bin had before this tile, and its place in the bin here.
            rank_before = self._tensor(ranking.rank[part]) - counts.cumsum(1) + counts
            hit_before = self._tensor(ranking.hit[part]) - hits.cumsum(1) + hits
            first_hit = (hits.sum(1).cumsum(0) - hits.sum(1))[hit_query]
            number = torch.arange(len(place), device=self._device) - first_hit + 1
            ranks = (place + 1 + rank_before[hit_query, hit_bin]).cpu().numpy()
            numbers = (number + hit_before[hit_query, hit_bin]).cpu().numpy()
            of_hit = hit_bin.cpu().numpy()
            ranking.rank[part] += counts.cpu().numpy().astype(np.int32)
            ranking.hit[part] += hits.cpu().numpy().astype(np.int32)
            ends = hits.sum(1).cumsum(0).cpu().numpy()
            for q, (start, end) in enumerate(zip(np.append(0, ends[:-1]), ends, strict=True)):
                ranking.add(part.start + q, of_hit[start:end], numbers[start:end], ranks[start:end])

    def _pairs(self, queries: slice) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """(queries of the block, bin, whether similar), both (q, n), of every part of the queries and tile of rows."""
        problem = self._problem
        for rows in problem.tiles(self._rows):
            database = self._signs(problem.database[rows])
            labels = self._tensor(problem.database_labels[rows]).to(self._float)
            for start in range(queries.start, queries.stop, _QUERIES):
                part = slice(start, min(start + _QUERIES, queries.stop))
                doubled = problem.bins.bits - (self._signs(problem.query[part]) @ database.T).long()
                common = self._tensor(problem.query_labels[part]).to(self._float) @ labels.T
                block = slice(part.start - queries.start, part.stop - queries.start)
                yield block, self._bin_of[doubled], common > 0

    def _signs(self, codes: Codes) -> Tensor:
        """(n, bits): +1 and -1; an uncoded row is all 0."""
        packed, coded = self._tensor(codes.packed), self._tensor(codes.coded)
        bits = packed[:, :, None] >> torch.arange(8, dtype=torch.uint8, device=self._device) & 1
        signs = 2 * bits.flatten(1)[:, : codes.bits].to(self._float) - 1
        return signs * coded[:, None]

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
