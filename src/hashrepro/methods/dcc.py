"""The discrete update of the database codes, bit by bit (discrete cyclic coordinate descent, DCC)."""

import torch
from torch import Tensor


def dcc_sweep(B: Tensor, Q: Tensor, U: Tensor) -> Tensor:
    """One sweep over the bits: ``B[:, b] = sign(Q[:, b] - B' U'^T u_b)``, ' dropping column b.

    Columns already updated in this sweep are used for the next ones; a tie (exactly 0) becomes +1. The product is
    taken as ``B' (U'^T u_b)`` with the k x k Gram matrix of U, whose diagonal is zeroed in place of dropping a
    column, so a bit costs O(n k) and nothing of size n x m exists. Rows are independent of each other.

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
    gram.fill_diagonal_(0)
    columns, fixed = B.T.contiguous().clone(), Q.T.contiguous()
    for bit, row in enumerate(gram):
        argument = fixed[bit] - row @ columns
        columns[bit] = torch.where(argument >= 0, 1.0, -1.0)
    return columns.T.contiguous()


def pairwise_target(similarity, U: Tensor, gamma: float) -> Tensor:
    """(n, k): ``Q = k S^T U + gamma * Ubar`` with Ubar = U on the sampled rows and 0 elsewhere.

    Args:
        similarity: the `SoftSimilarity` of the sample.
        U: (m, k) network outputs of the sampled images.
        gamma: weight of the quantisation term.
    """
    Q = U.shape[1] * similarity.database_sums(U)
    return Q.index_add_(0, similarity.sample, gamma * U)
