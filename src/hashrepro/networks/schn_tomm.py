"""What SCHN's journal version adds to the network: a discriminator of codes."""

import torch
from torch import Tensor, nn

from hashrepro.networks.cycle import NARROW, mlp


class Discriminator(nn.Module):
    """How real the codes of a batch look: those of images (b, bits) and of labels (b, bits) to logits.

    Each side has its own network, ``x = Linear(mlp(code))``. The published code makes a probability of it as
    ``p = (tanh(x) + 1) / 2``, the logistic function of 2 x; in single precision that reaches exactly 0 and 1,
    where torch's binary cross-entropy is 100 and has no gradient.

    Source: SCHN (ACM TOMM 18(2s), 2022), from the published code.
    """

    def __init__(self, bits: int):
        super().__init__()
        self.image = nn.Sequential(mlp(bits), nn.Linear(NARROW, 1))
        self.label = nn.Sequential(mlp(bits), nn.Linear(NARROW, 1))

    def forward(self, image_code: Tensor, label_code: Tensor) -> Tensor:
        """(2 b, 1): the image side, then the label side."""
        return torch.cat([self.image(image_code), self.label(label_code)])
