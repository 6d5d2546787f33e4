import pytest
import torch
from torch import nn

from hashrepro.errors import UserError
from hashrepro.networks.icon import ICON


@pytest.fixture
def golden(ramp):
    """An ICON of 24 channels and 4 heads, and its input, filled by formula."""

    def build(**options):
        icon = ICON(24, heads=4, **options).double()
        filling = {
            "inside.weight": ramp((72, 6, 1, 1), torch.sin, 0.3, 0.1),
            "inside.bias": ramp((72,), torch.cos, 0.1, 0.2),
            "across.weight": ramp((72, 4, 1, 1), torch.sin, 0.3, 0.3),
            "across.bias": ramp((72,), torch.cos, 0.1, 0.4),
            "norm.weight": 1 + ramp((24,), torch.sin, 0.2, 0.5),
            "norm.bias": ramp((24,), torch.cos, 0.2, 0.6),
        }
        icon.load_state_dict({**icon.state_dict(), **filling})
        return icon, ramp((2, 24, 3, 3), torch.sin, 1, 0.7)

    return build


def close(value, expected):
    torch.testing.assert_close(value, torch.as_tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9)


def test_evaluation_golden_values(golden):
    icon, x = golden()
    out = icon.eval()(x)
    close(out.sum(), 122.5031048448)
    close(out.abs().sum(), 135.8978023510)
    close(out[0, 0].flatten()[:4], [1.1031030919, 1.5133059963, 1.2337730088, 0.3981052750])
    close(out[1, 23].flatten()[-3:], [0.0202553738, 0.0202553738, 0.2575044075])


def test_training_golden_values(golden):
    icon, x = golden()
    out = icon.train()(x)
    close(out.sum(), 186.9124857012)
    close(out.abs().sum(), 200.6229497561)
    close(icon.norm.running_mean.sum(), -0.0084921197)
    close(icon.norm.running_var.sum(), 22.7960794870)


def test_pre_relu_residual(golden):
    icon, x = golden(residual="pre_relu")
    torch.testing.assert_close(icon.eval()(x).sum().item(), -12.9028, rtol=0, atol=5e-5)


def test_aligned_residual_has_the_same_sum_in_other_places(golden):
    (icon, x), (aligned, _) = golden(), golden(aligned=True)
    out, other = icon.eval()(x), aligned.eval()(x)
    close(other.sum(), out.sum().detach())
    torch.testing.assert_close((other - out).abs().max().item(), 1.0131, rtol=0, atol=1e-4)


def test_loops_over_heads_and_channels_agree(golden):
    """An oracle in plain loops over single channels, in the order of the formulas."""
    icon, x = golden()
    icon.eval()
    h, d = 4, 6

    def grouped(conv, maps, groups):  # maps: list of C maps
        width = len(maps) // groups
        per_group = 3 * len(maps) // groups
        weight = conv.weight[:, :, 0, 0]
        return [
            sum(weight[o, i] * maps[o // per_group * width + i] for i in range(width)) + conv.bias[o]
            for o in range(3 * len(maps))
        ]

    def attend(qkv, groups, width):
        c, out = groups * width, []
        for g in range(groups):
            q, k, v = (qkv[part * c + g * width : part * c + (g + 1) * width] for part in range(3))
            for i in range(width):
                logits = torch.stack([(q[i] * k[j]).sum() * width**-0.5 for j in range(width)])
                weights = (logits.sign() * (logits.abs() + 1e-5).sqrt()).exp()
                out.append(sum(weights[j] / weights.sum() * v[j] for j in range(width)))
        return out

    for image, out in zip(x, icon(x), strict=True):
        maps = list(image)
        z = [a + b for a, b in zip(attend(grouped(icon.inside, maps, h), h, d), maps, strict=True)]
        shuffled = [z[j * d + i] for i in range(d) for j in range(h)]
        scale = icon.norm.weight / (1 + 1e-5) ** 0.5
        y = [(s * w + b).clamp(min=0) for s, w, b in zip(shuffled, scale, icon.norm.bias, strict=True)]
        attended = attend(grouped(icon.across, y, d), d, h)
        for n in range(h * d):
            close(out[n], (attended[n % d * h + n // d] + y[n]).detach())


def test_heads_of_published_widths():
    assert [(ICON(c).heads, ICON(c).members) for c in (2048, 1280, 320)] == [(32, 64), (20, 64), (16, 20)]


def test_initialisation():
    icon = ICON(2048)
    assert sum(p.numel() for p in icon.parameters()) == 606_208
    for conv, bound in ((icon.inside, 0.125), (icon.across, 0.1768)):
        assert conv.weight.std().item() == pytest.approx(0.01804, rel=0.01)
        assert 0.99 * bound < conv.bias.abs().max().item() <= bound * 1.001
    assert (icon.norm.weight == 1).all()
    assert (icon.norm.bias == 0).all()


def test_memory_format_does_not_matter(golden):
    icon, x = golden()
    last = icon.eval()(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, icon(x), rtol=0, atol=1e-12)


def test_gradient():
    icon = ICON(6, heads=2).double().eval()
    nn.init.normal_(icon.inside.weight)
    nn.init.normal_(icon.across.weight)
    x = torch.randn(1, 6, 1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(icon, x)


def test_channels_must_divide():
    with pytest.raises(UserError, match="100 channels into 16 heads"):
        ICON(100)


def test_unknown_residual():
    with pytest.raises(UserError, match="icon_residual") as caught:
        ICON(24, heads=4, residual="both")
    assert "pre_relu" in caught.value.mend
