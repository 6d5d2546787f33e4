"""`hashrepro runs`: the runs of a suite in the tracking store, listed, checked, completed."""

import argparse
import os
from pathlib import Path

from tqdm import tqdm

from hashrepro.files import value_digest
from hashrepro.reporting.records import run_key
from hashrepro.running.recorded import stale_scores
from hashrepro.settings import QUICKSTART, Settings, load_settings, load_with_parts, suite_file
from hashrepro.tracking.checking import Built, Tracked, built, compare
from hashrepro.tracking.runs import adopt, read_about, tracked
from hashrepro.tracking.store import Tracking, answering, shown


def runs(arguments: argparse.Namespace, root: Path) -> int:
    command = {"list": list_runs, "check": check_runs, "adopt": adopt_runs}[arguments.what]
    codes = []
    for settings in load_with_parts(root, suite_file(root, arguments.grid or arguments.params)):
        tracking = Tracking(root, settings.suite.name)
        with answering(tracking.uri):
            codes.append(command(root, settings, tracking))
    return max(codes)


def list_runs(root: Path, settings: Settings, tracking: Tracking) -> int:
    rows = [("run", "state", "mAP", "started (UTC)", "id")]
    for run in (Tracked.of(run) for run in tracking.runs()):
        score = "" if run.map is None else f"{100 * run.map:.2f}"
        rows.append((run.key, run.state, score, run.started, run.id))
    print(table(rows))
    print(f"{len(rows) - 1} runs of the suite {tracking.suite} in {shown(tracking.uri)}")
    return 0


def check_runs(root: Path, settings: Settings, tracking: Tracking) -> int:
    suite = settings.suite.name
    cells = {run_key(*cell): value_digest(settings.run_params(*cell)) for cell in settings.grid.runs()}
    there = [Tracked.of(run) for run in tracking.runs()]
    stale = {run_key(*cell) for cell in stale_scores(root, settings.suite, settings.grid.runs())}
    found = {
        key: built(root / "runs" / suite / key, root / "work" / suite / key, key in stale)
        for key in tqdm(cells, desc="runs", unit="run", leave=False)
    }
    build = "hashrepro repro" if settings.suite.file == QUICKSTART else f"hashrepro run {suite}"
    findings = compare(there, cells, found, suite=suite, place=tracking.place, build=build)
    if findings:
        print(table([("run", "what", "mend"), *((f.which, f.what, f.mend) for f in findings)]))
        if tracking.uri.startswith("sqlite"):
            print(
                f"(mlflow's own commands need to know the store: export MLFLOW_TRACKING_URI={tracking.uri})"
            )
    print(
        summary(cells, there, found, suite),
        "Nothing is amiss." if not findings else f"{len(findings)} to mend.",
    )
    return int(bool(findings))


def summary(cells: dict[str, str], there: list[Tracked], found: dict[str, Built], suite: str) -> str:
    """How much of a grid is built, and tracked."""
    here = sum(found[key].params == params for key, params in cells.items())
    finished = {(run.key, run.params) for run in there if run.trained != "no"}
    tracked_cells = sum((key, params) in finished for key, params in cells.items())
    return f"{suite}: {len(cells)} runs in the grid, {here} built here, {tracked_cells} in the store."


def adopt_runs(root: Path, settings: Settings, tracking: Tracking) -> int:
    folder, count = root / "runs" / settings.suite.name, 0
    cells = settings.grid.runs()
    stale = stale_scores(root, settings.suite, cells)
    for cell in cells:
        own = folder / run_key(*cell)
        if not (own / "train.json").exists():
            continue
        run_id, scored = tracked(tracking, own, read_about(own)), cell not in stale
        if run_id is None or (scored and not _evaluated(tracking, run_id)):
            print(f"{own.name}: {adopt(tracking, own, scored)}")
            count += 1
    print(f"{count} runs logged to {shown(tracking.uri)}")
    return 0


def _evaluated(tracking: Tracking, run_id: str) -> bool:
    return tracking.client.get_run(run_id).data.tags.get("hashrepro.evaluated") == "yes"


def register(arguments: argparse.Namespace, root: Path) -> int:
    from hashrepro.tracking.registering import register_run  # torch and timm

    settings = load_settings(root, suite_file(root, arguments.suite or arguments.params))
    tracking = Tracking(root, settings.suite.name)
    with answering(tracking.uri):
        name, version = register_run(tracking, settings, arguments.run, arguments.name)
    if os.environ.get("MLFLOW_TRACKING_URI") is None:
        print(f'Load it with MLFLOW_TRACKING_URI="{tracking.uri}":')
    print(f'mlflow.pyfunc.load_model("models:/{name}/{version}")')
    return 0


def table(rows: list[tuple[str, ...]]) -> str:
    """Rows as text in columns; the first row is the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)
