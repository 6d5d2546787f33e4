"""report SUITE_FILE [--from-mlflow] [--out DIR]: tables, figures, galleries and the page of a suite.

reads  runs/<suite>/*/ of the suite's grid; with --from-mlflow the same runs from the tracking store alone
       data/published/: what the papers and their authors report
writes reports/: index.html, {results,comparisons,side_by_side,cost}.{md,csv,tex}, paper_table.{md,tex}, scores.csv,
       figures/, plots/
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from common import ROOT, Run, params_digest, run_params, stage
from tqdm import tqdm

from hashrepro.errors import UserError
from hashrepro.files import read_json
from hashrepro.reporting.legend import untrained
from hashrepro.reporting.parts import part_rows
from hashrepro.reporting.published import Published, read_folder
from hashrepro.reporting.records import Grid, RunRecord, load_record
from hashrepro.reporting.report import write_report
from hashrepro.reporting.view import page_names
from hashrepro.running.recorded import stale_scores
from hashrepro.settings import Settings, load_settings, suite_file
from hashrepro.tracking import Tracking

FILES = ("scores.json", "per_query.parquet", "embedding.parquet", "train.json", "encode.json", "history.csv")
FILES += ("curves", "gallery", "attention")


@dataclass
class Findings:
    """What there is to report of a grid: the runs that were scored, and why others were skipped."""

    records: list[RunRecord] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # key of the run -> reason
    outdated: list[str] = field(default_factory=list)  # keys of runs that are not what would be made now

    def add(self, folder: Path, key: str, title: str) -> RunRecord | None:
        """Read the run `key` from a suite's folder; its record, or None if it was skipped.

        Args:
            title: of its method, which may have changed since it was trained.
        """
        train = read_json(folder / key / "train.json") | {"method_title": title}
        if "skipped" in train:
            self.skipped[key] = train["skipped"]
            return None
        record = complete(load_record(folder, key), train, read_json(folder / key / "encode.json"))
        self.records.append(record)
        return record


def complete(record: RunRecord, train: dict, encode: dict) -> RunRecord:
    """The record with the provenance that training and encoding left beside the scores."""
    seconds = {"train": train.pop("seconds"), "encode": encode["seconds"]}
    record.about = {
        **train,
        **record.about,
        "seconds": seconds,
        "codes_per_second": encode["images_per_second"],
    }
    return record


def findings_from_runs(settings: Settings) -> Findings:
    """The runs of the grid that DVC has built, by the recipes of today, and scored since."""
    cells, findings, titles = settings.grid.runs(), Findings(), method_titles(settings)
    stale = stale_scores(ROOT, settings.suite, cells)
    for cell in cells:
        run = Run(settings, *cell)
        if not all((run.folder / name).exists() for name in ("train.json", "encode.json", "scores.json")):
            continue  # or a stage is at work, whose outputs DVC has removed
        if cell in stale or not of_todays_recipe(run):
            findings.outdated.append(run.key)
        else:
            findings.add(run.folder.parent, run.key, titles[run.method])
    return findings


def of_todays_recipe(run: Run) -> bool:
    """Whether a run was trained by the recipe that params.yaml has now; keys that are new since are not compared."""
    now = run_params(run)
    then = read_json(run.folder / "train.json").get("recipe", {})
    return all(now.get(key, value) == value for key, value in then.items())


def findings_from_store(settings: Settings) -> Findings:
    """The newest tracked run of every cell whose parameters are those of params.yaml; scores from its metrics."""
    runs = {Run(settings, *cell).key: Run(settings, *cell) for cell in settings.grid.runs()}
    tracking, findings, seen = Tracking(ROOT, settings.suite.name), Findings(), set()
    titles = method_titles(settings)
    for tracked in tqdm(tracking.finished_runs(), desc="tracked runs", leave=False):
        key = tracked.data.tags["hashrepro.run"]
        if key not in runs or key in seen or tracked.data.tags["params_digest"] != params_digest(runs[key]):
            continue
        seen.add(key)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / settings.suite.name / key
            folder.mkdir(parents=True)
            tracking.download(tracked, FILES, folder)
            if record := findings.add(folder.parent, key, titles[runs[key].method]):
                record.scores = nested(tracked.data.metrics, record.scores)
    return findings


def published_figures(settings: Settings) -> Published:
    """What data/published/ has on the data sets of params.yaml: a paper's table may have more of them than the grid."""
    names = settings.report.published
    first = [
        name for name in names if name not in settings.grid.datasets
    ]  # of two with one label the grid's stays
    datasets = {label: name for name in (*first, *settings.grid.datasets) for label in names.get(name, [])}
    return read_folder(ROOT / "data" / "published", datasets, settings.report.band)


def recipes(settings: Settings) -> dict[tuple[str, str], dict]:
    """(method, data set) -> recipe as params.yaml has it, without defaults; cells that have none are missing."""
    found = {}
    for method in settings.grid.methods:
        changes = settings.overrides
        if settings.suite.method:
            changes = {**changes, **settings.variants[method]}
        for dataset, recipe in settings.train.get(settings.kind(method), {}).items():
            found[method, dataset] = {**recipe, **changes}
    return found


def related(settings: Settings, find: Callable[[Settings], Findings]) -> dict:
    """The reports that belong to this one, as "parts" and "whole" of the page's facts; addresses seen from the page."""

    def suite(name: str) -> Settings:
        return load_settings(ROOT, suite_file(ROOT, name))

    def link(other: Settings) -> dict:
        page = Path(os.path.relpath(ROOT / other.suite.reports, ROOT / settings.suite.reports)) / "index.html"
        return {"title": other.suite.title or other.suite.name, "href": page.as_posix()}

    def part(other: Settings) -> dict:
        findings = find(other)
        names = page_names(findings.records, grid := grid_of(other, findings), method_titles(other))
        return {**link(other), "bits": grid.bits, "rows": part_rows(findings.records, grid, names)}

    above = settings.suite.name.rpartition("/")[0]
    parts = [part(suite(name)) for name in settings.suite.parts]
    return {"parts": parts, "whole": link(suite(above)) if above else None}


def grid_of(settings: Settings, findings: Findings) -> Grid:
    grid = settings.grid
    lists = (tuple(getattr(grid, name)) for name in ("methods", "datasets", "bits", "seeds"))
    return Grid(settings.suite.name, *lists, findings.skipped)


def method_titles(settings: Settings) -> dict[str, str]:
    return {method: settings.method_title(method) for method in settings.grid.methods}


def nested(metrics: dict[str, float], layout: dict) -> dict:
    """MLflow's flat metrics in the order and nesting of `layout`, scores by checkpoint, database and name."""
    return {
        selected: {
            database: {name: metrics[f"{selected}.{database}.{name}"] for name in scores}
            for database, scores in databases.items()
        }
        for selected, databases in layout.items()
    }


@stage
def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--from-mlflow", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    settings = load_settings(ROOT, options.file)
    find = findings_from_store if options.from_mlflow else findings_from_runs
    findings = find(settings)
    records, skipped = findings.records, findings.skipped
    if not records and not skipped:
        raise UserError(
            "There is no finished run to report.",
            where="the tracking store" if options.from_mlflow else f"runs/{settings.suite.name}",
            mend=f"hashrepro run {settings.suite.name}",
        )
    grid = grid_of(settings, findings)
    destination = ROOT / (options.out or settings.suite.reports)
    notes = [line.removeprefix("- ") for line in untrained(records)]
    if findings.outdated:
        notes.append(
            "Left out, as they are of an earlier recipe or were not scored since they were trained: "
            f"{', '.join(findings.outdated)}."
        )
    facts = {
        "title": settings.suite.title,
        "summary": settings.suite.summary,
        "notes": notes,
        "titles": method_titles(settings),
        **related(settings, find),
    }
    write_report(records, grid, destination, published_figures(settings), facts, recipes(settings))
    left_out = f", {len(skipped)} skipped" if skipped else ""
    left_out += f", {len(findings.outdated)} out of date" if findings.outdated else ""
    print(f"{len(records)} of {len(grid.keys)} runs reported{left_out}: {destination / 'index.html'}")


if __name__ == "__main__":
    main()
