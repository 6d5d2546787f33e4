"""SEMICON's network on ResNet-50 as its description reads, step by step: what ours is timed against and checked by.

Modules have the names of ours, so that the weights of one load into the other.
"""

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck


class PlainICON(nn.Module):
    """Channel attention in h heads of d consecutive channels, a shuffle, and attention in d groups of h channels."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads, self.members = heads, channels // heads
        self.inside = nn.Conv2d(channels, 3 * channels, 1, groups=self.heads)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.across = nn.Conv2d(channels, 3 * channels, 1, groups=self.members)

    def forward(self, x: Tensor) -> Tensor:
        b, channels, height, width = x.shape
        h, d = self.heads, self.members

        z = self.attend(self.inside(x), h, d).view(b, channels, height, width) + x
        z = (
            z.view(b, h, d, height, width)
            .permute(0, 2, 1, 3, 4)
            .contiguous()
            .view(b, channels, height, width)
        )
        y = self.relu(self.norm(z))

        attended = self.attend(self.across(y), d, h).view(b, d, h, height, width)
        return attended.permute(0, 2, 1, 3, 4).contiguous().view(b, channels, height, width) + y

    @staticmethod
    def attend(qkv: Tensor, groups: int, width: int) -> Tensor:
        """(b, groups, width, positions) from the output of a grouped convolution: Q, K and V one after the other."""
        b, _, *size = qkv.shape
        q, k, v = qkv.view(b, 3, groups, width, size[0] * size[1]).permute(1, 0, 2, 3, 4)
        logits = (q @ k.transpose(-2, -1)) * width**-0.5
        logits = torch.sign(logits) * torch.sqrt(torch.abs(logits) + 1e-5)
        return torch.softmax(logits, dim=-1) @ v


class PlainSEM(nn.Module):
    """Three attention maps one after the other, what one has seen being suppressed for the next."""

    def __init__(self, alpha: float = 0.15):
        super().__init__()
        self.alpha = alpha
        self.reduce = nn.Sequential(
            Bottleneck(1024, 256),
            nn.Conv2d(1024, 256, 1, bias=False),
            nn.BatchNorm2d(256),
            Bottleneck(256, 64),
            nn.Conv2d(256, 64, 1, bias=False),
            nn.BatchNorm2d(64),
            Bottleneck(64, 16),
        )
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(64, 1, 1, bias=False), nn.BatchNorm2d(1), nn.ReLU()) for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        x0 = self.reduce(x)
        a1 = self.heads[0](x0)
        x1 = x0 * (2 - self.mask(a1).repeat(1, 64, 1, 1))
        a2 = self.heads[1](x1)
        x2 = x1 * (2 - self.mask(a2).repeat(1, 64, 1, 1))
        a3 = self.heads[2](x2)
        return torch.cat([a1, a2, a3], dim=1)

    @torch.no_grad()
    def mask(self, attention: Tensor) -> Tensor:
        p = torch.softmax(attention.view(len(attention), -1), dim=1).view_as(attention)
        std, mean = torch.std_mean(p)
        return torch.clamp((p - mean) / std**self.alpha + 1, 0, 2)


class PlainSEMICON(nn.Module):
    """Images (b, 3, S, S) to codes (b, bits): one global branch, and a local branch called once for each map."""

    def __init__(self, bits: int):
        super().__init__()
        resnet = torchvision.models.resnet50(weights=None)
        stem = [resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool]
        self.trunk = nn.Sequential(*stem, resnet.layer1, resnet.layer2, resnet.layer3)
        self.refine_global, self.refine_local = self.branch(), self.branch()
        self.sem = PlainSEM()
        local = bits // 6
        self.hash_global = nn.Linear(2048, bits - 3 * local, bias=False)
        self.hash_local = nn.ModuleList(nn.Linear(2048, local, bias=False) for _ in range(3))

    @staticmethod
    def branch() -> nn.Module:
        first, second, third = torchvision.models.resnet50(weights=None).layer4
        return nn.Sequential(first, second, PlainICON(2048, 32), third, PlainICON(2048, 32))

    def forward(self, images: Tensor) -> Tensor:
        features = self.trunk(images)
        parts = [self.hash_global(self.refine_global(features).mean((2, 3)))]
        maps = self.sem(features)
        for i in range(3):
            attention = maps[:, i : i + 1].repeat(1, features.shape[1], 1, 1)
            local = self.refine_local(attention * features).mean((2, 3))
            parts.append(self.hash_local[i](local))
        return torch.tanh(torch.cat(parts, dim=1))
