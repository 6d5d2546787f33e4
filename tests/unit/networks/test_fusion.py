import pytest
import torch
from torch import nn

from hashrepro.networks.cycle import LabelNet
from hashrepro.networks.fusion import BatchAttention, GraphConvolution

A = torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("query", "value", "parameters"),
    [
        (512, 4096, 2_885_632),
        (512, 1024, 1_312_768),
        (4096, 1024, 54_542_336),
        (1024, 512, 3_674_112),
        (1024, 4096, 7_344_128),
    ],
)
def test_attention_parameter_counts(query, value, parameters):
    with torch.device("meta"):
        attention = BatchAttention(query, value)
    assert sum(p.numel() for p in attention.parameters()) == parameters


@pytest.mark.parametrize("training", [True, False])
def test_attention_is_the_formula(training):
    fusion = BatchAttention(6, 10).double().train(training)
    attention = fusion.attention
    nn.init.normal_(attention.in_proj_bias)
    nn.init.normal_(attention.out_proj.bias)
    q, v = torch.randn(5, 6, dtype=torch.float64), torch.randn(5, 10, dtype=torch.float64)
    b_q, b_k, b_v = attention.in_proj_bias.chunk(3)
    expected = []
    for i in range(5):
        query = attention.q_proj_weight @ q[i] + b_q
        logits = torch.stack([query @ (attention.k_proj_weight @ q[j] + b_k) for j in range(5)]) / 6**0.5
        weights = logits.exp() / logits.exp().sum()
        mixed = sum(weights[j] * (attention.v_proj_weight @ v[j] + b_v) for j in range(5))
        expected.append(attention.out_proj.weight @ mixed + attention.out_proj.bias)
    torch.testing.assert_close(fusion(q, v), torch.stack(expected))


def test_attention_of_a_fresh_network_is_nearly_uniform():
    fusion = BatchAttention(512, 1024)
    labels = nn.functional.one_hot(torch.arange(64) % 10, 10).float()
    feature = LabelNet(10, 12)(labels)[0].unsqueeze(1)
    _, weights = fusion.attention(feature, feature, torch.rand(64, 1, 1024))
    assert weights.min() > 0.98 / 64
    assert weights.max() < 1.02 / 64


def test_attention_moves_with_a_permutation_of_the_batch():
    fusion = BatchAttention(6, 10).double()
    q, v, order = torch.randn(5, 6).double(), torch.randn(5, 10).double(), torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(fusion(q[order], v[order]), fusion(q, v)[order])


@pytest.mark.parametrize("norm", ["none", "row", "sym"])
def test_graph_convolution_is_the_formula(norm):
    graph = GraphConvolution(3, 7, norm).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    degree = [2.0, 3.0, 2.0, 0.0]
    divisor = {
        "none": lambda i, j: 1,
        "row": lambda i, j: degree[i],
        "sym": lambda i, j: (degree[i] * degree[j]) ** 0.5,
    }[norm]
    for i in range(4):
        neighbours = [A[i, j] / divisor(i, j) * (x[j] @ graph.weight) for j in range(4) if A[i, j]]
        expected = torch.relu(sum(neighbours, torch.zeros(7, dtype=torch.float64)) + graph.bias)
        torch.testing.assert_close(graph(x, A)[i], expected)


def test_graph_initialisation():
    graph = GraphConvolution(512, 1024)
    for parameter in (graph.weight, graph.bias):
        assert 0.99 / 32 < parameter.abs().max().item() <= 1 / 32
        assert abs(parameter.mean().item()) < 0.003
