import base64
import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from hashrepro.errors import UserError
from hashrepro.reporting.attention import make_attention, read_attention, write_attention
from hashrepro.reporting.attention_pictures import (
    COVER,
    attention_figures,
    draw_strips,
    ends,
    overlay,
    scale_colours,
)
from hashrepro.reporting.records import RunRecord

LABELS = np.array([[1, 0], [1, 1], [0, 1]], dtype=bool)


@pytest.fixture
def attention():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, 20, 20, 3), dtype=np.uint8)
    maps = rng.random((2, 3, 4, 4)) + 0.5
    return make_attention(maps, [2, 1], LABELS, "abc", ["cat", "dog"], pixels.__getitem__, tile_size=16)


def picture(strip) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(strip.picture))))


def test_images_are_named_and_shrunk_but_never_enlarged(attention):
    assert attention.about == [{"id": "c", "labels": ["dog"]}, {"id": "b", "labels": ["cat", "dog"]}]
    assert attention.pictures.shape == (2, 16, 16, 3)
    small = np.zeros((8, 8, 3), dtype=np.uint8)
    made = make_attention(attention.maps, [0, 1], LABELS, "abc", ["cat", "dog"], lambda row: small)
    assert made.pictures.shape == (2, 8, 8, 3)


def test_round_trip_and_same_bytes(attention, tmp_path):
    for name in ("a", "b"):
        write_attention(tmp_path / name, attention)
    read = read_attention(tmp_path / "a")
    assert read.about == attention.about
    np.testing.assert_array_equal(read.maps, attention.maps)
    np.testing.assert_array_equal(read.pictures, attention.pictures)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["attention.json", "maps.safetensors", "queries.png"]
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_without_attention_an_empty_folder_replaces_what_was_there(attention, tmp_path):
    assert read_attention(tmp_path / "none") is None
    write_attention(tmp_path / "a", attention)
    write_attention(tmp_path / "a", None)
    assert list((tmp_path / "a").iterdir()) == []
    assert read_attention(tmp_path / "a") is None


@pytest.mark.parametrize("name", ["maps.safetensors", "queries.png", "attention.json"])
@pytest.mark.parametrize("content", [None, b"", b"[]", b'[{"id": "a"}, {"id": "b"}]'])
def test_missing_or_damaged_files_are_a_user_error(attention, tmp_path, name, content):
    write_attention(tmp_path / "a", attention)
    (tmp_path / "a" / name).unlink()
    if content is not None:
        (tmp_path / "a" / name).write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        read_attention(tmp_path / "a")


def test_a_map_is_coloured_from_low_to_high_over_the_grey_image():
    grey = np.full((6, 6, 3), (200, 100, 50), dtype=np.uint8)
    grey_level = np.asarray(Image.fromarray(grey).convert("L"))[0, 0]
    ramp = np.array([[1.0, 3.0]])
    drawn = overlay(ramp, grey, 1.0, 3.0)
    for column, share in ((0, 0.0), (5, 1.0)):
        colour = np.array(matplotlib.colormaps["inferno"](share)[:3]) * 255
        np.testing.assert_allclose(drawn[3, column], COVER * colour + (1 - COVER) * grey_level, atol=1)
    middle = overlay(np.array([[2.0]]), grey, 1.0, 3.0)
    assert (middle == middle[0, 0]).all()
    # bilinear: from one value to the other without a step
    brightness = overlay(ramp, np.zeros((64, 64, 3), np.uint8), 1.0, 3.0).sum(-1)[0].astype(int)
    assert (np.diff(brightness) >= -2).all()
    assert np.diff(brightness).max() < 0.1 * (brightness[-1] - brightness[0])


def test_equal_values_everywhere_are_drawn_as_the_low_end():
    drawn = overlay(np.full((2, 2), 0.7), np.zeros((4, 4, 3), np.uint8), 0.7, 0.7)
    assert (drawn == drawn[0, 0]).all()


def test_all_maps_share_one_scale(attention):
    assert ends(attention) == (attention.maps.min(), attention.maps.max())
    strips = draw_strips(attention)
    assert [strip.id for strip in strips] == ["c", "b"]
    for strip, maps, image in zip(strips, attention.maps, attention.pictures, strict=True):
        tiles = np.split(picture(strip).astype(int), 4, axis=1)
        assert [tile.shape for tile in tiles] == [(16, 16, 3)] * 4
        for tile, values in zip(tiles[1:], maps, strict=True):
            expected = overlay(values, image, *ends(attention))
            assert np.abs(tile.mean((0, 1)) - expected.mean((0, 1))).max() < 12  # JPEG


def test_shown_is_the_longest_code_of_the_first_seed_that_has_maps(attention):
    def record(method, bits, seed, has=attention):
        return RunRecord("s", method, "birds", bits, seed, {}, attention=has)

    records = [record("semicon", 12, 0), record("semicon", 48, 0, None), record("semicon", 48, 1)]
    records += [record("semicon", 48, 2), record("adsh", 48, 0, None), record("other", 12, 0)]
    shown = attention_figures(records)
    assert [figure.record.key for figure in shown] == ["semicon-birds-48-s1", "other-birds-12-s0"]
    assert shown[0].shape == (2, 3, 4, 4)
    assert attention_figures(records[4:5]) == []


def test_the_scale_begins_and_ends_with_the_colours_of_the_map():
    stops = scale_colours().split(", ")
    ends_of_map = [matplotlib.colors.to_hex(matplotlib.colormaps["inferno"](share)) for share in (0.0, 1.0)]
    assert [stops[0], stops[-1]] == ends_of_map
