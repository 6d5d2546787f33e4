import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from synthetic_published import figures
from synthetic_runs import GRID

from hashrepro.errors import UserError
from hashrepro.reporting import drawing
from hashrepro.reporting.report import write_report

VOID = {"meta", "link", "br", "input", "img", "hr"}
PUBLISHED = figures(
    {
        "dataset": "fashion",
        "method": "ADSH",
        "ours": "adsh",
        "map": 0.4242,
        "source": "Table 9",
        "selected": "last",
    },
    {"dataset": "fashion", "method": "ADSH", "ours": "adsh", "map": 0.43, "difference": "other class sets"},
    {"dataset": "fashion", "method": "X", "ours": "", "map": 0.9, "source": "heard", "verified": "no"},
    {"dataset": "fashion", "method": "Y", "ours": "", "map": 0.8, "source": "Table 8"},
)


class Outline(HTMLParser):
    """Collects ids, what is linked or loaded, visible text, and checks that tags are closed in order."""

    def __init__(self, page: str):
        super().__init__()
        self.open, self.ids, self.targets, self.loads, self.text = [], [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("href", "xlink:href", "popovertarget") and (
                value.startswith("#") or name == "popovertarget"
            ):
                self.targets.append(value.lstrip("#"))
            if name in ("src", "srcset", "data", "action") or (name == "href" and tag == "link"):
                self.loads.append(value)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are not rendered, which is most of a report's time."""
    monkeypatch.setattr(drawing, "render", lambda figure, text="path": b"<svg></svg>")


@pytest.fixture(scope="module")
def report(suite, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_report(suite, GRID, folder, PUBLISHED, {"command": "make repro", "notes": ["A <note>."]})
    return folder


@pytest.fixture(scope="module")
def html(report):
    return (report / "index.html").read_text(encoding="utf-8")


def test_the_same_records_give_the_same_bytes_in_any_order(suite, report, tmp_path):
    facts = {"command": "make repro", "notes": ["A <note>."]}
    write_report(suite[::-1], GRID, tmp_path, PUBLISHED, facts)
    assert contents(tmp_path) == contents(report)


def test_all_files_are_there(report):
    names = set(contents(report))
    kinds = ("results", "comparisons", "side_by_side", "cost")
    tables = {f"{table}.{kind}" for table in kinds for kind in ("md", "csv", "tex")}
    assert tables | {"index.html", "scores.csv", "paper_table.md", "paper_table.tex"} <= names
    curves = ("precision_recall", "precision_at", "per_class", "training", "training_loss", "radius")
    assert {f"plots/{name}.csv" for name in curves} <= names
    figures = {name.removeprefix("figures/") for name in names if name.startswith("figures/")}
    of_sets = {f"{name}_by_bits-fashion.svg" for name in ("map", "radius", "beside")}
    assert {name for name in figures if not re.search(r"-\d+\.svg$", name)} == of_sets
    assert len(figures) == len(of_sets) + 5 * len(GRID.bits)


def test_the_page_is_whole_and_loads_nothing(html):
    outline = Outline(html)
    assert len(outline.ids) == len(set(outline.ids))
    assert set(outline.targets) <= set(outline.ids)
    assert set(outline.loads) == {"data:,"}
    assert all(found.startswith(("data:", "#")) for found in re.findall(r"url\(([^)]*)\)", html))
    assert "@import" not in html


def test_every_number_leads_to_its_run_commit_and_convention(html, suite):
    for record in suite:
        cell = f"{100 * record.score('map'):.2f}"
        assert re.search(
            rf'title="{record.key} · commit 5f0c1d2e9a · MLflow \w+ · ties in expectation[^"]*">{cell}<', html
        )
        assert f'id="run-{record.key}"' in html
        assert record.about["mlflow_run_id"] in html


def test_every_headline_has_its_interval_and_number_of_queries(html, suite):
    for record in suite:
        ends = f"[{100 * record.score('map_low'):.1f}, {100 * record.score('map_high'):.1f}]"
        assert f'<span class="ends">{ends}</span>' in html
        assert f"<dd>{ends} over 50 queries: percentile bootstrap over queries</dd>" in html


def test_the_two_ends_of_an_interval_have_no_column(html, suite):
    part = section(html, "conventions", "published")
    heads = re.findall(r'<th scope="col" class="n" title="(\w+)', part)
    assert not [name for name in heads if name.endswith(("_low", "_high"))]
    assert {"map", "map_thulab", "ndcg_at_10", "recall_at_10", "map_at_100", "map_class_mean"} <= set(heads)
    low, high = (100 * suite[0].score(f"map_reference_{end}") for end in ("low", "high"))
    assert f"<small>[{low:.1f}, {high:.1f}]</small>" in part


def test_every_pair_of_methods_is_compared_with_words_beside_the_colour(html, report):
    part = section(html, "comparison", "reading")
    assert part.count('<span class="strip"') == 6 * len(GRID.bits)
    rows = pd.read_csv(report / "comparisons.csv")
    clear = rows["p_adjusted"] < 0.05
    assert part.count('class="points clear"') == clear.sum() > 0
    assert part.count(", not clear") == (~clear).sum() > 0
    assert "Another training may turn it round" in part


def test_the_pages_tables_of_classes_name_them(html):
    for name in ("T-shirt/top", "Ankle boot"):
        assert html.count(f'<th scope="row">{name}</th>') == len(GRID.bits)


@pytest.mark.usefixtures("undrawn")
def test_runs_of_before_scores_per_query_give_a_page_without_intervals(suite, tmp_path):
    old = [
        replace(
            r,
            per_query=None,
            about={name: value for name, value in r.about.items() if name != "interval"},
            scores={
                selected: {
                    database: {n: v for n, v in scores.items() if not n.endswith(("_low", "_high"))}
                    for database, scores in databases.items()
                }
                for selected, databases in r.scores.items()
            },
            curves={place: curve for place, curve in r.curves.items() if place[1] != "per_class"},
        )
        for r in suite
    ]
    write_report(old, GRID, tmp_path)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    outline = Outline(html)
    assert set(outline.targets) <= set(outline.ids)
    assert 'id="comparison"' not in html
    assert 'class="ends">[' not in html
    assert "95 % interval</dt>" not in html
    assert 'class="plot classes"' not in html
    assert "Nothing to compare" in (tmp_path / "comparisons.md").read_text()
    assert "not compared" in (tmp_path / "comparisons.md").read_text()


def test_the_page_explains_its_numbers(html):
    text = " ".join(" ".join(Outline(html).text).split())
    for words in (
        "expected over all orders of the tied images",
        "ties in file order, without the last position",
        "Random codes",
        "untrained network",
        "Best on test",
        "codes the database by the network too",
        "One seed: no spread can be given",
    ):
        assert words in text


def test_hits_are_marked_by_sign_and_word_not_by_colour_alone(html, suite):
    hits = [hit for r in suite for row in r.gallery.rows for hit in row["hits"]]
    wrong = sum(not hit["right"] for hit in hits)
    panels = html[html.index('id="gallery"') : html.index('id="curves"')]
    assert panels.count(">✕</i>") == panels.count('aria-label="wrong: ') == wrong
    assert panels.count(">✓</i>") == panels.count('aria-label="right: ') == len(hits) - wrong


def test_without_a_script_exactly_one_gallery_shows(html):
    panels = re.findall(r'<div class="panel s\d+" data-panel="[^"]*"( hidden)?>', html)
    assert panels == [""] + [" hidden"] * 7


def section(html: str, name: str, following: str) -> str:
    return html[html.index(f'id="{name}"') : html.index(f'id="{following}"')]


def test_an_unverified_figure_carries_its_mark(html):
    rows = section(html, "published", "cost").split("<tr>")
    rumour, table = (next(row for row in rows if name in row) for name in ("heard", "Table 8"))
    assert "? unverified" in rumour
    assert "90.00<sup" in rumour
    assert "✓ verified" in table
    assert "80.00</td>" in table


def test_ours_stands_beside_the_published_figure_in_its_way_of_counting(html, suite):
    rows = section(html, "beside", "comparison").split("<tr>")
    row = next(row for row in rows if "42.42" in row and "Table 9" in row)
    ours = suite[0].score("map_reference")
    assert f">{100 * ours:.2f}</td>" in row
    assert f">{100 * (ours - 0.4242):+.2f}</td>".replace("-", "−") in row
    assert '<span class="verdict bad">outside</span>' in row
    assert "reference, last" in row
    aside = next(row for row in rows if "43.00" in row).split("</tr>")[0]
    assert "other class sets" in aside
    assert "verdict" not in aside


def test_the_papers_table_is_on_the_page(html):
    table = section(html, "beside", "comparison").split("</table>")[0]
    rows = re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>(.*?)</tr>', table, re.DOTALL)
    assert [(method, whose) for method, whose, _ in rows[:4]] == [
        ("X", "paper, not part of this grid"),
        ("Y", "paper, not part of this grid"),
        ("ADSH", "paper"),
        ("ADSH", "ours, reference, last"),
    ]
    assert all(cells.count("<td") == len(GRID.bits) for *_, cells in rows)


def test_the_cost_of_every_cell_is_on_the_page(html, suite):
    costs = section(html, "cost", "provenance")
    assert "8 of 8 runs: " in costs
    assert "CPU-hours on cpu (2 cores)" in costs
    for record in suite:
        assert f'data-v="{record.about["seconds"]["train"]:.3f}"' in costs


@pytest.mark.usefixtures("undrawn")
def test_without_published_figures_the_page_says_so(suite, tmp_path):
    write_report(suite[:1], GRID, tmp_path)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "there is nothing to stand beside the results above" in html
    assert "no published figure" in (tmp_path / "side_by_side.md").read_text()
    assert 'id="published"' not in html


@pytest.mark.usefixtures("undrawn")
def test_several_data_sets_have_contents_and_a_part_each(suite, tmp_path):
    grid = replace(GRID, datasets=("fashion", "cub"))
    parts = [{"title": "Without <parts>", "href": "ablations/index.html"}]
    whole = {"title": "The whole", "href": "../index.html"}
    write_report(suite[:2], grid, tmp_path, PUBLISHED, {"parts": parts, "whole": whole})
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    outline = Outline(html)
    contents = html[html.index('class="contents"') : html.index("</nav>", html.index('class="contents"'))]
    links = set(re.findall(r'href="#([^"]*)"', contents))
    names = ("results", "curves", "scores")
    assert links == {f"{name}-{dataset}" for name in names for dataset in grid.datasets} | {"beside-fashion"}
    assert links <= set(outline.ids)
    assert '<a href="ablations/index.html">Without &lt;parts&gt;</a>' in html
    assert 'A part of <a href="../index.html">The whole</a>' in html
    for name in ("curves", "beside"):
        assert f'<details class="set" id="{name}-fashion" open>' in html


@pytest.mark.usefixtures("undrawn")
def test_a_partial_grid_says_not_run(suite, tmp_path):
    grid = replace(GRID, datasets=("fashion", "cub"), seeds=(0, 1))
    write_report(suite[:3], grid, tmp_path)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    Outline(html)
    assert html.count('<span class="notrun">not run</span>') == 8 * 2 - 3
    assert html.count("1 of 2 seeds") == 3
    assert 'id="published"' not in html


@pytest.mark.usefixtures("undrawn")
def test_a_skipped_combination_says_why(suite, tmp_path):
    keys = [f"semicon-{dataset}-4-s0" for dataset in ("fashion", "cub")]
    grid = replace(
        GRID, datasets=("fashion", "cub"), bits=(4, *GRID.bits), skipped=dict.fromkeys(keys, "4 < 6 bits")
    )
    write_report(suite, grid, tmp_path)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    outline = Outline(html)
    assert set(outline.targets) <= set(outline.ids)
    cell = '<span class="notrun" title="4 &lt; 6 bits">skipped <a href="#skipped-1">[1]</a></span>'
    assert html.count(cell) == 2
    assert html.count('<p class="note" id="skipped-1">[1] skipped: 4 &lt; 6 bits</p>') == 1
    assert html.count('<span class="notrun">not run</span>') == 4 * 3 * 2 - len(suite) - 2
    assert "8<small> of 22, 2 skipped</small>" in html
    assert "- [1] skipped: 4 < 6 bits\n" in (tmp_path / "results.md").read_text()
    assert "[1] skipped: 4 < 6 bits" in (tmp_path / "results.tex").read_text()


@pytest.mark.usefixtures("undrawn")
def test_a_suite_of_which_everything_is_skipped_is_a_page_too(tmp_path):
    grid = replace(GRID, skipped=dict.fromkeys(GRID.keys, "why"))
    write_report([], grid, tmp_path)
    for name in ("index.html", "results.md", "results.csv", "results.tex"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "skipped" in text
        assert "why" in text
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    Outline(html)
    assert '<span class="notrun">not run' not in html
    assert "<td>not run</td>" not in html
    assert "not run" not in (tmp_path / "results.md").read_text()
    assert "not run" not in (tmp_path / "results.csv").read_text()


@pytest.mark.usefixtures("undrawn")
def test_nothing_run_is_a_page_too(tmp_path):
    write_report([], GRID, tmp_path)
    outline = Outline((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert "not run" in outline.text
    assert (tmp_path / "results.csv").read_text().count("not run") > 8


@pytest.mark.usefixtures("undrawn")
def test_bare_records_without_provenance_are_shown(suite, tmp_path):
    bare = [replace(r, about={}, curves={}, gallery=None) for r in suite]
    write_report(bare, GRID, tmp_path)
    Outline((tmp_path / "index.html").read_text(encoding="utf-8"))


@pytest.mark.usefixtures("undrawn")
def test_text_from_data_is_escaped(suite, tmp_path):
    evil = "<script>alert(1)</script>"
    gallery = suite[0].gallery
    hits = [gallery.rows[0]["hits"][0] | {"labels": [evil], "id": '"><b>evil'}]
    rows = [{"query": gallery.rows[0]["query"] | {"labels": [evil]}, "hits": hits}]
    about = suite[0].about | {"dataset_title": evil, "device": evil, "conventions": {"map": evil}}
    record = replace(suite[0], about=about, gallery=replace(gallery, rows=rows))
    write_report([record], GRID, tmp_path, facts={"title": evil})
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert evil not in html
    assert '"><b>evil' not in html
    assert html.count("<script>") == 1


def test_a_run_outside_the_grid_is_refused_before_anything_is_written(suite, tmp_path):
    with pytest.raises(UserError, match="not in the grid"):
        write_report(suite, replace(GRID, bits=(12,)), tmp_path / "out")
    assert not (tmp_path / "out").exists()
