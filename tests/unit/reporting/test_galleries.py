import base64
import io
from dataclasses import replace

import pytest
from PIL import Image
from synthetic_runs import GRID

from hashrepro.reporting.galleries import choose_galleries


def test_few_galleries_stay_the_pngs_that_they_are(suite):
    found, left_out = choose_galleries(suite)
    assert left_out == 0
    assert [item["record"].key for item in found] == [record.key for record in suite]
    assert {item["kind"] for item in found} == {"png"}
    assert base64.b64decode(found[0]["sprite"]) == suite[0].gallery.sprite


@pytest.mark.parametrize(("most", "lengths"), [(10**6, {12, 48}), (150_000, {48}), (1, {48})])
def test_many_become_jpegs_and_short_codes_go_first(suite, most, lengths):
    big = [replace(r, gallery=replace(r.gallery, sprite=enlarged(r.gallery.sprite))) for r in suite]
    found, left_out = choose_galleries(big, most)
    assert {item["record"].bits for item in found} == lengths
    assert left_out == len(suite) - len(found) == len(suite) - len(GRID.methods) * len(lengths)
    image = Image.open(io.BytesIO(base64.b64decode(found[0]["sprite"])))
    assert (image.format, found[0]["kind"]) == ("JPEG", "jpeg")
    assert image.size == Image.open(io.BytesIO(big[0].gallery.sprite)).size


def test_only_the_first_seed_of_a_cell_is_shown(suite):
    found, left_out = choose_galleries([suite[0], replace(suite[0], seed=1)])
    assert [item["record"].seed for item in found] == [0]
    assert left_out == 0


def enlarged(sprite: bytes) -> bytes:
    """The same picture in a file that is too large: a PNG without compression."""
    stream = io.BytesIO()
    Image.open(io.BytesIO(sprite)).save(stream, "PNG", compress_level=0)
    return stream.getvalue()
