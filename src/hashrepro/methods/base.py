"""What every method shares: its recipe's common part and the contract with the alternating loop."""

import abc
import importlib
import pkgutil
from typing import ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

import hashrepro.methods
from hashrepro.errors import UserError
from hashrepro.methods.similarity import LabelSets, SoftSimilarity
from hashrepro.networks.backbones import build_backbone
from hashrepro.seeds import seed_torch, stream


class Recipe(BaseModel):
    """The values of a recipe that every method has; params.yaml's `train.<method>.<data set>` block."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str = Field(description="network that the method stands on: resnet50, alexnet or lite0")
    weights: str = Field("imagenet", description="imagenet, none, or the path of a weight file")
    batch_norm_momentum: float | None = Field(None, description="None keeps the backbone's own")
    iterations: PositiveInt = Field(description="outer iterations: sample, train, update the codes")
    epochs: PositiveInt = Field(description="passes over the sample in one iteration")
    samples: PositiveInt = Field(description="m, database images drawn in each iteration")
    batch_size: PositiveInt = Field(description="images in a gradient step")
    evaluation_batch_size: PositiveInt = Field(64, description="images in a forward pass of encoding")
    optimiser: Literal["sgd", "adam"] = "adam"
    learning_rate: PositiveFloat
    momentum: float = Field(0.9, description="of SGD, always Nesterov")
    weight_decay: float = Field(0.0, description="coupled L2, on every parameter")
    milestones: list[PositiveInt] = Field([], description="iterations after which the rate drops")
    rate_drop: PositiveFloat = Field(0.1, description="factor of the rate at a milestone")
    gamma: float = Field(description="weight of the quantisation term, in the loss and in the update of B")
    augment: bool = Field(True, description="random crops and flips; False trains on the evaluation crop")
    crop_scale: tuple[float, float] = Field((0.08, 1.0), description="area share of a random crop")
    crop_ratio: tuple[float, float] = Field((3 / 4, 4 / 3), description="width by height of a random crop")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    channels_last: bool = Field(
        True, description="memory layout of maps: faster, the same numbers but for rounding"
    )
    evaluate_every: PositiveInt = Field(
        1, description="iterations between evaluations; the last one always is"
    )


class Method(abc.ABC):
    """A way to learn codes: a network for images, codes B for the database, one gradient step, one update of B.

    The loop calls `begin`, then `step` for every batch of every epoch, then `finish`, once per outer iteration.

    Args:
        recipe: an instance of the class's own `Recipe`.
        bits: code length k.
        labels: (n, C) bool, the labels of the n database images.
        seed: seed of the run; initial weights and initial codes come from it.
        device: where tensors live.
    """

    TITLE: ClassVar[str]
    PAPER: ClassVar[str]
    REFERENCE: ClassVar[str] = "adsh"  # the convention of mAP in which its paper reports
    Recipe: ClassVar[type[Recipe]]

    def __init__(self, recipe: Recipe, bits: int, labels: Tensor, seed: int, device: torch.device):
        self.recipe, self.bits, self.seed, self.device = recipe, bits, seed, device
        self.network = self.untrained_network(recipe, bits, labels.shape[1], seed).to(device)
        self.sets = LabelSets.of(labels).to(device)
        self.labels = labels.to(device)
        self.optimisers = self.build_optimisers()
        self.B = self.initial_codes(len(labels))

    @classmethod
    def untrained_network(cls, recipe: Recipe, bits: int, classes: int, seed: int) -> nn.Module:
        """The network as it is before training; the same weights for the same seed."""
        seed_torch(seed, "weights")
        backbone = build_backbone(
            recipe.backbone, recipe.weights, batch_norm_momentum=recipe.batch_norm_momentum
        )
        network = cls.build_network(recipe, backbone, bits, classes)
        if recipe.channels_last:
            network = network.to(memory_format=torch.channels_last)
        network.mean, network.std = backbone.mean, backbone.std  # what its images must be normalised by
        return network

    @classmethod
    @abc.abstractmethod
    def build_network(cls, recipe: Recipe, backbone, bits: int, classes: int) -> nn.Module:
        """A module whose `encode(images (b, 3, S, S)) -> (b, bits)` gives real-valued codes."""

    @abc.abstractmethod
    def initial_codes(self, n: int) -> Tensor:
        """(n, k) B before the first iteration."""

    @abc.abstractmethod
    def step(self, positions: Tensor, images: Tensor) -> dict[str, Tensor]:
        """One gradient step on a batch; keeps its outputs for `finish`; returns the losses to log."""

    @abc.abstractmethod
    def update_codes(self) -> None:
        """Change B from the outputs of the iteration's last epoch."""

    def build_optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"all": self.optimiser(self.network.parameters())}

    def optimiser(self, parameters) -> torch.optim.Optimizer:
        r = self.recipe
        if r.optimiser == "adam":
            return torch.optim.Adam(parameters, lr=r.learning_rate, weight_decay=r.weight_decay, fused=True)
        return torch.optim.SGD(
            parameters, lr=r.learning_rate, momentum=r.momentum, weight_decay=r.weight_decay, nesterov=True
        )

    def begin(self, iteration: int, sample: Tensor) -> None:
        """Start an outer iteration on the sampled database rows, (m,) int64."""
        self.similarity = SoftSimilarity.between(self.sets, sample)
        self.U = torch.zeros(len(sample), self.bits, device=self.device)
        seed_torch(self.seed, "dropout", iteration)

    def view_path(self, iteration: int, epoch: int) -> tuple[int, int]:
        """Which stream of batches an epoch sees; two epochs with the same path see the same crops and order."""
        return (iteration, epoch)

    def finish(self, iteration: int) -> None:
        """End an outer iteration (counted from 1): learning rates, then the codes."""
        if iteration in self.recipe.milestones:
            self.drop_rate("all", self.recipe.rate_drop)
        self.update_codes()

    def drop_rate(self, name: str, factor: float) -> None:
        for group in self.optimisers[name].param_groups:
            group["lr"] *= factor

    def gaussian(self, n: int, name: str) -> Tensor:
        """(n, k) standard normal numbers from the run's stream `name`."""
        numbers = stream(self.seed, name).standard_normal((n, self.bits), dtype="float32")
        return torch.from_numpy(numbers).to(self.device)


def method_names() -> list[str]:
    """Names of the methods there are: the modules of this package that define METHOD."""
    names = [module.name for module in pkgutil.iter_modules(hashrepro.methods.__path__)]
    return [name for name in names if hasattr(importlib.import_module(f"hashrepro.methods.{name}"), "METHOD")]


def load_method(name: str) -> type[Method]:
    """The method class of `methods/<name>.py`.

    Raises:
        UserError: there is no such method.
    """
    try:
        return importlib.import_module(f"hashrepro.methods.{name}").METHOD
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name != f"hashrepro.methods.{name}":
            raise
        raise UserError(
            f"There is no method called {name!r}.",
            where="params.yaml: grid.methods",
            mend=f"use one of {', '.join(method_names())}, or write src/hashrepro/methods/{name}.py",
        ) from None
