"""The device that networks run on, exact: full float32, the same bits each time."""

import os

import torch

from hashrepro.errors import UserError
from hashrepro.settings import Machine


def one_gpu_each(machine: Machine, processes: int) -> None:
    """See to it that each of several processes can have a GPU of its own, where they use GPUs.

    Raises:
        UserError: one device was named for all, or there are fewer than processes.
    """
    if machine.device == "cpu" or not torch.cuda.is_available():
        return
    if ":" in machine.device:
        raise UserError(
            f"{processes} processes cannot share the one device {machine.device!r}.",
            where="params.yaml: machine.device",
            mend="set machine.device to cuda: process N takes GPU N",
        )
    if processes > (count := torch.cuda.device_count()):
        raise UserError(
            f"{processes} processes need a GPU each, and there are {count}.",
            where="params.yaml: machine.processes, or --processes",
            mend=f"set machine.processes to {count} or less, or give so many --processes",
        )


def prepare(machine: Machine) -> torch.device:
    """Set threads and exactness; return the device. TF32 stays off: signs are decided in full float32.

    One of several processes that torchrun started gets its share of the threads, and the GPU of its own number.

    Raises:
        UserError: CUDA was asked for and is not there, or not for each process.
    """
    together = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    torch.set_num_threads(max(1, machine.own_threads // together))
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    name = machine.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(
            f"The device {name!r} was asked for, but torch sees no CUDA device.",
            where="params.yaml: machine.device",
            mend="set machine.device to auto or cpu",
        )
    if name.startswith("cuda"):
        # sums by atomic additions would come out in another order each time; what has no other form is named
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False
        for kernel in ("flash", "mem_efficient", "cudnn"):  # attention over a batch is too small to need them
            getattr(torch.backends.cuda, f"enable_{kernel}_sdp")(False)
        if together > 1:
            one_gpu_each(machine, together)
            name = f"cuda:{os.environ['LOCAL_RANK']}"
    return torch.device(name)
