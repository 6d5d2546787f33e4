"""Runs are found again, continued and told apart."""

import pytest

from hashrepro.tracking import Tracking, store_uri

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload``:DeprecationWarning"
)  # SQLAlchemy's, in MLflow's models


@pytest.fixture(scope="module")
def tracking(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield Tracking(tmp_path_factory.mktemp("store"), "suite")
    patch.undo()


def test_the_store_is_the_repositorys_own_unless_the_environment_says_otherwise(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert store_uri(tmp_path) == f"sqlite:///{tmp_path}/mlruns.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5555")
    assert store_uri(tmp_path) == "http://127.0.0.1:5555"


def test_an_unfinished_run_goes_on_and_a_finished_one_does_not(tracking):
    first = tracking.start("run", "print", {"commit": "a"}, {"bits": 12})
    tracking.log_step(first, 1, {"loss": 3.0})
    tracking.log_step(first, 2, {"loss": 2.0})
    assert tracking.last_step(first, "loss") == 2
    assert tracking.start("run", "print", {"commit": "b"}, {"bits": 12}) == first
    assert tracking.client.get_run(first).data.tags["commit"] == "b"
    assert tracking.start("run", "another print", {}, {"bits": 24}) != first
    tracking.tag(first, trained="yes")
    tracking.end(first)
    assert tracking.start("run", "print", {}, {"bits": 12}) != first


def test_scores_and_files_come_back(tracking, tmp_path):
    run = tracking.start("scored", "print", {}, {})
    assert tracking.last_step(run, "loss") == 0
    (tmp_path / "curves").mkdir()
    (tmp_path / "curves" / "a.csv").write_text("n\n1\n")
    (tmp_path / "scores.json").write_text("{}")
    tracking.log_scores(run, {"last.learned.map": 0.25})
    tracking.log_files(run, "", tmp_path / "curves", tmp_path / "scores.json")
    assert tracking.finished_runs() == []
    tracking.tag(run, evaluated="yes", model="123")
    (found,) = tracking.finished_runs()
    assert found.data.metrics == {"last.learned.map": 0.25}
    assert tracking.find({"hashrepro.run": "scored", "hashrepro.model": "123"}) == run
    assert tracking.find({"hashrepro.run": "scored", "hashrepro.model": "124"}) is None
    out = tmp_path / "out"
    out.mkdir()
    for name in ("curves", "scores.json", "gallery"):
        tracking.download(run, name, out)
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*")) == [
        "curves",
        "curves/a.csv",
        "scores.json",
    ]


def test_the_data_set_is_named_with_its_digest(tracking):
    run = tracking.start("data", "print", {}, {})
    tracking.log_data(run, "fashion", "d" * 64, {"dvc.path": "data/processed/fashion"})
    (entry,) = tracking.client.get_run(run).inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("fashion", "d" * 32)
