import pytest
import torch

from hashrepro.errors import UserError
from hashrepro.running import slots as module
from hashrepro.running.slots import Slots, gpus_for, visible_devices

GB = 10**9


def devices_of(place):
    return place["CUDA_VISIBLE_DEVICES"].split(",")


def test_every_training_has_gpus_of_its_own():
    slots = Slots(4, ["0", "1", "3"])
    first, second, third = (slots.take(name, 1, 0) for name in "abc")
    assert sorted(devices_of(first) + devices_of(second) + devices_of(third)) == ["0", "1", "3"]
    assert slots.take("d", 1, 0) is None
    slots.give_back("b")
    assert slots.take("d", 1, 0) == second


def test_a_training_of_several_processes_has_several_gpus():
    slots = Slots(4, ["0", "1", "2"])
    assert devices_of(slots.take("a", 2, 0)) == ["0", "1"]
    assert slots.take("b", 2, 0) is None
    assert devices_of(slots.take("c", 1, 0)) == ["2"]


def test_a_stage_without_a_network_sees_no_gpu_and_takes_none():
    slots = Slots(3, ["0"])
    assert slots.take("evaluate", 0, 0) == {"CUDA_VISIBLE_DEVICES": ""}
    assert slots.take("train", 1, 0) == {"CUDA_VISIBLE_DEVICES": "0"}


def test_without_gpus_only_the_workers_count():
    slots = Slots(2, [])
    assert [slots.take(name, 2, 0) for name in "abc"] == [{}, {}, None]
    slots.require(2)


def test_one_named_device_is_used_by_one_stage_at_a_time_under_its_own_name():
    slots = Slots(3, ["0"], pinned=True)
    assert slots.take("a", 1, 0) == {}  # cuda:1 would be another one if CUDA_VISIBLE_DEVICES were set
    assert slots.take("b", 1, 0) is None


def test_too_few_gpus_for_one_training():
    with pytest.raises(UserError, match="takes 3 GPUs, and there are 2") as error:
        Slots(1, ["0", "1"]).require(3)
    assert error.value.mend == "set machine.processes to 2 or less"


def test_no_stage_starts_beside_others_without_the_memory_that_it_needs():
    free = 10 * GB
    slots = Slots(9, [], available=lambda: free)
    assert slots.take("one", 0, 50 * GB) == {}  # one can always run
    assert slots.take("two", 0, 1) is None
    slots.give_back("one")
    assert slots.take("a", 0, 6 * GB) == {}
    assert slots.take("b", 0, 6 * GB) is None  # a has not grown yet, and will
    assert slots.take("c", 0, 4 * GB) == {}
    slots.give_back("c")
    free = 3 * GB  # a has grown beyond its estimate, or something else has
    assert slots.take("c", 0, 4 * GB) is None
    assert slots.take("d", 0, 2 * GB) == {}


@pytest.mark.parametrize(
    ("device", "named", "found"),
    [
        ("auto", "2,0", ["2", "0"]),
        ("cuda", "GPU-8932f937, 1", ["GPU-8932f937", "1"]),
        ("auto", "", []),
        ("auto", "0,-1,1", ["0"]),
        ("cpu", "0,1", []),
        ("cuda:1", "0,1", ["0"]),
    ],
)
def test_devices_that_the_environment_names(monkeypatch, device, named, found):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_devices(device) == found


def test_devices_that_torch_sees_where_there_is_a_driver(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(module, "_DRIVERS", (str(tmp_path),))
    assert visible_devices("auto") == ["0", "1"]
    monkeypatch.setattr(module, "_DRIVERS", (str(tmp_path / "none"),))
    assert visible_devices("auto") == []


@pytest.mark.parametrize(
    ("address", "gpus"),
    [
        ("papers/semicon/dvc.yaml:train@semicon-cub-12-0", 2),
        ("encode@adsh-fashion-12-0", 1),
        ("evaluate@adsh-fashion-12-0", 0),
        ("data/dvc.yaml:preprocess@train", 0),
        ("report", 0),
    ],
)
def test_networks_take_gpus(address, gpus):
    assert gpus_for(address, processes=2) == gpus
