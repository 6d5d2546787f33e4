"""What both variants of SCHN share: a label network and a cycle network beside the image network, batch-wise losses,
and an update of the sampled rows of B only.
"""

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import mse_loss

from hashrepro.learning.base import Method, signs
from hashrepro.learning.dcc import dcc_sweep, pairwise_target
from hashrepro.learning.losses import batch_loss
from hashrepro.learning.recipe import Recipe
from hashrepro.networks.schn import SCHNNetwork, SCHNOutput
from hashrepro.option import SILENT, UNREAD, option


class CycleRecipe(Recipe):
    gamma: float = Field(10.0, description="weight of the quantisation term in the loss")
    dcc_gamma: float | None = option(
        None,
        "weight of the quantisation term in the update of B; null: gamma",
        paper=UNREAD,
        reference="uses one gamma for a loss that is a mean and for an update that is a sum",
        others={"a number": "weighs the update by itself; ADSH has 200"},
    )
    alpha: float = Field(2.0, description="weight of the label outputs inside the sign of the update of B")
    beta: float = Field(0.1, description="weight of the latent outputs inside the sign of the update of B")
    initial_codes: Literal["zeros", "gaussian", "sign", "network"] = option(
        "zeros",
        "B before the first iteration",
        paper=UNREAD,
        reference="zeros: the first iteration has no pairwise gradient and trains all outputs towards 0",
        others={
            "gaussian": "N(0, 1), as in ADSH's port and SEMICON",
            "sign": "random +1 and -1",
            "network": "signs of the untrained network's outputs, which costs one pass over the database",
        },
    )
    cycle_query: Literal["modality", "latent"] = option(
        "modality",
        "what asks in the attentions that reconstruct the codes",
        paper=UNREAD,
        reference="defines both and runs the features (MM Asia); the latent Z in the journal's (TOMM)",
        others={"latent": "Z asks, features answer: TOMM's wiring, and its default"},
    )
    gcn_norm: Literal["none", "row", "sym"] = option(
        "none",
        "normalisation of the graph convolution's adjacency",
        paper=UNREAD,
        reference="none: at the start the size of a latent is the number of its similar batch mates",
        others={"row": "divides by the degree", "sym": "divides by the roots of both degrees"},
    )
    detach_features: bool = option(
        True,
        "keep the cycle network's gradient out of the features of both modalities",
        paper=UNREAD,
        reference="detaches: the cycle network teaches the image network through the reconstruction error alone",
        others={"false": "lets the gradient through"},
    )
    detach_targets: bool = option(
        False,
        "keep the reconstruction errors from pulling at the codes that they reconstruct",
        paper=UNREAD,
        reference="does not detach them (a line that did is commented out)",
        others={"true": "the reconstructions follow the codes, and not the other way round as well"},
    )
    latent_activation: Literal["sigmoid", "tanh"] = option(
        "sigmoid",
        "activation of the latent hash layer",
        paper=UNREAD,
        reference="sigmoid, which can never reach the -1 of the codes that it is fitted to",
        others={"tanh": "the range of the codes"},
    )
    loss_similarity: Literal["zero_one", "signed", "soft"] = option(
        "zero_one",
        "value of a dissimilar pair in the loss",
        paper=UNREAD,
        reference="0 in the loss but -P/Q in the update of B (on Flickr -1.17)",
        others={"signed": "-1: opposite codes", "soft": "-P/Q, as in the update of B"},
    )
    dcc_rows: Literal["sampled", "all"] = option(
        "sampled",
        "rows of B that an iteration updates",
        paper=UNREAD,
        reference="those of its sample",
        others={"all": "all rows, as ADSH does: no row is left without a code"},
    )
    unsampled: Literal["zero", "network", "label_net", "drop"] = option(
        "zero",
        "database code of an image that was never sampled",
        paper=SILENT,
        reference="a row of zeros, at distance k / 2 of every query (CIFAR-10: about 705 rows of 59,000)",
        others={
            "network": "the image network's code",
            "label_net": "the label network's code",
            "drop": "is not in the database that is searched",
        },
    )
    replay_batches: bool = option(
        False,
        "one set of crops and one order of batches for all epochs of an iteration",
        paper=SILENT,
        reference="fresh ones in every epoch (MM Asia); drawn once an iteration and replayed (TOMM)",
        others={"true": "TOMM's, and its default"},
    )
    label_net: bool = Field(True, description="ablation: False leaves label network and cycle network out")
    cycle_net: bool = Field(True, description="ablation: False leaves the cycle network out")

    @property
    def uncoded(self) -> str:
        return "drop" if self.unsampled == "drop" else "rank"

    @model_validator(mode="after")
    def _parts_fit(self) -> "CycleRecipe":
        if self.cycle_net and not self.label_net:
            raise ValueError(
                "the cycle network reads the label network's features: set cycle_net to false, too"
            )
        if self.unsampled == "label_net" and not self.label_net:
            raise ValueError("unsampled: label_net needs the label network: set label_net to true")
        return self


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
            label_net=recipe.label_net,
            cycle_net=recipe.cycle_net,
        )

    def view_path(self, iteration: int, epoch: int) -> tuple[int, int]:
        return (iteration, 1) if self.recipe.replay_batches else (iteration, epoch)

    def begin(self, iteration: int, sample: Tensor) -> None:
        super().begin(iteration, sample)
        self.label_outputs, self.latent_outputs = torch.zeros_like(self.U), torch.zeros_like(self.U)
        self.sample_codes, self.sample_labels = self.B[sample], self.labels[sample].float()
        self.dissimilar = {"zero_one": 0.0, "signed": -1.0, "soft": self.similarity.dissimilar}[
            self.recipe.loss_similarity
        ]

    def buffers(self) -> dict[str, Tensor]:
        return {**super().buffers(), "label": self.label_outputs, "latent": self.latent_outputs}

    def forward(self, positions: Tensor, images: Tensor, **options) -> tuple[SCHNOutput, Tensor]:
        """The outputs of a batch in fp32, and its similarity matrix (b, b), 1 where two items share a label, else 0."""
        labels = self.sample_labels[positions]
        similar = ((labels @ labels.T) > 0).float()
        with self.network_pass():
            outputs = self.network(images, labels, similar, **options)
        return SCHNOutput(*(code if code is None else code.float() for code in outputs)), similar

    def step(self, positions: Tensor, images: Tensor) -> dict[str, Tensor]:
        outputs, similar = self.forward(positions, images)
        loss = self.main_loss(outputs, positions, similar)
        self.descend("all", loss)
        self.keep(outputs, positions)
        return {"loss": loss.detach()}

    def main_loss(self, outputs: SCHNOutput, positions: Tensor, similar: Tensor) -> Tensor:
        """Three feature losses and two reconstruction errors, unweighted; an ablated part has none."""
        codes = self.sample_codes[positions]
        target = similar + (1 - similar) * self.dissimilar
        loss = sum(
            batch_loss(code, codes, target, self.recipe.gamma)
            for code in (outputs.image, outputs.label, outputs.latent)
            if code is not None
        )
        for reconstruction, code in (
            (outputs.image_reconstruction, outputs.image),
            (outputs.label_reconstruction, outputs.label),
        ):
            if reconstruction is not None:
                loss = loss + mse_loss(reconstruction, code.detach() if self.recipe.detach_targets else code)
        return loss

    def keep(self, outputs: SCHNOutput, positions: Tensor) -> None:
        kept = {"image": self.U, "label": self.label_outputs, "latent": self.latent_outputs}
        for name, buffer in kept.items():
            if (code := getattr(outputs, name)) is not None:
                buffer[positions] = code.detach()

    def update_codes(self) -> None:
        sample, recipe = self.similarity.sample, self.recipe
        gamma = recipe.gamma if recipe.dcc_gamma is None else recipe.dcc_gamma
        fixed = pairwise_target(self.similarity, self.U, gamma)
        fixed[sample] += recipe.alpha * self.label_outputs + recipe.beta * self.latent_outputs
        if recipe.dcc_rows == "all":
            self.B = dcc_sweep(self.B, fixed, self.U)
        else:
            self.B[sample] = dcc_sweep(self.B[sample], fixed[sample], self.U)

    def database_codes(self) -> Tensor:
        empty = (self.B == 0).all(1).nonzero()[:, 0]
        if self.recipe.unsampled in ("zero", "drop") or len(empty) == 0:
            return self.B
        codes = self.B.clone()
        if self.recipe.unsampled == "network":
            codes[empty] = signs(self.encode_rows(empty.cpu())).to(codes)
        else:
            with torch.no_grad():
                codes[empty] = signs(self.network.label_net(self.labels[empty].float())[1])
        return codes
