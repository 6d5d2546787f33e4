from dataclasses import replace

from synthetic_published import figures
from synthetic_runs import GRID, synthetic_run

from hashrepro.reporting import view
from hashrepro.reporting.figures import training_map
from hashrepro.reporting.palette import COLOURS, render
from hashrepro.reporting.published import Published
from hashrepro.reporting.tables import results_table


def headline(records, grid):
    return view.headline(records, grid, "fashion", results_table(records, grid))


def test_the_best_of_each_column_is_marked_and_gaps_say_not_run(suite):
    rows = headline(suite[:-1], GRID)
    for column, bits in enumerate(GRID.bits):
        run = {r.method: r.score("map") for r in suite[:-1] if r.bits == bits}
        assert [row[column].method for row in rows if row[column].best] == [max(run, key=run.get)]
    assert rows[-1][-1].text == "not run"
    assert not rows[-1][-1].best
    assert rows[0][0].text == f"{100 * suite[0].score('map'):.2f}"
    assert rows[0][0].of("random") == suite[0].score("map", "random")


def test_a_skipped_cell_has_no_number_and_its_reason(suite):
    grid = replace(GRID, skipped={suite[-1].key: "why"})
    cell = headline(suite[:-1], grid)[-1][-1]
    assert (cell.text, cell.skipped, cell.runs, cell.best) == ("skipped", "why", [], False)


def test_the_gap_of_a_floor_is_not_run_while_a_run_could_fill_it(suite):
    run, gap = view.Cell("a", 12, 0, suite[:1], 1), view.Cell("b", 12, 1, [], 1)
    skipped = view.Cell("c", 12, 2, [], 1, skipped="why")
    assert view.floor_gap([run, gap]) == view.floor_gap([skipped, skipped]) == "–"
    assert view.floor_gap([gap, skipped]) == "not run"


def test_a_lone_method_is_not_called_the_best():
    grid = replace(GRID, methods=("adsh",), bits=(12,))
    assert not headline([synthetic_run("adsh", 12)], grid)[0][0].best


def test_without_learned_codes_the_network_database_is_the_headline(suite):
    record = replace(suite[0], scores={"last": {"network": {"map": 0.25}}})
    cell = headline([record], GRID)[0][0]
    assert (cell.database, cell.text) == ("network", "25.00")


def test_the_headline_has_its_interval_on_its_own_database(suite):
    cell = headline(suite, GRID)[2][1]
    run = cell.runs[0]
    assert (cell.headline("_low"), cell.headline("_high")) == (run.score("map_low"), run.score("map_high"))
    network = {name: value for name, value in run.scores["last"].items() if name == "network"}
    cell = headline([replace(run, scores={"last": network})], GRID)[2][1]
    assert cell.headline("_low") == run.score("map_low", "network")


def test_published_figures_of_other_methods_are_grouped_and_each_keeps_its_mark():
    there = {"dataset": "fashion", "method": "A", "ours": ""}
    changes = [
        {"map": 0.5, "source": "log"},
        {"bits": 48, "map": 0.75, "source": "heard", "verified": "no: doubtful"},
        {"bits": 48, "map": 0.8, "source": "heard", "verified": "no"},
        {"bits": 64, "map": 0.9, "label": "half of it"},
        {"dataset": "elsewhere"},
        {"ours": "adsh"},
        {"ours": "no method of this grid", "method": "B"},
    ]
    found = view.published_rows(figures(*(there | change for change in changes)), GRID)
    assert list(found) == ["fashion"]
    assert [(row["method"], row["label"], list(row["figures"])) for row in found["fashion"]] == [
        ("A", "CUB", [12, 48]),
        ("A", "CUB", [48]),
        ("A", "half of it", [64]),
        ("B", "CUB", [12]),
    ]
    first, second = found["fashion"][:2]
    assert first["figures"][48] == {"text": "75.00", "mark": "no: doubtful"}
    assert first["sources"] == ["log", "heard"]
    assert second["figures"] == {48: {"text": "80.00", "mark": "no"}}
    assert view.published_rows(Published(), GRID) == {}


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
