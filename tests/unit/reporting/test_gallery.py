import io

import numpy as np
import pytest
from PIL import Image

from hashrepro.errors import UserError
from hashrepro.reporting.gallery import Gallery, make_gallery, read_gallery, write_gallery

LABELS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]], dtype=bool)


def plain(colour: int) -> np.ndarray:
    return np.full((20, 30, 3), (colour, 2 * colour, 0), dtype=np.uint8)


@pytest.fixture
def gallery():
    return make_gallery(
        [0, 2],
        np.array([[1, 3], [1, 3]]),
        np.array([[0, 2.5], [1, 4]]),
        LABELS,
        ["a", "b", "c", "d"],
        ["cat", "dog", "emu"],
        lambda row: plain(10 * row + 5),
        tile_size=16,
        columns=3,
    )


def test_a_hit_is_right_iff_it_shares_a_label(gallery):
    assert [[hit["right"] for hit in row["hits"]] for row in gallery.rows] == [[True, False], [True, False]]
    assert gallery.rows[0]["hits"][0]["labels"] == ["cat", "dog"]
    assert gallery.rows[0]["hits"][1]["distance"] == 2.5


def test_every_tile_shows_its_picture_and_is_drawn_once(gallery):
    assert gallery.shape == (3, 2)
    sprite = np.asarray(Image.open(io.BytesIO(gallery.sprite)))
    for row in gallery.rows:
        for picture in (row["query"], *row["hits"]):
            column, line = picture["tile"]
            tile = sprite[16 * line : 16 * line + 16, 16 * column : 16 * column + 16]
            assert (tile == plain(10 * "abcd".index(picture["id"]) + 5)[0, 0]).all()
    tiles = {tuple(p["tile"]) for row in gallery.rows for p in (row["query"], *row["hits"])}
    assert len(tiles) == 4


def test_a_grey_sprite_is_stored_grey_with_the_same_pixels():
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8, 1).repeat(3, axis=2)
    made = make_gallery(
        [0], [[1]], [[0]], LABELS, "abcd", ["x", "y", "z"], lambda row: grey, tile_size=8, columns=2
    )
    sprite = Image.open(io.BytesIO(made.sprite))
    assert sprite.mode == "L"
    assert (np.asarray(sprite)[:, :8] == grey[..., 0]).all()


def test_round_trip_and_same_bytes(gallery, tmp_path):
    write_gallery(tmp_path / "g", gallery)
    read = read_gallery(tmp_path / "g")
    assert (read.rows, read.sprite, read.tile_size) == (gallery.rows, gallery.sprite, 16)
    assert sorted(p.name for p in (tmp_path / "g").iterdir()) == ["gallery.json", "tiles.png"]


def test_a_tile_outside_the_sprite_is_refused(gallery, tmp_path):
    rows = [{"query": gallery.rows[0]["query"] | {"tile": [3, 0]}, "hits": []}]
    write_gallery(tmp_path, Gallery(rows, gallery.sprite, 16))
    with pytest.raises(UserError, match="outside"):
        read_gallery(tmp_path)
