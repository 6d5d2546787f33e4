"""The real loop with small networks on 18 random images, in a second: for the tests that cut, kill and spread it."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from timm.layers import BatchNormAct2d
from torch import nn

import hashrepro.networks.cycle
import hashrepro.networks.schn_tomm
from hashrepro.files import whole
from hashrepro.images.cache import ImageCache, build_cache
from hashrepro.learning.base import load_method
from hashrepro.learning.checkpoints import Checkpoints
from hashrepro.learning.loop import Images, train
from hashrepro.networks.architectures import ARCHITECTURES, Architecture
from hashrepro.seeds import stream

TINY = {
    "backbone": "tiny",
    "weights": "none",
    "batch_norm_momentum": 0.1,
    "iterations": 3,
    "epochs": 2,
    "samples": 8,
    "batch_size": 4,
    "learning_rate": 1e-3,
    "evaluate_every": 2,
    "evaluation_batch_size": 8,
}
QUERY, DATABASE = torch.arange(4), torch.arange(4, 18)


def make_tiny() -> nn.Module:
    """A few thousand parameters, with what the published networks have: both kinds of BatchNorm, groups, dropout."""

    def unit(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())

    trunk = [nn.Conv2d(3, 32, 4, stride=4, bias=False), BatchNormAct2d(32)]
    trunk += [nn.Conv2d(32, 32, 3, stride=2, padding=1, groups=32, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2))
    parts = {
        "trunk": nn.Sequential(*trunk),
        "units": nn.ModuleList([unit(32, 32), unit(32, 32), unit(32, 48)]),
    }
    return nn.ModuleDict({**parts, "pool": pool})


ARCHITECTURES["tiny"] = Architecture(
    make=make_tiny,
    cut=lambda network: (network["trunk"], list(network["units"]), network["pool"]),
    imagenet=dict,
    classifier=(),
    trunk_channels=32,
    unit_channels=[32, 32, 48],
    features=48,
)


def narrow_schn(change=setattr) -> None:
    """Give SCHN's label and cycle networks 32 and 16 hidden values in place of 1024 and 512."""
    cycle, tomm = hashrepro.networks.cycle, hashrepro.networks.schn_tomm
    for module, name, width in ((cycle, "WIDE", 32), (cycle, "NARROW", 16), (tomm, "NARROW", 16)):
        change(module, name, width)
    change(cycle.CycleNet.__init__, "__defaults__", (16,))


def write_cache(folder: Path, side: int = 32) -> None:
    pixels = stream(0, "pixels").integers(0, 256, (18, 24, 24, 3), dtype=np.uint8)
    build_cache(folder, pixels, resize=side, crop=side, workers=0, progress=False)


def build(name: str, **changes):
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    kind = load_method(name)
    labels = torch.eye(3).bool()[torch.arange(len(DATABASE)) % 3]
    return kind(kind.Recipe(**{**TINY, **changes}), 12, labels, 0, torch.device("cpu"))


def evaluate(query, codes):
    assert query.shape == (4, 12)
    assert codes.shape == (14, 12)
    share = float((query.sign() @ codes.T > 0).float().mean())
    return {"map": share, "map_reference": share}


def learn(method, cache: ImageCache, folder: Path, *, log=lambda row: None, workers=0, minutes=10.0):
    images = Images(cache, QUERY, DATABASE, workers)
    checkpoints = Checkpoints(folder, "print")
    return train(
        method, images, evaluate=evaluate, checkpoints=checkpoints, log=log, checkpoint_minutes=minutes
    )


def write_result(path: Path, method, seen) -> None:
    """All that a training leaves, in one file whose bytes can be compared."""
    tensors, facts = method.state()
    tensors |= {"codes": seen.codes, "best/query": seen.best["query"], "best/codes": seen.best["codes"]}
    facts |= {"history": seen.history, "best": [seen.best["iteration"], seen.best["score"]]}
    with whole(path) as temporary:
        save_file(
            {key: value.detach().contiguous().clone() for key, value in tensors.items()},
            temporary,
            {"facts": json.dumps(facts)},
        )


def learn_and_write(name: str, cache: Path, folder: Path, result: Path, workers: int, changes: dict) -> None:
    """A whole training with a checkpoint after every epoch, as a process of its own runs it."""
    narrow_schn()
    method = build(name, **changes)
    seen = learn(method, ImageCache.open(cache), folder, workers=workers, minutes=0)
    write_result(result, method, seen)
