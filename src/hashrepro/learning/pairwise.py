"""What ADSH and SEMICON share: the asymmetric loss over the whole database and an update of every row of B."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from hashrepro.learning.base import Method
from hashrepro.learning.dcc import dcc_sweep, pairwise_target
from hashrepro.learning.losses import AsymmetricLoss
from hashrepro.learning.recipe import Recipe
from hashrepro.networks.synced import gather_rows
from hashrepro.option import option


class PairwiseRecipe(Recipe):
    gamma: float = Field(
        200.0, description="weight of the quantisation term, in the loss and in the update of B"
    )
    loss_unit: float | None = Field(
        None, description="bits that the loss is scaled to: c = unit / k; None leaves it unscaled (ADSH)"
    )
    initial_codes: Literal["gaussian", "zeros", "sign", "network"] = option(
        "gaussian",
        "B before the first iteration",
        paper="binary codes; how they begin is not said",
        reference="N(0, 1), real-valued: the first iteration is trained against noise (ADSH's authors: zeros)",
        others={
            "zeros": "no code pulls at the network in the first iteration",
            "sign": "random +1 and -1",
            "network": "signs of the untrained network's outputs, which costs one pass over the database",
        },
    )


class PairwiseMethod(Method):
    """Minimises ``|| k S - U B^T ||^2 + gamma || U - B[sample] ||^2``: the network by gradient, B by DCC."""

    Recipe = PairwiseRecipe

    def begin(self, iteration: int, sample: Tensor) -> None:
        super().begin(iteration, sample)
        unit = self.recipe.loss_unit
        scale = 1.0 if unit is None else unit / self.bits
        self.loss = AsymmetricLoss(self.similarity, self.B, gamma=self.recipe.gamma, scale=scale)

    def step(self, positions: Tensor, images: Tensor) -> dict[str, Tensor]:
        with self.network_pass():
            outputs = self.network.encode(images)
        outputs = gather_rows(outputs.float(), len(positions))
        # outputs as they are before this step, in train mode: so the references collect U
        self.U[positions] = outputs.detach()
        loss, pairwise, quantisation = self.loss(outputs, positions)
        self.descend("all", loss)
        return {"loss": loss.detach(), "pairwise": pairwise, "quantisation": quantisation}

    def update_codes(self) -> None:
        self.B = dcc_sweep(self.B, pairwise_target(self.similarity, self.U, self.recipe.gamma), self.U)
