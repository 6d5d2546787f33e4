from synthetic_published import figures, run

from hashrepro.reporting.beside import beside_table
from hashrepro.reporting.paper_table import latex, markdown, paper_table
from hashrepro.reporting.records import Grid
from hashrepro.reporting.tables import results_table

GRID = Grid("s", ("adsh", "semicon"), ("cub", "mine"), (12, 48), (0,))
PUBLISHED = figures(
    {"method": "ITQ", "ours": "", "map": 0.07, "verified": "no"},
    {},
    {"bits": 48, "map": float("nan"), "title": "log", "paper": "A log"},
    {"method": "DSH", "ours": "", "paper": "A paper of other methods"},
    {"difference": "other class sets", "title": "re-run", "paper": "A re-run"},
)


def shown():
    records = [run(0.41), run(0.33, "adsh"), run(0.5, dataset="mine")]
    results = results_table(records, GRID)
    return paper_table(beside_table(records, GRID, results, PUBLISHED), results, PUBLISHED, {"cub": "CUB"})


def test_the_papers_table_has_theirs_above_ours_and_every_cell_a_word():
    table = shown()
    assert list(table.columns) == [("CUB", "12"), ("CUB", "48"), ("mine", "12"), ("mine", "48")]
    rows = {index: list(cells) for index, cells in zip(table.index, table.to_numpy(), strict=True)}
    assert rows == {
        ("ITQ", "paper, not part of this grid"): ["7.00 ?", "–", "–", "–"],
        ("adsh", "ours, headline, last"): ["31.00", "not run", "not run", "not run"],
        ("semicon", "paper"): ["40.00", "–", "–", "–"],
        ("semicon", "log"): ["–", "no figure", "–", "–"],
        ("semicon", "ours, reference, best on test"): ["41.00", "not run", "50.00", "not run"],
    }


def test_markdown_names_data_set_and_bits_in_one_line():
    head, rule, *rows = markdown(shown()).splitlines()
    assert head == "| method | whose | CUB 12 | CUB 48 | mine 12 | mine 48 |"
    assert rule.startswith("| --- | --- | ---: |")
    assert rows[0] == "| ITQ | paper, not part of this grid | 7.00 ? | – | – | – |"


def test_latex_groups_code_lengths_under_their_data_set():
    text = latex(shown())
    assert r"\multicolumn{2}{c}{CUB} & \multicolumn{2}{c}{mine}" in text
    assert r"\cmidrule(lr){3-4} \cmidrule(lr){5-6}" in text
    lines = text.splitlines()
    assert lines[1] == r"\toprule"
    body = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    assert {line.count("&") for line in body} == {5}
    assert sum(line.startswith("semicon") for line in body) == 1
