"""Figures of ours beside theirs: mAP by code length with the published values, training over the authors' logs."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hashrepro.reporting import beside
from hashrepro.reporting.beside_text import SELECTED
from hashrepro.reporting.palette import INK, MUTED, label_ends, look, new_axes
from hashrepro.reporting.published import Published
from hashrepro.reporting.records import Grid, RunRecord


def beside_by_bits(table: pd.DataFrame, grid: Grid, dataset: str, names: dict[str, str]) -> Figure | None:
    """mAP (%) against code length as the papers count it; None where no published figure can be compared.

    Lines: ours (`table` is the `beside_table`), each method counted as the first source of its figures does, and only
    where a source counts so; named with its checkpoint where the methods differ in it. Hollow marks: published and
    counted likewise, one that nobody has verified with a question mark.
    """
    here = table[(table["dataset"] == dataset) & (table["verdict"] != beside.ORIENTATION)]
    if not here["published"].notna().any():
        return None
    figure, axes = new_axes("mAP as the papers count it", "bits", "mAP, %")
    lengths = sorted(here["bits"].unique())
    place, labels = {bits: number for number, bits in enumerate(lengths)}, []
    counted = {method: _first_source(here[here["method"] == method]) for method in grid.methods}
    drawn = pd.concat(list(counted.values()))
    several = len(set(drawn[drawn[["ours", "published"]].notna().any(axis=1)]["selected"])) > 1
    for number, (method, rows) in enumerate(counted.items()):
        style, title = look(grid.methods, method), names.get(method, method)
        if several and len(rows):
            title = f"{title}, {SELECTED[rows['selected'].iloc[0]]}"
        beside_it = 0.04 * (number - (len(grid.methods) - 1) / 2)
        theirs = rows.dropna(subset=["published"]).drop_duplicates(["bits", "published"])
        for row in theirs.to_dict("records"):
            x, y = place[row["bits"]] + beside_it, 100 * row["published"]
            axes.plot([x], [y], **style, markerfacecolor="none", markersize=8)
            if not beside.verified(row["verified"]):
                axes.annotate(
                    "?",
                    (x, y),
                    (6, 0),
                    textcoords="offset points",
                    va="center",
                    color=INK,
                )
        first = rows.drop_duplicates("bits").dropna(subset=["ours"]).sort_values("bits")
        if len(first):
            x = np.array([place[bits] for bits in first["bits"]]) + beside_it
            axes.plot(x, 100 * first["ours"], **style)
            end = 100 * first["ours"].iloc[-1]
            labels.append((x[-1], end, title, style, first["ours"].mean()))
        elif len(theirs):
            last, hollow = (
                theirs.sort_values("bits").iloc[-1],
                style | {"markerfacecolor": "none"},
            )
            x, y = place[last["bits"]] + beside_it, 100 * last["published"]
            labels.append((x, y, f"{title}, not run", hollow, y))
    axes.set_xticks(list(place.values()), [str(bits) for bits in lengths])
    axes.set_xlim(-0.2, len(lengths) - 0.8)
    axes.set_ylim(0, max(1.0, min(105.0, axes.get_ylim()[1])))
    label_ends(axes, labels)
    return figure


def _first_source(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of a method that count as its first published figure does; all of them where there is no figure."""
    figures = rows.dropna(subset=["published"])
    if not len(figures):
        return rows
    way = ["convention", "selected"]
    return rows[(rows[way] == figures[way].iloc[0]).all(axis=1)]


def authors_training(
    records: list[RunRecord],
    grid: Grid,
    dataset: str,
    method: str,
    published: Published,
) -> Figure | None:
    """mAP (%) in the reference's convention by iteration, ours over the authors' log; None where there is no log.

    A line a code length, named at its end: ours (mean over seeds) in the method's colour, the log's grey and dashed.
    """
    curves = published.curves
    curves = curves[(curves["dataset"] == dataset) & (curves["method"] == method)]
    if not len(curves):
        return None
    figure, axes = new_axes("Training beside the authors’ log", "iteration", "reference mAP, %")
    style, labels = look(grid.methods, method), []
    for bits in sorted({*curves["bits"], *grid.bits}):
        theirs = curves[curves["bits"] == bits].sort_values("iteration")
        axes.plot(
            theirs["iteration"],
            100 * theirs["map"],
            color=MUTED,
            linestyle="--",
            linewidth=1.4,
        )
        ours = _ours([r for r in records if (r.dataset, r.method, r.bits) == (dataset, method, bits)])
        axes.plot(ours.index, 100 * ours, color=style["color"])
        end = ours if len(ours) else theirs.set_index("iteration")["map"]
        if len(end):
            drawn = {"color": style["color"] if len(ours) else MUTED, "marker": "_"}
            text = f"{bits} bits" if len(ours) else f"{bits} bits, not run"
            labels.append((end.index[-1], 100 * end.iloc[-1], text, drawn, bits))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(0, min(103.0, axes.get_ylim()[1]))
    label_ends(axes, labels)
    return figure


def _ours(runs: list[RunRecord]) -> pd.Series:
    """Mean over runs of the mAP that was watched while training, by iteration."""
    watched = [
        r.history.set_index("iteration")["map_reference"] for r in runs if "map_reference" in r.history
    ]
    if not watched:
        return pd.Series(dtype=float)
    return pd.concat(watched).dropna().groupby(level=0).mean()
