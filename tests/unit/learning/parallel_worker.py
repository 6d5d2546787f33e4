"""parallel_worker FOLDER: train every method small, in double precision, in one process, and in two that share it.

All are forks of this one, for its imports take longer than they do. Two are told what torchrun tells those it starts.
"""

import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from tiny_training import build, learn, narrow_schn, write_result
from torch import nn

from hashrepro.errors import UserError
from hashrepro.images.cache import ImageCache
from hashrepro.learning import loop
from hashrepro.learning.base import Method
from hashrepro.learning.parallel import first_process_first, joined, require_same
from hashrepro.networks.synced import rank, world_size

# Batches of 4: of 7 images the last batch has 3, and of 5 images 1, which leaves the second process without any. The
# 4 queries are two batches of evaluation or, of 20, one.
# SEMICON's steps are small: at larger ones, in one process as well, a last digit grows to a first one in eight steps.
SMALL_STEPS = {"optimiser": "sgd", "learning_rate": 1e-7}
RUNS = {
    "adsh": {"samples": 5, "initial_codes": "network"},
    "semicon": {"samples": 7, **SMALL_STEPS},
    "semicon, image": {"samples": 5, "sem_std": "image", **SMALL_STEPS},
    "schn": {"samples": 7, "detach_features": False, "dcc_rows": "all", "evaluation_batch_size": 20},
    "schn_tomm": {"samples": 5, "unsampled": "network", "dcc_outputs": "eval_pass"},
}
SIZES = {"iterations": 2, "epochs": 1, "evaluation_batch_size": 3, "evaluate_every": 1}


def compute_in_double() -> None:
    """Round nothing to single precision in this process: differences that are left are no rounding of one step."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    evaluation, training, initial_codes = loop.evaluation_batches, loop.train_batches, Method.initial_codes
    loop.evaluation_batches = lambda *words: (images.double() for images in evaluation(*words))
    loop.train_batches = lambda *words, **more: (
        (at, images.double()) for at, images in training(*words, **more)
    )
    Method.initial_codes = lambda self, n: initial_codes(self, n).double()


def train_all(folder: Path) -> None:
    compute_in_double()
    narrow_schn()
    with joined(torch.device("cpu")):
        here = folder / f"{rank()} of {world_size()}"
        with first_process_first():
            (folder / "order").open("a").write(str(rank()))
            here.mkdir()
        cache = ImageCache.open(folder / "cache")
        for key, changes in RUNS.items():
            method = build(key.split(",")[0], **{**SIZES, **changes})
            for module in method.network.modules():
                if isinstance(module, nn.Dropout):
                    module.p = 0.0
            seen = learn(method, cache, folder / f"checkpoints, {world_size()}, {key}")
            if rank() == 0:
                write_result(here / key, method, seen)
            own = {"B": method.B, **method.state()[0], **method.buffers(), "codes": seen.codes}
            save_file({name: value.contiguous().clone() for name, value in own.items()}, here / f"{key}, own")
        # Each process drops values by itself, and yet they agree; and a cut changes nothing.
        dropping, cut, resumed = (
            build("schn_tomm", **{**SIZES, "epochs": 2, "iterations": 1}) for _ in range(3)
        )
        learn(dropping, cache, folder / f"checkpoints, {world_size()}, dropping")
        save_file({"B": dropping.B, "U": dropping.U, "drawn": torch.rand(4)}, here / "dropping, own")
        step, done = cut.step, []
        cut.step = lambda *words: done.append(step(*words)) or done[-1] if len(done) < 3 else sys.exit()
        with suppress(SystemExit):
            learn(cut, cache, folder / f"checkpoints, {world_size()}, cut", minutes=0)
        if world_size() > 1:
            dist.barrier()  # the checkpoint is written
        learn(resumed, cache, folder / f"checkpoints, {world_size()}, cut", minutes=0)
        for key, method in (("expected", dropping), ("resumed", resumed)):
            tensors = {**method.state()[0], **method.buffers()}
            save_file({name: value.contiguous().clone() for name, value in tensors.items()}, here / key)
        try:
            require_same({"B": torch.zeros(2), "U": torch.full((2,), rank())}, "in a test")
        except UserError as error:
            (here / "disagreement").write_text(str(error))
        try:
            learn(build("adsh", batch_size=1), cache, folder / "too many")
        except UserError as error:
            (here / "too many").write_text(str(error))


def fork(folder: Path, environment: dict[str, str]) -> int:
    if (pid := os.fork()) == 0:
        os.environ.update(environment)
        try:
            train_all(folder)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    shared["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    children = [fork(folder, {})]
    children += [fork(folder, {**shared, "RANK": rank, "LOCAL_RANK": rank}) for rank in "01"]
    codes = [os.waitpid(child, 0)[1] for child in children]
    sys.exit(any(codes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
