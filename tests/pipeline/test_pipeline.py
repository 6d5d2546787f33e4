"""The real stages on a few dozen real images."""

import csv
import json
import re

import pytest

pytestmark = pytest.mark.timeout(1200)  # whole processes, on a slow machine, too

METHODS = ("adsh", "schn_tomm")
RUNS = [f"{method}-{dataset}-12-s0" for method in METHODS for dataset in ("fashion", "birds")]


def executed(log: str) -> set[str]:
    """Names of the stages that a `dvc repro` ran."""
    return set(re.findall(r"Running stage '([^']+)'", log))


def test_everything_is_written(built):
    for key in RUNS:
        folder = built.root / "runs" / "quickstart" / key
        there = {path.name for path in folder.iterdir()}
        assert there >= {
            "model.safetensors",
            "learned.safetensors",
            "history.csv",
            "train.json",
            "codes.safetensors",
        }
        assert there >= {"metrics.json", "scores.json", "curves", "gallery"}
        metrics = json.loads((folder / "metrics.json").read_text())
        assert all(0 <= value <= 1 for name, value in metrics.items() if "uncoded" not in name)
    with open(built.root / "reports" / "results.csv") as file:
        rows = list(csv.DictReader(file))
    assert {(row["method"], row["dataset"]) for row in rows} >= {("adsh", "fashion"), ("schn_tomm", "birds")}
    page = (built.root / "reports" / "index.html").read_text()
    assert not re.findall(r"""(?:src|href)=["']?https?://(?!arxiv|doi|github)""", page)
    assert list((built.root / "work" / "quickstart").glob("*/checkpoint*")) == []


def test_database_images_without_a_code_are_counted_and_dropped_where_the_recipe_says_so(built):
    folder = built.root / "runs" / "quickstart" / "schn_tomm-fashion-12-s0"
    uncoded = json.loads((folder / "scores.json").read_text())["scores"]["last"]["learned"]["uncoded"]
    assert 40 - 2 * 12 <= uncoded <= 40 - 12
    for database, searched in (("learned", 40 - uncoded), ("network", 40)):
        with open(folder / "curves" / f"{database}-precision_at.csv") as file:
            assert max(int(row["n"]) for row in csv.DictReader(file)) == searched


def test_again_there_is_nothing_to_do(built, warm):
    log = warm.dvc(built.root, "repro")
    assert "up to date" in log
    assert executed(log) == set()


def test_dvc_shows_metrics_and_plots(built):
    assert "adsh-fashion-12-s0" in built.run("dvc", "metrics", "show")
    assert "index.html" in built.run("dvc", "plots", "show")


def test_the_report_comes_out_of_the_tracking_store_alone(built):
    assert_same_report_from_the_store(built)


def assert_same_report_from_the_store(built):
    code, output = built.script("hashrepro", "report", "--from-mlflow", "--out", "reports-mlflow")
    assert code == 0, output
    for name in ("results.md", "results.csv", "results.tex", "comparisons.csv", "index.html"):
        assert (built.root / "reports-mlflow" / name).read_bytes() == (
            built.root / "reports" / name
        ).read_bytes()


@pytest.mark.filterwarnings(
    "ignore:The ``noload``:DeprecationWarning"
)  # SQLAlchemy's, of MLflow's own models
def test_a_run_is_one_mlflow_run_with_its_provenance(built):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{built.root}/mlruns.db")
    experiment = client.get_experiment_by_name("quickstart")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == sorted(RUNS)
    commit = built.run("git", "rev-parse", "HEAD").strip()
    for run in runs:
        assert run.info.status == "FINISHED"
        assert run.data.tags["commit"] == commit
        assert run.data.tags["dirty"] == "False"
        assert len(client.get_metric_history(run.info.run_id, "loss")) == 2
        assert run.inputs.dataset_inputs[0].dataset.name in ("fashion", "birds")
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert files >= {"model.safetensors", "codes.safetensors", "scores.json", "curves", "gallery"}
        assert "per_query.parquet" in files


def test_one_learning_rate_makes_exactly_its_run_and_the_report_stale(built, warm):
    def change(values):
        values["train"]["adsh"]["birds"]["learning_rate"] = 2.0e-4

    built.edit(change)
    status = json.loads(built.run("dvc", "status", "--json", "dvc.yaml").splitlines()[-1])
    assert set(status) == {
        "train@adsh-birds-12-0",
        "encode@adsh-birds-12-0",
    }  # the rest follows from their outputs
    assert_left_out(built, "adsh-birds-12-s0")  # its recipe is another one now
    log = warm.dvc(built.root, "repro", "--single-item", "train@adsh-birds-12-0")
    assert_left_out(built, "adsh-birds-12-s0")  # its scores are those of the training before
    log += warm.dvc(built.root, "repro")
    assert executed(log) == {
        *(f"{stage}@adsh-birds-12-0" for stage in ("train", "encode", "evaluate")),
        "report",
    }
    _, again = built.script("hashrepro", "report", "--from-mlflow", "--out", "reports-mlflow")
    assert "adsh-birds-12-s0" in (built.root / "reports-mlflow" / "index.html").read_text(), again


def assert_left_out(built, key):
    """A report of what there is has all runs but this one, and says so."""
    code, output = built.script("hashrepro", "report", "--out", "reports-partly")
    assert code == 0, output
    assert f"{len(RUNS) - 1} of {len(RUNS)} runs reported, 1 out of date" in output
    folder = built.root / "reports-partly"
    assert f"not scored since they were trained: {key}." in (folder / "index.html").read_text()
    with open(folder / "results.csv") as file:
        assert [row["keys"] for row in csv.DictReader(file) if row["runs"] == "0"] == [""]


def test_what_does_not_fit_together_is_skipped_with_its_reason(built, warm):
    def change(values):
        values["grid"] |= {"methods": ["semicon"], "datasets": ["birds"], "bits": [4, 12]}

    built.edit(change)
    reason = "4 bits cannot be shared between one global and 3 local parts"
    log = warm.dvc(built.root, "repro")
    assert f"semicon-birds-4-s0 is skipped: {reason}" in log
    stages = ("train", "encode", "evaluate")
    expected = {f"{stage}@semicon-birds-{bits}-0" for stage in stages for bits in (4, 12)}
    assert executed(log) == {*expected, "report"}
    again = built.run("hashrepro", "repro")
    assert f"semicon on birds with 4 bits will be skipped: {reason}" in again
    assert executed(again) == set()
    with open(built.root / "reports" / "results.csv") as file:
        skipped, scored = csv.DictReader(file)
    assert (skipped["map"], skipped["skipped"]) == ("skipped", reason)
    assert 0 < float(scored["map"]) <= 1
    assert scored["skipped"] == ""
    for name in ("results.md", "results.tex", "index.html"):
        assert f"[1] skipped: {reason}" in (built.root / "reports" / name).read_text()
    assert_same_report_from_the_store(built)
