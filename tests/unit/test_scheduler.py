import threading
import time

from hashrepro.scheduler import run_all

STAGES = {
    "data": set(),
    "a": {"data"},
    "b": {"data"},
    "score a": {"a"},
    "score b": {"b"},
    "report": {"score a", "score b"},
}


def test_every_stage_runs_once_and_after_what_it_waits_for():
    begun, ended = [], []

    def run(name):
        assert STAGES[name] <= set(ended)
        begun.append(name)
        ended.append(name)
        return True

    assert set(run_all(STAGES, run, workers=2).values()) == {"done"}
    assert sorted(begun) == sorted(STAGES)


def test_a_failure_stops_only_what_waits_for_it():
    state = run_all(STAGES, lambda name: name != "a", workers=2)
    assert state == {
        "data": "done", "a": "failed", "b": "done", "score b": "done", "score a": "not run", "report": "not run",
    }  # fmt: skip


def test_as_many_at_a_time_as_asked_for():
    assert [most_at_a_time(workers) for workers in (1, 2, 3)] == [1, 2, 3]


def most_at_a_time(workers):
    lock, now, most = threading.Lock(), 0, 0

    def run(name):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        return True

    run_all({str(n): set() for n in range(6)}, run, workers)
    return most


def test_nothing_to_do():
    assert run_all({}, lambda name: False, workers=2) == {}
