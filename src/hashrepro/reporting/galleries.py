"""Which galleries the page shows, and with how many bytes: one page must hold them all."""

import base64
import io

from PIL import Image

from hashrepro.reporting.records import RunRecord

BYTES = 6_000_000  # of all pictures together, before base64
QUALITY = 80  # of the JPEG that large galleries become


def choose_galleries(records: list[RunRecord], most: int = BYTES) -> tuple[list[dict], int]:
    """(galleries to show, number of those left out): one a method × data set × bits, of the first seed that has one.

    Each is {"record", "columns", "lines", "kind", "sprite"}, the sprite in base64 and of the image type `kind`. Where
    all of them have more than `most` bytes they become JPEGs, and of a large grid only so many code lengths are
    shown as fit: the longest, then the shortest, then the others.
    """
    shown: dict[tuple, RunRecord] = {}
    for record in records:
        if record.gallery is not None and record.gallery.rows:
            shown.setdefault((record.dataset, record.method, record.bits), record)
    kind, sprites = "png", {place: record.gallery.sprite for place, record in shown.items()}
    if sum(map(len, sprites.values())) > most:
        kind, sprites = "jpeg", {place: _jpeg(sprite) for place, sprite in sprites.items()}
    lengths = sorted({bits for *_, bits in sprites}, reverse=True)
    kept, size = [], 0
    for bits in [*lengths[:1], *reversed(lengths[1:])]:
        size += sum(len(sprite) for place, sprite in sprites.items() if place[2] == bits)
        if not kept or size <= most:
            kept.append(bits)
    found = []
    for place, record in shown.items():
        if place[2] in kept:
            columns, lines = record.gallery.shape
            sprite = base64.b64encode(sprites[place]).decode()
            found.append(
                {"record": record, "columns": columns, "lines": lines, "kind": kind, "sprite": sprite}
            )
    return found, len(shown) - len(found)


def _jpeg(sprite: bytes) -> bytes:
    stream = io.BytesIO()
    Image.open(io.BytesIO(sprite)).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def opening(galleries: list[dict]) -> dict | None:
    """The one query that explains the task at the top: the first with most, but not all, hits right."""
    mixed = [
        (-sum(hit["right"] for hit in row["hits"]), number, place)
        for number, item in enumerate(galleries)
        for place, row in enumerate(item["record"].gallery.rows)
        if any(hit["right"] for hit in row["hits"]) and not all(hit["right"] for hit in row["hits"])
    ]
    if not galleries:
        return None
    _, number, place = min(mixed, default=(0, 0, 0))
    return galleries[number] | {"row": galleries[number]["record"].gallery.rows[place], "number": number}
