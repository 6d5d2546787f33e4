"""A run of a method small enough to be checked by hand: 12 database images of 3 classes, 8 of them sampled."""

import torch

TINY = {
    "backbone": "lite0",
    "weights": "none",
    "batch_norm_momentum": 0.1,
    "iterations": 3,
    "epochs": 1,
    "samples": 8,
    "batch_size": 8,
    "learning_rate": 1e-3,
}
CLASSES = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
SAMPLE = torch.tensor([2, 3, 5, 8, 1, 0, 11, 7])
