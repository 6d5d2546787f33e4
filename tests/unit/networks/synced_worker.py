"""synced_worker FOLDER: three processes that take shares of the same batches; each leaves what it got in FOLDER."""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import nn

from hashrepro.networks.sem import mask
from hashrepro.networks.synced import convert, gather_rows, own_slice, rank, shares, world_size

PROCESSES = 3
SIZES = (7, 2, 1)  # of 7 rows the shares are 3, 2, 2; of 2 rows, the last process has none


def batch(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and what flows back to their outputs, both (n, 4, 3, 5) float64, far from mean 0 and variance 1."""
    generator = torch.Generator().manual_seed(100 * seed + n)
    x, gradient = torch.randn(2, n, 4, 3, 5, generator=generator, dtype=torch.float64)
    return 50 + torch.arange(1.0, 5)[:, None, None] * x, gradient


def norms() -> dict[str, nn.Module]:
    made = {
        "plain": nn.BatchNorm2d(4, momentum=0.3),
        "cumulative": nn.BatchNorm2d(4, momentum=None),
        "activated": BatchNormAct2d(4, inplace=False),
    }
    for module in made.values():
        with torch.no_grad():
            module.weight.copy_(torch.tensor([1.0, -2.0, 0.5, 3.0]))
            module.bias.copy_(torch.tensor([0.0, 1.0, -1.0, 0.2]))
        module.double()
    return made


def passes(module: nn.Module, n: int, rows: slice) -> dict[str, torch.Tensor]:
    """Two training passes and one in eval mode over the same `rows` of two batches."""
    found = {}
    for seed in (0, 1):
        x, gradient = batch(n, seed)
        x = x[rows].requires_grad_()
        y = module(x)
        y.backward(gradient[rows])
        found |= {f"y{seed}": y.detach(), f"x{seed}.grad": x.grad}
    found |= {f"{name}.grad": parameter.grad for name, parameter in module.named_parameters()}
    found |= dict(module.named_buffers())
    found["eval"] = module.eval()(batch(n)[0][rows]).detach()
    return found


def attention(n: int) -> torch.Tensor:
    return 5 * batch(n)[0][:, :1].sub(50).relu()


def work(folder: Path) -> None:
    found = {"shares": [shares(n) for n in SIZES], "alone": world_size()}
    for n in SIZES:
        own = own_slice(n)
        for name, module in norms().items():
            holder = nn.Sequential(module)
            convert(holder)
            found[f"{name} {n}"] = passes(holder[0], n, own)
        rows = batch(n)[0][own, :, 0, 0].requires_grad_()
        whole = gather_rows(rows, n)
        (whole.square().sum() * (rank() + 1)).backward()
        found[f"gathered {n}"] = {"rows": whole.detach(), "grad": rows.grad}
        found[f"mask {n}"] = mask(attention(n)[own], 0.15, shared=True)
        found[f"mask alone {n}"] = mask(attention(n)[own], 0.15) if own.stop > own.start else None
    half = nn.Sequential(nn.BatchNorm2d(4))
    convert(half)
    found["half"] = half(batch(7)[0][own_slice(7)].bfloat16()).dtype
    try:
        gather_rows(torch.zeros(5, 2), 7)
    except ValueError as error:
        found["wrong share"] = str(error)
    torch.save(found, folder / f"{rank()}.pt")


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    children = []
    for number in range(PROCESSES):
        if (pid := os.fork()) == 0:
            dist.init_process_group(
                "gloo", init_method=f"file://{folder}/store", rank=number, world_size=PROCESSES
            )
            work(folder)
            dist.destroy_process_group()
            os._exit(0)
        children.append(pid)
    sys.exit(max(os.waitpid(pid, 0)[1] for pid in children) != 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
