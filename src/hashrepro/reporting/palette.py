"""One look for every figure: colours that colour-blind readers can tell apart, markers, paper, labels."""

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# After Okabe & Ito (2008); the page puts a lighter twin of each in dark mode (page.css, --m0 ...).
COLOURS = ("#0072b2", "#d98c00", "#b0478c", "#009e73", "#56b4e9", "#d55e00", "#7f7f7f", "#4d4d9a")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
INK, MUTED, GRID, FLOOR, PAPER = "#1b1a18", "#6a675f", "#e3dfd6", "#c9c4b8", "#fffffe"

SETTINGS = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "ytick.major.size": 0,
    "lines.linewidth": 2,
    "lines.markersize": 5.5,
    "svg.hashsalt": "hashrepro",
}


def look(methods: Sequence[str], method: str) -> dict:
    """The colour and marker of `method`, by its place in the grid's list: the same everywhere."""
    place = methods.index(method)
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}


def new_axes(title: str, x: str, y: str, width: float = 4.5, height: float = 3.1) -> tuple[Figure, Axes]:
    """An empty figure of `width` × `height` inches with one pair of axes, without global figure state."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)
        axes = figure.add_subplot(facecolor="none")
        axes.set(title=title, xlabel=x, ylabel=y)
        axes.grid(visible=False, axis="x")
    return figure, axes


def spaced(heights: Sequence[float], gap: float) -> list[float]:
    """The nearest heights (least squares, same order) that lie at least `gap` apart; `heights` ascend.

    Pool adjacent violators: labels that would touch become one block around their common mean.
    """
    blocks: list[list[float]] = []
    for number, height in enumerate(heights):
        blocks.append([height - number * gap])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    means = [float(np.mean(block)) for block in blocks for _ in block]
    return [mean + number * gap for number, mean in enumerate(means)]


def label_ends(axes: Axes, labels: Sequence[tuple], gap: float = 0.078) -> None:
    """Name each line at its right end, after its marker, instead of in a legend.

    Args:
        axes: limits must be final.
        labels: (x, y, text, look, rank): the line's end in data units, its name, its `look`, and what orders
            lines that end in one place.
        gap: least distance between two labels, as a fraction of the axes' height.
    """
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = [
        (round(float(to_axes.transform((x, y))[1]), 2), rank, text, style)
        for x, y, text, style, rank in labels
    ]
    ends.sort(key=lambda end: end[:2])
    heights = spaced([end[0] for end in ends], gap)
    shift = max(0.0, 0.02 - min(heights, default=1)) - max(0.0, max(heights, default=0) - 0.98)
    for (_, _, text, style), height in zip(ends, heights, strict=True):
        where = {"transform": axes.transAxes, "clip_on": False}
        axes.plot([1.05], [height + shift], **style, **where)
        axes.text(1.085, height + shift, text, va="center", fontsize=9, color=INK, **where)


def render(figure: Figure, kind: str = "svg", text: str = "path") -> bytes:
    """The figure as the bytes of a file, the same bytes every time.

    Args:
        figure: what to draw.
        kind: "svg" or "png" (200 dots an inch).
        text: "path" draws letters as shapes, so that the file looks alike everywhere; "none" keeps them
            letters, in the font of the page that holds the SVG.
    """
    stream = io.BytesIO()
    with matplotlib.rc_context(SETTINGS | {"svg.fonttype": text}):
        metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(stream, format=kind, dpi=200, metadata=metadata)
    return stream.getvalue()
