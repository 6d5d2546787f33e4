import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hashrepro.errors import UserError
from hashrepro.networks.sem import SEM, mask


def close(value, expected):
    torch.testing.assert_close(value, torch.as_tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("alpha", "total", "least", "most", "first"),
    [
        (0.15, 392, 0.9928585446, 1.0210375515, [0.9928671199, 1.0044505743, 1.0201033506, 1.0132398062]),
        (0.3, 392, 0.9838442516, 1.0475921743, [0.9838636511, 1.0100683062, 1.0454787796, 1.0299517350]),
    ],
)
def test_mask_golden_values(ramp, alpha, total, least, most, first):
    maps = ramp((2, 1, 14, 14), torch.sin, 2, 0).relu()
    close(maps.flatten(1).softmax(1).std(), 0.0043291000837)
    m = mask(maps, alpha)
    close(m.sum(), total)
    close(m.min(), least)
    close(m.max(), most)
    close(m.flatten()[:4], first)


@given(st.integers(0, 2**31), st.floats(0, 8), st.sampled_from(["batch", "image"]), st.integers(1, 4))
def test_mask_is_bounded_and_keeps_the_order_of_positions(seed, spread, std, side):
    generator = torch.Generator().manual_seed(seed)
    maps = spread * torch.randn(3, 1, side, side, generator=generator, dtype=torch.float64).relu()
    m = mask(maps, 0.15, std)
    assert m.shape == maps.shape
    assert m.min() >= 0
    assert m.max() <= 2
    for image, image_mask in zip(maps, m, strict=True):
        order = image.flatten().argsort()
        assert (image_mask.flatten()[order].diff() >= -1e-12).all()


def test_constant_maps_leave_everything_as_it_is():
    for std in ("batch", "image"):
        assert torch.equal(mask(torch.zeros(4, 1, 5, 5), 0.15, std), torch.ones(4, 1, 5, 5))


def test_image_std_frees_an_image_from_its_batch():
    maps = torch.stack([torch.rand(1, 6, 6), 9 * torch.rand(1, 6, 6)]).double()
    torch.testing.assert_close(mask(maps, 0.15, "image")[:1], mask(maps[:1], 0.15, "image"))
    assert not torch.allclose(mask(maps, 0.15, "batch")[:1], mask(maps[:1], 0.15, "batch"))


def test_one_constant_image_in_a_batch():
    maps = torch.stack([torch.zeros(1, 4, 4), torch.rand(1, 4, 4)])
    m = mask(maps, 0.15, "image")
    assert torch.equal(m[0], torch.ones(1, 4, 4))
    assert (m[1] != 1).any()


def test_parameter_count_and_narrow_trunk():
    assert sum(p.numel() for p in SEM(1024).parameters()) == 1_471_494
    assert SEM(112).heads[0][0].in_channels == 16


def test_maps_follow_the_recursion():
    sem = SEM(64, alpha=0.3).double().eval()
    trunk_map = torch.randn(3, 64, 5, 5, dtype=torch.float64)
    x, expected = sem.reduce(trunk_map), []
    for head in sem.heads:
        a = head(x)
        p = torch.softmax(a.reshape(3, 25), dim=1)
        factor = 2 - ((p - p.mean()) / p.std() ** 0.3 + 1).clamp(0, 2)
        x = x * factor.reshape(3, 1, 5, 5)
        expected.append(a)
    torch.testing.assert_close(sem(trunk_map), torch.cat(expected, 1))
    assert (sem(trunk_map) >= 0).all()


def test_no_gradient_flows_through_the_mask():
    sem = SEM(64, maps=2).double().eval()
    trunk_map = torch.randn(2, 64, 4, 4, dtype=torch.float64)
    sem(trunk_map)[:, 1].sum().backward()
    assert (sem.heads[0][0].weight.grad == 0).all()
    assert sem.heads[1][0].weight.grad.abs().sum() > 0


def test_initialisation():
    sem = SEM(1024, maps=40)
    heads = torch.cat([head[0].weight.flatten() for head in sem.heads])
    assert heads.std().item() == pytest.approx(2**0.5, rel=0.05)


def test_unknown_std():
    with pytest.raises(UserError, match="sem_std"):
        SEM(64, std="row")


def test_open_maps_let_everything_pass_at_the_start():
    maps = {start: SEM(64, start=start)(torch.randn(8, 64, 6, 6)) for start in ("random", "open")}
    assert 0.3 < (maps["random"] == 0).float().mean() < 0.7
    assert (maps["open"] > 0).all()
    assert maps["open"].mean().item() == pytest.approx(1, abs=0.05)
    with pytest.raises(UserError, match="attention_start"):
        SEM(64, start="closed")
