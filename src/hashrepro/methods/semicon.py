"""SEMICON: a learning-to-hash solution for large-scale fine-grained image retrieval (ECCV 2022).

ADSH's loss and update, with the loss in units of 12 bits, on a network with suppression-enhancing attention (SEM)
and interactive channel transformers (ICON): see `networks.semicon`.
"""

from typing import Literal

from pydantic import Field

from hashrepro.methods.pairwise import PairwiseMethod, PairwiseRecipe
from hashrepro.networks.semicon import SEMICONNetwork


class SemiconRecipe(PairwiseRecipe):
    loss_unit: float | None = Field(12.0, description="bits that the loss is scaled to: c = unit / k")
    evaluation_batch_size: int = Field(
        16, gt=0, description="SEM's mask depends on the batch, so this is part of the protocol"
    )
    alpha: float = Field(0.15, ge=0, description="exponent of the standard deviation in SEM's mask")
    maps: int = Field(3, gt=0, description="attention maps of SEM, each with a local part of the code")
    sem_std: Literal["batch", "image"] = Field(
        "batch", description="standard deviation over the whole batch (reference) or per image"
    )
    icon_residual: Literal["post_relu", "pre_relu"] = Field(
        "post_relu", description="which tensor ICON's second residual adds"
    )
    icon_aligned: bool = Field(
        False, description="True adds ICON's attention in the residual's channel order"
    )
    load_last_unit: bool = Field(
        False,
        description="True keeps the pretrained weights of the last refine unit, which the reference loses",
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
            sem_std=recipe.sem_std,
            icon_residual=recipe.icon_residual,
            icon_aligned=recipe.icon_aligned,
            load_last_unit=recipe.load_last_unit,
        )


METHOD = SEMICON
