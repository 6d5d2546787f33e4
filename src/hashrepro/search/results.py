"""The answers of a search, for people and programs: a table, JSON, or a page with pictures."""

import base64
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader
from markupsafe import Markup
from PIL import Image

from hashrepro.search.index import Hits, Index
from hashrepro.search.nearest import MISSING

_TILE = 192  # pixels: twice the size that a page shows, for sharp screens


@dataclass(frozen=True, eq=False)
class Query:
    """What was asked for.

    Attributes:
        id: the image's file or its id in the data set.
        labels: numbers of its classes; None where they are unknown, and then no hit is called right or wrong.
        picture: uint8 (height, width, 3), or None.
    """

    id: str
    labels: Sequence[int] | None = None
    picture: np.ndarray | None = None


def answers(index: Index, queries: Sequence[Query], hits: Hits) -> list[dict]:
    """One dict a query: "query" {"id", "labels"} and "hits", nearest first, each {"rank", "row", "distance", "labels",
    "origin", "id", "path", "right"}, and "score" where the hits were re-ranked.

    Labels are class names; those of a query are None, and "right" is, where they are unknown; "right" is also None
    for a hit without labels. A hit is right if it shares a label with the query.
    """
    rows = np.unique(hits.rows[hits.rows != MISSING])
    items, names = index.items(rows), index.class_names
    columns = zip(rows.tolist(), items.ids, items.labels, items.origins, items.paths, strict=True)
    known = {row: (name, labels, origin, path) for row, name, labels, origin, path in columns}
    found = []
    for number, query in enumerate(queries):
        listed = []
        for rank, row in enumerate(hits.rows[number].tolist()):
            if row == MISSING:
                continue
            name, labels, origin, path = known[row]
            right = bool(set(labels) & set(query.labels)) if query.labels is not None and labels else None
            hit = {"rank": rank + 1, "row": row, "distance": int(hits.distances[number, rank])}
            if hits.scores is not None:
                hit["score"] = float(hits.scores[number, rank])
            labels = [names[label] for label in labels]
            listed.append(
                {**hit, "labels": labels, "origin": origin, "id": name, "path": path, "right": right}
            )
        own = None if query.labels is None else [names[label] for label in query.labels]
        found.append({"query": {"id": query.id, "labels": own}, "hits": listed})
    return found


def to_json(found: Sequence[dict]) -> str:
    """The answers as a JSON list with an object a query; ends with a line feed."""
    return json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_text(found: Sequence[dict]) -> str:
    """The answers as one table a query, its columns aligned; ends with a line feed."""
    blocks = []
    for answer in found:
        scored = any("score" in hit for hit in answer["hits"])
        lines = [("rank", "bits", *(["score"] if scored else []), "labels", "code", "id")]
        for hit in answer["hits"]:
            score = [f"{hit['score']:.3f}"] if scored else []
            labels = ", ".join(hit["labels"]) or "-"
            lines.append(
                (str(hit["rank"]), str(hit["distance"]), *score, labels, hit["origin"], _printable(hit["id"]))
            )
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        numbers = 3 if scored else 2
        labels = "" if answer["query"]["labels"] is None else f" ({', '.join(answer['query']['labels'])})"
        text = [f"{_printable(answer['query']['id'])}{labels}"]
        for line in lines:
            cells = [
                cell.rjust(width) if place < numbers else cell.ljust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            text.append("  " + "  ".join(cells).rstrip())
        blocks.append("\n".join(text) + "\n")
    return "\n".join(blocks)


def _printable(name: str) -> str:
    """A name on one line, without what a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def data_uri(picture: np.ndarray) -> str:
    """A picture (height, width, 3) uint8 as an address that holds it: small ones exactly, others reduced."""
    image, stream = Image.fromarray(picture), io.BytesIO()
    if max(image.size) <= _TILE:
        image.save(stream, "PNG", optimize=True)
        kind = "png"
    else:
        image.thumbnail((_TILE, _TILE), Image.Resampling.LANCZOS)
        image.save(stream, "JPEG", quality=85)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


def to_html(
    found: Sequence[dict],
    queries: Sequence[Query],
    picture: Callable[[int], np.ndarray | None],
    facts: dict,
) -> str:
    """One page that holds everything, pictures too: each query beside its hits.

    Args:
        found: of `answers`. queries: the same, for their pictures.
        picture: row -> uint8 (height, width, 3), or None where there is none; it is asked once a row.
        facts: of the index.
    """
    rows = sorted({hit["row"] for answer in found for hit in answer["hits"]})
    tiles = {row: _tile(picture(row)) for row in rows}
    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader("hashrepro.search", "."), PackageLoader("hashrepro.reporting", ".")]
        ),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = Markup(environment.loader.get_source(environment, "page.css")[0])
    return environment.get_template("answers.html.jinja").render(
        css=css,
        found=found,
        own=[_tile(query.picture) for query in queries],
        tiles=tiles,
        facts=facts,
        counts=facts["counts"],
    )


def _tile(picture: np.ndarray | None) -> dict | None:
    if picture is None:
        return None
    return {"uri": data_uri(picture), "small": max(picture.shape[:2]) < 48}
