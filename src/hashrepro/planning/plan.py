"""`hashrepro plan GRID`: what will run, for how long, what it downloads and leaves on disk, and what is missing."""

import argparse
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hashrepro.datasets.base import load_reader
from hashrepro.delivery.checking import state
from hashrepro.overview import amount, counts, download_bytes, room
from hashrepro.planning.costs import Cost, run_cost
from hashrepro.planning.rates import Rates
from hashrepro.settings import Settings, load_with_parts


@dataclass(frozen=True)
class Planned:
    """One suite of a plan, and its runs with their costs."""

    settings: Settings
    device: str  # "cuda" or "cpu", what it would run on
    costs: dict[tuple[str, str, int, int], Cost]

    def to_train(self, stale: Mapping[str, object]) -> list[tuple[str, str, int, int]]:
        """The runs whose training is among the `stale` stages."""
        address = self.settings.suite.address
        return [cell for cell in self.costs if address("train", cell) in stale]


def with_parts(root: Path, file: str, device: str) -> list[Planned]:
    """The suite of a parameter file and its parts, each with what every run costs. UserError: a faulty recipe."""
    suites = []
    for settings in load_with_parts(root, file):
        rates = Rates(root, settings, device)
        costs = {cell: run_cost(root, settings, rates, cell) for cell in settings.grid.runs()}
        suites.append(Planned(settings, device, costs))
    return suites


def plan(arguments: argparse.Namespace, root: Path) -> int:
    from hashrepro.running.stages import stale_stages

    suites = with_parts(root, arguments.params, arguments.device or device_here())
    stale = stale_stages(root, [suite.settings.suite.pipeline for suite in suites])
    states = data_states(root, suites)
    for suite in suites:
        print("\n".join(runs_text(suite, stale)))
    print("\n".join(data_text(suites[0].settings, states)))
    print("\n".join(total_text(root, suites, stale, states)))
    return 0


def device_here() -> str:
    import torch  # takes seconds

    return "cuda" if torch.cuda.is_available() else "cpu"


def data_states(root: Path, suites: list[Planned]) -> dict[str, str]:
    """How far each data set of the suites is, by its name."""
    settings, found = suites[0].settings, {}
    for name in (name for suite in suites for name in suite.settings.grid.datasets):
        block = settings.dataset(name)
        raw, processed = root / "data" / "raw" / name, root / "data" / "processed" / name
        places = settings.archive_places(root, name)
        found[name] = state(load_reader(block.reader), block.own_folder(root), raw, processed, places)
    return found


def runs_text(suite: Planned, stale: Mapping[str, object]) -> list[str]:
    """A line a method and data set: runs still to train, the hours of the longest one, the hours of all."""
    about, grid = suite.settings.suite, suite.settings.grid
    lines = [f"suite {about.name}: {len(suite.costs)} runs ({about.pipeline})"]
    stale_runs = suite.to_train(stale)
    for dataset in grid.datasets:
        for method in grid.methods:
            costs = {cell: cost for cell, cost in suite.costs.items() if cell[:2] == (method, dataset)}
            to_train = [costs[cell].device_hours for cell in stale_runs if cell in costs]
            each = max(cost.device_hours for cost in costs.values())
            basis = next(iter(costs.values()))
            known = "measured on" if basis.measured else "estimated for"
            lines.append(
                f"    {method} on {dataset}: {len(to_train)} of {len(costs)} runs to train, "
                f"{_hours(each)} each, {_hours(sum(to_train))} in all ({known} {basis.device})"
            )
    return lines


def data_text(settings: Settings, states: dict[str, str]) -> list[str]:
    """Two lines a data set: what it is and its state; what it downloads and takes."""
    lines = ["data sets"]
    for name, found in states.items():
        block = settings.dataset(name)
        reader = load_reader(block.reader)
        images = counts(name, block, reader)["images"]
        lines.append(f"    {name}: {f'{images:,}' if images else '?'} images, {found}")
        if found != "ready":
            size = f"download {amount(download_bytes(reader))}, " if reader.SOURCE.archives else ""
            mend = f"hashrepro data check {name}" + (" and docs/datasets.md" if "by hand" in found else "")
            lines.append(f"        {size}about {amount(room(name, block, reader))} of disk; {mend}")
    return lines


def total_text(
    root: Path, suites: list[Planned], stale: Mapping[str, set[str]], states: dict[str, str]
) -> list[str]:
    """The sums: stages by kind, hours, disk against what is free, and what a program cannot get."""
    from hashrepro.running.stages import tally

    settings = suites[0].settings
    to_train = [suite.costs[cell] for suite in suites for cell in suite.to_train(stale)]
    needed = sum(cost.bytes for cost in to_train)
    for name, found in states.items():
        if found != "ready":
            reader = load_reader(settings.dataset(name).reader)
            needed += room(name, settings.dataset(name), reader) + (download_bytes(reader) or 0)
    free = shutil.disk_usage(root).free
    guessed = sum(not cost.measured for cost in to_train)
    own = bool(to_train) and all(cost.device == "this machine" for cost in to_train)
    unit = "CPU" if own and suites[0].device == "cpu" else "GPU"  # published rates are a GPU's
    lines = [
        "in all",
        f"    to run: {tally(stale) or 'nothing'}",
        f"    {_hours(sum(cost.device_hours for cost in to_train))} of {unit}"
        + (f"; {guessed} of the {len(to_train)} runs to train by a guess" if guessed else ""),
        f"    about {amount(needed)} of disk; {amount(free)} are free"
        + ("" if needed < free else ": too little"),
    ]
    missing = [name for name, found in states.items() if found.startswith("not here") and "by hand" in found]
    if missing:
        lines.append(f"    missing, to be got by hand: {', '.join(missing)}")
    if unit == "GPU" and device_here() == "cpu":
        lines.append("    no GPU is visible on this machine")
    lines.append(f"    start: hashrepro run {settings.suite.name} --workers N, one for each GPU")
    return lines


def _hours(hours: float) -> str:
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"
