"""What both variants of SCHN share: a label network and a cycle network beside the image network, batch-wise losses,
and an update of the sampled rows of B only.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import mse_loss

from hashrepro.methods.base import Method, Recipe
from hashrepro.methods.dcc import dcc_sweep, pairwise_target
from hashrepro.methods.losses import batch_loss
from hashrepro.networks.schn import SCHNNetwork


class CycleRecipe(Recipe):
    gamma: float = Field(
        10.0, description="weight of the quantisation term, in the loss and in the update of B"
    )
    alpha: float = Field(2.0, description="weight of the label outputs inside the sign of the update of B")
    beta: float = Field(0.1, description="weight of the latent outputs inside the sign of the update of B")
    cycle_query: Literal["modality", "latent"] = Field(
        "modality",
        description="what asks in the reconstructing attentions: the features (MM Asia) or Z (TOMM)",
    )
    gcn_norm: Literal["none", "row", "sym"] = Field(
        "none", description="normalisation of the graph's adjacency"
    )
    detach_features: bool = Field(True, description="keep the cycle network's gradient out of the features")
    latent_activation: Literal["sigmoid", "tanh"] = Field("sigmoid", description="of the latent hash layer")


class CycleMethod(Method):
    """Batch-wise feature losses of image, label and latent outputs plus two reconstruction errors."""

    REFERENCE = "schn"
    Recipe = CycleRecipe

    @classmethod
    def build_network(cls, recipe, backbone, bits, classes) -> SCHNNetwork:
        return SCHNNetwork(
            backbone,
            bits,
            classes,
            cycle_query=recipe.cycle_query,
            gcn_norm=recipe.gcn_norm,
            latent_activation=recipe.latent_activation,
            detach_features=recipe.detach_features,
        )

    def initial_codes(self, n: int) -> Tensor:
        return torch.zeros(n, self.bits, device=self.device)

    def begin(self, iteration: int, sample: Tensor) -> None:
        super().begin(iteration, sample)
        self.label_outputs, self.latent_outputs = torch.zeros_like(self.U), torch.zeros_like(self.U)
        self.sample_codes, self.sample_labels = self.B[sample], self.labels[sample].float()

    def step(self, positions: Tensor, images: Tensor) -> dict[str, Tensor]:
        labels = self.sample_labels[positions]
        similarity = ((labels @ labels.T) > 0).float()
        outputs = self.network(images, labels, similarity)
        loss = self.main_loss(outputs, positions, similarity)
        self.optimisers["all"].zero_grad(set_to_none=True)
        loss.backward()
        self.optimisers["all"].step()
        self.keep(outputs, positions)
        return {"loss": loss.detach()}

    def main_loss(self, outputs, positions: Tensor, similarity: Tensor) -> Tensor:
        """Three feature losses and two reconstruction errors, unweighted; targets of the errors are not detached."""
        codes = self.sample_codes[positions]
        features = sum(
            batch_loss(code, codes, similarity, self.recipe.gamma)
            for code in (outputs.image, outputs.label, outputs.latent)
        )
        image_error = mse_loss(outputs.image_reconstruction, outputs.image)
        label_error = mse_loss(outputs.label_reconstruction, outputs.label)
        return features + image_error + label_error

    def keep(self, outputs, positions: Tensor) -> None:
        self.U[positions] = outputs.image.detach().float()
        self.label_outputs[positions] = outputs.label.detach().float()
        self.latent_outputs[positions] = outputs.latent.detach().float()

    def update_codes(self) -> None:
        sample, recipe = self.similarity.sample, self.recipe
        fixed = pairwise_target(self.similarity, self.U, recipe.gamma)[sample]
        fixed += recipe.alpha * self.label_outputs + recipe.beta * self.latent_outputs
        self.B[sample] = dcc_sweep(self.B[sample], fixed, self.U)
