import numpy as np
import pytest

from hashrepro.errors import UserError
from hashrepro.retrieval.average_precision import (
    average_precision,
    mean_average_precisions,
    scan_for,
)
from hashrepro.retrieval.codes import Codes, random_codes
from hashrepro.retrieval.conventions import REFERENCE_SEMICON, Convention, convention
from hashrepro.retrieval.counts import scan
from hashrepro.retrieval.curves import precision_within, recall_within
from hashrepro.retrieval.scores import CONVENTIONS, evaluate_codes, first_hits


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
    scores, _ = evaluate_codes(*clustered, precision_at=[1, 100], radius=2, reference=REFERENCE_SEMICON)
    assert sorted(scores) == [
        "map",
        "map_best",
        "map_file_order",
        "map_reference",
        "map_worst",
        "precision_at_1",
        "precision_at_100",
        "precision_radius_2",
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
    assert scores["precision_radius_2"] == precision_within(counts, 2)
    assert scores["recall_radius_2"] == recall_within(counts, 2)
    assert scores["uncoded"] == 3.0
    assert scores["map_worst"] < scores["map"] < scores["map_best"]


def test_the_reference_may_be_any_convention(oracles, clustered):
    for rule in (convention("schn", 50), Convention("expected", "min_k", "zero", 50)):
        scores, _ = evaluate_codes(*clustered, precision_at=[5], radius=0, reference=rule)
        if rule.ties == "expected":
            expected = average_precision(scan(*clustered).counts, normaliser="min_k", top_k=50).mean()
        else:
            expected = file_order(oracles, clustered, 50)
        assert scores["map_reference"] == expected
        assert scores["map_file_order"] == file_order(oracles, clustered, 260)


def test_average_precisions_alone_are_the_same_as_among_all_scores(clustered):
    rules = {**CONVENTIONS, "map_reference": convention("schn", 50)}
    scores, _ = evaluate_codes(*clustered, precision_at=[5], radius=0, reference=rules["map_reference"])
    alone = mean_average_precisions(scan_for(rules.values(), *clustered), rules)
    assert alone == {name: scores[name] for name in rules}


def test_queries_left_out_are_not_averaged(clustered):
    query, database, query_labels, database_labels = clustered
    lacking = query_labels.copy()
    lacking[:10] = False
    rule = Convention("file_order", "retrieved", "skip", None)
    scores, _ = evaluate_codes(
        query, database, lacking, database_labels, precision_at=[5], radius=0, reference=rule
    )
    assert scores["map_reference"] == pytest.approx(scores["map_file_order"] * 40 / 30, rel=1e-12)
    lacking[:] = False
    scores, _ = evaluate_codes(
        query, database, lacking, database_labels, precision_at=[5], radius=0, reference=rule
    )
    assert np.isnan(scores["map_reference"])
    assert scores["map"] == 0


def test_curves_hold_the_scores(clustered):
    scores, curves = evaluate_codes(*clustered, precision_at=[7, 100], radius=3, reference=REFERENCE_SEMICON)
    assert sorted(curves) == ["precision_at", "precision_recall"]
    by_length, by_radius = curves["precision_at"], curves["precision_recall"]
    assert by_length["n"].tolist() == [1, 2, 5, 7, 10, 20, 50, 100, 200, 260]
    assert list(by_length.columns) == ["n", "precision", "recall"]
    assert by_length.set_index("n")["precision"][7] == scores["precision_at_7"]
    assert by_length["recall"].iloc[-1] == pytest.approx(1)
    assert by_radius["radius"].tolist() == list(range(17))
    assert list(by_radius.columns) == ["radius", "precision", "recall"]
    assert by_radius["precision"][3] == scores["precision_radius_3"]
    assert by_radius["recall"][16] == pytest.approx(1)


def test_random_codes_score_the_share_of_relevant_rows():
    rng = np.random.default_rng(0)
    labels = [np.eye(10, dtype=bool)[np.arange(n) % 10] for n in (100, 5000)]
    codes = random_codes(100, 32, rng), random_codes(5000, 32, rng)
    scores, _ = evaluate_codes(*codes, *labels, precision_at=[100], radius=2, reference=REFERENCE_SEMICON)
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
