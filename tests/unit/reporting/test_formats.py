import csv
import io
import re
from dataclasses import replace

import pytest
from synthetic_runs import GRID, synthetic_run

from hashrepro.reporting.formats import (
    display_table,
    footnotes,
    percent,
    percent_interval,
    to_csv,
    to_latex,
    to_markdown,
)
from hashrepro.reporting.tables import results_table

PARTIAL = replace(GRID, methods=("adsh", "schn"), bits=(12,), seeds=(0, 1, 2))


@pytest.fixture(scope="module")
def seeds():
    return [synthetic_run("adsh", 12, seed) for seed in (0, 2)]


def test_the_interval_stands_behind_the_headline_alone(suite, seeds):
    table = results_table(suite, GRID)
    shown = display_table(table)
    low, high = (f"{100 * suite[0].score(f'map_{end}'):.1f}" for end in ("low", "high"))
    assert shown["mAP"][0] == f"{100 * suite[0].score('map'):.2f} [{low}, {high}]"
    assert shown["queries"][0] == "50"
    assert all("[" not in text for title in shown.columns[6:] for text in shown[title])
    several = display_table(results_table(seeds, PARTIAL))
    assert re.fullmatch(r"\d\d\.\d\d ± \d+\.\d\d \[\d\d\.\d, \d\d\.\d\]", several["mAP"][0])
    assert several["queries"].tolist() == ["50", "–"]


def test_without_learned_codes_the_interval_is_the_network_databases(suite):
    record = replace(suite[0], scores={"last": {"network": suite[0].scores["last"]["network"]}})
    shown = display_table(results_table([record], PARTIAL))
    assert shown["mAP"][0] == "–"
    assert shown["mAP, network database"][0].endswith("]")


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
    assert percent_interval(0.6091, 0.6244) == "[60.9, 62.4]"
    assert percent_interval(None, 0.5) == percent_interval(float("nan"), float("nan")) == ""


def test_markdown_and_latex_escape_what_is_special(seeds):
    shown = display_table(results_table(seeds, PARTIAL), {"adsh": "A|_&%", "fashion": "50% & more"})
    assert r"| 50% & more | A\|_&% |" in to_markdown(shown)
    latex = to_latex(shown)
    assert r"50\% \& more & A|\_\&\%" in latex
    assert latex.count(r"\toprule") == latex.count(r"\midrule") == latex.count(r"\bottomrule") == 1
    assert r"$\pm$" in latex


def test_runs_of_before_intervals_have_none(suite):
    old = [replace(r, per_query=None, scores={"last": {"learned": {"map": 0.5}}}) for r in suite]
    shown = display_table(results_table(old, GRID))
    assert shown["mAP"].tolist() == ["50.00"] * len(old)
    assert shown["queries"].tolist() == ["50"] * len(old)
