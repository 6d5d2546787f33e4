"""SCHN as extended in TOMM 2022: the latent asks in the reconstructing attentions, and a discriminator tells codes
from their reconstructions.

The adversarial signal trains the cycle network only; it reaches the image network through the reconstruction error.
"""

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits

from hashrepro.learning.cycle import CycleMethod, CycleRecipe
from hashrepro.networks.schn_tomm import Discriminator
from hashrepro.option import UNREAD, option


class TommRecipe(CycleRecipe):
    cycle_query: Literal["modality", "latent"] = Field(
        "latent", description="what asks in the attentions that reconstruct the codes; see schn"
    )
    replay_batches: bool = Field(
        True, description="one set of crops and one order of batches for all epochs of an iteration; see schn"
    )
    adversarial_milestones: list[int] = Field(
        [6, 41], description="iterations after which the rates of cycle optimiser and discriminator drop"
    )
    adversarial_rate_drop: float = Field(0.2, gt=0, description="factor of those rates at a milestone")
    adversarial_loss: Literal["probability", "logits"] = option(
        "probability",
        "what the discriminator's cross-entropy is computed from",
        paper=UNREAD,
        reference="from (tanh + 1) / 2, which reaches 0 and 1 in single precision: loss 100, no gradient",
        others={"logits": "from the logit 2 x, the same function without saturation"},
    )
    discriminator: bool = Field(
        True, description="ablation: False leaves the adversarial steps out and nothing else"
    )

    @model_validator(mode="after")
    def _judge_has_work(self) -> "TommRecipe":
        if self.discriminator and not self.cycle_net:
            raise ValueError(
                "the discriminator judges the cycle network's codes: set discriminator to false, too"
            )
        return self


class SCHNTOMM(CycleMethod):
    TITLE = "SCHN-TOMM"
    PAPER = "SCHN with a discriminator, ACM TOMM 18(2s), 2022, doi:10.1145/3532519"
    Recipe = TommRecipe

    @classmethod
    def build_network(cls, recipe, backbone, bits, classes) -> nn.Module:
        network = super().build_network(recipe, backbone, bits, classes)
        if recipe.discriminator:
            network.discriminator = Discriminator(bits)
        return network

    def build_optimisers(self) -> dict[str, torch.optim.Optimizer]:
        if not self.recipe.discriminator:
            return super().build_optimisers()
        discriminator = set(self.network.discriminator.parameters())
        main = [p for p in self.network.parameters() if p not in discriminator]
        return {
            "all": self.optimiser(main),
            "cycle": self.optimiser(self.network.cycle_net.parameters()),
            "discriminator": self.optimiser(self.network.discriminator.parameters()),
        }

    def step(self, positions: Tensor, images: Tensor) -> dict[str, Tensor]:
        outputs, similar = self.forward(positions, images)
        loss = self.main_loss(outputs, positions, similar)
        self.descend("all", loss)

        # The second forward pass, with the updated weights: its outputs are what is kept and discriminated. Only
        # the cycle network learns from it, so the image and label networks run without a graph.
        outputs, _ = self.forward(positions, images, train_features=False)
        losses = self.adversarial_step(outputs) if self.recipe.discriminator else {}
        self.keep(outputs, positions)
        return {"loss": loss.detach(), **losses}

    def adversarial_step(self, outputs) -> dict[str, Tensor]:
        """Discriminator, then cycle network; both losses are means over the 2 b judgements of a batch."""
        judge = self.network.discriminator
        real = judge(outputs.image.detach(), outputs.label.detach())
        fake = judge(outputs.image_reconstruction.detach(), outputs.label_reconstruction.detach())
        loss_d = self.cross_entropy(real, 1.0) + self.cross_entropy(fake, 0.0)
        self.descend("discriminator", loss_d)

        fake = judge(outputs.image_reconstruction, outputs.label_reconstruction)
        loss_g = self.cross_entropy(fake, 1.0)
        self.descend("cycle", loss_g)
        return {"discriminator": loss_d.detach(), "generator": loss_g.detach()}

    def cross_entropy(self, logits: Tensor, truth: float) -> Tensor:
        """Mean binary cross-entropy of judgements (2 b, 1) that should all be `truth`."""
        target = torch.full_like(logits, truth)
        if self.recipe.adversarial_loss == "logits":
            return binary_cross_entropy_with_logits(2 * logits, target)
        return binary_cross_entropy((logits.tanh() + 1) / 2, target)

    def finish(self, iteration: int) -> None:
        if self.recipe.discriminator and iteration in self.recipe.adversarial_milestones:
            for name in ("cycle", "discriminator"):
                self.drop_rate(name, self.recipe.adversarial_rate_drop)
        super().finish(iteration)


METHOD = SCHNTOMM
