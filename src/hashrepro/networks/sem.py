"""SEM, SEMICON's suppression-enhancing mask attention: maps that each look where the ones before did not."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from hashrepro.networks.options import require_choice
from hashrepro.networks.synced import moments, world_size


class SEM(nn.Module):
    """A trunk map (b, c, h, w) to attention maps (b, maps, h, w), non-negative and not normalised.

    A narrow network turns the trunk map into X_1, of max(c / 16, 16) channels; then, map by map,

        A_i = ReLU(BatchNorm(conv_i(X_i))),    X_{i+1} = X_i * (2 - M(A_i))

    so that what one map has seen is suppressed for the next and the rest is slightly enhanced (M is `mask`).
    No gradient flows through M.

    Args:
        channels: c, a multiple of 4.
        maps: number of maps.
        alpha: exponent of the mask's spread; 0.15 in the published code, 0.3 before November 2023.
        std: what the spread is taken over: "batch" (the published code; the maps then depend on which images
            share a batch) or "image".
        masked: False leaves M out, so that no map knows of the ones before.
        start: "random" (the published code), where about half of a fresh map is 0 and the rest noise, or "open",
            where a fresh map is near 1 everywhere and what it is multiplied with passes almost unchanged.

    Source: the published code of SEMICON (ECCV 2022).
    """

    def __init__(
        self,
        channels: int,
        *,
        maps: int = 3,
        alpha: float = 0.15,
        std: str = "batch",
        masked: bool = True,
        start: str = "random",
    ):
        super().__init__()
        require_choice("sem_std", std, ("batch", "image"))
        require_choice("attention_start", start, ("random", "open"))
        self.alpha, self.std, self.masked = alpha, std, masked
        half, narrow = _width(channels // 4), _width(channels // 16)
        self.reduce = nn.Sequential(
            Bottleneck(channels, channels // 4),
            *_pointwise(channels, half),
            Bottleneck(half, half // 4),
            *_pointwise(half, narrow),
            Bottleneck(narrow, narrow // 4),
        )
        self.heads = nn.ModuleList(nn.Sequential(*_pointwise(narrow, 1), nn.ReLU()) for _ in range(maps))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if start == "open":
            for _, norm, _ in self.heads:
                nn.init.constant_(norm.weight, 0.2)
                nn.init.constant_(norm.bias, 1.0)

    def forward(self, trunk_map: Tensor) -> Tensor:
        x = self.reduce(trunk_map)
        maps = [self.heads[0](x)]
        for head in self.heads[1:]:
            if self.masked:
                x = x * (2 - mask(maps[-1], self.alpha, self.std, shared=self.training))
            maps.append(head(x))
        return torch.cat(maps, dim=1)


@torch.no_grad()
def mask(attention: Tensor, alpha: float, std: str = "batch", *, shared: bool = False) -> Tensor:
    """M = clamp((p - mu) / s^alpha + 1, 0, 2), (b, 1, h, w), of attention maps of that shape.

    p is the softmax over an image's h w positions, mu = 1 / (h w) its mean, and s its (unbiased) standard
    deviation over the whole batch or over each image. With `shared`, the batch is that of all processes together.
    Where s is 0, as when a dead ReLU makes a map constant, M is 1 (the published code divides 0 by 0 there).
    """
    # in half precision the positions' shares, about 1 / (h w), would have no digits left to differ in
    p = F.softmax(attention.flatten(1), dim=1, dtype=torch.promote_types(attention.dtype, torch.float32))
    positions = p.shape[1]
    if positions == 1:  # p is 1 everywhere, and one value has no standard deviation
        return torch.ones_like(attention)
    if std == "batch" and shared and world_size() > 1:
        count, _, squares = moments(p[:, None, :, None])
        s = (squares / (count - 1)).sqrt()
    elif len(p) == 0:  # a process's share of a small batch
        return torch.ones_like(attention)
    else:
        s = p.std() if std == "batch" else p.std(dim=1, keepdim=True)
    excess = torch.where(s > 0, (p - 1 / positions) / s**alpha, 0.0)
    return (excess + 1).clamp_(0, 2).view_as(attention).to(attention.dtype)


def _pointwise(inputs: int, outputs: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)


def _width(channels: int) -> int:
    """At least 16, and a multiple of 4: a bottleneck is a quarter as wide inside."""
    return max(16, channels // 4 * 4)
