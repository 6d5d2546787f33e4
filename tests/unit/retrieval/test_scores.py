import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ranx.metrics.average_precision import _average_precision
from torchmetrics.functional.retrieval import (
    retrieval_average_precision,
    retrieval_normalized_dcg,
    retrieval_precision,
    retrieval_recall,
)

from hashrepro.errors import UserError
from hashrepro.retrieval.average_precision import (
    average_precision,
    mean_average_precisions,
    scan_for,
)
from hashrepro.retrieval.codes import Codes, random_codes
from hashrepro.retrieval.conventions import REFERENCE_SEMICON, THULAB, Convention, convention
from hashrepro.retrieval.counts import scan, scan_blocks
from hashrepro.retrieval.curves import precision_recall
from hashrepro.retrieval.ndcg import ndcg
from hashrepro.retrieval.scores import (
    CONVENTIONS,
    brief_scores,
    conventions_of,
    evaluate_codes,
    first_hits,
)


@pytest.fixture(scope="module")
def clustered():
    """Codes that agree with their class' code in most bits; three database rows were never coded."""
    rng = np.random.default_rng(7)
    centres, classes = rng.choice([-1, 1], (5, 16)), (rng.integers(0, 5, 40), rng.integers(0, 5, 260))
    values = [centres[c] * rng.choice([-1, 1], (len(c), 16), p=[0.2, 0.8]) for c in classes]
    values[1][[3, 50, 51]] = 0
    return *(Codes.pack(v) for v in values), *(np.eye(5, dtype=bool)[c] for c in classes)


def file_order(oracles, sides, length):
    """mAP of the first `length` ranks, ties in the order of the database, by the plain loop."""
    query, database, *labels = sides
    pairs = zip(oracles.hamming(query.unpack(), database.unpack()), oracles.similar(*labels), strict=True)
    return pytest.approx(
        np.mean([oracles.loop_average_precision(*pair, length) for pair in pairs]), rel=1e-12
    )


def test_scores_are_named_and_are_what_they_say(oracles, clustered):
    scores = evaluate_codes(
        *clustered, precision_at=[1, 100], map_at=[50], ndcg_at=[10], radius=2, reference=REFERENCE_SEMICON
    ).scores
    assert sorted(scores) == [
        "map",
        "map_adsh",
        "map_at_50",
        "map_best",
        "map_class_mean",
        "map_file_order",
        "map_fish",
        "map_reference",
        "map_thulab",
        "map_trec",
        "map_worst",
        "ndcg",
        "ndcg_at_10",
        "precision_at_1",
        "precision_at_100",
        "precision_radius_2",
        "recall_at_1",
        "recall_at_100",
        "recall_radius_2",
        "uncoded",
    ]
    assert all(type(value) is float for value in scores.values())
    counts = scan(*clustered).counts
    assert scores["map"] == average_precision(counts).mean()
    assert scores["map_best"] == average_precision(counts, ties="best").mean()
    assert scores["map_worst"] == average_precision(counts, ties="worst").mean()
    assert scores["map_file_order"] == file_order(oracles, clustered, 260)
    assert scores["map_reference"] == file_order(oracles, clustered, 259)
    assert scores["map_at_50"] == average_precision(counts, normaliser="min_k", top_k=50).mean()
    _, precision, recall = precision_recall(counts)
    assert scores["precision_radius_2"] == precision[:, 2].mean()
    assert scores["recall_radius_2"] == recall[:, 2].mean()
    assert [scores["ndcg"], scores["ndcg_at_10"]] == ndcg(counts, [None, 10]).mean(axis=0).tolist()
    assert scores["uncoded"] == 3.0
    assert scores["map_worst"] < scores["map"] < scores["map_best"]


def test_the_reference_may_be_any_convention(oracles, clustered):
    for rule in (convention("schn", 50), Convention("expected", "min_k", "zero", 50)):
        scores = evaluate_codes(*clustered, precision_at=[5], radius=0, reference=rule).scores
        if rule.ties == "expected":
            expected = average_precision(scan(*clustered).counts, normaliser="min_k", top_k=50).mean()
        else:
            expected = file_order(oracles, clustered, 50)
        assert scores["map_reference"] == expected
        assert scores["map_file_order"] == file_order(oracles, clustered, 260)


def test_average_precisions_alone_are_the_same_as_among_all_scores(clustered):
    rules = {**CONVENTIONS, "map_reference": convention("schn", 50)}
    scores = evaluate_codes(*clustered, precision_at=[5], radius=0, reference=rules["map_reference"]).scores
    alone = mean_average_precisions(scan_for(rules.values(), *clustered), rules)
    assert alone == {name: scores[name] for name in rules}


def test_queries_left_out_are_not_averaged(clustered):
    query, database, query_labels, database_labels = clustered
    lacking = query_labels.copy()
    lacking[:10] = False
    rule = Convention("file_order", "retrieved", "skip", None)
    options = {"precision_at": [5], "radius": 0, "reference": rule}
    scored = evaluate_codes(query, database, lacking, database_labels, **options)
    scores = scored.scores
    assert scores["map_reference"] == pytest.approx(scores["map_file_order"] * 40 / 30, rel=1e-12)
    assert np.isnan(scored.per_query["map_reference"]).tolist() == [True] * 10 + [False] * 30
    assert not np.isnan(scored.per_query["map"]).any()
    lacking[:] = False
    scores = evaluate_codes(query, database, lacking, database_labels, **options).scores
    assert np.isnan(scores["map_reference"])
    assert np.isnan(scores["map_class_mean"])
    assert scores["map"] == scores["ndcg"] == 0


def test_the_scores_of_the_queries_are_kept(clustered):
    rule = convention("schn", 50)
    scored = evaluate_codes(*clustered, precision_at=[5], radius=0, reference=rule)
    assert sorted(scored.per_query) == ["map", "map_reference"]
    for name, values in scored.per_query.items():
        assert values.shape == (40,)
        assert values.mean() == scored.scores[name]
    np.testing.assert_array_equal(scored.per_query["map"], average_precision(scan(*clustered).counts))


def test_blocks_of_queries_change_nothing(clustered, monkeypatch):
    options = {"precision_at": [5], "ndcg_at": [7], "radius": 1, "reference": THULAB}
    whole = evaluate_codes(*clustered, **options)
    monkeypatch.setattr(
        "hashrepro.retrieval.scores.scan_blocks",
        lambda *sides, **given: scan_blocks(*sides, **given, queries_a_block=7),
    )
    blocks = evaluate_codes(*clustered, **options)
    assert blocks.scores == pytest.approx(whole.scores, rel=1e-14)
    for name, frame in whole.curves.items():
        pd.testing.assert_frame_equal(blocks.curves[name], frame, rtol=1e-13)
    for name, values in whole.per_query.items():
        np.testing.assert_array_equal(blocks.per_query[name], values)


def test_the_mean_over_classes_weighs_classes_alike(clustered):
    query, database, query_labels, database_labels = clustered
    few = np.flatnonzero(query_labels.argmax(axis=1) != 4)  # class 4 has no queries
    few = np.concatenate([few, np.repeat(few[:1], 20)])
    scored = evaluate_codes(
        query[few],
        database,
        query_labels[few],
        database_labels,
        precision_at=[5],
        radius=0,
        reference=THULAB,
    )
    frame, classes = scored.curves["per_class"], query_labels[few].argmax(axis=1)
    expected = [scored.per_query["map"][classes == c].mean() for c in range(4)]
    np.testing.assert_allclose(frame["map"], [*expected, np.nan])
    assert frame["queries"].tolist() == [*np.bincount(classes, minlength=4), 0]
    assert scored.scores["map_class_mean"] == pytest.approx(np.mean(expected), rel=1e-14)


@pytest.mark.parametrize(
    ("engine", "bits", "rows"), [("numpy", 511, 1000), ("numba", 511, 3000), ("numba", 8, 6_000_000)]
)
def test_memory_stays_below_64_mb_for_long_codes_and_large_databases(engine, bits, rows):
    rng = np.random.default_rng(0)
    queries = 2048 if bits > 8 else 8
    sides = (
        *(random_codes(n, bits, rng) for n in (queries, rows)),
        *(np.ones((n, 1), bool) for n in (queries, rows)),
    )
    options = {"precision_at": [5], "map_at": [5], "ndcg_at": [5], "radius": 1, "reference": THULAB}
    evaluate_codes(*(side[:3] for side in sides), **options | {"precision_at": [1]}, engine=engine)  # imports
    tracemalloc.start()
    evaluate_codes(*sides, **options, engine=engine)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64e6


def test_every_map_has_its_convention(clustered):
    options = {"reference": REFERENCE_SEMICON, "map_at": [20]}
    scores = evaluate_codes(*clustered, precision_at=[], radius=0, **options).scores
    assert {name for name in scores if name.startswith("map")} == {
        *conventions_of(**options),
        "map_class_mean",
    }


def by_hand(relevant, order, length, skip, all_relevant=False):
    """mAP of ranked lists, one query after the other, as the code bases compute it."""
    values = []
    for row, ranks in zip(relevant, order, strict=True):
        hits = row[ranks][:length]
        if hits.any():
            at = np.flatnonzero(hits) + 1
            divisor = row.sum() if all_relevant else len(at)
            values.append((np.arange(1, len(at) + 1) / at).sum() / divisor)
        elif not skip or (all_relevant and row.any()):
            values.append(0)
    return np.mean(values)


def test_named_conventions_are_those_of_their_code_bases(oracles, clustered):
    query, database, query_labels, database_labels = clustered
    lacking = query_labels.copy()
    lacking[:6] = False
    relevant = oracles.similar(lacking, database_labels)
    order = np.argsort(oracles.hamming(query.unpack(), database.unpack()), axis=1, kind="stable")
    expected = {
        "map_adsh": by_hand(relevant, order, 260, skip=False),
        "map_fish": by_hand(relevant, order, 260, skip=False),
        "map_thulab": by_hand(relevant, order, 5000, skip=True),
        "map_trec": by_hand(relevant, order, 260, skip=True, all_relevant=True),
    }
    sides = (query, database, lacking, database_labels)
    scores = evaluate_codes(*sides, precision_at=[], radius=0, reference=THULAB).scores
    assert {name: scores[name] for name in expected} == pytest.approx(expected, rel=1e-12)
    for rule, all_relevant in ((convention("thulab", 3), False), (convention("trec", 3), True)):
        found = mean_average_precisions(scan_for([rule], *sides), {"map": rule})["map"]
        assert found == pytest.approx(by_hand(relevant, order, 3, True, all_relevant), rel=1e-12)


@pytest.fixture(scope="module")
def multi_label():
    rng = np.random.default_rng(11)
    codes = random_codes(25, 10, rng), random_codes(300, 10, rng)
    query_labels = rng.random((25, 6)) < 0.3
    query_labels[4] = False
    return *codes, query_labels, rng.random((300, 6)) < 0.2


def ranked_pairs(oracles, sides):
    """(relevant, closeness) of each query: closeness falls with distance, and among ties with the row, and is > 0."""
    query, database, *labels = sides
    distances = oracles.hamming(query.unpack(), database.unpack())
    closeness = (query.bits - distances) * len(database) + np.arange(len(database), 0, -1)
    return zip(oracles.similar(*labels), closeness, strict=True)


def test_ranx_agrees_on_rankings_without_ties(oracles, multi_label):
    # ranx orders ties as its sort leaves them, so it is given the file order; its map divides by all relevant. Its
    # `evaluate` compiles for a minute, what it calls for each query for a second.
    found = {0: [], 40: []}
    for relevant, closeness in ranked_pairs(oracles, multi_label):
        rows, order = np.flatnonzero(relevant), np.argsort(-closeness)
        for k, values in found.items():
            if len(rows):  # a query without relevant documents cannot be in its qrels, as in trec_eval
                qrels = np.stack([rows.astype(float), np.ones(len(rows))], axis=1)
                values.append(_average_precision(qrels, np.stack([order, closeness[order]], axis=1), k, 1))
    assert len(found[0]) < 25
    for k, values in found.items():
        rule = convention("trec", k or None)
        expected = mean_average_precisions(scan_for([rule], *multi_label), {"map": rule})["map"]
        assert np.mean(values) == pytest.approx(expected, rel=1e-12)


def test_torchmetrics_agrees_on_rankings_without_ties(oracles, multi_label):
    # It drops relevant rows whose score is not above 0, so the scores are; its AP@k divides by the relevant retrieved.
    rules = {None: convention("adsh"), 40: convention("adsh", 40)}
    pairs = [
        (torch.tensor(closeness), torch.tensor(relevant))
        for relevant, closeness in ranked_pairs(oracles, multi_label)
    ]
    for k, rule in rules.items():
        found = np.mean([retrieval_average_precision(*pair, top_k=k).item() for pair in pairs])
        expected = mean_average_precisions(scan_for([rule], *multi_label), {"map": rule})["map"]
        assert found == pytest.approx(expected, rel=1e-6)  # float32


def test_torchmetrics_agrees_where_no_tie_is_cut(oracles):
    # One query whose database rows are at 40 different distances, so that the expectation is the one ranking.
    rng = np.random.default_rng(2)
    database = Codes.pack(np.tril(np.full((40, 41), 2), -1)[:, :40] - 1)
    relevant = rng.random(40) < 0.3
    labels = np.array([[False, True]]), np.eye(2, dtype=bool)[relevant.astype(int)]
    sides = (Codes.pack(np.ones((1, 40))), database, *labels)
    scores = evaluate_codes(
        *sides, precision_at=[1, 10], ndcg_at=[10], radius=5, reference=REFERENCE_SEMICON
    ).scores
    pair = torch.arange(1, 41, dtype=torch.float64), torch.tensor(relevant)
    for n in (1, 10):
        assert scores[f"precision_at_{n}"] == pytest.approx(retrieval_precision(*pair, top_k=n).item())
        assert scores[f"recall_at_{n}"] == pytest.approx(retrieval_recall(*pair, top_k=n).item())
    assert scores["ndcg"] == pytest.approx(retrieval_normalized_dcg(*pair).item(), rel=1e-6)
    assert scores["ndcg_at_10"] == pytest.approx(retrieval_normalized_dcg(*pair, top_k=10).item(), rel=1e-6)


OPTIONS = {"precision_at": [1, 5, 25], "map_at": [3, 10], "ndcg_at": [4], "radius": 1}


def random_sides(rng, bits):
    query, database = rng.choice([-1, 1], (6, bits)), rng.choice([-1, 1], (25, bits))
    database[::9] = 0
    return query, database, rng.random((6, 4)) < 0.4, rng.random((25, 4)) < 0.4


def pack(query, database, *labels):
    return Codes.pack(query), Codes.pack(database), *labels


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 20))
def test_renaming_bits_and_labels_and_reordering_queries_change_no_score(seed, bits):
    rng = np.random.default_rng(seed)
    query, database, query_labels, database_labels = random_sides(rng, bits)
    order, flips = rng.permutation(bits), rng.choice([-1, 1], bits)
    classes, queries = rng.permutation(4), rng.permutation(6)
    sides = pack(query, database, query_labels, database_labels)
    before = evaluate_codes(*sides, **OPTIONS, reference=REFERENCE_SEMICON)
    after = evaluate_codes(
        *pack(
            (query[:, order] * flips)[queries],
            database[:, order] * flips,
            query_labels[queries][:, classes],
            database_labels[:, classes],
        ),
        **OPTIONS,
        reference=REFERENCE_SEMICON,
    )
    assert after.scores == pytest.approx(before.scores, rel=1e-12, abs=1e-14, nan_ok=True)
    np.testing.assert_array_equal(after.per_query["map"], before.per_query["map"][queries])


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 20))
def test_reordering_the_database_changes_only_scores_in_file_order(seed, bits):
    rng = np.random.default_rng(seed)
    query, database, query_labels, database_labels = random_sides(rng, bits)
    items = rng.permutation(25)
    rule = Convention("expected", "retrieved", "skip", 7)
    before, after = (
        evaluate_codes(*pack(query, rows, query_labels, labels), **OPTIONS, reference=rule).scores
        for rows, labels in ((database, database_labels), (database[items], database_labels[items]))
    )
    in_file_order = {name for name, one in conventions_of(rule).items() if one.ties == "file_order"}
    for name in before.keys() - in_file_order:
        assert after[name] == pytest.approx(before[name], rel=1e-12, abs=1e-14, nan_ok=True), name
    for name in ("map", "map_file_order"):
        assert after["map_worst"] - 1e-14 <= after[name] <= after["map_best"] + 1e-14


def test_brief_scores_are_those_of_a_whole_evaluation(clustered):
    scores = evaluate_codes(*clustered, precision_at=[1, 9], radius=0, reference=THULAB).scores
    brief = brief_scores(*clustered, precision_at=[1, 9])
    assert brief == {name: scores[name] for name in ("map", "precision_at_1", "precision_at_9")}
    assert brief_scores(*clustered) == {"map": scores["map"]}


def test_curves_hold_the_scores(clustered):
    scored = evaluate_codes(*clustered, precision_at=[7, 100], radius=3, reference=REFERENCE_SEMICON)
    scores, curves = scored.scores, scored.curves
    assert sorted(curves) == ["per_class", "precision_at", "precision_recall"]
    by_length, by_radius = curves["precision_at"], curves["precision_recall"]
    assert by_length["n"].tolist() == [1, 2, 5, 7, 10, 20, 50, 100, 200, 260]
    assert list(by_length.columns) == ["n", "precision", "recall"]
    assert by_length.set_index("n")["precision"][7] == scores["precision_at_7"]
    assert by_length.set_index("n")["recall"][100] == scores["recall_at_100"]
    assert by_length["recall"].iloc[-1] == pytest.approx(1)
    assert by_radius["radius"].tolist() == list(range(17))
    assert list(by_radius.columns) == ["radius", "precision", "recall"]
    assert by_radius["precision"][3] == scores["precision_radius_3"]
    assert by_radius["recall"][16] == pytest.approx(1)


def test_random_codes_score_the_share_of_relevant_rows():
    rng = np.random.default_rng(0)
    labels = [np.eye(10, dtype=bool)[np.arange(n) % 10] for n in (100, 5000)]
    codes = random_codes(100, 32, rng), random_codes(5000, 32, rng)
    scores = evaluate_codes(*codes, *labels, precision_at=[100], radius=2, reference=REFERENCE_SEMICON).scores
    assert scores["map"] == pytest.approx(0.1, abs=0.01)
    assert scores["precision_at_100"] == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("k", [1, 10, 500])
def test_first_hits_are_the_head_of_a_stable_sort(oracles, clustered, k):
    query, database = clustered[:2]
    rows, distances = first_hits(query, database, np.array([30, 4]), k)
    assert rows.dtype == np.int64
    assert rows.shape == distances.shape == (2, min(k, 260))
    expected = oracles.hamming(query.unpack()[[30, 4]], database.unpack())
    np.testing.assert_array_equal(rows, np.argsort(expected, axis=1, kind="stable")[:, :k])
    np.testing.assert_array_equal(distances, np.sort(expected, axis=1)[:, :k])


def test_a_radius_beyond_the_code_is_refused(clustered):
    with pytest.raises(UserError, match="0 to 16"):
        evaluate_codes(*clustered, precision_at=[1], radius=17, reference=REFERENCE_SEMICON)
