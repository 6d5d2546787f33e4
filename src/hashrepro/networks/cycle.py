"""SCHN's semantic cycle: from labels and image features to a latent code, and back to the codes of both."""

from torch import Tensor, nn

from hashrepro.networks.fusion import BatchAttention, GraphConvolution
from hashrepro.networks.options import require_choice
from hashrepro.networks.synced import gather_rows, own_slice

WIDE, NARROW = 1024, 512  # hidden sizes of every MLP; a label feature has NARROW, a graph feature WIDE values


def mlp(inputs: int) -> nn.Sequential:
    """(b, inputs) -> (b, 512): Linear to 1024, ReLU, Linear to 512, ReLU."""
    return nn.Sequential(nn.Linear(inputs, WIDE), nn.ReLU(), nn.Linear(WIDE, NARROW), nn.ReLU())


class LabelNet(nn.Module):
    """Label vectors (b, classes), float 0/1, to a feature (b, 512) and a code (b, bits) in (-1, 1)."""

    def __init__(self, classes: int, bits: int):
        super().__init__()
        self.body = mlp(classes)
        self.hash = nn.Sequential(nn.Linear(NARROW, bits), nn.Tanh())

    def forward(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        feature = self.body(labels)
        return feature, self.hash(feature)


class CycleNet(nn.Module):
    """Features of two modalities, image and label, to a latent code and the reconstructed codes of both.

        X     = attention(query F_lab, value F_img)
        Z     = graph convolution of X over the similarity S of the batch
        U_lat = sigmoid(Linear(dropout(Z)))
        R_img = tanh(Linear(mlp(attention(query F_lab, value Z))))   cycle_query "modality"
                                attention(query Z, value F_lab)      cycle_query "latent"
        R_lab = the same with F_img in place of F_lab

    The reconstructed image code comes from label features, the reconstructed label code from image features.

    Args:
        bits: code length.
        image_width, label_width: lengths of F_img and F_lab.
        cycle_query: "modality" (MM Asia 2021) or "latent" (TOMM 2022).
        gcn_norm: see `GraphConvolution`.
        latent_activation: "sigmoid" (the published code) or "tanh", the range of the codes it is fitted to.

    Raises:
        UserError: no such choice.

    Source: SCHN (MM Asia 2021; ACM TOMM 18(2s), 2022), from the published code.
    """

    def __init__(
        self,
        bits: int,
        image_width: int,
        label_width: int = NARROW,
        *,
        cycle_query: str = "modality",
        gcn_norm: str = "none",
        latent_activation: str = "sigmoid",
    ):
        super().__init__()
        require_choice("cycle_query", cycle_query, ("modality", "latent"))
        activations = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
        require_choice("latent_activation", latent_activation, activations)
        self.cycle_query = cycle_query
        self.fuse = BatchAttention(label_width, image_width)
        self.graph = GraphConvolution(label_width, WIDE, gcn_norm)
        self.latent = nn.Sequential(nn.Dropout(0.5), nn.Linear(WIDE, bits), activations[latent_activation]())

        def reconstruction(width: int) -> nn.ModuleDict:
            query, value = (width, WIDE) if cycle_query == "modality" else (WIDE, width)
            head = nn.Sequential(mlp(query), nn.Linear(NARROW, bits), nn.Tanh())
            return nn.ModuleDict({"attention": BatchAttention(query, value), "head": head})

        self.image_reconstruction = reconstruction(label_width)
        self.label_reconstruction = reconstruction(image_width)

    def forward(
        self, image_feature: Tensor, label_feature: Tensor, similarity: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(b, image_width), (b, label_width), S (b, b) float 0/1 -> U_lat, R_img, R_lab, each (b, bits)."""
        z = self.graph(self.fuse(label_feature, image_feature), similarity)

        def reconstruct(part: nn.ModuleDict, feature: Tensor) -> Tensor:
            query, value = (feature, z) if self.cycle_query == "modality" else (z, feature)
            return part["head"](part["attention"](query, value))

        # of several processes, each one drops values in its own rows alone
        latent = gather_rows(self.latent(z[own_slice(len(z))]), len(z))
        return (
            latent,
            reconstruct(self.image_reconstruction, label_feature),
            reconstruct(self.label_reconstruction, image_feature),
        )
