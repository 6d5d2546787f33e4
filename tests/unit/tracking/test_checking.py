"""What the store has and what is built are held against the grid as it is now."""

import fcntl
import json
import multiprocessing

import pytest
from mlflow.entities import LifecycleStage, Metric, Run, RunData, RunInfo, RunStatus, RunTag

from hashrepro.files import file_digest, write_json
from hashrepro.tracking.checking import Built, Tracked, built, compare

A, B = "adsh-cub-12-s0", "adsh-cub-24-s0"
CELLS = {A: "now-a", B: "now-b"}
DONE = Built("now-a", "model", "print", scored=True)


def found(tracked, here=None, cells=CELLS):
    """(what, first word of which, first words of the mend) of what is amiss."""
    where = {"suite": "semicon", "place": "here", "build": "hashrepro run semicon"}
    findings = compare(tracked, cells, here or {}, **where)
    return [(f.what, f.which, " ".join(f.mend.split()[:3])) for f in findings]


def run(name, key=A, params="now-a", **values):
    return Tracked(name, key, params, **{"model": "model", "fingerprint": "print", "place": "here", **values})


def test_a_store_that_has_each_built_run_once_is_in_order():
    assert found([run("1")], {A: DONE}) == []
    assert found([], {}) == []
    assert found([run("1", trained="skipped", model=None)], {A: Built("now-a", scored=True)}) == []


def test_runs_of_another_clone_that_are_not_built_here_are_in_order():
    assert found([run("1", place="there"), run("2", B, "now-b", trained="no", place="there")]) == []


def test_cells_that_were_taken_out_and_parameters_that_were_changed_leave_runs_behind():
    runs = [run("1", "adsh-cub-64-s0"), run("2", params="before"), run("3")]
    assert found(runs, {A: DONE}) == [
        ("has other parameters than the grid now", f"{A} 2", "mlflow runs delete"),
        ("belongs to no cell of the grid", "adsh-cub-64-s0 1", "mlflow runs delete"),
    ]


def test_what_is_built_and_not_tracked_is_to_be_adopted():
    adopt = "hashrepro runs adopt"
    assert found([], {A: DONE}) == [("is built, but not tracked", A, adopt)]
    (finding,) = found([run("1", evaluated=False)], {A: DONE})
    assert finding == ("is scored, but its scores are not tracked", f"{A} 1", adopt)
    assert found([run("1", evaluated=False)], {A: Built("now-a", "model", "print")}) == []
    # what a stage could not deliver: adopting goes on with it
    assert found([run("1", trained="no", model=None)], {A: DONE}) == [("is built, but not tracked", A, adopt)]


def test_another_network_than_the_one_that_is_built_does_not_stand_for_it():
    assert found([run("1", model="other")], {A: DONE}) == [
        ("is built, but not tracked", A, "hashrepro runs adopt"),
        ("is newer than the run of what is built here", f"{A} 1", "mlflow runs delete"),
    ]


def test_of_several_runs_the_one_that_is_built_counts():
    newest_first = [run("3", model="other"), run("2"), run("1")]
    assert [finding[:2] for finding in found(newest_first, {A: DONE})] == [
        ("is newer than the run of what is built here", f"{A} 3"),
        ("was done again since", f"{A} 1"),
    ]
    assert [finding[1] for finding in found(newest_first)] == [f"{A} 2", f"{A} 1"]


def test_an_unfinished_run_is_amiss_unless_a_process_trains_it():
    stopped = [run("1", trained="no", model=None)]
    assert found(stopped, {A: Built(training=True)}) == []
    assert found(stopped, {A: Built(training=True, checkpoint="print")}) == []
    assert found(stopped, {A: Built(checkpoint="print")}) == [
        ("was stopped, and can go on", f"{A} 1", "hashrepro run semicon")
    ]
    lost = ("was stopped, and nothing of it is left", f"{A} 1", "mlflow runs delete")
    assert found(stopped, {A: Built(checkpoint="another")}) == [lost]
    assert found(stopped) == [lost]


def test_a_run_is_read_from_its_tags():
    tags = {
        "hashrepro.run": A, "params_digest": "now-a", "hashrepro.fingerprint": "print", "hashrepro.place": "here",
        "hashrepro.trained": "yes", "hashrepro.evaluated": "yes", "hashrepro.model": "model",
    }  # fmt: skip
    info = RunInfo("id", "0", "user", RunStatus.to_string(RunStatus.FINISHED), 0, 1, LifecycleStage.ACTIVE)
    data = RunData([Metric("last.learned.map", 0.5, 0, 0)], [], [RunTag(*item) for item in tags.items()])
    expected = run("id", map=0.5, started="1970-01-01 00:00")
    assert Tracked.of(Run(info, data)) == expected
    assert expected.state == "scored"
    bare = Tracked.of(Run(info, RunData([], [], [RunTag("hashrepro.run", A)])))
    assert (bare.trained, bare.state) == ("no", "unfinished")


def _train(lock, ready, done):
    with open(lock, "w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        ready.set()
        done.wait(60)


@pytest.fixture
def cell(tmp_path):
    folder, work = tmp_path / "runs" / A, tmp_path / "work" / A
    folder.mkdir(parents=True)
    work.mkdir(parents=True)
    return folder, work


def test_a_cell_is_looked_at_without_changing_it(cell):
    folder, work = cell
    assert built(*cell) == Built()
    (work / "fingerprint").write_text("print")
    assert built(*cell) == Built()
    (work / "checkpoint.safetensors").write_bytes(b"")
    assert built(*cell) == Built(checkpoint="print")
    (folder / "model.safetensors").write_bytes(b"weights")
    write_json(folder / "train.json", {"params_digest": "now-a", "fingerprint": "print"})
    model = file_digest(folder / "model.safetensors")
    assert built(*cell) == Built("now-a", model, "print", checkpoint="print")
    (folder / "scores.json").write_text("{}")
    assert built(*cell).scored
    write_json(folder / "train.json", {"params_digest": "now-a", "skipped": "it does not fit"})
    assert built(*cell).model is None
    (folder / "train.json").write_text(json.dumps({"params_digest": "now-a"})[:-3])
    assert built(*cell) == Built(checkpoint="print")
    assert not list(work.parent.glob("*.lock"))


def test_a_process_that_trains_is_noticed(cell):
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    lock = cell[1].with_name(f"{A}.lock")
    process = context.Process(target=_train, args=(lock, ready, done))
    process.start()
    try:
        assert ready.wait(60)
        assert built(*cell).training
    finally:
        done.set()
        process.join()
    assert not built(*cell).training
