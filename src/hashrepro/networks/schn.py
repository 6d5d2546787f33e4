"""SCHN's network: an image net that encodes, and a label net and a cycle net that teach it."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hashrepro.networks.adsh import HashNetwork
from hashrepro.networks.backbones import Backbone
from hashrepro.networks.cycle import CycleNet, LabelNet
from hashrepro.networks.synced import gather_rows


class SCHNOutput(NamedTuple):
    """The code matrices of a batch, each (b, bits); None where the part that makes it is left out."""

    latent: Tensor | None  # U_lat
    image: Tensor  # U_img
    label: Tensor | None  # U_lab
    image_reconstruction: Tensor | None  # R_img
    label_reconstruction: Tensor | None  # R_lab


class SCHNNetwork(nn.Module):
    """Images and labels of a batch to codes, a latent code and reconstructions.

    Args:
        backbone: of the image net; its weights stay, everything else starts with PyTorch's default (the graph
            convolution with its own).
        bits: code length.
        classes: length of a label vector.
        cycle_query, gcn_norm, latent_activation: see `CycleNet`.
        detach_features: keep the cycle net's gradient out of the features of both modalities (the published
            code). The reconstructions still pull at the codes through the loss.
        label_net, cycle_net: False leaves that part out; a cycle net needs the label net.

    Raises:
        UserError: no such choice.

    Source: SCHN (MM Asia 2021; ACM TOMM 18(2s), 2022), from the published code.
    """

    def __init__(
        self,
        backbone: Backbone,
        bits: int,
        classes: int,
        *,
        cycle_query: str = "modality",
        gcn_norm: str = "none",
        latent_activation: str = "sigmoid",
        detach_features: bool = True,
        label_net: bool = True,
        cycle_net: bool = True,
    ):
        super().__init__()
        self.image_net = HashNetwork(backbone, bits)
        self.label_net = LabelNet(classes, bits) if label_net else None
        self.cycle_net = None
        if cycle_net:
            self.cycle_net = CycleNet(
                bits,
                backbone.features,
                cycle_query=cycle_query,
                gcn_norm=gcn_norm,
                latent_activation=latent_activation,
            )
        self.detach_features = detach_features

    def forward(
        self, images: Tensor, labels: Tensor, similarity: Tensor, *, train_features: bool = True
    ) -> SCHNOutput:
        """All outputs of a batch.

        Args:
            images: (b, 3, S, S); of several processes, each one's share of them. All else is of the whole batch.
            labels: (b, classes) float 0/1.
            similarity: (b, b) float, 1 where two items share a label, else 0.
            train_features: False runs image net and label net without a graph, for a pass that only the cycle
                net learns from; the outputs are the same.
        """
        with torch.set_grad_enabled(train_features and torch.is_grad_enabled()):
            image_feature = self.image_net.forward_features(images)
            image = gather_rows(self.image_net.hash(image_feature), len(labels))
            label_feature, label = self.label_net(labels) if self.label_net is not None else (None, None)
        if self.cycle_net is None:
            return SCHNOutput(None, image, label, None, None)
        if self.detach_features:
            image_feature, label_feature = image_feature.detach(), label_feature.detach()
        image_feature = gather_rows(image_feature, len(labels))
        latent, image_reconstruction, label_reconstruction = self.cycle_net(
            image_feature, label_feature, similarity
        )
        return SCHNOutput(latent, image, label, image_reconstruction, label_reconstruction)

    def encode(self, images: Tensor) -> Tensor:
        """(b, 3, S, S) -> (b, bits): the image net alone, as for queries."""
        return self.image_net(images)
