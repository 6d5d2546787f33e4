"""Recall counts a hit by its distance, and the frame has a row for every setting and list length."""

import numpy as np
import pytest

from hashrepro.errors import UserError
from hashrepro.retrieval.codes import random_codes
from hashrepro.search.index import Index
from hashrepro.search.items import Items
from hashrepro.search.recall import measure_recall, recall_by_distance

FACTS = {"run": "r", "suite": "s", "dataset": "d", "catalog": "c", "model": "m", "class_names": ["one"]}


def index_of(folder, kind, n=300, **parameters) -> Index:
    codes = random_codes(n, 16, np.random.default_rng(0))
    items = Items.of([str(i) for i in range(n)], [[0]] * n, "network")
    return Index.build(folder, codes, items, FACTS, kind=kind, parameters=parameters)


def test_a_hit_counts_if_it_is_no_farther_than_the_true_kth():
    exact = np.array([[1, 2, 2], [0, 0, 4]])
    assert recall_by_distance(exact, exact) == 1
    assert recall_by_distance(np.array([[2, 2, 3], [4, -1, -1]]), exact) == (2 / 3 + 1 / 3) / 2


def test_an_exact_index_misses_nothing(tmp_path):
    queries = random_codes(4, 16, np.random.default_rng(1))
    frame = measure_recall(index_of(tmp_path / "i", "flat"), queries, ks=(1, 10, 1000))
    assert frame["k"].tolist() == [1, 10, 300]
    assert frame["recall"].tolist() == [1, 1, 1]
    assert (frame[["ms", "exact_ms", "speedup"]] > 0).all(axis=None)


def test_one_probe_finds_what_one_list_holds_and_all_probes_find_all(tmp_path):
    index, queries = index_of(tmp_path / "i", "ivf", lists=15), random_codes(9, 16, np.random.default_rng(1))
    frame = measure_recall(index, queries, ks=(20,), settings=({"probes": 1}, {"probes": 15}))
    assert frame["parameters"].tolist() == ["lists=15 probes=1", "lists=15 probes=15"]
    found = index.search(queries, 20, parameters={"probes": 1})
    true = np.sort((queries.unpack()[:, None] != index.codes(np.arange(300)).unpack()).sum(2))[:, 19:20]
    share = np.mean(
        [(row[row >= 0] <= most).sum() / 20 for row, most in zip(found.distances, true, strict=True)]
    )
    assert frame["recall"].tolist() == [pytest.approx(share), 1]
    assert share < 1


def test_what_was_measured_is_kept_with_the_index(tmp_path):
    index = index_of(tmp_path / "i", "ivf")
    frame = measure_recall(index, random_codes(2, 16, np.random.default_rng(1)), ks=(1, 5))
    index.record_recall(frame)
    for facts in (index.facts, Index.open(tmp_path / "i").facts):
        assert facts["recall"]["rows"] == 300
        assert [line["k"] for line in facts["recall"]["table"]] == [1, 5]
        assert [line["recall"] for line in facts["recall"]["table"]] == pytest.approx(
            frame["recall"].tolist()
        )
    index.add(random_codes(1, 16, np.random.default_rng(2)), Items.of(["new"], [[]], "network"))
    assert Index.open(tmp_path / "i").facts["recall"]["rows"] == 300  # the measurement's, not today's


def test_a_parameter_that_a_search_cannot_change_is_refused(tmp_path):
    queries = random_codes(2, 16, np.random.default_rng(1))
    with pytest.raises(UserError, match="lists was fixed"):
        measure_recall(index_of(tmp_path / "i", "ivf"), queries, settings=({"lists": 3},))
