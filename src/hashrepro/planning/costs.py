"""What one run costs: from its recipe and the rates at which images pass."""

from dataclasses import dataclass
from pathlib import Path

from hashrepro.datasets.base import load_reader
from hashrepro.overview import counts
from hashrepro.planning.rates import Rates
from hashrepro.settings import Settings

MODEL_MB = {
    "resnet50": 200,
    "alexnet": 500,
}  # of a run's weights, at most, as the methods' networks have them here
SCORING = 20e-12  # seconds of `evaluate` a pair of codes, several scores and databases together


@dataclass(frozen=True)
class Cost:
    """Of one run, estimated: seconds of each stage on one device, bytes on disk, and how sure that is."""

    train: float
    encode: float
    evaluate: float
    bytes: int
    device: str
    measured: bool

    @property
    def device_hours(self) -> float:
        """Hours of the GPU, or of the CPU where there is none: scoring needs no GPU."""
        return (self.train + self.encode) / 3600


def evaluations(iterations: int, every: int) -> int:
    """How often training is scored on the queries: every so many iterations, and after the last."""
    return iterations // every + (iterations % every > 0)


def run_cost(root: Path, settings: Settings, rates: Rates, cell: tuple[str, str, int, int]) -> Cost:
    """The cost of one (method, data set, bits, seed). UserError: no such recipe or data set."""
    method, dataset, bits, _ = cell
    recipe, block = settings.recipe(method, dataset), settings.dataset(dataset)
    rate = rates.of(settings.kind(method), recipe.backbone, dataset)
    found = counts(dataset, block, load_reader(block.reader))
    query, database = found["query"] or 0, found["database"] or 0
    trained = recipe.iterations * recipe.epochs * recipe.samples
    watched = evaluations(recipe.iterations, recipe.evaluate_every) * query
    encoded = 2 * query + database + min(settings.encode.untrained_database or database, database)
    images = trained if rate.device == "this machine" else trained + watched * rate.encode_ms / rate.train_ms
    packed = (3 * query + 4 * database) * (bits // 8 + 1)
    weights = MODEL_MB.get(recipe.backbone, 80) * 10**6
    return Cost(
        train=images * rate.train_ms / 1000,
        encode=encoded * rate.encode_ms / 1000,
        evaluate=5 + 5 * query * database * SCORING,
        bytes=2 * (weights + packed),  # for DVC, and for MLflow
        device=rate.device,
        measured=rate.measured
        and settings.suite.method is None,  # of the whole method; a variant has less to do
    )


def stage_seconds(root: Path, settings: Settings, device: str) -> dict[str, float]:
    """Estimated seconds of every train, encode and evaluate stage of a suite, by DVC's address."""
    rates, seconds = Rates(root, settings, device), {}
    for cell in settings.grid.runs():
        cost = run_cost(root, settings, rates, cell)
        for stage in ("train", "encode", "evaluate"):
            seconds[settings.suite.address(stage, cell)] = getattr(cost, stage)
    return seconds
