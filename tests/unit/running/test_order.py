import random

import pytest

from hashrepro.files import write_json
from hashrepro.running.order import Earlier, priorities, urgencies


def longest(stages, cost, name):
    """The longest chain from `name` on, by trying all."""
    after = [other for other in stages if name in stages[other]]
    return cost[name] + max((longest(stages, cost, other) for other in after), default=0)


@pytest.mark.parametrize("seed", range(20))
def test_urgency_is_the_longest_chain_that_waits(seed):
    rng = random.Random(seed)
    names = [f"s{number}" for number in range(8)]
    stages = {
        name: set(rng.sample(names[:place], min(place, rng.randrange(3)))) for place, name in enumerate(names)
    }
    cost = {name: rng.uniform(0, 10) for name in names}
    found = urgencies(stages, cost.get)
    assert found == pytest.approx({name: longest(stages, cost, name) for name in names})


def test_a_trained_run_is_scored_before_the_next_is_trained():
    stages, seconds = {}, {"train": 1000, "encode": 20, "evaluate": 5, "preprocess": 60, "report": 1}
    stages["preprocess"] = set()
    for bits in (12, 24):
        stages[f"train@{bits}"] = {"preprocess"}
        stages[f"encode@{bits}"] = {f"train@{bits}"}
        stages[f"evaluate@{bits}"] = {f"encode@{bits}"}
    stages["report"] = {"evaluate@12", "evaluate@24"}
    found = priorities(stages, lambda name: seconds[name.partition("@")[0]])
    done, order = set(), []
    while ready := [name for name in stages if name not in done and stages[name] <= done]:
        order.append(max(ready, key=found.get))
        done.add(order[-1])
    assert order == [
        *("preprocess", "train@12", "encode@12", "evaluate@12"),
        *("train@24", "encode@24", "evaluate@24", "report"),
    ]


@pytest.fixture
def earlier(tmp_path) -> Earlier:
    def write(path, **about):
        (tmp_path / "runs" / path).parent.mkdir(parents=True, exist_ok=True)
        write_json(tmp_path / "runs" / path, about)

    write("quickstart/adsh-my-set-12-s0/train.json", seconds=10.0, peak_memory_mb=1500.0)
    write("quickstart/adsh-my-set-48-s0/train.json", seconds=30.0, peak_memory_mb=2500.0)
    write("quickstart/semicon-cub-12-s0/train.json", seconds=200.0, peak_memory_mb=500.0)
    write("papers/x/semicon-cub-24-s0/train.json", skipped="parts that do not fit")
    write("x/adsh-my-set-12-s0/train.json", seconds=70.0, peak_memory_mb=300.0, processes=4)
    write("quickstart/adsh-my-set-12-s0/encode.json", seconds=4.0)
    (tmp_path / "runs/quickstart/adsh-my-set-48-s0/encode.json").write_text("{")
    return Earlier(tmp_path)


@pytest.mark.parametrize(
    ("address", "seconds", "megabytes"),
    [
        ("train@adsh-my-set-12-0", 10, 1500),  # its own
        ("train@adsh-my-set-24-3", 20, 2000),  # the mean of its method and data set
        ("papers/x/dvc.yaml:train@adsh-my-set-12-0", 70, 1200),  # its own suite's, for all processes
        ("papers/common/dvc.yaml:train@adsh-my-set-12-0", 110 / 3, 5200 / 3),  # of all suites
        ("train@schn-nuswide-12-0", 310 / 4, 5700 / 4),  # the mean of its kind
        ("train@semicon-cub-24-0", 200, 500),  # a skipped run says nothing
        ("encode@schn-nuswide-12-0", 4, 2000),  # seconds are known, memory is the default
        ("report", 1, 1000),
    ],
)
def test_estimates_come_from_the_runs_most_alike(earlier, address, seconds, megabytes):
    assert earlier.cost(address) == pytest.approx(seconds)
    assert earlier.memory(address) == int(megabytes * 10**6)


def test_what_was_planned_goes_before_the_runs_of_another_suite(tmp_path):
    (tmp_path / "runs/x/adsh-cub-12-s0").mkdir(parents=True)
    write_json(tmp_path / "runs/x/adsh-cub-12-s0/train.json", {"seconds": 9.0})
    for suite, seconds in (("x", 9.0), ("y", 500.0)):
        address = f"papers/{suite}/dvc.yaml:train@adsh-cub-12-0"
        assert Earlier(tmp_path, {address: 500.0}).cost(address) == seconds
