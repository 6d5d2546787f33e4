from dataclasses import replace

import numpy as np
import pytest
from synthetic_published import figures, run

from hashrepro.errors import UserError
from hashrepro.reporting import beside
from hashrepro.reporting.published import Published
from hashrepro.reporting.records import Grid
from hashrepro.reporting.tables import results_table

GRID = Grid("s", ("adsh", "semicon"), ("cub",), (12,), (0, 1))


def table(records, published, grid=GRID, recipes=None):
    return beside.beside_table(records, grid, results_table(records, grid), published, recipes)


def verdicts(records, *changes, grid=GRID, **more):
    found = table(records, figures(*changes, **more), grid)
    return found[found["method"] == "semicon"]["verdict"].tolist()


def test_ours_is_counted_as_the_source_counts():
    records = [run(0.40), run(0.44, seed=1)]
    ways = [
        {"selected": selected, "convention": convention}
        for convention in ("reference", "headline")
        for selected in ("best_on_test", "last")
    ]
    found = table(records, figures(*ways))
    ours = found[found["method"] == "semicon"]
    assert ours["ours"].tolist() == pytest.approx([0.42, 0.41, 0.405, 0.40])
    assert ours["ours_sd"].tolist() == pytest.approx([np.std([0.40, 0.44], ddof=1)] * 4)
    assert ours["gap"].tolist() == pytest.approx([0.02, 0.01, 0.005, 0.0])
    assert ours["runs"].tolist() == [2] * 4


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [(0.42, "within band"), (0.38, "within band"), (0.4201, "outside"), (0.3799, "outside")],
)
def test_the_band_is_the_tolerance_around_the_figure_and_closed(ours, verdict):
    assert verdicts([run(ours)], {"map": 0.4}) == [verdict]


def test_a_band_of_its_own_holds_for_its_bits_and_selection_alone():
    bands = {("cub", "semicon", 12, "best_on_test"): (0.50, 0.60)}
    assert (
        verdicts([run(0.55)], {"map": 0.4}, {"map": 0.54, "selected": "last"}, bands=bands)
        == ["within band"] * 2
    )
    assert verdicts([run(0.55)], {"map": 0.4, "selected": "last"}, bands=bands) == ["outside"]


@pytest.mark.parametrize(
    ("mark", "verdict"),
    [
        ("no", "published figure unverified"),
        ("no: differs from the log", "published figure unverified"),
        ("partly: equals the log", "within band"),
        ("yes", "within band"),
    ],
)
def test_an_unverified_figure_has_its_gap_and_no_verdict(mark, verdict):
    row = table([run(0.41)], figures({"verified": mark})).iloc[-1]
    assert row["verdict"] == verdict
    assert row["gap"] == pytest.approx(0.01)
    assert np.isnan(row["band_low"]) == (verdict == "published figure unverified")


def test_what_was_not_run_or_skipped_or_not_scored_says_so():
    assert verdicts([], {}) == ["not run"]
    keys = ["semicon-cub-12-s0", "semicon-cub-12-s1"]
    assert verdicts([], {}, grid=replace(GRID, skipped=dict.fromkeys(keys, "why"))) == ["skipped"]
    bare = replace(run(0.4), scores={"last": {"network": {"map": 0.3}}})
    assert verdicts([bare], {}) == ["not computed"]


def test_a_method_without_a_figure_has_a_row_with_its_headline():
    found = table([run(0.4, "adsh")], figures({}))
    row = found[found["method"] == "adsh"].iloc[0]
    assert (row["verdict"], row["convention"], row["selected"]) == ("no published figure", "headline", "last")
    assert row["ours"] == pytest.approx(0.38)
    assert np.isnan(row["published"])


def test_a_table_that_nobody_has_read_gives_the_way_to_count_and_no_figure():
    row = table([run(0.4)], figures({"map": float("nan"), "bits": 0})).iloc[-1]
    assert (row["verdict"], row["paper"], row["bits"]) == ("no published figure", "The paper", 12)
    assert row["ours"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("change", "about", "words"),
    [
        ({"difference": "other class sets"}, {}, "other class sets"),
        (
            {"backbone": "resnet50"},
            {"recipe": {"backbone": "alexnet"}},
            "another backbone: resnet50, ours alexnet",
        ),
        ({"queries": 5794.0}, {"queries": 60}, "other data: 5,794 queries, ours 60"),
        ({"database": 5994.0}, {"database": 120}, "other data: 5,994 database images, ours 120"),
    ],
)
def test_another_protocol_is_for_orientation_and_leaves_an_open_row(change, about, words):
    found = table([run(0.4, **about)], figures(change))
    found = found[found["method"] == "semicon"]
    assert found["verdict"].tolist() == ["no published figure", "orientation"]
    assert found["difference"].tolist() == ["", words]
    assert np.isnan(found["band_low"].iloc[1])
    assert found["gap"].iloc[1] == pytest.approx(0.0)


def test_a_cell_that_was_not_run_has_the_backbone_of_its_recipe():
    published, cell = figures({"backbone": "resnet50"}), ("semicon", "cub")
    for backbone, verdict in (("resnet50", "not run"), ("alexnet", "orientation")):
        found = table([], published, recipes={cell: {"backbone": backbone}})
        assert found["verdict"].tolist()[-1] == verdict


PUBLISHED_RECIPE = {"iterations": 40, "learning_rate": 2.5e-4, "milestones": [40]}


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({**PUBLISHED_RECIPE, "precision": "bf16"}, ""),
        ({"iterations": 40}, ""),
        ({}, ""),
        ({**PUBLISHED_RECIPE, "iterations": 2}, "another recipe: iterations 40 (ours 2)"),
        (
            {"milestones": [], "learning_rate": 1e-3},
            "another recipe: learning_rate 0.00025 (ours 0.001), milestones [40] (ours [])",
        ),
    ],
)
def test_a_run_of_another_recipe_than_the_published_one_gets_no_verdict(recipe, words):
    published = replace(figures({}), recipes={("semicon", "cub"): PUBLISHED_RECIPE})
    row = table([run(0.4, recipe=recipe)], published).iloc[-1]
    assert (row["difference"], row["verdict"]) == (words, "orientation" if words else "within band")


def test_a_table_that_nobody_has_read_has_no_recipe_to_differ_from():
    unread = figures({"map": float("nan"), "bits": 0})
    published = replace(unread, recipes={("semicon", "cub"): PUBLISHED_RECIPE})
    assert table([run(0.4, recipe={"iterations": 2})], published)["difference"].tolist()[-1] == ""


def test_all_of_a_papers_table_appears_when_the_grid_has_a_part_of_it():
    changes = [{"dataset": d, "bits": b} for d in ("cub", "aircraft") for b in (12, 48)]
    found = table([run(0.4)], figures(*changes, {"paper": "Elsewhere", "dataset": "dogs"}))
    semicon = found[found["method"] == "semicon"]
    assert list(zip(semicon["dataset"], semicon["bits"], strict=True)) == [
        ("cub", 12),
        ("cub", 48),
        ("aircraft", 12),
        ("aircraft", 48),
    ]
    assert semicon["verdict"].tolist() == ["within band", "not run", "not run", "not run"]


def test_a_grid_of_which_nothing_is_published_has_its_rows():
    found = table([run(0.4)], Published())
    assert found["verdict"].tolist() == ["no published figure"] * 2
    assert list(found.columns) == beside.COLUMNS


def test_a_way_of_counting_that_nobody_knows_is_refused():
    with pytest.raises(UserError, match="guessed"):
        table([run(0.4)], figures({"selected": "guessed"}))


@pytest.mark.parametrize(
    ("ranks", "verdict"), [("5000", "within band"), ("", "within band"), ("all", "orientation")]
)
def test_another_cut_of_the_ranking_is_for_orientation(ranks, verdict):
    cut = {"conventions": {"map_reference": "mAP over the first 5000 ranks; ties in database file order"}}
    assert verdict in verdicts([run(0.4, **cut)], {"ranks": ranks})
