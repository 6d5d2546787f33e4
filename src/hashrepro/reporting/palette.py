"""One look for every figure: colours that colour-blind readers can tell apart, markers, paper, labels."""

import io
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe & Ito (2008), darkest first; the page replaces each by a lighter twin in dark mode (page.css, --m0...).
COLOURS = ("#0072b2", "#d98c00", "#b0478c", "#009e73", "#56b4e9", "#d55e00", "#7f7f7f", "#4d4d9a")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
INK, MUTED, GRID, PAPER = "#1b1a18", "#6a675f", "#e3dfd6", "#ffffff"

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
    """The colour and marker of `method`: its place in the grid's list decides, so they are the same everywhere."""
    place = methods.index(method)
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}


def new_axes(title: str, x: str, y: str, width: float = 5.2, height: float = 3.5) -> tuple[Figure, Axes]:
    """An empty figure of `width` × `height` inches with one pair of axes; no global figure state is touched."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)
        axes = figure.add_subplot(facecolor="none")
        axes.set(title=title, xlabel=x, ylabel=y)
        axes.grid(visible=False, axis="x")
    return figure, axes


def label_ends(axes: Axes, labels: Sequence[tuple[float, float, str, str]], gap: float = 0.062) -> None:
    """Write each line's name at its right end instead of in a legend.

    Args:
        axes: limits must be final.
        labels: (x, y, text, colour) in data units; labels nearer than `gap` (a fraction of the axes' height)
            are moved apart, keeping their order.
        gap: see there.
    """
    to_axes = axes.transData + axes.transAxes.inverted()
    placed = sorted((to_axes.transform((x, y))[1], text, colour) for x, y, text, colour in labels)
    heights = []
    for height, *_ in placed:
        heights.append(max(height, heights[-1] + gap) if heights else height)
    # Pushing only upwards would let a crowd leave the axes at the top: bring it down again.
    excess = max(0.0, heights[-1] - 1.0) if heights else 0.0
    for number in range(len(heights) - 1, -1, -1):
        ceiling = heights[number + 1] - gap if number + 1 < len(heights) else heights[number] - excess
        heights[number] = min(heights[number], ceiling)
    for (_, text, colour), height in zip(placed, heights, strict=True):
        axes.annotate(
            text, (1.02, height), xycoords="axes fraction", va="center", fontsize=9, fontweight="bold", color=colour
        )


def render(figure: Figure, kind: str = "svg", text: str = "path") -> bytes:
    """The figure as the bytes of a file, the same bytes every time.

    Args:
        figure: what to draw.
        kind: "svg" or "png" (200 dots an inch).
        text: "path" draws letters as shapes, so that the file looks alike everywhere; "none" keeps them letters,
            in the font of the page that holds the SVG.
    """
    stream = io.BytesIO()
    with matplotlib.rc_context(SETTINGS | {"svg.fonttype": text}):
        metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(stream, format=kind, dpi=200, metadata=metadata)
    return stream.getvalue()
