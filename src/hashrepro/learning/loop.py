"""The alternating loop that the methods share: sample, train the network, update the codes, look, save."""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from hashrepro.errors import UserError
from hashrepro.images.cache import ImageCache
from hashrepro.images.loaders import evaluation_batches, train_batches
from hashrepro.images.transforms import TrainView
from hashrepro.learning.base import Method
from hashrepro.learning.checkpoints import Checkpoints
from hashrepro.learning.parallel import require_same
from hashrepro.networks.synced import convert, gather_rows, own_slice, rank, world_size
from hashrepro.seeds import seed_torch, stream


@dataclass
class Progress:
    """Where a run is, and what it has seen so far.

    Attributes:
        history: one dictionary an iteration: its number, mean losses of the last epoch, learning rate, scores.
        best: the iteration whose `score` was highest, and the tensors `query` (q, k) and `codes` (n, k) of then.
        iteration: the one that is under way, from 1; one more than the recipe's when all is done.
        epoch: how many of its epochs are done.
        losses: means over the last epoch that was done.
        codes: (n, k) the codes that the database is searched by, at the end.
    """

    history: list[dict] = field(default_factory=list)
    best: dict = field(default_factory=dict)
    iteration: int = 1
    epoch: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    codes: Tensor | None = None


@torch.no_grad()
def encode(
    network: nn.Module,
    cache: ImageCache,
    rows: Tensor,
    *,
    batch_size: int,
    device: torch.device,
    workers: int = 0,
    progress: str | None = None,
) -> Tensor:
    """Real-valued codes (len(rows), k) of images, in eval mode, from the evaluation view, on the CPU in float32.

    Several processes take contiguous shares of the batches, which stay what they are, and all get all codes.

    Args:
        rows: (r,) int64, rows of the catalog.
        batch_size: part of the protocol where a network looks across its batch (SEMICON's SEM).
        progress: label of the progress bar; None shows none.
    """
    was_training = network.training
    network.eval()
    count = -(-len(rows) // batch_size)
    share = own_slice(count)
    own = rows[share.start * batch_size : share.stop * batch_size]
    if len(own) == 0:  # fewer batches than processes: one batch all the same, for the shape of its codes
        own = rows[:batch_size]
    batches = evaluation_batches(cache, own, batch_size, network.mean, network.std, workers)
    total = -(-len(own) // batch_size)
    bar = tqdm(batches, total=total, desc=progress, unit="batch", disable=progress is None, leave=False)
    codes = torch.cat([network.encode(batch.to(device, non_blocking=True)).float() for batch in bar])
    network.train(was_training)
    if world_size() > 1:
        size = share.stop - share.start
        padded = codes.new_zeros(size * batch_size, codes.shape[1])
        padded[: len(codes)] = codes[: len(padded)]
        codes = gather_rows(padded.view(size, batch_size, codes.shape[1]), count).flatten(0, 1)[: len(rows)]
    return codes.cpu()


@dataclass
class Images:
    """Where a training's images come from.

    Attributes:
        cache: of the catalog.
        query_rows: (q,) rows of the catalog that are encoded when the run is evaluated.
        database_rows: (n,) rows of the catalog, in the order of B.
        workers: processes that load images.
    """

    cache: ImageCache
    query_rows: Tensor
    database_rows: Tensor
    workers: int = 0

    def encode(self, method: Method, rows: Tensor) -> Tensor:
        """Codes (len(rows), k) of rows of the catalog by the network as it is now."""
        size = method.recipe.evaluation_batch_size
        return encode(
            method.network, self.cache, rows, batch_size=size, device=method.device, workers=self.workers
        )

    def batches(
        self, method: Method, sample: Tensor, iteration: int, epoch: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch over the sampled rows of the database.

        Yields:
            positions in the sample (b,) of a whole batch, and the images (own rows, 3, S, S) of this process's share.
        """
        recipe, path = method.recipe, method.view_path(iteration, epoch)
        order = stream(method.seed, "order", *path).permutation(len(sample))
        batches = [order[i : i + recipe.batch_size] for i in range(0, len(order), recipe.batch_size)]
        shares = [batch[own_slice(len(batch))] for batch in batches]
        view = None
        if recipe.augment:
            view = TrainView(self.cache.size, recipe.crop_scale, recipe.crop_ratio, recipe.flip)
        loaded = train_batches(
            self.cache,
            self.database_rows[sample][np.concatenate(shares)],
            len(shares[0]),  # all shares but those of a smaller last batch are this large
            view,
            method.network.mean,
            method.network.std,
            seed=method.seed,
            path=path,
            workers=self.workers,
            shuffle=False,
            crop_from=recipe.crop_from,
        )
        nothing = torch.empty(0, 3, self.cache.size, self.cache.size)
        images = itertools.chain((images for _, images in loaded), itertools.repeat(nothing))
        # The loader pins its batches on a GPU machine and works ahead with workers, so copies overlap with the steps.
        for positions, own in zip(batches, images, strict=False):
            yield torch.from_numpy(positions), own


def train(
    method: Method,
    images: Images,
    *,
    evaluate: Callable[[Tensor, Tensor], dict[str, float]],
    checkpoints: Checkpoints,
    log: Callable[[dict], None],
    checkpoint_minutes: float = 10.0,
    progress: str | None = None,
) -> Progress:
    """Train `method` to the end, from its last checkpoint if there is one.

    A checkpoint is taken after every iteration, and after an epoch when the last one is old enough. When they were
    taken, and whether the run was killed between them, changes no bit of the result. Of several processes only the
    first evaluates, logs and saves.

    Args:
        evaluate: from query codes (q, k) and database codes (n, k) to scores; its `map_reference` decides what is
            best.
        log: called with every row of the history, after the checkpoint that holds it is on disk. After a resume
            it gets the rows of the checkpoint again: the process before may have been killed between the two.
        checkpoint_minutes: age of the last checkpoint at which an epoch's end takes one; 0 = every epoch's does.
        progress: label of the progress bar; None shows none.

    Raises:
        UserError: the recipe samples more images than the database has, or has batches smaller than the number of
            processes; the loss is no number any more; the processes no longer agree.
    """
    recipe = method.recipe
    check(method, len(images.database_rows))
    if world_size() > 1:
        convert(method.network)
    method.start(lambda rows: images.encode(method, images.database_rows[rows]).to(method.device))
    seen, collected = restore(method, checkpoints)
    if rank() == 0:
        for row in seen.history:
            log(row)
    saved = time.monotonic()
    steps = -(-recipe.samples // recipe.batch_size)
    done = ((seen.iteration - 1) * recipe.epochs + seen.epoch) * steps
    total = recipe.iterations * recipe.epochs * steps
    hidden = progress is None or rank() > 0
    with tqdm(total=total, initial=done, desc=progress, unit="step", disable=hidden) as bar:
        while seen.iteration <= recipe.iterations:
            begun, iteration = time.perf_counter(), seen.iteration
            sample = stream(method.seed, "sample", iteration).permutation(len(images.database_rows))
            sample = torch.from_numpy(sample[: recipe.samples])
            method.begin(iteration, sample.to(method.device))
            for name, buffer in method.buffers().items():
                if name in collected:
                    buffer.copy_(collected.pop(name))
            method.network.train()
            for epoch in range(seen.epoch + 1, recipe.epochs + 1):
                seen.losses = run_epoch(
                    method, images.batches(method, sample, iteration, epoch), iteration, epoch, bar
                )
                seen.epoch = epoch
                if time.monotonic() - saved >= 60 * checkpoint_minutes:
                    save(method, seen, checkpoints)
                    saved = time.monotonic()
            method.finish(iteration)
            tensors, _ = method.state()
            require_same({**tensors, **method.buffers()}, f"after iteration {iteration}")
            row = {"iteration": iteration, **seen.losses, **rates(method)}
            if iteration % recipe.evaluate_every == 0 or iteration == recipe.iterations:
                row |= look(method, images, evaluate, seen)
            if "map" in row:
                bar.set_postfix(mAP=f"{row['map']:.3f}", loss=f"{row['loss']:.3g}")
            seen.history.append(row)
            seen.iteration, seen.epoch = iteration + 1, 0
            save(method, seen, checkpoints)
            saved = time.monotonic()
            if rank() == 0:
                log({**row, "seconds": time.perf_counter() - begun})
    seen.codes = method.database_codes().cpu()
    return seen


def check(method: Method, n: int) -> None:
    """That the recipe fits the database's size and the number of processes."""
    recipe = method.recipe
    if recipe.samples > n:
        raise UserError(
            f"The recipe samples {recipe.samples} images in each iteration, but the database has {n}.",
            where=f"params.yaml: samples of {method.TITLE}",
            mend=f"set samples to {n} or less",
        )
    if min(recipe.batch_size, recipe.samples) < world_size():
        raise UserError(
            f"A batch of {min(recipe.batch_size, recipe.samples)} images cannot be shared by {world_size()} processes.",
            where="params.yaml: machine.processes",
            mend=f"set machine.processes to {min(recipe.batch_size, recipe.samples)} or less",
        )


def run_epoch(
    method: Method, batches: Iterator[tuple[Tensor, Tensor]], iteration: int, epoch: int, bar: tqdm
) -> dict[str, float]:
    """One pass over the sample; returns the mean losses of its steps."""
    # Seeded here, the epoch needs nothing of the ones before; every process drops other values of its own rows.
    seed_torch(method.seed, "dropout", iteration, epoch, *([rank()] if rank() else []))
    losses = []
    for positions, images in batches:
        losses.append(method.step(positions.to(method.device), images.to(method.device, non_blocking=True)))
        bar.update()
    means = {name: float(torch.stack([step[name] for step in losses]).mean()) for name in losses[0]}
    if not math.isfinite(means["loss"]):
        raise UserError(
            f"The loss is {means['loss']} in iteration {iteration}: training has diverged.",
            where=f"params.yaml: learning_rate of {method.TITLE}, {method.recipe.learning_rate}",
            mend="lower learning_rate",
        )
    return means


def look(method: Method, images: Images, evaluate: Callable, seen: Progress) -> dict[str, float]:
    """The scores of now, by process 0; keeps in `seen` the codes of the best."""
    query = images.encode(method, images.query_rows)
    codes = method.database_codes().cpu()
    if rank() > 0:
        return {}
    scores = evaluate(query, codes)
    if (score := scores["map_reference"]) > seen.best.get("score", -1.0):
        seen.best = {"iteration": seen.iteration, "score": score, "query": query, "codes": codes.clone()}
    return scores


def rates(method: Method) -> dict[str, float]:
    """The learning rates that the next iteration starts with."""
    return {
        "learning_rate" if name == "all" else f"learning_rate_{name}": optimiser.param_groups[0]["lr"]
        for name, optimiser in method.optimisers.items()
    }


def save(method: Method, seen: Progress, checkpoints: Checkpoints) -> None:
    if rank() > 0:
        return
    tensors, facts = method.state()
    best = dict(seen.best)
    if best:
        tensors |= {"best/query": best.pop("query"), "best/codes": best.pop("codes")}
    if seen.epoch:
        tensors |= {f"collected/{name}": buffer for name, buffer in method.buffers().items()}
    place = {"iteration": seen.iteration, "epoch": seen.epoch, "losses": seen.losses}
    checkpoints.save(tensors, {"method": facts, "history": seen.history, "best": best, **place})


def restore(method: Method, checkpoints: Checkpoints) -> tuple[Progress, dict[str, Tensor]]:
    """(where the checkpoint was taken, or the start; what its unfinished iteration had collected by then)."""
    seen, collected = Progress(), {}
    fresh, _ = method.state()
    if (found := checkpoints.load(fresh)) is not None:
        tensors, facts = found
        method.load_state(tensors, facts["method"])
        best = facts["best"]
        if best:
            best |= {"query": tensors["best/query"], "codes": tensors["best/codes"]}
        place = {key: facts[key] for key in ("iteration", "epoch", "losses")}
        seen = Progress(facts["history"], best, **place)
        prefix = "collected/"
        collected = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
    place = torch.tensor([seen.iteration, seen.epoch], device=method.device)
    require_same({"place": place}, "after the checkpoint was read")
    return seen, collected
