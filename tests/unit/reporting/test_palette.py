import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashrepro.reporting.palette import COLOURS, MARKERS, label_ends, look, new_axes, render, spaced


@given(st.lists(st.floats(0, 1), max_size=8).map(sorted), st.sampled_from([0.0, 0.05, 0.2]))
def test_spaced_labels_keep_their_gap_and_their_mean(heights, gap):
    moved = spaced(heights, gap)
    assert len(moved) == len(heights)
    assert all(b - a >= gap - 1e-9 for a, b in pairwise(moved))
    if heights:
        assert np.mean(moved) == pytest.approx(np.mean(heights))


def test_labels_with_room_stay_where_they_are():
    assert spaced([0.1, 0.5, 0.9], 0.1) == pytest.approx([0.1, 0.5, 0.9])
    assert spaced([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])


def test_a_method_looks_the_same_wherever_it_is_drawn():
    methods = ["a", "b", "c"]
    looks = [look(methods, method) for method in methods]
    assert [item["color"] for item in looks] == list(COLOURS[:3])
    assert len({item["marker"] for item in looks}) == 3
    assert len(set(COLOURS)) == len(set(MARKERS)) == 8


def test_files_are_the_same_every_time_and_carry_no_date():
    def draw(kind):
        figure, axes = new_axes("title", "x", "y")
        axes.plot([0, 1], [0, 1], **look(["a"], "a"))
        label_ends(axes, [(1, 1, "a", look(["a"], "a"), 0)])
        return render(figure, kind)

    assert draw("svg") == draw("svg")
    assert draw("png") == draw("png")
    assert draw("png").startswith(b"\x89PNG")
    assert b"<dc:date>" not in draw("svg")
    assert ET.fromstring(draw("svg")).tag.endswith("svg")
