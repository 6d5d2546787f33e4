"""What runs/ has and the store lacks is logged once, and what is amiss is said."""

from types import SimpleNamespace

import pytest

from hashrepro.errors import UserError
from hashrepro.files import file_digest, read_json, value_digest, write_json
from hashrepro.settings import Suite
from hashrepro.tracking import Tracking
from hashrepro.tracking.commands import adopt_runs, check_runs, list_runs, table
from hashrepro.tracking.delivery import Steps
from hashrepro.tracking.runs import TRAINED, adopt, log_training, tags_of, tracked

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload``:DeprecationWarning"
)  # SQLAlchemy's, in MLflow's models

KEY = "adsh-cub-12-s0"
IDENTITY = {"method": "adsh", "dataset": "cub", "bits": 12, "seed": 0}
RECIPE = {"iterations": 3, "learning_rate": 0.1}
PARAMS = {**IDENTITY, **RECIPE}
THIRD = 1 / 3


@pytest.fixture
def tracking(root, monkeypatch, request):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Tracking(root, f"runs/{request.node.name[:60]}")


@pytest.fixture
def folder(tmp_path, tracking):
    """A finished run as the stages leave it."""
    folder = tmp_path / "runs" / tracking.suite / KEY
    (folder / "curves").mkdir(parents=True)
    (folder / "curves" / "learned-precision_at.csv").write_text("n\n1\n")
    (folder / ".gitignore").write_text("/model.safetensors\n")
    for name in ("model.safetensors", "learned.safetensors", "codes.safetensors"):
        (folder / name).write_bytes(name.encode())
    (folder / "history.csv").write_text(f"iteration,loss,map\n1,3.0,\n2,{THIRD!r},\n3,1.0,0.5\n")
    write_json(folder / "encode.json", {"seconds": 1.0})
    write_json(folder / "scores.json", {"scores": {"last": {"learned": {"map": THIRD}}}, "about": {}})
    write_json(folder / "metrics.json", {"map": THIRD})
    about = {
        **IDENTITY, "recipe": RECIPE, "params_digest": value_digest(PARAMS), "data_digest": "d" * 64,
        "fingerprint": "print", "mlflow_run_id": "before", "commit": "c", "dirty": False, "versions": {"torch": "2"},
        "seconds": 1.0,
    }  # fmt: skip
    write_json(folder / "train.json", about)
    return folder


def settings(suite):
    grid = SimpleNamespace(runs=lambda: [tuple(IDENTITY.values())])
    return SimpleNamespace(
        suite=Suite(name="quickstart", root=".", file="params.yaml", reports="reports").model_copy(
            update={"name": suite}
        ),
        grid=grid,
        run_params=lambda *cell: PARAMS,
    )


def steps_of(tracking, run_id, metric="loss"):
    return [(entry.step, entry.value) for entry in tracking.client.get_metric_history(run_id, metric)]


def test_a_run_that_the_store_does_not_know_is_logged_whole_and_once(tracking, folder):
    run_id = adopt(tracking, folder)
    run = tracking.client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {name: str(value) for name, value in PARAMS.items()}
    tags = run.data.tags
    assert tags["hashrepro.model"] == file_digest(folder / "model.safetensors")
    assert (tags["hashrepro.trained"], tags["hashrepro.evaluated"]) == ("yes", "yes")
    assert (tags["suite"], tags["dataset"], tags["commit"]) == (tracking.suite, "cub", "c")
    assert tags["hashrepro.first_id"] == "before"
    assert tags["versions"] == '{"torch": "2"}'
    assert steps_of(tracking, run_id) == [(1, 3.0), (2, THIRD), (3, 1.0)]
    assert steps_of(tracking, run_id, "map") == [(3, 0.5)]
    assert run.data.metrics["last.learned.map"] == run.data.metrics["headline/map"] == THIRD
    files = {file.path for file in tracking.client.list_artifacts(run_id)}
    assert files == {*TRAINED, "codes.safetensors", "encode.json", "scores.json", "metrics.json", "curves"}
    assert run.inputs.dataset_inputs[0].dataset.name == "cub"

    assert adopt(tracking, folder) == run_id
    assert len(tracking.runs()) == 1
    assert len(steps_of(tracking, run_id)) == 3


def test_a_run_that_could_not_be_delivered_is_completed(tracking, folder):
    about = read_json(folder / "train.json")
    run_id = tracking.start(KEY, "print", tags_of(about), PARAMS)
    Steps(tracking, run_id).log(1, {"loss": 3.0})
    assert tracked(tracking, folder, about) is None
    assert adopt(tracking, folder) == run_id
    assert steps_of(tracking, run_id) == [(1, 3.0), (2, THIRD), (3, 1.0)]
    assert len(tracking.runs()) == 1


def test_scores_are_added_to_a_run_whose_training_is_tracked(tracking, folder):
    run_id = tracking.start(KEY, "print", {}, {})
    log_training(tracking, run_id, folder)
    assert tracking.finished_runs() == []
    assert adopt(tracking, folder) == run_id
    (run,) = tracking.finished_runs()
    assert run.data.metrics["last.learned.map"] == THIRD


def test_a_skipped_run_is_adopted_with_its_reason(tracking, folder):
    about = read_json(folder / "train.json")
    for name in ("recipe", "fingerprint", "data_digest"):
        del about[name]
    write_json(folder / "train.json", {**about, "skipped": "it does not fit"})
    run_id = adopt(tracking, folder)
    assert adopt(tracking, folder) == run_id
    (run,) = tracking.finished_runs()
    assert run.data.tags["hashrepro.skipped"] == "it does not fit"
    assert [file.path for file in tracking.client.list_artifacts(run_id)] == ["train.json"]


def test_a_run_whose_network_is_not_here_is_not_adopted(tracking, folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"has no model\.safetensors here"):
        adopt(tracking, folder)
    assert tracking.runs() == []


def test_the_commands_say_what_is_amiss_and_adopt_it(tracking, folder, tmp_path, capsys):
    values = settings(tracking.suite)
    assert check_runs(tmp_path, values, tracking) == 1
    output = capsys.readouterr().out
    assert f"{KEY}  is built, but not tracked  hashrepro runs adopt {tracking.suite}" in output
    assert "1 runs in the grid, 1 built here, 0 in the store. 1 to mend." in output
    for count in (1, 0):
        assert adopt_runs(tmp_path, values, tracking) == 0
        assert f"{count} runs logged" in capsys.readouterr().out
    assert check_runs(tmp_path, values, tracking) == 0
    assert "1 built here, 1 in the store. Nothing is amiss." in capsys.readouterr().out
    list_runs(tmp_path, values, tracking)
    head, row, last = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["run", "state", "mAP"]
    assert row.split()[:3] == [KEY, "scored", "33.33"]
    assert last.startswith(f"1 runs of the suite {tracking.suite} in sqlite:")


def test_scores_of_an_earlier_training_are_not_adopted(tracking, folder, tmp_path, capsys):
    """The training was done again, and DVC has not scored it since."""
    model, codes = f"runs/{KEY}/model.safetensors", f"runs/{KEY}/codes.safetensors"
    name = "-".join(map(str, IDENTITY.values()))
    lock = {
        f"train@{name}": {"cmd": "", "outs": [{"path": model, "md5": "new"}]},
        f"encode@{name}": {
            "cmd": "",
            "deps": [{"path": model, "md5": "old"}],
            "outs": [{"path": codes, "md5": "codes"}],
        },
        f"evaluate@{name}": {"cmd": "", "deps": [{"path": codes, "md5": "codes"}]},
    }
    write_json(tmp_path / "dvc.lock", {"schema": "2.0", "stages": lock})  # JSON is YAML
    values = settings(tracking.suite)
    for count in (1, 0):
        assert adopt_runs(tmp_path, values, tracking) == 0
        assert f"{count} runs logged" in capsys.readouterr().out
    (run,) = tracking.finished_runs() or tracking.runs()
    assert "last.learned.map" not in run.data.metrics
    assert check_runs(tmp_path, values, tracking) == 0
    lock[f"encode@{name}"]["deps"][0]["md5"] = "new"
    write_json(tmp_path / "dvc.lock", {"schema": "2.0", "stages": lock})
    assert check_runs(tmp_path, values, tracking) == 1
    assert adopt_runs(tmp_path, values, tracking) == 0
    (run,) = tracking.finished_runs()
    assert run.data.metrics["last.learned.map"] == THIRD


def test_a_table_has_columns():
    assert table([("run", "mAP"), ("a-b", ""), ("c", "1.00")]) == "run  mAP\na-b\nc    1.00"
