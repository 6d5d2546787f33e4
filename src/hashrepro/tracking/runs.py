"""A run as it is logged: by the stages that make it, or later from the files that they leave in runs/."""

import csv
import json
from pathlib import Path

from hashrepro.errors import UserError
from hashrepro.files import file_digest, read_json
from hashrepro.tracking.delivery import Steps
from hashrepro.tracking.store import Tracking

TRAINED = ("model.safetensors", "learned.safetensors", "history.csv", "train.json")
IDENTITY = ("method", "dataset", "bits", "seed")
# of train.json, what training knows when it begins
TAGS = (
    *IDENTITY,
    *("commit", "dirty", "params_digest", "data_digest"),
    *("device", "processes", "cpu", "platform", "versions", "dvc_stage"),
)


def tags_of(about: dict) -> dict[str, str]:
    """The tags of a run from what train.json says of it."""
    return {
        name: json.dumps(about[name]) if isinstance(about[name], dict) else str(about[name])
        for name in TAGS
        if name in about
    }


def log_training(tracking: Tracking, run_id: str, folder: Path) -> None:
    """Log what training left in a run's folder, but for its steps; the run is then finished, with its model's tag."""
    tracking.log_files(run_id, "", *(folder / name for name in TRAINED))
    tracking.tag(run_id, trained="yes", model=file_digest(folder / "model.safetensors"))
    tracking.end(run_id)


def log_evaluation(tracking: Tracking, run_id: str, folder: Path) -> None:
    """Log what encoding and scoring left in a run's folder.

    Every score is a metric, ``last.learned.map``; the few of metrics.json are ``headline/map`` and so on, too.
    """
    from hashrepro.reporting import records  # which decides no number of the stages that use this module

    scores = read_json(folder / "scores.json")["scores"]
    headline = read_json(folder / "metrics.json")
    values = records.flat_metrics(scores) | {f"headline/{name}": value for name, value in headline.items()}
    tracking.log_scores(run_id, values)
    others = (path for path in sorted(folder.iterdir()) if path.name not in TRAINED and path.name[0] != ".")
    tracking.log_files(run_id, "", *others)
    tracking.tag(run_id, evaluated="yes")


def read_about(folder: Path) -> dict:
    """What train.json says of the run in a folder.

    Raises:
        UserError: training has not finished there, or not all that it left is there.
    """
    if missing := [name for name in TRAINED if not (folder / name).exists()]:
        what = f"The run {folder.name} has no {', '.join(missing)} here."
        raise UserError(what, where=folder, mend="dvc pull brings it, or dvc repro makes it")
    return read_json(folder / "train.json")


def tracked(tracking: Tracking, folder: Path, about: dict) -> str | None:
    """Id of the newest tracked run of the very network that is in a run's folder; None if the store has none."""
    own = {"hashrepro.run": folder.name}
    if "skipped" in about:
        return tracking.find({**own, "hashrepro.trained": "skipped", "params_digest": about["params_digest"]})
    return tracking.find({**own, "hashrepro.model": file_digest(folder / "model.safetensors")})


def adopt(tracking: Tracking, folder: Path, scored: bool = True) -> str:
    """Log what a run's folder has and the store lacks; the id of the tracked run.

    A run that the store does not know at all was restored from DVC's cache, made with another store, or could not be
    delivered: it is logged anew, the seconds of its iterations apart, which no file has.

    Args:
        scored: whether the scores that may be there are of the network that is there.

    Raises:
        UserError: as `read_about`.
    """
    about = read_about(folder)
    if (run_id := tracked(tracking, folder, about)) is None:
        run_id = _log_whole(tracking, folder, about)
    if scored and "skipped" not in about and (folder / "scores.json").exists():
        log_evaluation(tracking, run_id, folder)
    return run_id


def _log_whole(tracking: Tracking, folder: Path, about: dict) -> str:
    skipped = about.get("skipped")
    params = {**{name: about[name] for name in IDENTITY}, **about.get("recipe", {})}
    fingerprint = about["params_digest"] if skipped else about["fingerprint"]
    run_id = tracking.start(folder.name, fingerprint, tags_of(about), params)
    tracking.tag(run_id, first_id=about["mlflow_run_id"])
    if skipped:
        tracking.log_files(run_id, "", folder / "train.json")
        tracking.tag(run_id, skipped=skipped, trained="skipped", evaluated="yes")
        tracking.end(run_id)
        return run_id
    source = {"dvc.path": f"data/processed/{about['dataset']}"}
    tracking.log_data(run_id, about["dataset"], about["data_digest"], source)
    steps = Steps(tracking, run_id)
    with open(folder / "history.csv", newline="") as file:
        for row in csv.DictReader(file):
            step = int(row.pop("iteration"))
            steps.add(step, {name: float(value) for name, value in row.items() if value})
    steps.send()
    log_training(tracking, run_id, folder)
    return run_id
