import torch

from hashrepro.seeds import seed_torch, stream


def test_a_stream_depends_on_its_name_and_seed_only():
    first = stream(0, "sample", 3).integers(2**31, size=4).tolist()
    stream(0, "sample", 2).integers(10)
    assert stream(0, "sample", 3).integers(2**31, size=4).tolist() == first
    others = [
        stream(1, "sample", 3),
        stream(0, "order", 3),
        stream(0, "sample", 4),
        stream(0, "sample", 3, 0),
    ]
    assert all(other.integers(2**31, size=4).tolist() != first for other in others)


def test_torch_is_seeded_by_name():
    seed_torch(0, "weights")
    first = torch.rand(3)
    seed_torch(0, "dropout", 1)
    assert not torch.equal(torch.rand(3), first)
    seed_torch(0, "weights")
    assert torch.equal(torch.rand(3), first)
