import numpy as np
import pytest
from synthetic_runs import GRID

from hashrepro.reporting.comparisons import comparisons_table
from hashrepro.reporting.pairs import (
    display_comparisons,
    legend,
    notes,
    p_text,
    points,
    points_interval,
    sections,
)


@pytest.fixture(scope="module")
def table(suite):
    return comparisons_table(suite, GRID)


@pytest.fixture(scope="module")
def gaps(table):
    """The same table, its first row not compared."""
    broken = table.copy()
    broken.loc[0, ["difference", "low", "high", "p", "p_adjusted"]] = np.nan
    broken.loc[0, "queries"] = None
    broken.loc[0, "gap"] = "other queries"
    return broken


def test_points_and_p_for_people():
    assert points(0.00857) == "+0.86"
    assert points(-0.1) == "−10.00"
    assert points_interval(-0.0021, 0.019) == "[−0.2, +1.9]"
    assert p_text(0.0009) == "< 0.001"
    assert p_text(0.0114) == "0.011"


def test_the_table_in_words(table, gaps):
    shown = display_comparisons(table, {"semicon": "SEMICON"})
    assert shown["method"][0] == "SEMICON"
    assert shown["difference"][0] == points(table["difference"][0])
    assert "not compared" not in shown.to_string()
    missing = display_comparisons(gaps)
    assert missing.loc[0, ["difference", "p", "queries"]].tolist() == ["not compared"] * 2 + ["–"]
    assert missing.loc[1].tolist() == display_comparisons(table).loc[1].tolist()


def test_the_notes_say_what_a_test_over_queries_cannot(table, gaps):
    assert "Another training may turn it round" in notes(table)["Not in it"]
    assert "the 12 comparisons" in notes(table)["p adjusted"]
    assert "one in 20" in notes(table)["p adjusted"]
    seeds = table.assign(runs=3, against_runs=2)
    assert "averaged, not varied" in notes(seeds)["Not in it"]
    assert notes(gaps)["Not compared"] == "1 pairs (other queries)."
    assert legend(gaps).count("\n- ") == len(notes(gaps)) - 1
    assert list(notes(table[:0])) == ["Nothing to compare"]


def test_sections_have_a_row_a_pair_and_a_cell_a_code_length(table, gaps):
    (section,) = sections(table, GRID).values()
    assert [list(row["cells"]) for row in section["rows"]] == [[12, 48]] * 6
    assert section["queries"] == [50]
    assert section["reach"] == pytest.approx(max(-table["low"].min(), table["high"].max()))
    (section,) = sections(gaps, GRID).values()
    assert section["rows"][0]["cells"][12]["gap"] == "other queries"


def test_nothing_compared_is_no_section(gaps):
    assert sections(gaps[:1], GRID) == {}


def test_methods_that_do_not_differ_at_all_have_a_strip_too(table):
    same = table.assign(difference=0.0, low=0.0, high=0.0)
    assert sections(same, GRID)["fashion"]["reach"] > 0
