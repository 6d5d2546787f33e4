import threading
import time
from contextlib import contextmanager

import pytest

from hashrepro.running.driver import run_all
from hashrepro.running.engines import Threads
from hashrepro.running.job import Job, Outcome
from hashrepro.running.order import urgencies
from hashrepro.running.slots import Slots

STAGES = {
    "data": set(),
    "a": {"data"},
    "b": {"data"},
    "score a": {"a"},
    "score b": {"b"},
    "report": {"score a", "score b"},
}


def run(stages, function, workers=2, devices=(), gpus=0, cost=lambda name: 1.0):
    """How `run_all` ends with `function(job) -> exit code` in place of DVC."""
    urgency = urgencies(stages, cost)
    jobs = {name: Job(name, "/", gpus=gpus, priority=urgency[name]) for name in stages}
    with Threads(
        Slots(workers, list(devices)), lambda job, stopped: Outcome(function(job), 1.0, job.stage)
    ) as engine:
        return run_all(stages, jobs, engine)


def test_every_stage_runs_once_and_after_what_it_waits_for():
    begun, ended = [], []

    def function(job):
        assert STAGES[job.stage] <= set(ended)
        begun.append(job.stage)
        ended.append(job.stage)
        return 0

    ends = run(STAGES, function)
    assert sorted(ends.of("done")) == sorted(begun) == sorted(STAGES)


def test_a_failure_stops_only_what_waits_for_it():
    ends = run(STAGES, lambda job: int(job.stage == "a"))
    assert set(ends.of("done")) == {"data", "b", "score b"}
    assert ends.of("failed") == ["a"]
    assert ends.stages["a"].log == "a"
    assert set(ends.of("not run")) == {"score a", "report"}
    assert ends.summary().startswith("3 done, 1 failed, 2 not run; ")


def test_an_exception_in_an_engine_fails_the_stage_with_its_text():
    def function(job):
        raise RuntimeError(f"{job.stage} came to nothing")

    ends = run({"a": set(), "b": {"a"}}, function)
    assert (ends.of("failed"), ends.of("not run")) == (["a"], ["b"])
    assert ends.stages["a"].log == "a came to nothing"


def test_the_longest_chain_goes_first():
    begun = []
    stages = {
        "short": set(),
        "long": set(),
        "first of a chain": set(),
        "rest of a chain": {"first of a chain"},
    }
    cost = {"short": 1, "long": 5, "first of a chain": 2, "rest of a chain": 9}
    run(stages, lambda job: begun.append(job.stage) or 0, workers=1, cost=cost.get)
    assert begun == ["first of a chain", "rest of a chain", "long", "short"]


class Together:
    """How many are inside at once, at most."""

    def __init__(self):
        self.lock, self.now, self.most = threading.Lock(), 0, 0

    @contextmanager
    def one(self):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.03)
        yield
        with self.lock:
            self.now -= 1


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_as_many_at_a_time_as_there_are_workers(workers):
    together = Together()

    def function(job):
        with together.one():
            return 0

    run({str(number): set() for number in range(6)}, function, workers)
    assert together.most == workers


def test_no_two_stages_share_a_gpu():
    users = {"4": Together(), "7": Together()}

    def function(job):
        with users[job.environment["CUDA_VISIBLE_DEVICES"]].one():
            return 0

    run({str(number): set() for number in range(6)}, function, workers=4, devices=users, gpus=1)
    assert [user.most for user in users.values()] == [1, 1]


def test_an_interrupt_stops_what_runs_and_keeps_what_is_done(monkeypatch):
    """The interrupt comes while the driver waits, when `a` is done and `b` runs."""
    from hashrepro.running import driver

    real, running = driver.wait, threading.Event()

    def interrupted(futures, **options):
        if running.wait(0) and options:
            raise KeyboardInterrupt
        return real(futures, **options)

    def run_one(job, stopped):
        if job.stage == "a":
            return Outcome(0, 1.0)
        running.set()
        while not stopped():
            time.sleep(0.001)
        return Outcome(130, 2.0)

    monkeypatch.setattr(driver, "wait", interrupted)
    monkeypatch.setattr(driver, "POLL", 0.01)
    stages = {"a": set(), "b": {"a"}, "c": {"b"}}
    jobs = {name: Job(name, "/") for name in stages}
    with Threads(Slots(1, []), run_one) as engine:
        ends = run_all(stages, jobs, engine)
    assert ends.interrupted
    assert {name: end.state for name, end in ends.stages.items()} == {
        "a": "done",
        "b": "stopped",
        "c": "not run",
    }


def test_nothing_to_do():
    assert run({}, lambda job: 1).summary().startswith("nothing to do")
