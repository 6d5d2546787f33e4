"""What dvc.lock says of a run: whether its scores are of its last training."""

import json
import threading

import pytest

from hashrepro.errors import UserError
from hashrepro.running.recorded import lock_entries, read_lock, scores_fit, stale_scores
from hashrepro.settings import Suite

CHAIN = ("train@a-b-12-0", "encode@a-b-12-0", "evaluate@a-b-12-0")


def entries(**changes: str) -> dict[str, dict]:
    """Of a run all of whose stages have read what the one before made, but for `changes`."""
    md5 = {"made": "m", "read": "m", "codes": "c", "scored": "c", **changes}
    return {
        CHAIN[0]: {"deps": [{"path": "data", "md5": "d"}], "outs": [{"path": "model", "md5": md5["made"]}]},
        CHAIN[1]: {
            "deps": [{"path": "data", "md5": "other"}, {"path": "model", "md5": md5["read"]}],
            "outs": [{"path": "codes", "md5": md5["codes"]}],
        },
        CHAIN[2]: {"deps": [{"path": "codes", "md5": md5["scored"]}]},
    }


@pytest.mark.parametrize(
    ("changes", "fit"),
    [({}, True), ({"made": "anew"}, False), ({"codes": "anew"}, False), ({"read": "old"}, False)],
)
def test_scores_fit_if_each_stage_has_read_what_the_one_before_made(changes, fit):
    assert scores_fit(entries(**changes), *CHAIN) is fit


def test_of_what_was_not_recorded_nothing_is_known():
    assert scores_fit({}, *CHAIN)
    assert scores_fit({CHAIN[0]: entries()[CHAIN[0]]}, *CHAIN)


@pytest.mark.parametrize(
    "text", ["", "schema: '2.0'\n", "schema: '2.0'\nstages:\n", "stages:\n  train@x:\n    cm: [", "sta"]
)
def test_a_torn_lock_file_is_named_with_what_mends_it(tmp_path, text):
    (tmp_path / "dvc.lock").write_text(text)
    with pytest.raises(UserError, match="not whole") as error:
        read_lock(tmp_path / "dvc.lock", patience=0.3)
    assert f"remove {tmp_path}/dvc.lock" in error.value.mend
    assert read_lock(tmp_path / "other.lock") == {}


def test_a_lock_file_that_is_being_written_is_waited_for(tmp_path):
    (tmp_path / "dvc.lock").write_text("")
    writer = threading.Timer(0.5, (tmp_path / "dvc.lock").write_text, [json.dumps({"stages": entries()})])
    writer.start()
    assert read_lock(tmp_path / "dvc.lock") == entries()
    writer.join()


def test_the_stale_runs_of_a_suite_are_found_in_its_own_lock_file(tmp_path):
    suite = Suite(name="x", root="../..", file="papers/x/params.yaml", reports="reports/x")
    runs = [("a", "b", 12, 0), ("a", "b", 24, 0)]
    assert stale_scores(tmp_path, suite, runs) == set()
    (tmp_path / "papers/x").mkdir(parents=True)
    (tmp_path / "papers/x/dvc.lock").write_text(json.dumps({"stages": entries(made="anew")}))
    assert stale_scores(tmp_path, suite, runs) == {runs[0]}
    assert set(lock_entries(tmp_path, [f"papers/x/dvc.yaml:{name}" for name in (*CHAIN, "report")])) == {
        f"papers/x/dvc.yaml:{name}" for name in CHAIN
    }
