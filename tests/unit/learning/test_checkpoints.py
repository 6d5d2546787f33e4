import pytest
import torch
from safetensors.torch import save_file

from hashrepro.learning.checkpoints import Checkpoints, digest, flatten_optimiser, restore_optimiser

B = {"B": torch.ones(1000)}


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "run", "print")


def test_round_trip(checkpoints, tmp_path, capsys):
    assert checkpoints.load({}) is None
    tensors = {
        "B": torch.ones(2, 3).T,
        "same": torch.arange(3),
        "none": torch.empty(0, 4),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "scalar": torch.tensor(0.1),
        "map": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last),
    }
    checkpoints.save(tensors, {"history": [{"loss": 0.1}]})
    read, facts = Checkpoints(tmp_path / "run", "print").load({"same": torch.zeros(3, dtype=torch.int64)})
    assert facts["history"] == [{"loss": 0.1}]
    assert read.keys() == tensors.keys()
    for key, value in tensors.items():
        assert torch.equal(read[key], value), key
    assert capsys.readouterr().err == ""


def test_another_fingerprint_starts_anew(checkpoints, tmp_path):
    checkpoints.save(B, {})
    assert Checkpoints(tmp_path / "run", "other").load(B) is None
    assert Checkpoints(tmp_path / "run", "print").load(B) is None


def test_what_a_killed_process_left_half_written_goes(checkpoints, tmp_path):
    checkpoints.save(B, {})
    (tmp_path / "run" / ".checkpoint.safetensors.123.part").write_bytes(b"half")
    assert Checkpoints(tmp_path / "run", "print").load(B) is not None
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "checkpoint.safetensors",
        "fingerprint",
    ]


def flipped(place):
    def damage(data):
        data = bytearray(data)
        data[place] ^= 4
        return bytes(data)

    return damage


DAMAGES = {
    "truncated": lambda data: data[:-100],
    "truncated in the header": lambda data: data[:20],
    "empty": lambda data: b"",
    "garbage": lambda data: bytes(range(256)) * 10,
    "a bit of the first tensor": flipped(-1),
    "a bit of the last tensor": flipped(-4100),
    "a digit of a fact": lambda data: data.replace(b"0.125", b"0.225"),
    "a name": lambda data: data.replace(b'"B"', b'"C"'),
    "longer": lambda data: data + b"\0",
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_checkpoint_is_no_checkpoint_and_is_named(checkpoints, kind, capsys):
    checkpoints.save({**B, "other": torch.zeros(30)}, {"loss": 0.125})
    whole = checkpoints.path.read_bytes()
    damaged = DAMAGES[kind](whole)
    assert damaged != whole
    checkpoints.path.write_bytes(damaged)
    assert checkpoints.load(B) is None
    said = capsys.readouterr().err
    assert said.startswith(f"The checkpoint {checkpoints.path} is damaged (")
    assert said.endswith("): training starts from the beginning.\n")
    checkpoints.path.write_bytes(whole)
    assert checkpoints.load(B) is not None


def test_a_checkpoint_of_another_run_or_of_other_sizes_or_of_another_maker(checkpoints, tmp_path, capsys):
    checkpoints.save(B, {})
    assert checkpoints.load({"B": torch.ones(999)}) is None
    assert checkpoints.load({"B": torch.ones(1000, dtype=torch.float64)}) is None
    assert checkpoints.load({"U": torch.ones(1000)}) is None
    other = Checkpoints(tmp_path / "other", "another print")
    other.save(B, {})
    other.path.replace(checkpoints.path)
    assert checkpoints.load(B) is None
    save_file(B, checkpoints.path)
    assert checkpoints.load(B) is None
    reasons = [
        "B does not fit this run",
        "B does not",
        "U does not",
        "it belongs to another run",
        "its digest",
    ]
    for line, reason in zip(capsys.readouterr().err.splitlines(), reasons, strict=True):
        assert f"({reason}" in line


def test_the_digest_sees_names_types_and_shapes():
    tensors = [
        {"a": torch.zeros(4)},
        {"b": torch.zeros(4)},
        {"a": torch.zeros(2, 2)},
        {"a": torch.zeros(4).int()},
    ]
    assert len({digest(each) for each in tensors}) == 4
    assert digest(tensors[0], "text") != digest(tensors[0])
    assert digest({"a": torch.ones(1), "b": torch.zeros(1)}) == digest(
        {"b": torch.zeros(1), "a": torch.ones(1)}
    )


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
