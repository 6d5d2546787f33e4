"""The report's figures, as matplotlib figures: one question each, every line named where it ends."""

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from hashrepro.reporting.palette import FLOOR, INK, MUTED, label_ends, look, new_axes
from hashrepro.reporting.records import Grid, RunRecord
from hashrepro.reporting.tables import titles

STEP = 0.022  # between the methods of one code length, as a share of the axis


def losses(history: pd.DataFrame) -> list[str]:
    """The loss columns of a training history, the total first."""
    return [column for column in history.columns if column not in ("iteration", "map", "seconds")]


def mean_curve(records: list[RunRecord], curve: str, index: str) -> pd.DataFrame:
    """The mean of a curve over runs, each on its headline database, a row a value of `index`."""
    frames = [
        r.curves[r.headline_database, curve] for r in records if (r.headline_database, curve) in r.curves
    ]
    if not frames:
        return pd.DataFrame()
    return pd.concat(frames).groupby(index, as_index=False).mean(numeric_only=True)


def mean_history(records: list[RunRecord]) -> pd.DataFrame:
    """Means over runs: `iteration`, mAP (`map`), and the first loss relative to its first value (`loss`)."""
    frames = []
    for history in (record.history for record in records if len(record.history)):
        frame = pd.DataFrame({"iteration": history["iteration"], "map": history.get("map", np.nan)})
        names = losses(history)
        frame["loss"] = history[names[0]] / history[names[0]].iloc[0] if names else np.nan
        frames.append(frame)
    return pd.concat(frames).groupby("iteration", as_index=False).mean() if frames else pd.DataFrame()


def _select(records: list[RunRecord], dataset: str, method: str, bits: int) -> list[RunRecord]:
    return [r for r in records if (r.dataset, r.method, r.bits) == (dataset, method, bits)]


def _lines(
    records: list[RunRecord],
    grid: Grid,
    dataset: str,
    bits: int,
    axes: Axes,
    curve: Callable[[list[RunRecord]], pd.DataFrame],
    x: str,
    y: str,
    scale: float = 1.0,
) -> list[tuple]:
    """Draw one line a method and return the labels of their ends; `curve(runs)` gives the table to draw."""
    names, labels = titles(records, "method"), []
    for method in grid.methods:
        table = curve(_select(records, dataset, method, bits))
        if len(table) and table[y].notna().any():
            table = table.dropna(subset=[y]).sort_values(x)
            style = look(grid.methods, method)
            every = max(1, len(table) // 8)
            axes.plot(table[x], scale * table[y], label=names[method], markevery=every, **style)
            end, height = table[x].iloc[-1], scale * table[y].iloc[-1]
            labels.append((end, height, names[method], style, table[y].mean()))
    return labels


def map_by_bits(records: list[RunRecord], grid: Grid, dataset: str, results: pd.DataFrame) -> Figure:
    """Headline mAP (%) against code length: mean over seeds; grey floors. `results` is the `results_table`.

    Whiskers are the interval over queries, broad pale bars one standard deviation over seeds. The methods stand a
    little beside each other, so that their whiskers can be told apart.
    """
    figure, axes = new_axes("mAP by code length", "bits", "mAP, %")
    names, labels = titles(records, "method"), []
    table = results[(results["dataset"] == dataset) & (results["runs"] > 0)]
    places = {bits: place for place, bits in enumerate(sorted(grid.bits))}
    ends = [places[bits] for bits in table["bits"]]
    for number, method in enumerate(grid.methods):
        rows = table[table["method"] == method].sort_values("bits")
        column = "map" if rows["map"].notna().any() else "map_network"
        rows = rows.dropna(subset=[column])
        if len(rows):
            mean, deviation = 100 * rows[column], 100 * rows[f"{column}_sd"].fillna(0)
            style = look(grid.methods, method)
            beside = STEP * max(1, len(places) - 1) * (number - (len(grid.methods) - 1) / 2)
            x = np.array([places[bits] for bits in rows["bits"]]) + beside
            low, high = 100 * rows[f"{column}_low"], 100 * rows[f"{column}_high"]
            # Without an interval no whiskers; where all queries score alike the mean is off it by a rounding error.
            away = np.nan_to_num([mean - low, high - mean]).clip(min=0)
            axes.errorbar(x, mean, away, capsize=2.5, elinewidth=1, label=names[method], **style)
            if deviation.any():
                axes.vlines(x, mean - deviation, mean + deviation, style["color"], linewidth=6, alpha=0.3)
            labels.append((x[-1], mean.iloc[-1], names[method], style, mean.mean()))
    untrained = (
        table.groupby("bits")["untrained"].agg(["min", "max"]).dropna().reindex(sorted(grid.bits)).dropna()
    )
    if len(untrained):
        x = [places[bits] for bits in untrained.index]
        low, high = 100 * untrained["min"], 100 * untrained["max"]
        # One code length or one method makes a band without area: the edge keeps it visible.
        axes.fill_between(x, low, high, color=FLOOR, edgecolor=FLOOR, linewidth=4, zorder=1)
        band = {"color": FLOOR, "marker": "s"}
        labels.append((x[-1], (low + high).iloc[-1] / 2, "untrained", band, 0))
    random = table.groupby("bits")["random"].mean().dropna()
    if len(random):
        x = [places[bits] for bits in random.index]
        axes.plot(x, 100 * random, color=MUTED, linestyle=":", linewidth=1.6)
        labels.append((x[-1], 100 * random.iloc[-1], "random", {"color": MUTED, "marker": "_"}, 0))
    axes.set_xticks(list(places.values()), [str(bits) for bits in places])
    axes.set_xlim(min(ends, default=0) - 0.15, max(ends, default=0) + 0.15)
    axes.set_ylim(0, max(1.0, min(105.0, axes.get_ylim()[1])))
    label_ends(axes, labels)
    return figure


def radius_by_bits(records: list[RunRecord], grid: Grid, dataset: str) -> Figure:
    """Mean precision (%) of everything within a Hamming radius, against code length; mean over seeds.

    The radius is the one that the runs were scored at; a query that finds nothing counts as 0.
    """
    radius = radius_of(records)
    figure, axes = new_axes(f"Precision within {radius} bits", "bits", "precision, %")
    names, labels = titles(records, "method"), []
    places = {bits: place for place, bits in enumerate(sorted(grid.bits))}
    for method in grid.methods:
        means = {bits: _radius(_select(records, dataset, method, bits), radius) for bits in places}
        ends = [bits for bits, mean in means.items() if not np.isnan(mean)]
        if ends:
            style = look(grid.methods, method)
            heights = [100 * means[bits] for bits in ends]
            axes.plot([places[bits] for bits in ends], heights, label=names[method], **style)
            labels.append((places[ends[-1]], heights[-1], names[method], style, np.mean(heights)))
    axes.set_xticks(list(places.values()), [str(bits) for bits in places])
    axes.set_xlim(-0.15, len(places) - 0.85)
    axes.set_ylim(0, max(1.0, min(105.0, axes.get_ylim()[1])))
    label_ends(axes, labels)
    return figure


def radius_of(records: list[RunRecord]) -> int:
    """The Hamming radius that the runs were scored at; 2 where none was."""
    names = (name for r in records for scores in r.scores.get("last", {}).values() for name in scores)
    found = (re.fullmatch(r"precision_radius_(\d+)", name) for name in names)
    return next((int(match[1]) for match in found if match), 2)


def _radius(runs: list[RunRecord], radius: int) -> float:
    """Mean over runs of the precision within `radius`; NaN where none has it."""
    values = [run.score(f"precision_radius_{radius}", run.headline_database) for run in runs]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else np.nan


def precision_recall(records: list[RunRecord], grid: Grid, dataset: str, bits: int) -> Figure:
    """Mean precision (%) against mean recall (%), one point for each Hamming radius from 0 to `bits`."""
    figure, axes = new_axes(f"Precision and recall, {bits} bits", "recall, %", "precision, %")

    def curve(runs: list[RunRecord]) -> pd.DataFrame:
        table = mean_curve(runs, "precision_recall", "radius")
        return table.assign(recall=100 * table["recall"]) if len(table) else table

    labels = _lines(records, grid, dataset, bits, axes, curve, "recall", "precision", scale=100)
    axes.set(xlim=(0, 100), ylim=(0, 103))
    label_ends(axes, labels)
    return figure


def precision_at(records: list[RunRecord], grid: Grid, dataset: str, bits: int) -> Figure:
    """Mean precision (%) among the first N hits, N on a logarithmic axis; ties in expectation."""
    figure, axes = new_axes(
        f"Precision of the first N, {bits} bits", "N nearest images (log scale)", "precision, %"
    )
    axes.set_xscale("log")
    labels = _lines(
        records,
        grid,
        dataset,
        bits,
        axes,
        lambda r: mean_curve(r, "precision_at", "n"),
        "n",
        "precision",
        100,
    )
    shown = sorted({x for line in axes.lines for x in line.get_xdata()})
    ticks = [x for x in shown if np.log10(x).is_integer()] or shown
    axes.set_xticks(ticks, [f"{int(x):,}" for x in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(0, 103)
    label_ends(axes, labels)
    return figure


def by_class(records: list[RunRecord], grid: Grid, dataset: str, bits: int) -> Figure:
    """mAP (%) of each class's queries, every method's classes in its own order from best to worst."""
    figure, axes = new_axes(f"mAP by class, {bits} bits", "classes, each method’s best first", "mAP, %")

    def curve(runs: list[RunRecord]) -> pd.DataFrame:
        table = mean_curve(runs, "per_class", "class")
        if not len(table):
            return table
        ordered = table["map"].dropna().sort_values(ascending=False)
        return pd.DataFrame({"place": np.arange(1, len(ordered) + 1), "map": ordered.to_numpy()})

    labels = _lines(records, grid, dataset, bits, axes, curve, "place", "map", scale=100)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(0, 103)
    label_ends(axes, labels)
    return figure


def training_map(records: list[RunRecord], grid: Grid, dataset: str, bits: int) -> Figure:
    """mAP (%) on the queries after each iteration of training, where it was evaluated."""
    figure, axes = new_axes(f"mAP while training, {bits} bits", "iteration", "mAP, %")
    labels = _lines(records, grid, dataset, bits, axes, mean_history, "iteration", "map", scale=100)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(0, min(103.0, axes.get_ylim()[1]))
    label_ends(axes, labels)
    return figure


def training_loss(records: list[RunRecord], grid: Grid, dataset: str, bits: int) -> Figure:
    """Total loss by iteration, as a share of its first value: losses of methods have no common unit."""
    figure, axes = new_axes(
        f"Loss while training, {bits} bits", "iteration", "loss ÷ loss of the first iteration"
    )
    labels = _lines(records, grid, dataset, bits, axes, mean_history, "iteration", "loss")
    axes.axhline(1, color=INK, linewidth=0.8, zorder=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    label_ends(axes, labels)
    return figure
