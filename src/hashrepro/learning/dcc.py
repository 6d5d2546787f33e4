"""The discrete update of the database codes, bit by bit (discrete cyclic coordinate descent, DCC)."""

import torch
from torch import Tensor

from hashrepro.learning.similarity import SoftSimilarity

BLOCK = (
    8  # bits at a time: within a block one by one, and a matrix product for what earlier blocks contribute
)


def dcc_sweep(B: Tensor, Q: Tensor, U: Tensor) -> Tensor:
    """One sweep over the bits: ``B[:, b] = sign(Q[:, b] - B' U'^T u_b)``, ' dropping column b.

    Columns already updated in this sweep are used for the next ones; a tie (exactly 0) becomes +1. With the k x k
    Gram matrix G of U the argument of bit b is

        Q_b - (sum over c < b of G_bc new_c) - (sum over c > b of G_bc old_c)

    so the old columns enter in one product with G's upper triangle, and the new ones as they come, as in solving
    a triangular system. That is O(n k^2), and nothing of size n x m exists.

    Args:
        B: (n, k) codes of the rows to update, any real values.
        Q: (n, k) the fixed part of the argument, ``k S^T U + gamma * (U on its own rows)`` plus whatever a method
            adds that does not depend on B.
        U: (m, k) network outputs of the sampled images.

    Returns:
        (n, k) codes of +1 and -1, of B's dtype. B is left as it was.

    Source: ADSH (AAAI 2018), V-step; SDH (CVPR 2015) for the method.
    """
    gram = U.T @ U
    # (k, n): the codes of the bits done so far, above the arguments of those to come
    rows = torch.addmm(Q.T, gram.triu(1), B.T, alpha=-1)
    for start in range(0, len(rows), BLOCK):
        end = min(start + BLOCK, len(rows))
        rows[start:end].addmm_(gram[start:end, :start], rows[:start], alpha=-1)
        for bit in range(start, end):
            rows[bit].sign_().add_(0.5).sign_()  # 0 becomes +1; several times as fast as torch.where
            rows[bit + 1 : end].addr_(gram[bit + 1 : end, bit], rows[bit], alpha=-1)
    return rows.T.contiguous()


def pairwise_target(similarity: SoftSimilarity, U: Tensor, gamma: float) -> Tensor:
    """(n, k): ``Q = k S^T U + gamma * Ubar`` with Ubar = U on the sampled rows and 0 elsewhere.

    Args:
        similarity: S between the sample (m) and the database (n).
        U: (m, k) network outputs of the sampled images.
        gamma: weight of the quantisation term.
    """
    Q = similarity.database_sums(U.shape[1] * U)
    return Q.index_add_(0, similarity.sample, U, alpha=gamma)
