"""The map of a run's codes as an SVG: a disc a code, as large as the number of images that have it."""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from hashrepro.reporting import view
from hashrepro.reporting.palette import COLOURS, FLOOR, INK, MUTED
from hashrepro.reporting.records import Grid, RunRecord

NAMED = 12  # classes with a colour and a name; the others are grey
SIDE, TOP, LEGEND = 360, 46, 170  # px: the map's side, the heading above it, the names beside it
RADIUS = 2.5  # px, of the disc of one image
LETTERS = 24  # of a class's name
HUES = tuple(colour for colour in COLOURS if colour != "#7f7f7f")  # grey is for the classes without a name


@dataclass
class CodeMap:
    """What the report shows of one run's codes; `svg` is None where there are too few distinct codes for a map."""

    record: RunRecord
    images: int
    codes: int
    svg: str | None = None
    inline: Markup | None = None

    @property
    def name(self) -> str:
        """Of its file, without the ending."""
        return f"code_map-{self.record.dataset}-{self.record.bits}-{self.record.method}"

    @property
    def shared(self) -> bool:
        """Whether any image has several classes."""
        return bool((self.record.embedding["labels"] > 1).any())


def named_classes(table: pd.DataFrame, most: int = NAMED) -> dict[int, str]:
    """Name by class of those that get a colour: all of a few; of many, evenly spaced ones in the order of classes."""
    names = dict(sorted(zip(table["label"], table["name"], strict=True)))
    labels = list(names)
    if len(labels) > most:
        labels = [labels[place] for place in np.linspace(0, len(labels) - 1, most).round().astype(int)]
    return {label: names[label] for label in labels}


def rings(table: pd.DataFrame, named: dict[int, str]) -> list[tuple[int, int, float, float]]:
    """The discs to draw, in that order: (images that the disc stands for, place of the class, x, y).

    The place is that in `named`, len(named) for all other classes. Where a code belongs to several classes, their
    discs lie within each other, the rarest on top: each class has a ring whose area is its number of images.
    """
    places = {label: place for place, label in enumerate(named)}
    drawn = table.assign(place=table["label"].map(places).fillna(len(named)).astype(int))
    counts = (
        drawn.groupby(["code", "place"])
        .agg(n=("row", "size"), x=("x", "first"), y=("y", "first"))
        .reset_index()
    )
    counts = counts.sort_values(["code", "n", "place"])
    counts["inside"] = counts.groupby("code")["n"].cumsum()
    counts = counts.sort_values(["inside", "place", "code"], ascending=[False, False, True])
    columns = (counts[name].tolist() for name in ("inside", "place", "x", "y"))
    return list(zip(*columns, strict=True))


def _look(place: int, named: int) -> tuple[str, str]:
    """Colour and shape of a class: a second round of the colours comes as squares."""
    if place >= named:
        return FLOOR, "round"
    return HUES[place % len(HUES)], "square" if place >= len(HUES) else "round"


def _path(points: str, look: tuple[str, str], images: int) -> str:
    """Points as discs or squares whose area is that of `images` images: strokes without length, with ends."""
    colour, end = look
    width = RADIUS * math.sqrt(images) * (2 if end == "round" else math.sqrt(math.pi))
    return f'<path d="{points}" stroke="{colour}" stroke-width="{width:.1f}" stroke-linecap="{end}"/>'


def draw(table: pd.DataFrame, title: str) -> str:
    """The map of the codes of `make_embedding`'s table, with the names of its classes beside it."""
    named = named_classes(table)
    discs = rings(table, named)
    margin = RADIUS * math.sqrt(max(inside for inside, *_ in discs)) + 2
    scale = SIDE / 2 - margin
    paths: dict[tuple[int, int], str] = {}  # one a size and class, in the order of drawing
    for inside, place, x, y in discs:
        spot = f"M{SIDE / 2 + scale * x:.1f} {TOP + SIDE / 2 - scale * y:.1f}h0"
        paths[inside, place] = paths.get((inside, place), "") + spot
    drawn = [_path(points, _look(place, len(named)), n) for (n, place), points in paths.items()]
    names = list(named.values())
    if len(named) < table["label"].nunique():
        names.append(f"{table['label'].nunique() - len(named)} other classes")
    for place, name in enumerate(names):
        height, shown = TOP + 14 + 20 * place, name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
        drawn.append(_path(f"M{SIDE + 16} {height}h0", _look(place, len(named)), 4))
        drawn.append(f'<text x="{SIDE + 28}" y="{height + 4}">{escape(shown)}</text>')
    counts = f"{len(table):,} query images, {table['code'].nunique():,} distinct codes"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE + LEGEND} {TOP + SIDE}" fill="none" role="img" '
        f'aria-label="{escape(title)}: {counts}">'
        f'<g fill="{INK}" style="font-family: sans-serif" font-size="12">'
        f'<text x="0" y="16" font-size="14" font-weight="bold" stroke="none">{escape(title)}</text>'
        f'<text x="0" y="34" fill="{MUTED}">{counts}</text>'
        f"{''.join(drawn)}</g></svg>\n"
    )


def code_maps(
    records: list[RunRecord], grid: Grid, names: dict[str, str]
) -> dict[tuple[str, int], list[CodeMap]]:
    """The maps to show by (data set, bits), one a method: that of its first seed that has one.

    Args:
        records: in the order of the grid.
        names: titles of methods.
    """
    shown: dict[tuple[str, int], dict[str, CodeMap]] = {
        place: {} for place in product(grid.datasets, grid.bits)
    }
    for record in records:
        table, methods = record.embedding, shown[record.dataset, record.bits]
        if table is None or record.method in methods:
            continue
        methods[record.method] = found = CodeMap(record, len(table), table["code"].nunique())
        if table["x"].notna().all():
            found.svg = draw(table, f"{names.get(record.method, record.method)}, {record.bits} bits")
            found.inline = Markup(view.themed(found.svg.encode(), found.name))
    return {place: list(methods.values()) for place, methods in shown.items() if methods}
