from dataclasses import replace

import pytest

from hashrepro.reporting import wording


@pytest.mark.parametrize(
    ("name", "title", "word"),
    [
        ("precision_at_100", "P@100", "first 100"),
        ("recall_at_50", "R@50", "first 50"),
        ("recall_radius_2", "R within 2", "distance 2"),
        ("map_file_order", "mAP file order", "files"),
        ("map", "mAP", "expectation"),
        ("map_at_1000", "mAP@1000", "first 1000"),
        ("map_thulab", "mAP THULAB", "as in thulab"),
        ("map_trec", "mAP trec_eval", "as in trec"),
        ("map_class_mean", "mAP class mean", "every class weighs the same"),
        ("ndcg", "NDCG", "discounted"),
        ("ndcg_at_10", "NDCG@10", "first 10"),
        ("uncoded", "uncoded", "never set"),
        ("unheard_of", "unheard of", "unheard_of"),
    ],
)
def test_every_score_has_a_title_and_a_meaning(suite, name, title, word):
    assert wording.score_title(name) == title
    assert word in wording.convention(suite[0], name)


def test_every_score_of_a_run_is_in_one_group_and_means_something(suite):
    scores = suite[0].scores["last"]["learned"]
    groups = wording.score_groups(list(scores))
    grouped = [name for names in groups.values() for name in names]
    hidden = {"map_low", "map_high", "map_reference_low", "map_reference_high", "uncoded"}
    assert sorted(grouped) == sorted(set(scores) - hidden)
    assert "Other" not in groups
    assert all(wording.convention(suite[0], name) != name for name in grouped)


def test_groups_begin_with_the_headline_and_count_upwards():
    names = ["precision_radius_2", "precision_at_100", "precision_at_20", "map_zoo", "map_best", "map", "x"]
    names += ["map_at_1000", "map_at_100", "map_low", "map_high", "uncoded", "shallow_low"]
    assert wording.score_groups(names) == {
        "Average precision": ["map", "map_best", "map_zoo"],
        "mAP@k and NDCG": ["map_at_100", "map_at_1000"],
        "Precision": ["precision_at_20", "precision_at_100", "precision_radius_2"],
        "Other": ["shallow_low", "x"],
    }


def test_counts_are_not_percentages():
    assert wording.score_text("uncoded", 1234.0) == "1,234"
    assert wording.score_text("map", 0.5) == "50.00"
    assert wording.score_text("map", None) == wording.score_text("map", float("nan")) == "–"


def test_methods_that_count_differently_are_told_apart(suite):
    other = replace(suite[2], about=suite[2].about | {"conventions": {"map_reference": "first 5000 only"}})
    counted = wording.meanings([suite[0], suite[1], other], "map_reference")
    assert counted == [
        "ADSH: ties in file order, without the last position, divided by retrieved",
        "SEMICON: first 5000 only",
    ]
    assert wording.meanings(suite, "map") == [suite[0].about["conventions"]["map"]]
