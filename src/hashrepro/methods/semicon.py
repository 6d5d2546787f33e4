"""SEMICON: a learning-to-hash solution for large-scale fine-grained image retrieval (ECCV 2022).

ADSH's loss and update, with the loss in units of 12 bits, on a network with suppression-enhancing attention (SEM)
and interactive channel transformers (ICON): see `networks.semicon`.
"""

from typing import Literal

from pydantic import Field

from hashrepro.learning.pairwise import PairwiseMethod, PairwiseRecipe
from hashrepro.networks.backbones import find_architecture
from hashrepro.networks.icon import default_heads
from hashrepro.networks.semicon import SEMICONNetwork
from hashrepro.option import UNREAD, option


class SemiconRecipe(PairwiseRecipe):
    loss_unit: float | None = Field(12.0, description="bits that the loss is scaled to: c = unit / k")
    evaluation_batch_size: int = Field(
        16, gt=0, description="SEM's mask depends on the batch, so this is part of the protocol"
    )
    alpha: float = option(
        0.15,
        "exponent of the standard deviation in SEM's mask",
        paper="0.3, by the authors' README",
        reference="0.3 until November 2023, 0.15 since; the README gives the difference as 1 to 2 points",
        others={"0.3": "a stronger mask: what one map has seen is suppressed more for the next"},
        ge=0,
    )
    maps: int = Field(3, gt=0, description="attention maps of SEM, each with a local part of the code")
    sem_std: Literal["batch", "image"] = option(
        "batch",
        "what the standard deviation in SEM's mask is taken over",
        paper=UNREAD,
        reference="the whole batch, in evaluation, too: an image's code depends on the images beside it",
        others={"image": "each image by itself: codes do not depend on the composition of the batch"},
    )
    attention_start: Literal["random", "open"] = option(
        "random",
        "attention maps before training",
        paper=UNREAD,
        reference="BatchNorm's own start: half of a map is 0 and the rest is noise, so that the local branch first "
        "sees its pretrained input in shreds, and needs many steps to recover",
        others={
            "open": "maps near 1 everywhere: local branches start as the global one, attention grows from there"
        },
    )
    icon_residual: Literal["post_relu", "pre_relu"] = option(
        "post_relu",
        "which tensor ICON's second residual adds",
        paper=UNREAD,
        reference="the tensor after the ReLU, which an in-place ReLU has overwritten",
        others={"pre_relu": "the tensor before the ReLU"},
    )
    icon_aligned: bool = option(
        False,
        "put ICON's second residual back into the order of the channels",
        paper=UNREAD,
        reference="adds the attention in the old order of channels to a residual that is still shuffled",
        others={"true": "adds both in the old order"},
    )
    icon_start: Literal["random", "identity"] = option(
        "random",
        "ICON before training",
        paper=UNREAD,
        reference="random weights amid pretrained ones, and a shuffled residual in front of the next pretrained unit",
        others={"identity": "fades each ICON in by a learnt share that starts at 0"},
    )
    load_last_unit: bool = option(
        False,
        "keep the pretrained weights of the last refine unit",
        paper="branches begin with ImageNet weights",
        reference="loses them: ICON shifts the unit's place in the file of weights, and loading is not strict",
        others={"true": "keeps them"},
    )
    sem: Literal["mask", "plain", "none"] = Field(
        "mask",
        description="ablation of SEM: plain leaves the suppressing mask out, so that the maps do not see each other; "
        "none leaves attention out: every local part sees the whole map",
    )
    icon: bool = Field(True, description="ablation: False leaves the channel transformers out")
    local: bool = Field(
        True, description="ablation: False gives all bits to the global branch; SEM goes, too"
    )
    compile: Literal["none", "icon", "network"] = Field(
        "none", description="torch.compile of the channel transformers alone, or of all: minutes at the start"
    )


class SEMICON(PairwiseMethod):
    TITLE = "SEMICON"
    PAPER = "SEMICON: A Learning-to-hash Solution for Large-scale Fine-grained Image Retrieval, ECCV 2022"
    REFERENCE = "semicon"
    Recipe = SemiconRecipe

    @classmethod
    def build_network(cls, recipe, backbone, bits, classes) -> SEMICONNetwork:
        return SEMICONNetwork(
            backbone,
            bits,
            alpha=recipe.alpha,
            maps=recipe.maps,
            sem=recipe.sem,
            sem_std=recipe.sem_std,
            attention_start=recipe.attention_start,
            icon=recipe.icon,
            icon_residual=recipe.icon_residual,
            icon_aligned=recipe.icon_aligned,
            icon_start=recipe.icon_start,
            local=recipe.local,
            load_last_unit=recipe.load_last_unit,
        )

    @classmethod
    def incompatible(cls, recipe, bits) -> str | None:
        if recipe.local and bits < 2 * recipe.maps:
            return f"{bits} bits cannot be shared between one global and {recipe.maps} local parts"
        channels = find_architecture(recipe.backbone).unit_channels[1:]
        if recipe.icon and not channels:
            return f"the last stage of {recipe.backbone} is one unit, and ICON stands behind the second and later ones"
        if recipe.icon and (odd := [c for c in channels if c % default_heads(c)]):
            return f"ICON cannot share the {odd[0]} channels of a unit of {recipe.backbone} between its heads"
        return None

    def compile_network(self) -> None:
        if self.recipe.compile == "network":
            self.network.compile()
        else:
            for icon in self.network.icons():
                icon.compile()


METHOD = SEMICON
