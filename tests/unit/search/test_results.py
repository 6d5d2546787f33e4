"""Answers as a table, JSON and a page: complete, aligned, readable again, and safe."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from hashrepro.retrieval.codes import random_codes
from hashrepro.search.index import Hits, Index
from hashrepro.search.items import Items
from hashrepro.search.results import Query, answers, data_uri, to_html, to_json, to_text

FACTS = {
    "run": "adsh-tiny-8-s0",
    "suite": "quickstart",
    "dataset": "tiny",
    "catalog": "c",
    "model": "m",
    "class_names": ["cat", "<b>dog</b>"],
}
ITEMS = Items.of(
    ["a.png", "b.png", "/photos/c & d.png"],
    [[0], [0, 1], []],
    ["learned", "learned", "network"],
    paths=["", "", "/photos/c & d.png"],
)
HITS = Hits(np.array([[2, 0, 1], [1, 2, -1]]), np.array([[0, 3, 12], [1, 1, -1]], np.int32))
QUERIES = [Query("x.png", [1]), Query("<script>.png", None)]


@pytest.fixture
def index(tmp_path) -> Index:
    codes = random_codes(3, 8, np.random.default_rng(0))
    return Index.build(tmp_path / "index", codes, ITEMS, FACTS)


@pytest.fixture
def found(index) -> list[dict]:
    return answers(index, QUERIES, HITS)


def test_a_hit_has_all_that_the_index_knows_of_it(found):
    assert found[0]["query"] == {"id": "x.png", "labels": ["<b>dog</b>"]}
    first, second, third = found[0]["hits"]
    assert first == {
        "rank": 1,
        "row": 2,
        "distance": 0,
        "labels": [],
        "origin": "network",
        "id": "/photos/c & d.png",
        "path": "/photos/c & d.png",
        "right": None,
    }
    assert (second["labels"], second["right"], second["origin"]) == (["cat"], False, "learned")
    assert (third["labels"], third["right"], third["rank"]) == (["cat", "<b>dog</b>"], True, 3)


def test_without_known_labels_no_hit_is_right_or_wrong_and_missing_hits_are_left_out(found):
    assert found[1]["query"] == {"id": "<script>.png", "labels": None}
    assert [(hit["row"], hit["right"]) for hit in found[1]["hits"]] == [(1, None), (2, None)]


def test_json_is_read_back_as_it_was(found):
    assert json.loads(to_json(found)) == found
    assert to_json(found).endswith("]\n")


def test_the_table_is_aligned_and_complete(found):
    text = to_text(found)
    assert text.splitlines() == [
        "x.png (<b>dog</b>)",
        "  rank  bits  labels           code     id",
        "     1     0  -                network  /photos/c & d.png",
        "     2     3  cat              learned  a.png",
        "     3    12  cat, <b>dog</b>  learned  b.png",
        "",
        "<script>.png",
        "  rank  bits  labels           code     id",
        "     1     1  cat, <b>dog</b>  learned  b.png",
        "     2     1  -                network  /photos/c & d.png",
    ]


def test_a_name_stays_on_its_line_and_commands_no_terminal(tmp_path):
    codes = random_codes(1, 8, np.random.default_rng(0))
    items = Items.of(["new\nline\x1b[2J é.png"], [[0]], ["learned"], paths=[""])
    index = Index.build(tmp_path / "index", codes, items, FACTS)
    hits = Hits(np.array([[0]]), np.array([[0]], np.int32))
    text = to_text(answers(index, [Query("q\n.png", None)], hits))
    assert text.splitlines()[0] == "q\\n.png"
    assert text.splitlines()[-1].endswith("new\\nline\\x1b[2J é.png")


def test_scores_of_a_reranking_are_shown(index):
    scored = answers(index, QUERIES[:1], Hits(HITS.rows[:1], HITS.distances[:1], np.array([[1.5, -2, -33]])))
    assert [hit["score"] for hit in scored[0]["hits"]] == [1.5, -2, -33]
    assert to_text(scored).splitlines()[1:3] == [
        "  rank  bits    score  labels           code     id",
        "     1     0    1.500  -                network  /photos/c & d.png",
    ]
    assert "0 bits, 1.50" in to_html(scored, QUERIES[:1], lambda row: None, index.facts)


def test_the_page_holds_everything_and_loads_nothing(index, found):
    asked = []

    def picture(row):
        asked.append(row)
        return np.full((20, 20, 3), 90 + row, np.uint8) if row else None

    queries = [Query("x.png", [1], np.full((300, 200, 3), 50, np.uint8)), QUERIES[1]]
    page = to_html(found, queries, picture, index.facts)
    assert sorted(asked) == [0, 1, 2]
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert "url(" not in page
    pixels = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))))
        for source in sources
        if source.startswith("data:image/png")
    ]
    assert sorted(int(p[0, 0, 0]) for p in pixels) == [91, 91, 92, 92]  # rows 1 and 2, twice each
    assert page.count("data:image/jpeg") == 1  # the query's
    assert page.count("no picture</span>") == 2  # row 0 and the second query


def test_names_are_escaped_and_marks_only_where_labels_are_known(index, found):
    page = to_html(found, QUERIES, lambda row: None, index.facts)
    assert "<script>" not in page
    assert "<b>dog" not in page
    assert "&lt;b&gt;dog&lt;/b&gt;" in page
    body = page.split("<main>")[1].split("<footer>")[0]
    assert body.count("✓") == body.count("✕") == 1
    first, second = body.split('aria-label="query 2')
    assert "✓" in first
    assert "✓" not in second
    assert "12 bits" in first
    assert ">1 bit<" in second


def test_small_pictures_are_kept_exactly_and_large_ones_reduced():
    small = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    kind, content = data_uri(small).split(",")
    assert kind == "data:image/png;base64"
    assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))) == small).all()
    kind, content = data_uri(np.zeros((400, 800, 3), np.uint8)).split(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (192, 96)
