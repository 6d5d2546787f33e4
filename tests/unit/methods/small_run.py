"""A run of a method small enough to be checked by hand: 12 database images of 3 classes, 8 of them sampled."""

import tiny_training
import torch

TINY = {**tiny_training.TINY, "epochs": 1, "batch_size": 8}
CLASSES = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
SAMPLE = torch.tensor([2, 3, 5, 8, 1, 0, 11, 7])
