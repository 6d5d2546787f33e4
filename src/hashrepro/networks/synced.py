"""What a network needs when each of several processes sees its share of a batch: the shares put together again, and
statistics of the whole batch.

A batch of n rows is cut into contiguous shares, one a process. Every process then computes the same loss on the same
gathered rows, so the mean over the processes of their parameters' gradients is the gradient that one process would
have had for the whole batch: `gather_rows` and `BatchNorm2d` pass gradients between the processes to that end.
With one process, or without a process group, everything here is what it is without it.
"""

import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from hashrepro.errors import UserError


def world_size() -> int:
    """Number of processes that share this run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def shares(n: int) -> list[int]:
    """How many of n rows each process has; the first ones have one more if they do not divide. Some may have none."""
    each, more = divmod(n, world_size())
    return [each + (number < more) for number in range(world_size())]


def own_slice(n: int) -> slice:
    """Which of n rows are this process's."""
    sizes = shares(n)
    start = sum(sizes[: rank()])
    return slice(start, start + sizes[rank()])


def gather_rows(rows: Tensor, n: int) -> Tensor:
    """The (n, ...) rows of all processes, in order, in each of them.

    Gradients go back to the process that the rows came from, summed over the processes that used them.

    Args:
        rows: (own rows, ...), this process's share of n by `own_slice`; of the same dtype everywhere.
    """
    if world_size() == 1:
        return rows
    if len(rows) != shares(n)[rank()]:
        raise ValueError(f"{len(rows)} rows are not process {rank()}'s share of {n}: {shares(n)[rank()]}")
    return _gather(rows, n)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows, n):
        ctx.n = n
        sizes = shares(n)
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])  # all_gather wants the same shape from everyone
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient[own_slice(ctx.n)], None


@torch.compiler.disable
def _gather(rows: Tensor, n: int) -> Tensor:
    return _Gather.apply(rows, n)


@torch.compiler.disable
@torch.no_grad()
def moments(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(count (), mean (c,), sum of squared differences from it (c,)) of each channel of all processes' (b, c, h, w).

    Each process takes them of its own maps, and Chan's formula joins them: nothing is squared before it is centred.
    At least one process must have a map.
    """
    count = maps.numel() // maps.shape[1]
    mean = maps.sum((0, 2, 3)) / max(count, 1)
    squares = (maps - _map(mean)).square_().sum((0, 2, 3))
    own = torch.cat([mean.new_tensor([count]), mean, squares])
    parts = [own]
    if world_size() > 1:
        parts = [torch.empty_like(own) for _ in range(world_size())]
        dist.all_gather(parts, own)
    every = torch.stack(parts)
    counts, (means, squares) = every[:, :1], every[:, 1:].chunk(2, dim=1)
    total = counts.sum()
    mean = (counts * means).sum(0) / total
    return total, mean, (squares + counts * (means - mean).square()).sum(0)


class _Normalise(torch.autograd.Function):
    """Batch normalisation by the moments of all processes' maps; returns these, too: (output, count, mean, squares)."""

    @staticmethod
    def forward(ctx, x, weight, bias, eps):
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        count, mean, squares = moments(wide)
        scale = (squares / count + eps).rsqrt()
        ctx.save_for_backward(x, weight, count, mean, scale)
        ctx.mark_non_differentiable(count, mean, squares)
        centred = (wide - _map(mean)) * _map(scale)
        return (centred * _map(weight) + _map(bias)).to(x.dtype), count, mean, squares

    @staticmethod
    def backward(ctx, gradient, *_):
        x, weight, count, mean, scale = ctx.saved_tensors
        gradient = gradient.to(mean.dtype)
        centred = (x.to(mean.dtype) - _map(mean)) * _map(scale)
        own = torch.stack([gradient.sum((0, 2, 3)), (gradient * centred).sum((0, 2, 3))])
        total = own.clone()
        dist.all_reduce(total)
        level, slope = total / count
        inner = (gradient - _map(level) - centred * _map(slope)) * _map(weight * scale)
        return inner.to(x.dtype), own[1].to(weight.dtype), own[0].to(weight.dtype), None


def _map(values: Tensor) -> Tensor:
    return values[None, :, None, None]


class BatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d whose statistics in training are those of the batch of all processes; on any device.

    The running variance is the unbiased one. Where torch refuses a batch of a single value a channel, its variance
    is 0 here.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or world_size() == 1:
            return super().forward(x)
        return self._synced(x)

    @torch.compiler.disable
    def _synced(self, x: Tensor) -> Tensor:
        y, count, mean, squares = _Normalise.apply(x, self.weight, self.bias, self.eps)
        with torch.no_grad():
            self.num_batches_tracked += 1
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.to(self.running_mean), share)
            self.running_var.lerp_((squares / (count - 1).clamp(min=1)).to(self.running_var), share)
        return y


class _BatchNormAct2d(BatchNorm2d, BatchNormAct2d):
    """timm's BatchNorm with an activation behind it, synchronised."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or world_size() == 1:
            return BatchNormAct2d.forward(self, x)
        return self.act(self.drop(self._synced(x)))


SYNCED = {nn.BatchNorm2d: BatchNorm2d, BatchNormAct2d: _BatchNormAct2d}


def convert(network: nn.Module) -> None:
    """Make every BatchNorm of a network a synchronised one, in place: the same parameters, buffers and names.

    Raises:
        UserError: it has a BatchNorm that has no synchronised form here.
    """
    for name, module in network.named_modules():
        if type(module) in SYNCED and module.affine and module.track_running_stats:
            module.__class__ = SYNCED[type(module)]
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and type(module) not in SYNCED.values():
            raise UserError(
                f"A {type(module).__name__} cannot share its statistics between processes.",
                where=f"network: {name}",
                mend="set machine.processes to 1",
            )
