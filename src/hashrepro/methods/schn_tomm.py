"""SCHN as extended in TOMM 2022: the latent asks in the reconstructing attentions, and a discriminator tells codes
from their reconstructions.

The adversarial signal trains the cycle network only; it reaches the image network through the reconstruction error.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy

from hashrepro.methods.cycle import CycleMethod, CycleRecipe
from hashrepro.networks.schn_tomm import Discriminator


class TommRecipe(CycleRecipe):
    cycle_query: Literal["modality", "latent"] = Field(
        "latent", description="what asks in the reconstructing attentions: the features (MM Asia) or Z (TOMM)"
    )
    replay_batches: bool = Field(
        True, description="one set of crops and one order for all epochs of an iteration, as in the reference"
    )
    adversarial_milestones: list[int] = Field(
        [6, 41], description="iterations after which the rates of cycle optimiser and discriminator drop"
    )
    adversarial_rate_drop: float = Field(0.2, gt=0, description="factor of those rates at a milestone")


class SCHNTOMM(CycleMethod):
    TITLE = "SCHN-TOMM"
    PAPER = "SCHN with a discriminator, ACM TOMM 18(2s), 2022, doi:10.1145/3532519"
    Recipe = TommRecipe

    @classmethod
    def build_network(cls, recipe, backbone, bits, classes) -> nn.Module:
        network = super().build_network(recipe, backbone, bits, classes)
        network.discriminator = Discriminator(bits)
        return network

    def build_optimisers(self) -> dict[str, torch.optim.Optimizer]:
        discriminator = set(self.network.discriminator.parameters())
        main = [p for p in self.network.parameters() if p not in discriminator]
        return {
            "all": self.optimiser(main),
            "cycle": self.optimiser(self.network.cycle_net.parameters()),
            "discriminator": self.optimiser(self.network.discriminator.parameters()),
        }

    def view_path(self, iteration: int, epoch: int) -> tuple[int, int]:
        return (iteration, 1) if self.recipe.replay_batches else (iteration, epoch)

    def step(self, positions: Tensor, images: Tensor) -> dict[str, Tensor]:
        labels = self.sample_labels[positions]
        similarity = ((labels @ labels.T) > 0).float()
        loss = self.main_loss(self.network(images, labels, similarity), positions, similarity)
        self.optimisers["all"].zero_grad(set_to_none=True)
        loss.backward()
        self.optimisers["all"].step()

        # The second forward pass, with the updated weights: its outputs are what is kept and discriminated. Only
        # the cycle network learns from it, so the image and label networks run without a graph.
        outputs = self.network(images, labels, similarity, train_features=False)
        return {"loss": loss.detach(), **self.adversarial_step(outputs, positions)}

    def adversarial_step(self, outputs, positions: Tensor) -> dict[str, Tensor]:
        """Discriminator, then cycle network; both losses are means over the 2 b probabilities of a batch."""
        judge = self.network.discriminator
        real = judge(outputs.image.detach(), outputs.label.detach())
        fake = judge(outputs.image_reconstruction.detach(), outputs.label_reconstruction.detach())
        loss_d = binary_cross_entropy(real, torch.ones_like(real)) + binary_cross_entropy(
            fake, torch.zeros_like(fake)
        )
        self.optimisers["discriminator"].zero_grad(set_to_none=True)
        loss_d.backward()
        self.optimisers["discriminator"].step()

        fake = judge(outputs.image_reconstruction, outputs.label_reconstruction)
        loss_g = binary_cross_entropy(fake, torch.ones_like(fake))
        self.optimisers["cycle"].zero_grad(set_to_none=True)
        loss_g.backward()
        self.optimisers["cycle"].step()
        self.keep(outputs, positions)
        return {"discriminator": loss_d.detach(), "generator": loss_g.detach()}

    def finish(self, iteration: int) -> None:
        if iteration in self.recipe.adversarial_milestones:
            for name in ("cycle", "discriminator"):
                self.drop_rate(name, self.recipe.adversarial_rate_drop)
        super().finish(iteration)


METHOD = SCHNTOMM
