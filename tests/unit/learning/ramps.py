"""The deterministic inputs of the golden values."""

import torch


def ramp(shape, function, amplitude: float, offset: float, dtype=torch.float64) -> torch.Tensor:
    """amplitude * function(0.7 j + offset), j = 0, 1, 2, ... in row-major order."""
    count = int(torch.tensor(shape).prod())
    return (amplitude * function(0.7 * torch.arange(count, dtype=dtype) + offset)).reshape(shape)
