import csv
import io
import math
import statistics
from dataclasses import replace

import pytest
from synthetic_runs import GRID, synthetic_run

from hashrepro.reporting.tables import (
    display_table,
    footnotes,
    percent,
    results_table,
    scores_table,
    spread,
    to_csv,
    to_latex,
    to_markdown,
)

PARTIAL = replace(GRID, methods=("adsh", "schn"), bits=(12,), seeds=(0, 1, 2))


@pytest.fixture(scope="module")
def seeds():
    return [synthetic_run("adsh", 12, seed) for seed in (0, 2)]


def test_mean_and_deviation_over_seeds(seeds):
    table = results_table(seeds, PARTIAL).set_index("method")
    maps = [record.scores["last"]["learned"]["map"] for record in seeds]
    assert table.loc["adsh", "map"] == pytest.approx(statistics.mean(maps))
    assert table.loc["adsh", "map_sd"] == pytest.approx(statistics.stdev(maps))
    best = [record.scores["best_on_test"]["learned"]["map_reference"] for record in seeds]
    assert table.loc["adsh", "reference_best_on_test"] == pytest.approx(statistics.mean(best))
    assert (table.loc["adsh", "runs"], table.loc["adsh", "seeds"]) == (2, 3)


def test_one_seed_has_no_deviation():
    mean, deviation = spread([0.5])
    assert mean == 0.5
    assert math.isnan(deviation)
    assert all(map(math.isnan, spread([])))


def test_a_row_for_every_cell_of_the_grid_in_its_order(suite):
    table = results_table(suite[::-1], GRID)
    assert list(zip(table["method"], table["bits"], strict=True)) == [
        (m, b) for m in GRID.methods for b in GRID.bits
    ]


def test_a_cell_that_was_not_run_says_so_in_every_format(seeds):
    table = results_table(seeds, PARTIAL)
    shown = display_table(table, {"adsh": "ADSH"})
    assert list(shown["mAP"])[1] == "not run"
    assert shown["method"].tolist() == ["ADSH", "schn"]
    assert to_markdown(shown).splitlines()[3].count("not run") == 8
    assert "not run" in to_latex(shown).splitlines()[5]
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert rows[1]["map"] == rows[1]["random"] == "not run"
    assert float(rows[0]["map"]) == table["map"][0]


def test_a_skipped_cell_says_why_in_every_format(seeds):
    why = "A & B_1 need 100% of {2^n} ~ \\ #$"
    keys = [f"schn-fashion-{bits}-s{seed}" for bits in (12, 48) for seed in (0, 1, 2)]
    grid = replace(PARTIAL, bits=(12, 48), skipped=dict.fromkeys(keys, why))
    table = results_table(seeds, grid)
    notes, shown = footnotes(table["skipped"]), display_table(table)
    assert notes == {why: 1}
    assert shown["mAP"].tolist()[1:] == ["not run", "skipped [1]", "skipped [1]"]
    assert shown["floor: random codes"].tolist()[1:] == ["not run", "skipped [1]", "skipped [1]"]
    markdown = to_markdown(shown, notes)
    assert markdown.splitlines()[4].count("skipped [1]") == 8
    assert markdown.endswith(f"\n\n- [1] skipped: {why}\n")
    latex = to_latex(shown, notes)
    assert latex.splitlines()[7].count("skipped [1]") == 8
    escaped = r"A \& B\_1 need 100\% of \{2\textasciicircum{}n\} \textasciitilde{} \textbackslash{} \#\$"
    assert latex.splitlines()[-1] == rf"\par{{\footnotesize [1] skipped: {escaped}\par}}"
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert [row["skipped"] for row in rows] == ["", "", why, why]
    assert [row["map_network"] for row in rows][1:] == ["not run", "skipped", "skipped"]


def test_reasons_are_numbered_as_they_come():
    assert footnotes(["", "b", "a", "b", ""]) == {"b": 1, "a": 2}


def test_a_cell_with_scores_is_not_called_skipped(seeds):
    grid = replace(PARTIAL, skipped={"adsh-fashion-12-s1": "why"})
    table = results_table(seeds, grid)
    assert table["skipped"].tolist() == ["", ""]
    assert "skipped" not in to_markdown(display_table(table), footnotes(table["skipped"]))


def test_a_score_that_was_not_computed_is_not_called_not_run(seeds):
    record = replace(seeds[0], scores={"last": {"network": {"map": 0.25}}})
    table = results_table([record], PARTIAL)
    shown = display_table(table)
    assert shown["mAP"][0] == "–"
    assert shown["mAP, network database"][0] == "25.00"
    assert "floor: random codes" not in shown.columns
    assert next(csv.DictReader(io.StringIO(to_csv(table))))["map"] == ""


def test_percent():
    assert percent(0.76571) == "76.57"
    assert percent(1.0, 0.00421) == "100.00 ± 0.42"
    assert percent(float("nan")) == "–"


def test_markdown_and_latex_escape_what_is_special(seeds):
    shown = display_table(results_table(seeds, PARTIAL), {"adsh": "A|_&%", "fashion": "50% & more"})
    assert r"| 50% & more | A\|_&% |" in to_markdown(shown)
    latex = to_latex(shown)
    assert r"50\% \& more & A|\_\&\%" in latex
    assert latex.count(r"\toprule") == latex.count(r"\midrule") == latex.count(r"\bottomrule") == 1
    assert r"$\pm$" in latex


def test_every_score_of_every_run_has_its_place(suite):
    table = scores_table(suite, GRID)
    assert len(table) == len(suite) * 5
    row = table.query("run == 'schn-fashion-48-s0' and selected == 'last' and database == 'network'").iloc[0]
    record = next(r for r in suite if r.key == "schn-fashion-48-s0")
    assert {name: row[name] for name in record.scores["last"]["network"]} == record.scores["last"]["network"]
    assert scores_table([], GRID).empty
