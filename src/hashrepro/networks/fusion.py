"""How SCHN lets the items of a batch see each other: attention over the batch, convolution over its graph."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hashrepro.networks.options import require_choice


class BatchAttention(nn.Module):
    """Attention of the items of a batch over all items of the same batch, themselves included; one head.

        out_i = W_o sum_j softmax_j((W_q q_i + b_q) . (W_k q_j + b_k) / sqrt(E)) (W_v v_j + b_v) + b_o

    Queries are their own keys: (b, E), values (b, value_width), the output (b, E). The result for an item
    depends on its batch.
    """

    def __init__(self, query_width: int, value_width: int):
        super().__init__()
        self.attention = nn.MultiheadAttention(query_width, 1, kdim=query_width, vdim=value_width)

    def forward(self, query: Tensor, value: Tensor) -> Tensor:
        query, value = query.unsqueeze(1), value.unsqueeze(1)  # (sequence = the batch, one sequence, width)
        return self.attention(query, query, value, need_weights=False)[0].squeeze(1)


class GraphConvolution(nn.Module):
    """ReLU(N(A) X W + bias): features X (b, inputs) aggregated over the graph A (b, b), to (b, outputs).

    Args:
        norm: N. "none" (the published code: an item's features grow with the number of its neighbours),
            "row" D^-1 A, or "sym" D^-1/2 A D^-1/2, with D the degrees; an item without neighbours aggregates
            nothing.

    Weight and bias start uniform in +-1 / sqrt(outputs).
    """

    def __init__(self, inputs: int, outputs: int, norm: str = "none"):
        super().__init__()
        require_choice("gcn_norm", norm, ("none", "row", "sym"))
        self.norm = norm
        bound = outputs**-0.5
        self.weight = nn.Parameter(torch.empty(inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def forward(self, features: Tensor, adjacency: Tensor) -> Tensor:
        if self.norm != "none":
            degree = adjacency.sum(1, keepdim=True).clamp(min=1)
            adjacency = adjacency / (degree if self.norm == "row" else (degree * degree.T).sqrt())
        return F.relu(adjacency @ (features @ self.weight) + self.bias)
