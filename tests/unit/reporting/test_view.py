from dataclasses import replace

import pandas as pd
import pytest
from synthetic_runs import GRID, synthetic_run

from hashrepro.reporting import view
from hashrepro.reporting.figures import training_map
from hashrepro.reporting.palette import COLOURS, render


def test_the_best_of_each_column_is_marked_and_gaps_say_not_run(suite):
    rows = view.headline(suite[:-1], GRID, "fashion")
    for column, bits in enumerate(GRID.bits):
        run = {r.method: r.score("map") for r in suite[:-1] if r.bits == bits}
        assert [row[column].method for row in rows if row[column].best] == [max(run, key=run.get)]
    assert rows[-1][-1].text == "not run"
    assert not rows[-1][-1].best
    assert rows[0][0].text == f"{100 * suite[0].score('map'):.2f}"
    assert rows[0][0].of("random") == suite[0].score("map", "random")


def test_a_lone_method_is_not_called_the_best():
    grid = replace(GRID, methods=("adsh",), bits=(12,))
    assert not view.headline([synthetic_run("adsh", 12)], grid, "fashion")[0][0].best


def test_without_learned_codes_the_network_database_is_the_headline(suite):
    record = replace(suite[0], scores={"last": {"network": {"map": 0.25}}})
    cell = view.headline([record], GRID, "fashion")[0][0]
    assert (cell.database, cell.text) == ("network", "25.00")


@pytest.mark.parametrize(
    ("name", "title", "word"),
    [
        ("precision_at_100", "P@100", "first 100"),
        ("recall_radius_2", "R within 2", "distance 2"),
        ("map_file_order", "mAP file order", "files"),
        ("map", "mAP", "expectation"),
        ("unheard_of", "unheard of", "unheard_of"),
    ],
)
def test_every_score_has_a_title_and_a_meaning(suite, name, title, word):
    assert view.score_title(name) == title
    assert word in view.convention(suite[0], name)


def test_counts_are_not_percentages():
    assert view.score_text("uncoded", 1234.0) == "1,234"
    assert view.score_text("map", 0.5) == "50.00"
    assert view.score_text("map", None) == view.score_text("map", float("nan")) == "–"


def test_published_figures_are_grouped_and_keep_their_mark():
    rows = [
        ("P", "fashion", "A", bits, value, "s", "no: doubtful") for bits, value in ((12, 0.5), (48, 0.75))
    ]
    rows.append(("P", "elsewhere", "A", 12, 0.5, "s", "yes"))
    columns = ["paper", "dataset", "method", "bits", "map", "source", "verified"]
    found = view.published_rows(pd.DataFrame(rows, columns=columns), GRID, {"fashion": "Fashion"})
    assert len(found) == 1
    assert found[0]["figures"] == {12: "50.00", 48: "75.00"}
    assert (found[0]["verified"], found[0]["mark"], found[0]["dataset"]) == (False, "no: doubtful", "Fashion")
    assert view.published_rows(None, GRID, {}) == []


def test_a_themed_drawing_takes_the_pages_colours_and_own_ids(suite):
    text = view.themed(render(training_map(suite, GRID, "fashion", 12), text="none"), "f7")
    assert text.startswith("<svg")
    assert "var(--m0)" in text
    assert not any(colour in text for colour in COLOURS)
    assert "DejaVu" not in text
    assert text.count('id="') == text.count('id="f7-') > 0
    assert text.count('href="#') == text.count('href="#f7-') > 0
    assert text.count("url(#") == text.count("url(#f7-") > 0


def test_the_title_asks_with_the_grids_own_lengths():
    assert "12 or 48 bits" in view.title(GRID)
    assert "12 to 64 bits" in view.title(replace(GRID, bits=(64, 12, 24)))
