"""Several processes that train one run together, each on its share of every batch; see `networks.synced`.

Outputs are gathered, so U and B come out the same in every process; process 0 alone logs and writes. A process more
changes the rounding, and which numbers its dropout draws, and nothing else.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from hashrepro.errors import UserError
from hashrepro.learning.checkpoints import digest
from hashrepro.networks.synced import rank, world_size

PATIENCE = timedelta(hours=1)  # others wait while process 0 scores and writes


def launched() -> bool:
    """Whether torchrun started this process as one of several."""
    return "LOCAL_RANK" in os.environ


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Be one of the processes that torchrun started; without torchrun, be alone."""
    if not launched():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", timeout=PATIENCE, device_id=device)
    else:
        dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def first_process_first() -> Iterator[None]:
    """A block that process 0 has left before the others enter it."""
    if rank() > 0:
        dist.barrier()
    yield
    if rank() == 0 and world_size() > 1:
        dist.barrier()


def average_gradients(optimiser: torch.optim.Optimizer) -> None:
    """Replace the gradients of an optimiser's parameters by their mean over all processes.

    One sum of one flat copy, after the backward pass and not beside it: simple, and its cost is the time to send the
    gradients once. A parameter must have a gradient in all processes or in none.
    """
    if world_size() == 1:
        return
    gradients = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def require_same(tensors: dict[str, Tensor], when: str) -> None:
    """Check that all processes hold the same bits.

    Raises:
        UserError: they do not; naming a tensor that differs, and `when`.
    """
    if world_size() == 1:
        return
    names = sorted(tensors)
    device = tensors[names[0]].device
    own = torch.tensor([digest({name: tensors[name]}) for name in names], device=device)
    parts = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(parts, own)
    differs = (torch.stack(parts) != own).any(0).tolist()
    if any(differs):
        different = [name for name, found in zip(names, differs, strict=True) if found]
        raise UserError(
            f"The processes no longer agree: {different[0]} and {len(different) - 1} others differ {when}.",
            where=f"process {rank()} of {world_size()}",
            mend="run it again, it goes on from the last checkpoint; or set machine.processes to 1",
        )
