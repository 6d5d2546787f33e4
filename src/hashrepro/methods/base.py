"""What every method shares: its recipe's common part and the contract with the alternating loop."""

import abc
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

import hashrepro.methods
from hashrepro.errors import UserError
from hashrepro.methods.checkpoints import flatten_optimiser, restore_optimiser
from hashrepro.methods.option import UNREAD, option
from hashrepro.methods.parallel import average_gradients
from hashrepro.methods.similarity import LabelSets, SoftSimilarity
from hashrepro.networks.backbones import build_backbone
from hashrepro.seeds import seed_torch, stream

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Recipe(BaseModel):
    """The values of a recipe that every method has; params.yaml's `train.<method>.<data set>` block."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str = Field(
        description="network that the method stands on: resnet50, alexnet, lite0, or timm: and a name of timm's"
    )
    weights: str = Field("imagenet", description="imagenet, none, or the path of a weight file")
    batch_norm_momentum: float | None = Field(None, description="None keeps the backbone's own")
    iterations: PositiveInt = Field(description="outer iterations: sample, train, update the codes")
    epochs: PositiveInt = Field(description="passes over the sample in one iteration")
    samples: PositiveInt = Field(description="m, database images drawn in each iteration")
    batch_size: PositiveInt = Field(description="images in a gradient step")
    evaluation_batch_size: PositiveInt = Field(64, description="images in a forward pass of encoding")
    optimiser: Literal["sgd", "adam"] = Field("adam", description="sgd has Nesterov's momentum")
    learning_rate: PositiveFloat = Field(description="of all layers, at the start")
    momentum: float = Field(0.9, ge=0, description="of sgd")
    weight_decay: float = Field(0.0, description="coupled L2, on every parameter")
    milestones: list[PositiveInt] = Field([], description="iterations after which the rate drops")
    rate_drop: PositiveFloat = Field(0.1, description="factor of the rate at a milestone")
    gamma: float = Field(description="weight of the quantisation term, in the loss and in the update of B")
    augment: bool = Field(True, description="random crops and flips; False trains on the evaluation crop")
    crop_scale: tuple[float, float] = Field((0.08, 1.0), description="area share of a random crop")
    crop_ratio: tuple[float, float] = Field((3 / 4, 4 / 3), description="width by height of a random crop")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    crop_from: Literal["original", "resized"] = option(
        "original",
        "image that random crops are cut from",
        paper=UNREAD,
        reference="cuts them from the image file; on CIFAR-10 from 32 x 32 pixels, down to 9 x 9, enlarged to 224",
        others={
            "resized": "cuts them from the image resized to the shorter side `resize` first; faster with the data "
            "set's training_cache"
        },
    )
    dcc_outputs: Literal["running", "eval_pass"] = option(
        "running",
        "outputs U that the update of B sees",
        paper="the network's outputs for the sampled images",
        reference="keeps the outputs of the last epoch: train mode, augmented, each from before (TOMM: after) its step",
        others={"eval_pass": "encodes the sample once more with the iteration's final network, in eval mode"},
    )
    channels_last: bool = Field(
        True, description="memory layout of maps: faster, the same numbers but for rounding"
    )
    precision: Literal["fp32", "bf16", "fp16"] = option(
        "fp32",
        "number format of the network's forward and backward pass in training; codes are always encoded in fp32",
        paper=UNREAD,
        reference="fp32 throughout",
        others={
            "bf16": "autocast; weights, losses and codes stay fp32",
            "fp16": "autocast with a gradient scaler; weights, losses and codes stay fp32",
        },
    )
    tf32: bool = option(
        False,
        "let a GPU round the network's products in training to TF32; never where codes are decided",
        paper=UNREAD,
        reference="PyTorch 1.10's default: on for Ampere and later; the authors' GPUs (2080 Ti) have none",
        others={"true": "faster on Ampere and later; no effect on a CPU"},
    )
    compile: Literal["none", "network"] = Field(
        "none", description="torch.compile: minutes at the start, faster steps, other rounding"
    )
    evaluate_every: PositiveInt = Field(
        1, description="iterations between evaluations; the last one always is"
    )

    def warnings(self) -> list[str]:
        """What is allowed but does not do what it seems to."""
        return [
            f"milestone {milestone} of {self.iterations} iterations never takes effect"
            for milestone in self.milestones
            if milestone >= self.iterations
        ]


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
        if recipe.compile != "none":
            self.compile_network()
        self.sets = LabelSets.of(labels).to(device)
        self.labels = labels.to(device)
        self.optimisers = self.build_optimisers()
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        self.B = torch.zeros(len(labels), bits, device=device)

    def start(self, encode_rows: Callable[[Tensor], Tensor]) -> None:
        """Called once, before the first iteration and after a resume alike.

        Args:
            encode_rows: from database positions (r,) int64 to the network's codes of these images (r, k), float32,
                in eval mode, as the network is when it is called.
        """
        self.encode_rows = encode_rows
        self.B = self.initial_codes(len(self.labels))

    @classmethod
    def incompatible(cls, recipe: Recipe, bits: int) -> str | None:
        """Why this recipe cannot give codes of `bits` bits; None if it can."""
        return None

    def compile_network(self) -> None:
        self.network.compile()

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

    def initial_codes(self, n: int) -> Tensor:
        """(n, k) B before the first iteration, as the recipe's `initial_codes` says."""
        kind = self.recipe.initial_codes
        if kind == "zeros":
            return torch.zeros(n, self.bits, device=self.device)
        if kind == "network":
            return signs(self.encode_rows(torch.arange(n)))
        values = stream(self.seed, "codes").standard_normal((n, self.bits), dtype="float32")
        values = torch.from_numpy(values).to(self.device)
        return values if kind == "gaussian" else signs(values)

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
            parameters,
            lr=r.learning_rate,
            momentum=r.momentum,
            weight_decay=r.weight_decay,
            nesterov=r.momentum > 0,
            fused=True,
        )

    @contextmanager
    def network_pass(self) -> Iterator[None]:
        """Around a forward pass in training: the recipe's number format. What is decided outside is fp32."""
        dtype = HALF.get(self.recipe.precision)
        with (
            torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None),
            rounding_to_tf32(self.recipe.tf32),
        ):
            yield

    def descend(self, name: str, loss: Tensor) -> None:
        """One step of the optimiser `name` down the gradient of `loss`, a scalar."""
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        with rounding_to_tf32(self.recipe.tf32):
            self.scaler.scale(loss).backward()
        average_gradients(optimiser)
        self.scaler.step(optimiser)
        self.scaler.update()

    def begin(self, iteration: int, sample: Tensor) -> None:
        """Start an outer iteration on the sampled database rows, (m,) int64."""
        self.similarity = SoftSimilarity.between(self.sets, sample)
        self.U = torch.zeros(len(sample), self.bits, device=self.device)

    def buffers(self) -> dict[str, Tensor]:
        """What the running iteration has collected so far, to be filled in again after `begin` on a resume."""
        return {"U": self.U}

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """(tensors, JSON values): all that the next iteration needs."""
        tensors = {f"network/{key}": value for key, value in self.network.state_dict().items()}
        tensors["B"] = self.B
        groups = {}
        for name, optimiser in self.optimisers.items():
            moments, groups[name] = flatten_optimiser(name, optimiser)
            tensors |= moments
        return tensors, {"groups": groups, "scaler": self.scaler.state_dict()}

    def load_state(self, tensors: dict[str, Tensor], facts: dict) -> None:
        """The inverse of `state`."""
        prefix = "network/"
        weights = {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
        self.network.load_state_dict(weights)
        self.B = tensors["B"].to(self.device)
        for name, optimiser in self.optimisers.items():
            restore_optimiser(name, optimiser, tensors, facts["groups"][name])
        self.scaler.load_state_dict(facts["scaler"])

    def view_path(self, iteration: int, epoch: int) -> tuple[int, int]:
        """Which stream of batches an epoch sees; two epochs with the same path see the same crops and order."""
        return (iteration, epoch)

    def finish(self, iteration: int) -> None:
        """End an outer iteration (counted from 1): learning rates, then the codes."""
        if iteration in self.recipe.milestones:
            self.drop_rate("all", self.recipe.rate_drop)
        if self.recipe.dcc_outputs == "eval_pass":
            self.U = self.encode_rows(self.similarity.sample.cpu())
        self.update_codes()

    def database_codes(self) -> Tensor:
        """(n, k) the codes that the database is searched by: B, of +1 and -1; a row of zeros has no code."""
        return self.B

    def drop_rate(self, name: str, factor: float) -> None:
        for group in self.optimisers[name].param_groups:
            group["lr"] *= factor


@contextmanager
def rounding_to_tf32(allowed: bool) -> Iterator[None]:
    """Where a GPU may, or may not, round the factors of products to TF32; no effect on a CPU."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def signs(values: Tensor) -> Tensor:
    """+1 where a value is 0 or more, else -1; of the same shape and dtype."""
    return torch.where(values >= 0, 1.0, -1.0).to(values.dtype)


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
