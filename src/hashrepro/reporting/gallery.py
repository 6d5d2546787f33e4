"""Queries and their nearest database images, with all their pictures in one sprite."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from hashrepro.errors import UserError
from hashrepro.files import read_json, whole, write_json


@dataclass(eq=False)
class Gallery:
    """Queries with their hits, nearest first.

    `rows` is a list of {"query": picture, "hits": [picture + {"distance": bits, "right": bool}, ...]}, where
    a picture is {"id", "labels": [class name, ...], "tile": [column, row]}. `sprite` is a PNG of square
    tiles, `tile_size` pixels a side.
    """

    rows: list[dict]
    sprite: bytes
    tile_size: int

    @property
    def shape(self) -> tuple[int, int]:
        """Columns and rows of tiles in the sprite."""
        width, height = Image.open(io.BytesIO(self.sprite)).size
        return width // self.tile_size, height // self.tile_size


def make_gallery(
    query_rows: Sequence[int],
    hit_rows: np.ndarray,
    distances: np.ndarray,
    labels: np.ndarray,
    ids: Sequence[str],
    class_names: Sequence[str],
    picture: Callable[[int], np.ndarray],
    tile_size: int = 64,
    columns: int = 11,
) -> Gallery:
    """Draw the gallery of q queries with h hits each.

    Args:
        query_rows: q catalog rows.
        hit_rows: (q, h) catalog rows, nearest first.
        distances: (q, h) Hamming distances in bits.
        labels: bool (n, C) of the whole catalog; a hit is right iff it shares a label with its query.
        ids: n stable ids.
        class_names: C names.
        picture: catalog row -> uint8 (height, width, 3).
        tile_size: side of a tile in pixels; pictures are resized to it.
        columns: tiles in a row of the sprite.
    """
    hit_rows = np.asarray(hit_rows)
    drawn = list(
        dict.fromkeys(int(r) for q, hits in zip(query_rows, hit_rows, strict=True) for r in (q, *hits))
    )
    place = {row: divmod(number, columns)[::-1] for number, row in enumerate(drawn)}
    sprite = Image.new("RGB", (columns * tile_size, -(-len(drawn) // columns) * tile_size))
    for row, (column, line) in place.items():
        tile = Image.fromarray(picture(row)).resize((tile_size, tile_size), Image.Resampling.LANCZOS)
        sprite.paste(tile, (column * tile_size, line * tile_size))
    pixels = np.asarray(sprite)
    if (pixels == pixels[..., :1]).all():
        sprite = sprite.convert("L")  # a third of the bytes for grey data sets
    stream = io.BytesIO()
    sprite.save(stream, "PNG", optimize=True)

    def describe(row: int) -> dict:
        names = [class_names[c] for c in np.flatnonzero(labels[row])]
        return {"id": str(ids[row]), "labels": names, "tile": list(place[row])}

    rows = [
        {
            "query": describe(int(query)),
            "hits": [
                {
                    **describe(int(hit)),
                    "distance": float(distance),
                    "right": bool((labels[query] & labels[hit]).any()),
                }
                for hit, distance in zip(hits, row_distances, strict=True)
            ],
        }
        for query, hits, row_distances in zip(query_rows, hit_rows, distances, strict=True)
    ]
    return Gallery(rows, stream.getvalue(), tile_size)


def write_gallery(folder: Path, gallery: Gallery) -> None:
    """Write `gallery.json` ({"tile_size", "rows"}) and `tiles.png` into `folder`."""
    with whole(Path(folder) / "tiles.png") as temporary:
        temporary.write_bytes(gallery.sprite)
    write_json(Path(folder) / "gallery.json", {"tile_size": gallery.tile_size, "rows": gallery.rows})


def read_gallery(folder: Path) -> Gallery:
    """Read what `write_gallery` wrote.

    Raises:
        UserError: the sprite is no picture, or a tile lies outside it.
    """
    folder = Path(folder)
    stored = read_json(folder / "gallery.json")
    gallery = Gallery(stored["rows"], (folder / "tiles.png").read_bytes(), stored["tile_size"])
    mend = "dvc repro -f of the evaluate stage of this run"
    try:
        columns, lines = gallery.shape
    except UnidentifiedImageError as error:
        raise UserError(
            "the gallery's sprite is not a picture", where=folder / "tiles.png", mend=mend
        ) from error
    for row in gallery.rows:
        for item in (row["query"], *row["hits"]):
            column, line = item["tile"]
            if not (0 <= column < columns and 0 <= line < lines):
                raise UserError(
                    f"tile ({column}, {line}) lies outside a sprite of {columns} × {lines} tiles",
                    where=folder,
                    mend=mend,
                )
    return gallery
