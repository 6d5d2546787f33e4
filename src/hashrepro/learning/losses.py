"""The pairwise losses.

A batch against the whole database in closed form (ADSH, SEMICON), and a batch against itself (SCHN).
"""

import torch
from torch import Tensor

from hashrepro.learning.similarity import SoftSimilarity


class _ClosedForm(torch.autograd.Function):
    """Value and gradient of the asymmetric loss from the Gram matrix of B; see `AsymmetricLoss`."""

    @staticmethod
    def forward(ctx, outputs, gram, target_sum, constant, codes, scale, gamma):
        half = torch.addmm(target_sum, outputs, gram, beta=-1)  # F G - T: half the gradient
        gap = outputs - codes
        pairwise = scale * (constant + ((half - target_sum) * outputs).sum())
        quantisation = scale * gamma * gap.square().sum()
        ctx.save_for_backward(half.add_(gap, alpha=gamma).mul_(2 * scale))
        ctx.mark_non_differentiable(pairwise, quantisation)
        return pairwise + quantisation, pairwise, quantisation

    @staticmethod
    def backward(ctx, grad, *_):
        (gradient,) = ctx.saved_tensors
        return grad * gradient, None, None, None, None, None, None


class AsymmetricLoss:
    """Network outputs F of b sampled images against all n database codes B, fixed for one outer iteration.

        pairwise     = c / (b n) * || k S - F B^T ||^2
        quantisation = c / (b n) * gamma * || F - B[sample rows] ||^2

    With the k x k matrix ``G = B^T B``, ``T = S B`` and the row sums of S^2 prepared once, a batch costs O(b k^2)
    whatever n is:  ``|| k S_i - B f_i ||^2 = k^2 sum_j S_ij^2 - 2 k f_i . T_i + f_i^T G f_i``.

    Args:
        similarity: S between the sample (m) and the database (n).
        B: (n, k) database codes, any real values (the reference starts from Gaussian noise).
        gamma: weight of the quantisation term.
        scale: c. 1 in ADSH; 12/k in SEMICON, which makes 12 bits the unit.

    Source: ADSH (AAAI 2018), equation 3 and its normalisation by b n in the published code; SEMICON (ECCV 2022).
    """

    def __init__(self, similarity: SoftSimilarity, B: Tensor, *, gamma: float, scale: float = 1.0):
        n, k = B.shape
        self.gram = B.T @ B
        self.target_sum = k * similarity.sample_sums(B)
        self.constant = (k**2 * similarity.squared_sums()).to(B.dtype)
        self.codes = B[similarity.sample]
        self.gamma, self.scale, self.n = gamma, scale, n

    def __call__(self, outputs: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(total, pairwise, quantisation) of a batch; the gradient flows through the total.

        Args:
            outputs: (b, k) network outputs.
            positions: (b,) int64, where in the sample the images stand.
        """
        return _ClosedForm.apply(
            outputs,
            self.gram,
            self.target_sum[positions],
            self.constant[positions].sum(),
            self.codes[positions],
            self.scale / (len(outputs) * self.n),
            self.gamma,
        )


def batch_loss(outputs: Tensor, codes: Tensor, similarity: Tensor, gamma: float) -> Tensor:
    """SCHN's feature loss of a batch against the codes of the same batch.

        (12/k) * mean over b x b of (k S - F B^T)^2  +  gamma * mean over b x k of (F - B)^2

    Args:
        outputs: (b, k) F, one of the image, label or latent outputs.
        codes: (b, k) the current codes of the same images; a row of zeros for an image without a code.
        similarity: (b, b) S, in the reference 0/1.
        gamma: weight of the quantisation term.

    Source: SCHN (MM Asia 2021).
    """
    k = outputs.shape[1]
    pairwise = 12 / k * (k * similarity - outputs @ codes.T).square().mean()
    return pairwise + gamma * (outputs - codes).square().mean()
