"""`hashrepro plan GRID`: what will run, for how long, what it downloads and leaves on disk, and what is missing."""

import argparse
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from hashrepro.datasets.base import load_reader
from hashrepro.delivery.checking import state
from hashrepro.overview import amount, counts, download_bytes, room
from hashrepro.planning.costs import Cost, run_cost
from hashrepro.planning.rates import Rates
from hashrepro.settings import Settings, load_settings, suite_files


@dataclass(frozen=True)
class Planned:
    """One suite of a plan, and its runs with their costs."""

    file: str
    settings: Settings
    costs: dict[tuple[str, str, int, int], Cost]

    @property
    def target(self) -> str:
        return Path(self.file).with_name("dvc.yaml").as_posix()


def with_parts(root: Path, file: str, device: str) -> list[Planned]:
    """The suite of a parameter file and its parts, each with what every run costs. UserError: a faulty recipe."""
    files = [file, *(suite_files(root)[part] for part in load_settings(root, file).suite.parts)]
    suites = []
    for file in files:
        settings = load_settings(root, file)
        rates = Rates(root, settings, device)
        costs = {cell: run_cost(root, settings, rates, cell) for cell in settings.grid.runs()}
        suites.append(Planned(file, settings, costs))
    return suites


def plan(arguments: argparse.Namespace, root: Path) -> int:
    from hashrepro.running.stages import stale_stages

    suites = with_parts(root, arguments.params, arguments.device or device_here())
    stale = stale_stages(root, [suite.target for suite in suites])
    for suite in suites:
        print("\n".join(runs_text(suite, stale)))
    print("\n".join(data_text(root, suites)))
    print("\n".join(total_text(root, suites, stale)))
    return 0


def device_here() -> str:
    import torch  # takes seconds

    return "cuda" if torch.cuda.is_available() else "cpu"


def address(suite: Planned, stage: str, cell: tuple) -> str:
    """DVC's name of a stage, seen from the root."""
    place = "" if suite.target == "dvc.yaml" else f"{suite.target}:"
    return f"{place}{stage}@{'-'.join(map(str, cell))}"


def runs_text(suite: Planned, stale: dict) -> list[str]:
    """A line a method and data set: runs still to train, hours a run by code length, their sum."""
    grid, lines = suite.settings.grid, []
    lines.append(f"suite {suite.settings.suite.name}: {len(suite.costs)} runs ({suite.target})")
    for dataset in grid.datasets:
        for method in grid.methods:
            cells = [cell for cell in suite.costs if cell[:2] == (method, dataset)]
            to_train = [cell for cell in cells if address(suite, "train", cell) in stale]
            each = max(suite.costs[cell].device_hours for cell in cells)
            hours = sum(suite.costs[cell].device_hours for cell in to_train)
            basis = suite.costs[cells[0]]
            known = "measured on" if basis.measured else "estimated for"
            lines.append(
                f"    {method} on {dataset}: {len(to_train)} of {len(cells)} runs to train, "
                f"{_hours(each)} each, {_hours(hours)} in all ({known} {basis.device})"
            )
    return lines


def data_text(root: Path, suites: list[Planned]) -> list[str]:
    """Two lines a data set: what it is and its state; what it downloads and takes."""
    settings, lines = suites[0].settings, ["data sets"]
    for name in data_sets(suites):
        block = settings.dataset(name)
        reader = load_reader(block.reader)
        found = _state(root, settings, name)
        images = counts(name, block, reader)["images"]
        lines.append(f"    {name}: {f'{images:,}' if images else '?'} images, {found}")
        if found != "ready":
            size = f"download {amount(download_bytes(reader))}, " if reader.SOURCE.archives else ""
            mend = f"hashrepro data check {name}" + (" and docs/datasets.md" if "by hand" in found else "")
            lines.append(f"        {size}about {amount(room(name, block, reader))} of disk; {mend}")
    return lines


def total_text(root: Path, suites: list[Planned], stale: dict) -> list[str]:
    """The sums: stages by kind, hours, disk against what is free, and what a program cannot get."""
    kinds = Counter(name.rpartition(":")[2].partition("@")[0] for name in stale)
    stages = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "nothing"
    to_train = [
        cost
        for suite in suites
        for cell, cost in suite.costs.items()
        if address(suite, "train", cell) in stale
    ]
    settings = suites[0].settings
    coming = {n: load_reader(settings.dataset(n).reader) for n in data_sets(suites)}
    states = {name: _state(root, settings, name) for name in coming}
    needed = sum(cost.bytes for cost in to_train)
    needed += sum(
        room(n, settings.dataset(n), r) + (download_bytes(r) or 0)
        for n, r in coming.items()
        if states[n] != "ready"
    )
    free = shutil.disk_usage(root).free
    hours = sum(cost.device_hours for cost in to_train)
    guessed = sum(not cost.measured for cost in to_train)
    unit = "CPU" if to_train and all(cost.device == "this machine" for cost in to_train) else "GPU"
    lines = [
        "in all",
        f"    to run: {stages}",
        f"    {_hours(hours)} of {unit}"
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


def data_sets(suites: list[Planned]) -> list[str]:
    """The data sets of all suites, each once."""
    return list(dict.fromkeys(name for suite in suites for name in suite.settings.grid.datasets))


def _state(root: Path, settings: Settings, name: str) -> str:
    block = settings.dataset(name)
    places = settings.archive_places(root, name)
    raw, processed = root / "data" / "raw" / name, root / "data" / "processed" / name
    return state(load_reader(block.reader), block.own_folder(root), raw, processed, places)


def _hours(hours: float) -> str:
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"
