"""What every method's recipe has: params.yaml's `train.<method>.<data set>` block, checked."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from hashrepro.option import UNREAD, option


class Recipe(BaseModel):
    """The keys that every method has. A method adds its own in a subclass; an unknown key is an error."""

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

    @property
    def uncoded(self) -> str:
        """What a search does with database images that have no code; see `retrieval.conventions.searched_rows`."""
        return "rank"

    def warnings(self) -> list[str]:
        """What is allowed but does not do what it seems to."""
        return [
            f"milestone {milestone} of {self.iterations} iterations never takes effect"
            for milestone in self.milestones
            if milestone >= self.iterations
        ]
