"""A store that fails while a network trains loses no step and gets none twice; a stage's end does not hang on it."""

import pytest
import requests

from hashrepro.errors import UserError
from hashrepro.tracking import delivery
from hashrepro.tracking.delivery import Steps, deliver


class Store:
    """A store that takes what it is given while it is up, and may have taken it although no answer came."""

    def __init__(self, last=0):
        self.up, self.answers, self.entries, self.calls, self.last = True, True, set(), [], last

    def last_step(self, run_id):
        return self.last

    def log_metrics(self, run_id, metrics):
        self.calls.append(len(metrics))
        if self.up:
            assert len(metrics) <= 1000
            # as MLflow does: an equal value of the same step and time is the same entry
            self.entries |= {(m.key, m.step, m.timestamp, m.value) for m in metrics}
        if not (self.up and self.answers):
            raise requests.ConnectionError("connection refused")

    @property
    def steps(self):
        return sorted(step for key, step, _, _ in self.entries if key == "loss")


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(delivery, "PAUSE", 0.0)


def test_steps_that_the_store_does_not_take_go_with_a_later_one(impatient, capsys):
    store = Store()
    steps = Steps(store, "run")
    steps.log(1, {"loss": 3.0, "map": 0.1})
    store.up = False
    steps.log(2, {"loss": 2.0})
    steps.log(3, {"loss": 1.0})
    assert store.steps == [1]
    assert "does not take step 2, it is kept: connection refused" in capsys.readouterr().err
    store.up = True
    steps.log(4, {"loss": 0.5})
    assert store.steps == [1, 2, 3, 4]


def test_a_step_whose_answer_is_lost_is_stored_once(impatient):
    store = Store()
    steps = Steps(store, "run")
    store.answers = False
    steps.log(1, {"loss": 3.0})
    store.answers = True
    steps.log(2, {"loss": 2.0})
    assert store.steps == [1, 2]


def test_what_the_store_has_from_before_is_not_logged_again():
    store = Store(last=2)
    steps = Steps(store, "run")
    for step in (1, 2, 3, 3):
        steps.log(step, {"loss": 1.0 / step})
    assert store.steps == [3]


def test_a_store_that_failed_is_left_alone_for_a_while(monkeypatch):
    store, now = Store(), [1000.0]
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now[0])
    steps = Steps(store, "run")
    store.up = False
    for step in range(1, 5):
        steps.log(step, {"loss": 1.0})
    assert len(store.calls) == 1
    now[0] += delivery.PAUSE
    store.up = True
    steps.log(5, {"loss": 1.0})
    assert store.steps == [1, 2, 3, 4, 5]


def test_the_values_of_a_step_stay_together_in_batches_that_mlflow_takes():
    store = Store()
    steps = Steps(store, "run")
    for step in range(1, 401):
        steps.add(step, {"loss": 1.0, "map": 0.5, "rate": 0.1})
    steps.send()
    assert store.calls == [999, 201]
    assert store.steps == list(range(1, 401))
    steps.send()
    assert len(store.calls) == 2


def test_a_stage_ends_well_without_the_store_and_says_what_mends_it(monkeypatch, capsys):
    monkeypatch.setenv("HASHREPRO_STORE_PATIENCE", "0")

    def fail():
        raise requests.ConnectionError("connection refused")

    assert not deliver("adsh-cub-12-s0", "semicon", fail)
    text = capsys.readouterr().err
    assert "adsh-cub-12-s0 is finished, but the tracking store does not have all of it" in text
    assert "hashrepro runs adopt semicon" in text


def test_what_is_left_is_tried_again_until_it_goes_well(monkeypatch):
    waited, failing = [], [OSError("one"), OSError("two")]
    monkeypatch.setattr(delivery.time, "sleep", waited.append)

    def send():
        if failing:
            raise failing.pop()

    assert deliver("run", "suite", send)
    assert waited == [1.0, 2.0]


def test_a_missing_file_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(delivery.time, "sleep", lambda seconds: pytest.fail("it waited"))

    def send():
        raise UserError("The run has no model.safetensors here.")

    assert not deliver("run", "suite", send)


def test_a_fault_of_the_program_is_not_taken_for_the_stores():
    with pytest.raises(ZeroDivisionError):
        deliver("run", "suite", lambda: 1 / 0)
