"""ADSH's network: one branch of a backbone and a linear hash layer."""

from torch import Tensor, nn

from hashrepro.networks.backbones import Backbone


class HashNetwork(nn.Module):
    """Images to codes in (-1, 1): trunk, refine units, pooling, Linear(features, bits), tanh.

    The hash layer keeps PyTorch's default initialisation; trunk and units keep their weights.

    Source: ADSH (AAAI 2018); also the image network of SCHN (MM Asia 2021).
    """

    def __init__(self, backbone: Backbone, bits: int):
        super().__init__()
        self.trunk = backbone.trunk
        self.refine = nn.Sequential(*backbone.refine_units(), backbone.pool())
        self.hash = nn.Sequential(nn.Linear(backbone.features, bits), nn.Tanh())

    def forward_features(self, images: Tensor) -> Tensor:
        """(b, 3, S, S) -> (b, features): what the hash layer sees."""
        return self.refine(self.trunk(images))

    def forward(self, images: Tensor) -> Tensor:
        """(b, 3, S, S) -> (b, bits)."""
        return self.hash(self.forward_features(images))

    def encode(self, images: Tensor) -> Tensor:
        """The codes of images, as `forward`."""
        return self(images)
