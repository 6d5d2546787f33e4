"""Scores of an index keep learned and network codes apart and leave out rows without labels."""

import numpy as np
import pytest

from hashrepro.errors import UserError
from hashrepro.retrieval.codes import Codes, random_codes
from hashrepro.search.index import Index
from hashrepro.search.items import Items
from hashrepro.search.kinds import STORES
from hashrepro.search.scoring import score_index

FACTS = {
    "run": "r",
    "suite": "s",
    "dataset": "d",
    "catalog": "c",
    "model": "m",
    "class_names": ["one", "two", "three"],
}
RNG = np.random.default_rng(0)
N, Q = 90, 7
LABELS = [[int(c)] for c in RNG.integers(0, 3, N)]
LABELS[4], LABELS[70], LABELS[71] = [0, 2], [], []
ORIGINS = ["learned"] * 50 + ["network"] * 40
CODES, QUERIES = random_codes(N, 12, RNG), random_codes(Q, 12, RNG)
QUERY_LABELS = np.eye(3, dtype=bool)[RNG.integers(0, 3, Q)]


def expected_scores(rows: list[int]) -> tuple[float, float]:
    """mAP and precision at 10 as means over random orders of the ties: a plain simulation."""
    distances = (QUERIES.unpack()[:, None] != CODES[np.array(rows)].unpack()[None]).sum(2)
    relevant = np.array([[bool(set(LABELS[r]) & set(np.flatnonzero(q))) for r in rows] for q in QUERY_LABELS])
    rng, maps, precisions = np.random.default_rng(1), [], []
    for _ in range(400):
        order = np.lexsort((rng.random(distances.shape), distances), axis=1)
        hits = np.take_along_axis(relevant, order, axis=1)
        precision = hits.cumsum(axis=1) / np.arange(1, len(rows) + 1)
        maps.append(((precision * hits).sum(1) / hits.sum(1)).mean())
        precisions.append(precision[:, 9].mean())
    return np.mean(maps), np.mean(precisions)


@pytest.mark.parametrize(("store", "kind"), [(store, kind) for store in STORES for kind in STORES[store]])
def test_each_origin_is_scored_apart_and_together(tmp_path, store, kind):
    items = Items.of([str(i) for i in range(N)], LABELS, ORIGINS)
    index = Index.build(tmp_path / "i", CODES, items, FACTS, store=store, kind=kind)
    scores = score_index(index, QUERIES, QUERY_LABELS).set_index("database")
    labelled = [row for row in range(N) if LABELS[row]]
    parts = {
        "learned": [row for row in labelled if row < 50],
        "network": [row for row in labelled if row >= 50],
        "all": labelled,
    }
    assert scores["rows"].to_dict() == {"learned": 50, "network": 38, "all": 88}
    assert scores["unlabelled"].to_dict() == {"learned": 0, "network": 2, "all": 2}
    for name, rows in parts.items():
        assert scores.loc[name, ["map", "precision_at_10"]].tolist() == pytest.approx(
            expected_scores(rows), abs=0.01
        )


def test_a_part_without_labelled_rows_has_no_scores(tmp_path):
    items = Items.of(["a", "b"], [[0], []], ["learned", "network"])
    index = Index.build(tmp_path / "i", CODES[:2], items, FACTS)
    scores = score_index(index, QUERIES, QUERY_LABELS).set_index("database")
    assert scores.loc["network", ["rows", "unlabelled"]].tolist() == [0, 1]
    assert scores.loc["network", ["map", "precision_at_10"]].isna().all()
    assert scores.loc["all", "map"] == scores.loc["learned", "map"] == QUERY_LABELS[:, 0].mean()


def test_labels_of_other_classes_and_codes_of_another_length_are_refused(tmp_path):
    items = Items.of(["a", "b"], [[0], []], ["learned", "network"])
    index = Index.build(tmp_path / "i", CODES[:2], items, FACTS)
    with pytest.raises(UserError, match="7 queries for 3 classes"):
        score_index(index, QUERIES, QUERY_LABELS[:, :2])
    with pytest.raises(UserError, match="bits"):
        score_index(index, Codes.pack(np.ones((7, 24))), QUERY_LABELS)
