"""The alternating loop that the methods share: sample, train the network, update the codes, look, save."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from tqdm import tqdm

from hashrepro.errors import UserError
from hashrepro.images.cache import ImageCache
from hashrepro.images.loaders import evaluation_batches, train_batches
from hashrepro.images.transforms import TrainView
from hashrepro.methods.base import Method
from hashrepro.methods.checkpoints import Checkpoints, flatten_optimiser, restore_optimiser
from hashrepro.seeds import stream


@dataclass
class Progress:
    """What a run has seen so far.

    Attributes:
        history: one dictionary an iteration: its number, mean losses of the last epoch, learning rate, scores.
        best: the iteration whose `score` was highest, and the tensors `query` (q, k) and `B` (n, k) of then.
    """

    history: list[dict] = field(default_factory=list)
    best: dict = field(default_factory=dict)


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

    Args:
        rows: (r,) int64, rows of the catalog.
        batch_size: part of the protocol where a network looks across its batch (SEMICON's SEM).
        progress: label of the progress bar; None shows none.
    """
    was_training = network.training
    network.eval()
    batches = evaluation_batches(cache, rows, batch_size, network.mean, network.std, workers)
    total = -(-len(rows) // batch_size)
    bar = tqdm(batches, total=total, desc=progress, unit="batch", disable=progress is None, leave=False)
    codes = [network.encode(batch.to(device, non_blocking=True)).float().cpu() for batch in bar]
    network.train(was_training)
    return torch.cat(codes)


def train(
    method: Method,
    cache: ImageCache,
    query_rows: Tensor,
    database_rows: Tensor,
    *,
    evaluate: Callable[[Tensor, Tensor], dict[str, float]],
    checkpoints: Checkpoints,
    log: Callable[[dict], None],
    workers: int = 0,
    progress: str | None = None,
) -> Progress:
    """Train `method` to the end, from its last checkpoint if there is one.

    Args:
        query_rows: (q,) rows of the catalog that are encoded when the run is evaluated.
        database_rows: (n,) rows of the catalog, in the order of B.
        evaluate: from query codes (q, k) and B (n, k) to scores; its `map_reference` decides what is best.
        log: called with every row of the history, after the checkpoint that holds it is on disk. After a resume
            it gets the rows of the checkpoint again: the process before may have been killed between the two.
        progress: label of the progress bar; None shows none.

    Raises:
        UserError: the recipe samples more images than the database has, or the loss is no number any more.
    """
    recipe, n = method.recipe, len(database_rows)
    if recipe.samples > n:
        raise UserError(
            f"The recipe samples {recipe.samples} images in each iteration, but the database has {n}.",
            where=f"params.yaml: samples of {method.TITLE}",
            mend=f"set samples to {n} or less",
        )
    seen, start = Progress(), 1
    if (found := checkpoints.load()) is not None:
        start = restore(method, seen, *found) + 1
        for row in seen.history:
            log(row)
    view = (
        TrainView(cache.size, recipe.crop_scale, recipe.crop_ratio, recipe.flip) if recipe.augment else None
    )
    steps = recipe.epochs * -(-recipe.samples // recipe.batch_size)
    with tqdm(
        total=recipe.iterations * steps,
        initial=(start - 1) * steps,
        desc=progress,
        unit="step",
        disable=progress is None,
    ) as bar:
        for iteration in range(start, recipe.iterations + 1):
            begun = time.perf_counter()
            sample = torch.from_numpy(
                stream(method.seed, "sample", iteration).permutation(n)[: recipe.samples]
            )
            method.begin(iteration, sample.to(method.device))
            method.network.train()
            for epoch in range(1, recipe.epochs + 1):
                losses = []
                batches = train_batches(
                    cache,
                    database_rows[sample],
                    recipe.batch_size,
                    view,
                    method.network.mean,
                    method.network.std,
                    seed=method.seed,
                    path=method.view_path(iteration, epoch),
                    workers=workers,
                )
                for positions, images in batches:
                    losses.append(
                        method.step(positions.to(method.device), images.to(method.device, non_blocking=True))
                    )
                    bar.update()
            means = mean_losses(losses)
            if not math.isfinite(means["loss"]):
                raise UserError(
                    f"The loss is {means['loss']} in iteration {iteration}: training has diverged.",
                    where=f"params.yaml: learning_rate of {method.TITLE}, {recipe.learning_rate}",
                    mend="lower learning_rate",
                )
            method.finish(iteration)
            row = {"iteration": iteration, **means, **rates(method)}
            if iteration % recipe.evaluate_every == 0 or iteration == recipe.iterations:
                query = encode(
                    method.network,
                    cache,
                    query_rows,
                    batch_size=recipe.evaluation_batch_size,
                    device=method.device,
                )
                row |= evaluate(query, method.B.cpu())
                if row["map_reference"] > seen.best.get("score", -1.0):
                    seen.best = {
                        "iteration": iteration,
                        "score": row["map_reference"],
                        "query": query,
                        "B": method.B.cpu().clone(),
                    }
                bar.set_postfix(mAP=f"{row['map']:.3f}", loss=f"{row['loss']:.3g}")
            seen.history.append(row)
            save(method, seen, checkpoints, iteration)
            log({**row, "seconds": time.perf_counter() - begun})
    return seen


def mean_losses(losses: list[dict[str, Tensor]]) -> dict[str, float]:
    return {name: float(torch.stack([step[name] for step in losses]).mean()) for name in losses[0]}


def rates(method: Method) -> dict[str, float]:
    """The learning rates that the next iteration starts with."""
    return {
        "learning_rate" if name == "all" else f"learning_rate_{name}": optimiser.param_groups[0]["lr"]
        for name, optimiser in method.optimisers.items()
    }


def save(method: Method, seen: Progress, checkpoints: Checkpoints, iteration: int) -> None:
    tensors = {f"network/{key}": value for key, value in method.network.state_dict().items()}
    tensors |= (
        {"B": method.B, "best/query": seen.best["query"], "best/B": seen.best["B"]}
        if seen.best
        else {"B": method.B}
    )
    groups = {}
    for name, optimiser in method.optimisers.items():
        state, groups[name] = flatten_optimiser(name, optimiser)
        tensors |= state
    best = {key: seen.best[key] for key in ("iteration", "score")} if seen.best else None
    checkpoints.save(iteration, tensors, {"history": seen.history, "best": best, "groups": groups})


def restore(method: Method, seen: Progress, iteration: int, tensors: dict, facts: dict) -> int:
    """Put a checkpoint back; returns the iteration that it was taken after."""
    prefix = "network/"
    weights = {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
    method.network.load_state_dict(weights)
    method.B = tensors["B"].to(method.device)
    for name, optimiser in method.optimisers.items():
        restore_optimiser(name, optimiser, tensors, facts["groups"][name])
    seen.history = facts["history"]
    if facts["best"]:
        seen.best = {**facts["best"], "query": tensors["best/query"], "B": tensors["best/B"]}
    return iteration
