"""report SUITE_FILE [--from-mlflow] [--out DIR]: tables, figures, galleries and the page of a suite.

reads  runs/<suite>/*/ of the suite's grid; with --from-mlflow the same runs from the tracking store alone
writes reports/: index.html, results.{md,csv,tex}, comparisons.{md,csv,tex}, scores.csv, figures/, plots/
"""

import argparse
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from common import ROOT, Run, params_digest, stage
from tqdm import tqdm

from hashrepro.errors import UserError
from hashrepro.files import read_json
from hashrepro.reporting.legend import untrained
from hashrepro.reporting.page import write_report
from hashrepro.reporting.published import read_published
from hashrepro.reporting.records import Grid, RunRecord, load_record
from hashrepro.settings import Settings, load_settings
from hashrepro.tracking import Tracking

FILES = ("scores.json", "per_query.parquet", "train.json", "encode.json", "history.csv", "curves", "gallery")


@dataclass
class Findings:
    """What there is to report of a grid: the runs that were scored, and why others were skipped."""

    records: list[RunRecord] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # key of the run -> reason
    titles: dict[str, str] = field(default_factory=dict)  # method of a skipped run -> its title

    def add(self, folder: Path, key: str) -> RunRecord | None:
        """Read the run `key` from a suite's folder; its record, or None if it was skipped."""
        train = read_json(folder / key / "train.json")
        if "skipped" in train:
            self.skipped[key] = train["skipped"]
            self.titles[train["method"]] = train["method_title"]
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
    """The runs of the grid that DVC has built."""
    findings = Findings()
    for cell in settings.grid.runs():
        run = Run(settings, *cell)
        if (run.folder / "scores.json").exists():
            findings.add(run.folder.parent, run.key)
    return findings


def findings_from_store(settings: Settings) -> Findings:
    """The newest tracked run of every cell whose parameters are those of params.yaml; scores from its metrics."""
    runs = {Run(settings, *cell).key: Run(settings, *cell) for cell in settings.grid.runs()}
    tracking, findings, seen = Tracking(ROOT, settings.suite.name), Findings(), set()
    for tracked in tqdm(tracking.finished_runs(), desc="tracked runs", leave=False):
        key = tracked.data.tags["hashrepro.run"]
        if key not in runs or key in seen or tracked.data.tags["params_digest"] != params_digest(runs[key]):
            continue
        seen.add(key)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / settings.suite.name / key
            folder.mkdir(parents=True)
            for name in FILES:
                tracking.download(tracked.info.run_id, name, folder)
            if record := findings.add(folder.parent, key):
                record.scores = nested(tracked.data.metrics, record.scores)
    return findings


def published_figures(settings: Settings) -> pd.DataFrame:
    """The figures of data/published/ on the data sets of the grid."""
    names = settings.report.published
    datasets = {label: name for name in settings.grid.datasets for label in names.get(name, [])}
    return pd.concat(
        [
            read_published(ROOT / "data" / "published" / f"{name}.csv", datasets)
            for name in ("semicon", "schn")
        ]
    )


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
    findings = findings_from_store(settings) if options.from_mlflow else findings_from_runs(settings)
    records, skipped = findings.records, findings.skipped
    if not records and not skipped:
        raise UserError(
            "There is no finished run to report.",
            where="the tracking store" if options.from_mlflow else f"runs/{settings.suite.name}",
            mend="hashrepro repro",
        )
    grid = Grid(
        settings.suite.name,
        tuple(settings.grid.methods),
        tuple(settings.grid.datasets),
        tuple(settings.grid.bits),
        tuple(settings.grid.seeds),
        skipped,
    )
    destination = ROOT / (options.out or settings.suite.reports)
    notes = [line.removeprefix("- ") for line in untrained(records)]
    facts = {"notes": notes, "titles": findings.titles}
    write_report(records, grid, destination, published_figures(settings), facts)
    left_out = f", {len(skipped)} skipped" if skipped else ""
    print(f"{len(records)} of {len(grid.keys)} runs reported{left_out}: {destination / 'index.html'}")


if __name__ == "__main__":
    main()
