"""Runs are found again, continued and told apart, in the repository's own store as on a server."""

import sqlite3

import pytest

from hashrepro.errors import UserError
from hashrepro.tracking import Tracking, store_uri
from hashrepro.tracking.store import metrics, reason, shown

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload``:DeprecationWarning"
)  # SQLAlchemy's, in MLflow's models


@pytest.fixture(scope="module", params=["file", "server"])
def tracking(request, root):
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "server":
            patch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue("server"))
        else:
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield Tracking(root, f"suite/{request.param}")


def log_step(tracking, run, step, **values):
    tracking.log_metrics(run, metrics(values, step))


def test_the_store_is_the_repositorys_own_unless_the_environment_says_otherwise(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert store_uri(tmp_path) == f"sqlite:///{tmp_path}/mlruns.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5555")
    assert store_uri(tmp_path) == "http://127.0.0.1:5555"


def test_a_password_in_an_address_is_not_shown():
    assert shown("https://anna:secret@host:5000/path") == "https://host:5000/path"
    assert shown("sqlite:////home/anna/a@b/mlruns.db") == "sqlite:////home/anna/a@b/mlruns.db"


def test_a_failure_is_told_in_a_line_without_a_password():
    detail = (
        "HTTPConnectionPool(host='h', port=1): Max retries (Caused by X('[Errno 111] Connection refused'))"
    )
    error = OSError(f"API request to http://anna:secret@h:1/log failed with exception {detail}\nmore")
    assert reason(error) == "API request to http://h:1/log failed: [Errno 111] Connection refused"
    assert reason(OSError()) == "OSError"


def test_readers_of_the_file_do_not_hold_up_writers(root):
    with sqlite3.connect(root / "mlruns.db") as file:
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    file.close()


def test_a_store_that_does_not_answer_is_named_with_what_mends_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://anna:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match="The tracking store does not answer") as caught:
        Tracking(tmp_path, "suite")
    assert caught.value.where == "http://127.0.0.1:9"
    assert "secret" not in str(caught.value)
    assert "start the server" in caught.value.mend
    assert not list(tmp_path.iterdir())


def test_an_unfinished_run_goes_on_and_a_finished_one_does_not(tracking):
    first = tracking.start("run", "print", {"commit": "a"}, {"bits": 12})
    log_step(tracking, first, 1, loss=3.0)
    log_step(tracking, first, 2, loss=2.0)
    assert tracking.last_step(first) == 2
    assert tracking.start("run", "print", {"commit": "b"}, {"bits": 12}) == first
    tags = tracking.client.get_run(first).data.tags
    assert (tags["commit"], tags["suite"]) == ("b", tracking.suite)
    assert tracking.start("run", "another print", {}, {"bits": 24}) != first
    tracking.tag(first, trained="yes")
    tracking.end(first)
    assert tracking.start("run", "print", {}, {"bits": 12}, ended=True) == first
    assert tracking.start("run", "print", {}, {"bits": 12}) != first


def test_of_two_clones_with_one_store_each_goes_on_with_its_own_run(tracking, tmp_path, monkeypatch):
    run = tracking.start("shared", "print", {}, {})
    elsewhere = Tracking(tmp_path, tracking.suite) if tracking.uri.startswith("http") else tracking
    monkeypatch.setattr(elsewhere, "place", "another")
    assert elsewhere.start("shared", "print", {}, {}) != run


def test_the_same_step_sent_twice_is_stored_once(tracking):
    run = tracking.start("twice", "print", {}, {})
    step = metrics({"loss": 1.0, "map": 0.5}, 7)
    tracking.log_metrics(run, step)
    tracking.log_metrics(run, [*metrics({"loss": 2.0}, 8), *step])
    history = tracking.client.get_metric_history(run, "loss")
    assert sorted((entry.step, entry.value) for entry in history) == [(7, 1.0), (8, 2.0)]


def test_scores_and_files_come_back(tracking, tmp_path):
    run = tracking.start("scored", "print", {}, {})
    assert tracking.last_step(run) == 0
    (tmp_path / "curves").mkdir()
    (tmp_path / "curves" / "a.csv").write_text("n\n1\n")
    (tmp_path / "scores.json").write_text("{}")
    third = 1 / 3
    tracking.log_scores(run, {"last.learned.map": third})
    tracking.log_files(run, "", tmp_path / "curves", tmp_path / "scores.json")
    assert tracking.finished_runs() == []
    tracking.tag(run, evaluated="yes", model="123")
    (found,) = tracking.finished_runs()
    assert found.data.metrics == {"last.learned.map": third}
    assert tracking.find({"hashrepro.run": "scored", "hashrepro.model": "123"}) == run
    assert tracking.find({"hashrepro.run": "scored", "hashrepro.model": "124"}) is None
    out = tmp_path / "out"
    out.mkdir()
    tracking.download(found, ("curves", "scores.json", "gallery"), out)
    there = sorted(str(path.relative_to(out)) for path in out.rglob("*"))
    assert there == ["curves", "curves/a.csv", "scores.json"]
    assert (out / "curves" / "a.csv").read_text() == "n\n1\n"


def test_the_data_set_is_named_with_its_digest(tracking):
    run = tracking.start("data", "print", {}, {})
    tracking.log_data(run, "fashion", "d" * 64, {"dvc.path": "data/processed/fashion"})
    (entry,) = tracking.client.get_run(run).inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("fashion", "d" * 32)


def test_an_experiment_that_another_machine_makes_at_the_same_time_is_found(tracking, monkeypatch):
    find, asked = tracking.client.get_experiment_by_name, []

    def not_yet(self, name):
        asked.append(name)
        return None if len(asked) == 1 else find(name)

    monkeypatch.setattr(type(tracking.client), "get_experiment_by_name", not_yet)
    assert Tracking(tracking.root, tracking.suite).experiment == tracking.experiment
    assert len(asked) == 2


def test_a_deleted_experiment_is_not_written_to(tracking):
    other = Tracking(tracking.root, f"{tracking.suite}-deleted")
    other.client.delete_experiment(other.experiment)
    with pytest.raises(UserError, match="was deleted") as caught:
        Tracking(tracking.root, other.suite)
    assert caught.value.mend.endswith(f"mlflow experiments restore --experiment-id {other.experiment}")
