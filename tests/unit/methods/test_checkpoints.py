import torch

from hashrepro.methods.checkpoints import Checkpoints, flatten_optimiser, restore_optimiser


def test_round_trip(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run", "print")
    assert checkpoints.load() is None
    checkpoints.save(3, {"B": torch.ones(2, 2).T, "same": torch.arange(3)}, {"history": [{"loss": 0.1}]})
    iteration, tensors, facts = Checkpoints(tmp_path / "run", "print").load()
    assert iteration == 3
    assert facts["history"] == [{"loss": 0.1}]
    assert torch.equal(tensors["same"], torch.arange(3))


def test_another_fingerprint_starts_anew(tmp_path):
    Checkpoints(tmp_path / "run", "print").save(3, {"B": torch.ones(1)}, {})
    assert Checkpoints(tmp_path / "run", "other").load() is None


def test_a_damaged_checkpoint_is_no_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run", "print")
    checkpoints.save(3, {"B": torch.ones(1000)}, {})
    path = tmp_path / "run" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert checkpoints.load() is None


def test_an_optimiser_goes_on_as_if_nothing_had_happened(tmp_path):
    def make():
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 2)
        return layer, torch.optim.Adam(layer.parameters(), lr=0.1, weight_decay=0.01)

    def steps(layer, optimiser, count):
        for _ in range(count):
            optimiser.zero_grad()
            layer(torch.ones(1, 3)).square().sum().backward()
            optimiser.step()

    layer, optimiser = make()
    steps(layer, optimiser, 2)
    tensors, groups = flatten_optimiser("all", optimiser)
    weights = {key: value.clone() for key, value in layer.state_dict().items()}
    tensors = {key: value.clone() for key, value in tensors.items()}
    steps(layer, optimiser, 3)
    other, fresh = make()
    other.load_state_dict(weights)
    restore_optimiser("all", fresh, {**tensors, "B": torch.ones(1)}, groups)
    steps(other, fresh, 3)
    assert torch.equal(other.weight, layer.weight)
