"""The two parts of the page that show attention maps and maps of codes, rendered by themselves."""

import re

import numpy as np
import pytest
from jinja2 import Environment, PackageLoader
from test_embedding_figure import GRID, record, table

from hashrepro.reporting.attention import Attention
from hashrepro.reporting.attention_pictures import attention_figures, scale_colours
from hashrepro.reporting.embedding_figure import code_maps
from hashrepro.reporting.records import RunRecord

NAMES = {"adsh": "ADSH", "semicon": "SEMICON", "birds": "Birds & more", "cars": "Cars"}


@pytest.fixture(scope="module")
def render():
    environment = Environment(
        loader=PackageLoader("hashrepro.reporting", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return lambda name, **known: environment.get_template(name).render(grid=GRID, names=NAMES, **known)


def panels(text: str) -> list[str]:
    return re.findall(r'data-panel="([^"]*)"', text)


def test_attention_has_a_panel_for_each_data_set_and_method(render):
    maps = np.linspace(0.25, 2, 12, dtype=np.float32).reshape(1, 3, 2, 2)
    attention = Attention(maps, np.zeros((1, 4, 4, 3), np.uint8), [{"id": "a", "labels": ["<cat>"]}])
    records = [
        RunRecord("s", method, dataset, 12, 0, {}, attention=attention)
        for method, dataset in (("semicon", "birds"), ("semicon", "cars"), ("adsh", "birds"))
    ]
    page = render(
        "attention.html.jinja", attentions=attention_figures(records), attention_scale=scale_colours()
    )
    assert panels(page) == ["birds|semicon", "cars|semicon", "birds|adsh"]
    assert page.count("&lt;cat&gt;") == page.count("data:image/jpeg;base64,") == 3
    assert page.count("0.25 <i></i> 2.00") == 3
    assert "A map has 2 × 2 values" in page
    alone = render("attention.html.jinja", attentions=attention_figures(records[:1]), attention_scale="")
    assert panels(alone) == [""]
    assert "<fieldset>" not in alone


def test_maps_of_codes_have_a_panel_for_each_data_set_and_length(render):
    full = table([(0, 0), (1, 1)])
    many = full.assign(labels=2)
    few = table([(0, 0)]).assign(x=np.nan, y=np.nan)
    records = [record("adsh", "birds", 12, 0, full), record("semicon", "birds", 12, 0, few)]
    records.append(record("adsh", "cars", 48, 0, many))
    page = render("embedding.html.jinja", code_maps=code_maps(records, GRID, NAMES))
    assert panels(page) == ["birds|12", "cars|48"]
    assert page.count("<svg") == 2
    assert "SEMICON, 12 bits: 1 query image has 1 distinct code, too few for a map." in page
    assert page.count("has the colour of the first") == 1
    assert "Birds &amp; more" in page
