"""What every method shares: the contract with the alternating loop."""

import abc
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn

import hashrepro.methods
from hashrepro.errors import UserError
from hashrepro.learning.checkpoints import flatten_optimiser, restore_optimiser
from hashrepro.learning.parallel import average_gradients
from hashrepro.learning.recipe import Recipe
from hashrepro.learning.similarity import LabelSets, SoftSimilarity
from hashrepro.networks.backbones import build_backbone
from hashrepro.seeds import seed_torch, stream

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


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
