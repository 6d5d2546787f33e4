from synthetic_published import figures, run

from hashrepro.reporting import beside_text
from hashrepro.reporting.beside import beside_table
from hashrepro.reporting.records import Grid
from hashrepro.reporting.tables import results_table

GRID = Grid("s", ("adsh", "semicon"), ("cub",), (12, 48), (0, 1))
PUBLISHED = figures(
    {},
    {"bits": 48, "map": 0.8, "verified": "no", "title": "hear & say"},
    {"map": 0.41, "verified": "partly: equals the log"},
    {"difference": "other class sets", "title": "re-run"},
)


def both():
    records = [run(0.40), run(0.44, seed=1)]
    return beside_table(records, GRID, results_table(records, GRID), PUBLISHED)


def test_marks_and_gaps_stand_behind_their_figures():
    shown, aside = beside_text.display(both(), {"semicon": "SEMICON", "cub": "CUB-200"})
    semicon = shown[shown["method"] == "SEMICON"]
    assert semicon["theirs"].tolist() == ["40.00", "41.00 =", "80.00 ?"]
    assert semicon["ours"].tolist() == ["42.00 ± 2.83", "42.00 ± 2.83", "not run"]
    assert semicon["gap"].tolist() == ["+2.00", "+1.00", "–"]
    assert semicon["band"].tolist() == ["38.00 to 42.00", "39.00 to 43.00", "–"]
    assert semicon["seeds"].tolist() == ["2 of 2", "2 of 2", "0 of 2"]
    assert set(shown["data set"]) == {"CUB-200"}
    assert aside[["source", "because"]].to_numpy().tolist() == [["re-run", "other class sets"]]
    assert "verdict" not in aside


def test_the_tally_counts_every_row_once():
    found = both()
    counts = beside_text.tally(found)
    assert counts == {"within band": 2, "not run": 1, "no published figure": 2, "orientation": 1}
    assert sum(counts.values()) == len(found)


def test_markdown_holds_both_tables_and_what_the_marks_mean():
    text = beside_text.markdown(both(), {}, 2.0)
    assert text.startswith("6 rows: 2 within band, 1 not run")
    assert "For orientation, without a verdict" in text
    assert "which is 2 points around the figure" in text
    for mark in ("?", "="):
        assert f"\n- {mark}: " in text


def test_latex_has_a_tabular_a_data_set_and_escapes():
    text = beside_text.latex(both(), {})
    assert text.count(r"\begin{tabular}") == text.count(r"\bottomrule") == 2
    assert r"hear \& say" in text
    assert "±" not in text
