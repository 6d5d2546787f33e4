"""Re-ranking puts candidates in order of inner products and changes nothing else about them."""

import numpy as np
import pytest

from hashrepro.errors import UserError
from hashrepro.retrieval.codes import Codes
from hashrepro.search.index import Hits
from hashrepro.search.rerank import rerank

RNG = np.random.default_rng(0)
VALUES = RNG.standard_normal((30, 8))
CODES = Codes.pack(VALUES)
QUERIES = RNG.standard_normal((3, 8))
ROWS = np.stack([RNG.permutation(30)[:12] for _ in range(3)])
HITS = Hits(ROWS, RNG.integers(0, 8, ROWS.shape).astype(np.int32))
WAYS = {
    "query": ({"codes": lambda rows: CODES[rows]}, CODES.unpack().astype(float)),
    "both": ({"outputs": lambda rows: VALUES[rows]}, VALUES),
}


@pytest.mark.parametrize("mode", WAYS)
def test_candidates_come_in_order_of_inner_products_and_keep_their_distances(mode):
    by, vectors = WAYS[mode]
    ranked = rerank(HITS, QUERIES, 5, mode=mode, **by)
    for q in range(3):
        best = sorted(ROWS[q], key=lambda row, q=q: -(vectors[row] @ QUERIES[q]))[:5]
        assert ranked.rows[q].tolist() == best
        assert ranked.scores[q] == pytest.approx([vectors[row] @ QUERIES[q] for row in best])
        distance = dict(zip(ROWS[q].tolist(), HITS.distances[q].tolist(), strict=True))
        assert ranked.distances[q].tolist() == [distance[row] for row in best]
    assert ranked.distances.dtype == np.int32


def test_equal_candidates_keep_their_order():
    same = np.ones((30, 8))
    ranked = rerank(HITS, QUERIES, 12, mode="both", outputs=lambda rows: same[rows])
    assert (ranked.rows == ROWS).all()


def test_outputs_that_are_signs_rank_as_the_distance_does():
    signs = Codes.pack(QUERIES)
    distances = (signs.unpack()[:, None] != CODES.unpack()[None]).sum(2)
    hits = Hits(np.tile(np.arange(30), (3, 1)), distances.astype(np.int32))
    ranked = rerank(hits, signs.unpack(), 30, mode="query", codes=lambda rows: CODES[rows])
    assert (ranked.rows == np.argsort(distances, axis=1, kind="stable")).all()


def test_rows_that_were_not_found_stay_last_and_are_not_asked_for():
    rows = np.array([[3, 4, -1], [-1, -1, -1]])
    hits = Hits(rows, np.where(rows < 0, -1, 2).astype(np.int32))
    asked = []
    ranked = rerank(
        hits, QUERIES[:2], 3, mode="both", outputs=lambda rows: asked.append(rows) or VALUES[rows]
    )
    assert sorted(ranked.rows[0, :2].tolist()) == [3, 4]
    assert ranked.rows[0, 2] == -1
    assert ranked.rows[1].tolist() == [-1, -1, -1]
    assert (ranked.scores == -np.inf).tolist() == (ranked.rows == -1).tolist()
    assert [part.tolist() for part in asked] == [[3, 4]]
    nothing = Hits(rows[1:], hits.distances[1:])
    assert rerank(nothing, QUERIES[:1], 3, mode="query", codes=None).rows.tolist() == [[-1, -1, -1]]


def test_each_candidate_is_encoded_once():
    asked = []
    hits = Hits(np.array([[1, 2], [2, 1], [1, 3]]), np.zeros((3, 2), np.int32))
    rerank(hits, QUERIES, 2, mode="both", outputs=lambda rows: asked.append(rows) or VALUES[rows])
    assert [part.tolist() for part in asked] == [[1, 2, 3]]


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="by 'luck'"):
        rerank(HITS, QUERIES, 5, mode="luck")
    with pytest.raises(UserError, match="3 queries"):
        rerank(HITS, QUERIES[:2], 5, mode="query", codes=lambda rows: CODES[rows])
    with pytest.raises(UserError, match="vectors"):
        rerank(HITS, QUERIES[:, :7], 5, mode="query", codes=lambda rows: CODES[rows])
