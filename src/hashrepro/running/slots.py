"""What this machine can run at a time: so many stages, one GPU each, and as much as memory holds."""

import os
from collections.abc import Callable
from pathlib import Path

import psutil

from hashrepro.errors import UserError
from hashrepro.running.stages import kind_of

ON_GPU = ("train", "encode")  # the kinds of stages that run networks
_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA's, AMD's, of the Windows Subsystem for Linux


def visible_devices(device: str) -> list[str]:
    """Ids of the GPUs that stages may have, as CUDA_VISIBLE_DEVICES takes them.

    Args:
        device: machine.device of params.yaml. "cpu": no stage gets one. "cuda:N": all share that one, so that one stage
            has it at a time.
    """
    if device == "cpu":
        return []
    if (named := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        ids = [word.strip() for word in named.split(",")]
        # as CUDA reads it: what comes after an id that does not exist is not there
        ids = ids[: next((place for place, word in enumerate(ids) if word in ("", "-1")), len(ids))]
    elif any(Path(driver).exists() for driver in _DRIVERS):
        import torch  # two seconds, which a machine without a GPU's driver does not spend

        ids = [str(number) for number in range(torch.cuda.device_count())]
    else:
        ids = []
    return ids[:1] if ":" in device else ids


def gpus_for(address: str, processes: int) -> int:
    """GPUs that a stage takes where there are any: one for a network, for its training as many as it has processes."""
    kind = kind_of(address)
    return 0 if kind not in ON_GPU else processes if kind == "train" else 1


class Slots:
    """The places of one machine. One stage can always run, whatever memory there is.

    Args:
        workers: stages at a time.
        devices: ids of the GPUs; without any, no stage is given one or hindered by it.
        pinned: every stage finds its device by itself (machine.device is cuda:N), so none is named to it.
        available: bytes of memory that can be had now.
    """

    def __init__(
        self,
        workers: int,
        devices: list[str],
        *,
        pinned: bool = False,
        available: Callable[[], int] = lambda: psutil.virtual_memory().available,
    ):
        self.workers, self.pinned, self.available = workers, pinned, available
        self._devices, self._free = devices, list(devices)
        self._taken: dict[str, tuple[list[str], int]] = {}
        self._whole = 0

    def take(self, stage: str, gpus: int, memory: int) -> dict[str, str] | None:
        """The environment that tells a stage its GPUs; None if there is no place for it now.

        Besides what is available now, the estimates of what already runs count: those stages may still be growing.
        """
        gpus = gpus if self._devices else 0
        if len(self._taken) >= self.workers or gpus > len(self._free):
            return None
        now = self.available()
        if not self._taken:
            self._whole = now
        elif memory > now or memory + sum(size for _, size in self._taken.values()) > self._whole:
            return None
        devices, self._free = self._free[:gpus], self._free[gpus:]
        self._taken[stage] = devices, memory
        if not self._devices or (self.pinned and gpus):
            return {}
        return {"CUDA_VISIBLE_DEVICES": ",".join(devices)}  # empty: hidden from what needs none

    def give_back(self, stage: str) -> None:
        devices, _ = self._taken.pop(stage)
        self._free = sorted([*self._free, *devices], key=self._devices.index)

    def require(self, gpus: int) -> None:
        """See to it that a stage of so many GPUs can ever run.

        Raises:
            UserError: there are GPUs, and fewer than that.
        """
        if 0 < (count := len(self._devices)) < gpus:
            raise UserError(
                f"A training takes {gpus} GPUs, and there are {count}.",
                where="params.yaml: machine.processes",
                mend=f"set machine.processes to {count} or less",
            )
