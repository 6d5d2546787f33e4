"""ICON, SEMICON's interactive channel transformation: attention between channels, in two cheap steps."""

from torch import Tensor, nn

from hashrepro.errors import UserError
from hashrepro.networks.options import require_choice


class ICON(nn.Module):
    """Channel attention inside blocks of channels, then across the blocks; the map keeps its shape.

    With C = h d channels (h heads of d consecutive channels) and n = H W positions, for the input x
    (b, C, H, W):

        Q, K, V = split(conv1(x)),  each h x d x n
        z = softmax(root(Q K^T / sqrt(d))) V + x           d x d attention in each of the h heads
        y = ReLU(BatchNorm(shuffle(z)))                    channel (j, i) moves to (i, j), j < h, i < d
        Q, K, V = split(conv2(y)),  each d x h x n
        out = unshuffle(softmax(root(Q K^T / sqrt(h))) V) + y

    where ``root(t) = sign(t) sqrt(|t| + 1e-5)``. conv1 (`inside`) and conv2 (`across`) are 1x1, in h and in d
    groups, and their output is split into Q, K, V after the grouping: the Q of head j reads input group
    j // 3, its K group (h + j) // 3, its V group (2 h + j) // 3. The last residual stays shuffled while the
    attention is put back in order.

    Args:
        channels: C.
        heads: h; None means `default_heads`.
        residual: of the second step: "post_relu" (y; the published code) or "pre_relu" (before the ReLU).
        aligned: put the last residual back in order too.

    Raises:
        UserError: heads does not divide channels; residual is no such choice.

    Source: the published code of SEMICON (ECCV 2022).
    """

    def __init__(
        self, channels: int, heads: int | None = None, *, residual: str = "post_relu", aligned: bool = False
    ):
        super().__init__()
        require_choice("icon_residual", residual, ("post_relu", "pre_relu"))
        heads = heads or default_heads(channels)
        if channels % heads:
            raise UserError(
                f"ICON cannot split {channels} channels into {heads} heads",
                where="refine units of the backbone",
                mend=f"choose a backbone whose refine units have a multiple of {heads} channels",
            )
        self.heads, self.members = heads, channels // heads
        self.residual, self.aligned = residual, aligned
        self.inside = nn.Conv2d(channels, 3 * channels, 1, groups=heads)
        self.norm = nn.BatchNorm2d(channels)
        self.across = nn.Conv2d(channels, 3 * channels, 1, groups=self.members)
        for conv in (self.inside, self.across):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        z = x + channel_attention(self.inside(x), self.heads)
        normed = self.norm(_swap(z, self.heads))
        y = normed.relu()
        attended = _swap(channel_attention(self.across(y), self.members), self.members)
        kept = y if self.residual == "post_relu" else normed
        return attended + (_swap(kept, self.members) if self.aligned else kept)


def default_heads(channels: int) -> int:
    """The published number of heads for so many channels."""
    return max(channels // 64, 16)


def channel_attention(qkv: Tensor, groups: int) -> Tensor:
    """softmax(root(Q K^T / sqrt(c))) V in each of `groups` groups of c channels.

    (b, 3 groups c, H, W), Q before K before V, to (b, groups c, H, W).
    """
    b, channels, height, width = qkv.shape
    c = channels // (3 * groups)
    q, k, v = qkv.reshape(b, 3, groups, c, height * width).unbind(1)
    logits = (q * c**-0.5) @ k.mT
    attention = (logits.sign() * (logits.abs() + 1e-5).sqrt()).softmax(-1)
    return (attention @ v).reshape(b, groups * c, height, width)


def _swap(x: Tensor, outer: int) -> Tensor:
    """Reorder the channels from (outer, inner) to (inner, outer)."""
    return x.unflatten(1, (outer, -1)).transpose(1, 2).flatten(1, 2)
