import math
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from hashrepro.reporting.embedding_figure import HUES, NAMED, RADIUS, code_maps, draw, named_classes, rings
from hashrepro.reporting.palette import FLOOR
from hashrepro.reporting.records import Grid, RunRecord

GRID = Grid("s", ("adsh", "semicon"), ("birds", "cars"), (12, 48), (0, 1))


def table(rows: list[tuple[int, int]]) -> pd.DataFrame:
    """A map of images given as (class, code), the codes on a circle."""
    label, code = np.array(rows).T
    angle = 2 * np.pi * code / (code.max() + 1)
    return pd.DataFrame(
        {
            "row": np.arange(len(rows)),
            "label": label,
            "name": [f"class {c}" for c in label],
            "labels": 1,
            "code": code,
            "x": np.cos(angle).astype(np.float32),
            "y": np.sin(angle).astype(np.float32),
        }
    )


def strokes(svg: str) -> list[tuple[str, str, float, int]]:
    """(colour, end, width, points) of every path."""
    paths = [element.attrib for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("path")]
    return [(p["stroke"], p["stroke-linecap"], float(p["stroke-width"]), p["d"].count("M")) for p in paths]


def test_a_disc_has_a_ring_for_each_class_with_the_rarest_inside():
    found = rings(table([(0, 0)] * 5 + [(2, 0)] * 2 + [(1, 1)] * 6), {0: "a", 1: "b"})
    assert [(inside, place) for inside, place, _, _ in found] == [(7, 0), (6, 1), (2, 2)]
    assert found[0][2:] == found[2][2:] != found[1][2:]


def test_every_image_is_drawn_once_by_area():
    rng = np.random.default_rng(0)
    drawn = table(list(zip(rng.integers(0, 4, 200), rng.integers(0, 40, 200), strict=True)))
    found, areas = rings(drawn, named_classes(drawn)), dict.fromkeys(range(4), 0)
    for code in range(40):
        x, y = drawn.loc[drawn["code"] == code, ["x", "y"]].iloc[0]
        discs = [(inside, place) for inside, place, *spot in found if spot == [x, y]]
        assert discs == sorted(discs, reverse=True)  # the largest lowest
        for (outer, place), (inner, _) in zip(discs, [*discs[1:], (0, 0)], strict=True):
            areas[place] += outer - inner
    assert areas == drawn["label"].value_counts().to_dict()


def test_few_classes_are_all_named_of_many_twelve():
    few = named_classes(table([(c, c) for c in (3, 1, 2)]))
    assert few == {1: "class 1", 2: "class 2", 3: "class 3"}
    many = named_classes(table([(c, c) for c in range(200)]))
    assert len(many) == NAMED
    assert list(many)[:2] + list(many)[-1:] == [0, 18, 199]


def test_classes_without_a_name_are_grey_and_counted():
    svg = draw(table([(c % 200, c) for c in range(1000)]), "SEMICON, 12 bits")
    legend = strokes(svg)[-NAMED - 1 :]
    assert legend[-1][0] == FLOOR
    assert len({look[:2] for look in legend}) == NAMED + 1
    assert "188 other classes" in svg
    assert sum(points for colour, _, _, points in strokes(svg) if colour == FLOOR) == 1000 - 12 * 5 + 1
    assert len(svg) < 30_000


def test_the_area_of_a_disc_is_its_number_of_images():
    (colour, end, width, points), small, *_ = strokes(draw(table([(0, 0)] * 9 + [(1, 1)]), "t"))
    assert (colour, end, points) == (HUES[0], "round", 1)
    assert math.pi * width**2 / 4 == pytest.approx(9 * math.pi * RADIUS**2, rel=0.02)
    assert small[2] == pytest.approx(width / 3, abs=0.1)


def test_names_are_escaped_and_long_ones_cut():
    odd = table([(0, 0), (1, 1)])
    odd["name"] = ["<Auk> & 'Bunting'", "Black-footed Albatross of the North"]
    svg = draw(odd, "A & B")
    texts = [element.text for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]
    assert texts == [
        "A & B", "2 query images, 2 distinct codes", "<Auk> & 'Bunting'", "Black-footed Albatross …"
    ]  # fmt: skip


def test_discs_stay_within_the_drawing():
    svg = draw(table([(c % 3, c // 30) for c in range(120)]), "t")
    width, height = map(float, re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups())
    for spots, stroke in re.findall(r'd="([^"]+)" stroke="[^"]+" stroke-width="([\d.]+)"', svg):
        for x, y in re.findall(r"M([\d.-]+) ([\d.-]+)h0", spots):
            reach = float(stroke) / 2
            assert reach <= float(x) <= width - reach
            assert reach <= float(y) <= height - reach


def record(method, dataset, bits, seed, embedding) -> RunRecord:
    return RunRecord("s", method, dataset, bits, seed, {}, embedding=embedding)


def test_one_map_a_method_data_set_and_length_in_the_grids_order():
    full, other = table([(0, 0), (1, 1)]), table([(0, 0)])
    records = [
        record("adsh", "cars", 48, 0, full),
        record("adsh", "birds", 12, 0, None),
        record("adsh", "birds", 12, 1, full),
        record("semicon", "birds", 12, 0, full),
        record("semicon", "birds", 12, 1, other),
    ]
    found = code_maps(records, GRID, {"adsh": "ADSH"})
    assert list(found) == [("birds", 12), ("cars", 48)]
    assert [item.record.key for item in found["birds", 12]] == ["adsh-birds-12-s1", "semicon-birds-12-s0"]
    assert [item.name for item in found["cars", 48]] == ["code_map-cars-48-adsh"]
    assert "ADSH, 12 bits" in found["birds", 12][0].svg
    assert "var(--m0)" in found["birds", 12][0].inline
    assert "var(--" not in found["birds", 12][0].svg


def test_too_few_codes_are_counted_but_not_drawn():
    few = table([(0, 0), (1, 1), (1, 1)]).assign(x=np.nan, y=np.nan)
    (item,) = code_maps([record("adsh", "birds", 12, 0, few)], GRID, {})["birds", 12]
    assert (item.images, item.codes, item.svg, item.inline) == (3, 2, None, None)
