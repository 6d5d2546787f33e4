"""What ADSH and SEMICON share: the asymmetric loss over the whole database and an update of every row of B."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from hashrepro.methods.base import Method, Recipe
from hashrepro.methods.dcc import dcc_sweep, pairwise_target
from hashrepro.methods.losses import AsymmetricLoss


class PairwiseRecipe(Recipe):
    gamma: float = Field(
        200.0, description="weight of the quantisation term, in the loss and in the update of B"
    )
    loss_unit: float | None = Field(
        None, description="bits that the loss is scaled to: c = unit / k; None leaves it unscaled (ADSH)"
    )
    initial_codes: Literal["gaussian", "zeros", "sign"] = Field(
        "gaussian",
        description="B before the first iteration: N(0, 1) as in the references, zeros, or random +1/-1",
    )


class PairwiseMethod(Method):
    """Minimises ``|| k S - U B^T ||^2 + gamma || U - B[sample] ||^2``: the network by gradient, B by DCC."""

    Recipe = PairwiseRecipe

    def initial_codes(self, n: int) -> Tensor:
        if self.recipe.initial_codes == "zeros":
            return torch.zeros(n, self.bits, device=self.device)
        values = self.gaussian(n, "codes")
        return values if self.recipe.initial_codes == "gaussian" else torch.where(values >= 0, 1.0, -1.0)

    def begin(self, iteration: int, sample: Tensor) -> None:
        super().begin(iteration, sample)
        unit = self.recipe.loss_unit
        scale = 1.0 if unit is None else unit / self.bits
        self.loss = AsymmetricLoss(self.similarity, self.B, gamma=self.recipe.gamma, scale=scale)

    def step(self, positions: Tensor, images: Tensor) -> dict[str, Tensor]:
        outputs = self.network.encode(images)
        # outputs as they are before this step, in train mode: so the references collect U
        self.U[positions] = outputs.detach().float()
        loss, pairwise, quantisation = self.loss(outputs.float(), positions)
        self.optimisers["all"].zero_grad(set_to_none=True)
        loss.backward()
        self.optimisers["all"].step()
        return {"loss": loss.detach(), "pairwise": pairwise, "quantisation": quantisation}

    def update_codes(self) -> None:
        self.B = dcc_sweep(self.B, pairwise_target(self.similarity, self.U, self.recipe.gamma), self.U)
