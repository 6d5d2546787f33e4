"""The pairwise loss and the update of the codes as their formulas stand, with S as a matrix."""

import torch
from torch import Tensor


def similarity_matrix(sample_labels: Tensor, labels: Tensor) -> Tensor:
    """S (m, n) from labels (m, C) and (n, C), 0/1 floats: +1 and -1, then shifted and scaled so that it sums to zero.

    r = sum(S) / sum(1 - S); S <- S (1 + r) - r.
    """
    S = torch.where(sample_labels @ labels.T > 0, 1.0, -1.0)
    r = S.sum() / (1 - S).sum()
    return S * (1 + r) - r


def pairwise_target(S: Tensor, U: Tensor, sample: Tensor, gamma: float) -> Tensor:
    """Q = (k S)^T U + gamma Ubar, (n, k); Ubar is U on the sampled rows and 0 elsewhere."""
    expanded = torch.zeros(S.shape[1], U.shape[1], dtype=U.dtype)
    expanded[sample] = U
    return (U.shape[1] * S).T @ U + gamma * expanded


def dcc_sweep(B: Tensor, Q: Tensor, U: Tensor) -> Tensor:
    """B[:, b] = sign(Q[:, b] - B' U'^T u_b), ' dropping column b; the product is taken from left to right."""
    B = B.clone()
    for b in range(B.shape[1]):
        others = torch.arange(B.shape[1]) != b
        B[:, b] = (Q[:, b] - B[:, others] @ U[:, others].T @ U[:, b]).sign()
    return B


def loss(outputs: Tensor, positions: Tensor, S: Tensor, B: Tensor, sample: Tensor, gamma: float) -> Tensor:
    """12 / k (|| k S - F B^T ||^2 + gamma || F - B[sample] ||^2) / (b n) of the images at `positions` of the sample."""
    k = outputs.shape[1]
    pairwise = (k * S[positions] - outputs @ B.T).square().sum()
    quantisation = gamma * (outputs - B[sample[positions]]).square().sum()
    return 12 / k * (pairwise + quantisation) / (len(outputs) * len(B))
