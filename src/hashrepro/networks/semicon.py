"""SEMICON's network: one global branch, and one local branch run once for every attention map."""

import torch
from torch import Tensor, nn

from hashrepro.errors import UserError
from hashrepro.networks.backbones import Backbone
from hashrepro.networks.icon import ICON
from hashrepro.networks.options import require_choice
from hashrepro.networks.sem import SEM


def code_lengths(bits: int, maps: int = 3) -> tuple[int, int]:
    """Bits of the global part and of each local part: half of the code is local, rounded down to equal parts.

    12 -> (6, 2), 16 -> (10, 2), 24 -> (12, 4), 32 -> (17, 5), 48 -> (24, 8), with three maps.

    Raises:
        UserError: fewer than 2 * maps bits, which leaves a local part empty.
    """
    local = bits // (2 * maps)
    if local == 0:
        raise UserError(
            f"SEMICON cannot share {bits} bits between one global and {maps} local parts",
            where="bits",
            mend=f"choose at least {2 * maps} bits",
        )
    return bits - maps * local, local


class Blend(nn.Module):
    """``x + s (part(x) - x)`` with one learnt number s, 0 at the start: a part that training fades in."""

    def __init__(self, part: nn.Module):
        super().__init__()
        self.part = part
        self.share = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return torch.lerp(x, self.part(x), self.share.to(x.dtype))


class SEMICONNetwork(nn.Module):
    """Images to codes in (-1, 1).

        X = trunk(images),  A_1 .. A_M = SEM(X)
        g = refine_global(X),  l_i = refine_local(A_i * X)
        codes = tanh([W_G g ; W_1 l_1 ; .. ; W_M l_M])

    Each refine branch is the backbone's refine units with an `ICON` after every unit but the first, then
    pooling. The local branch runs once for each map, never on the maps stacked into one batch: its BatchNorm
    layers then normalise each map's batch by itself and update their running statistics M times a step.

    Args:
        backbone: its weights stay, and new layers are initialised as in the published code
            (convolutions Kaiming-normal over fan_out, hash layers PyTorch's default, no bias).
        bits: code length, shared out by `code_lengths`.
        alpha, maps, sem_std, attention_start: see `SEM`.
        sem: "mask"; "plain" leaves SEM's suppressing mask out; "none" leaves attention out, A_i = 1.
        icon: False leaves the channel transformers out.
        icon_residual, icon_aligned: see `ICON`.
        icon_start: "random" (the published code), or "identity": every ICON in a `Blend`.
        local: False gives all bits to the global branch, and there is neither local branch nor SEM.
        load_last_unit: keep the pretrained weights of the last refine unit. The published code loses them,
            because ICON shifts that unit's place in the file of weights: False starts it at random.

    Raises:
        UserError: too few bits; no such choice.

    Source: the published code of SEMICON (ECCV 2022).
    """

    def __init__(
        self,
        backbone: Backbone,
        bits: int,
        *,
        alpha: float = 0.15,
        maps: int = 3,
        sem: str = "mask",
        sem_std: str = "batch",
        attention_start: str = "random",
        icon: bool = True,
        icon_residual: str = "post_relu",
        icon_aligned: bool = False,
        icon_start: str = "random",
        local: bool = True,
        load_last_unit: bool = False,
    ):
        super().__init__()
        require_choice("sem", sem, ("mask", "plain", "none"))
        require_choice("icon_start", icon_start, ("random", "identity"))
        global_bits, local_bits = code_lengths(bits, maps) if local else (bits, 0)
        self.maps = maps if local else 0

        def branch() -> nn.Sequential:
            units = backbone.refine_units()
            if not load_last_unit:
                units[-1] = backbone.refine_units(pretrained=False)[-1]
            layers = [units[0]]
            for unit, channels in zip(units[1:], backbone.unit_channels[1:], strict=True):
                layers.append(unit)
                if icon:
                    transformer = ICON(channels, residual=icon_residual, aligned=icon_aligned)
                    layers.append(transformer if icon_start == "random" else Blend(transformer))
            return nn.Sequential(*layers, backbone.pool())

        self.trunk = backbone.trunk
        self.refine_global = branch()
        self.hash_global = nn.Linear(backbone.features, global_bits, bias=False)
        if local:
            self.refine_local = branch()
            self.hash_local = nn.ModuleList(
                nn.Linear(backbone.features, local_bits, bias=False) for _ in range(maps)
            )
        self.sem = None
        if local and sem != "none":
            self.sem = SEM(
                backbone.trunk_channels,
                maps=maps,
                alpha=alpha,
                std=sem_std,
                masked=sem == "mask",
                start=attention_start,
            )

    def forward(self, images: Tensor) -> Tensor:
        """(b, 3, S, S) -> (b, bits): the global part, then the local parts in the order of the maps."""
        trunk_map = self.trunk(images)
        parts = [self.hash_global(self.refine_global(trunk_map))]
        for number, attention in enumerate(self.attend(trunk_map)):
            parts.append(self.hash_local[number](self.refine_local(attention * trunk_map)))
        return torch.cat(parts, dim=1).tanh()

    def attend(self, trunk_map: Tensor) -> list[Tensor]:
        """The attention maps (b, 1, h, w) of a trunk map; of ones where SEM is left out; none without local branch."""
        if self.sem is None:
            return [trunk_map.new_ones(1, 1, 1, 1)] * self.maps
        return list(self.sem(trunk_map).split(1, dim=1))

    def encode(self, images: Tensor) -> Tensor:
        """The codes of images, as `forward`."""
        return self(images)

    def attention(self, images: Tensor) -> Tensor | None:
        """(b, 3, S, S) -> attention maps (b, maps, h, w), at the resolution of the trunk's map; None without SEM."""
        return None if self.sem is None else self.sem(self.trunk(images))

    def icons(self) -> list[ICON]:
        """Its channel transformers."""
        return [module for module in self.modules() if isinstance(module, ICON)]
