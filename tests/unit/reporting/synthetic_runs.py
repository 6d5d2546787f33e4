"""Runs that look real: noisy class codes on a few Fashion-MNIST images, ranked and scored in plain numpy."""

import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from hashrepro.reporting.gallery import make_gallery
from hashrepro.reporting.records import Grid, RunRecord

IMAGES = Path(__file__).parents[3] / "data" / "quickstart" / "fashion-mnist.npz"
CLASSES = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]
TITLES = {"adsh": "ADSH", "semicon": "SEMICON", "schn": "SCHN", "schn_tomm": "SCHN-TOMM"}
NOISE = {"adsh": 0.16, "semicon": 0.11, "schn": 0.14, "schn_tomm": 0.13}
GRID = Grid("quickstart", tuple(TITLES), ("fashion",), (12, 48), (0,))
QUERIES, DATABASE = 50, 1200


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """uint8 (n, 28, 28, 3) and class numbers (n,): queries first; noise where the data is absent."""
    if not IMAGES.exists():
        rng = np.random.default_rng(0)
        classes = np.concatenate([np.arange(QUERIES) % 10, rng.integers(0, 10, DATABASE)])
        return rng.integers(0, 256, (len(classes), 28, 28, 3), dtype=np.uint8), classes
    with np.load(IMAGES) as data:
        is_query, classes, images = data["is_query"], data["labels"].astype(int), data["images"]
    query = np.concatenate([np.flatnonzero(is_query & (classes == c))[: QUERIES // 10] for c in range(10)])
    rows = np.concatenate([query, np.flatnonzero(~is_query)[:DATABASE]])
    return np.repeat(images[rows][..., None], 3, axis=3), classes[rows]


def codes(classes: np.ndarray, bits: int, noise: float, rng: np.random.Generator) -> np.ndarray:
    """±1 (n, bits): a random code a class, Shirt half a T-shirt, bits flipped with probability `noise`."""
    centres = np.sign(rng.standard_normal((10, bits)))
    centres[6, : bits // 2] = centres[0, : bits // 2]
    return centres[classes] * np.where(rng.random((len(classes), bits)) < noise, -1, 1)


def ranked(
    query: np.ndarray, database: np.ndarray, right: np.ndarray, classes: np.ndarray
) -> tuple[dict, dict, np.ndarray, np.ndarray, np.ndarray]:
    """Scores, curves, order (q, n), distances (q, n) and average precisions (q,) of one pair of code matrices."""
    distances = (query.shape[1] - query @ database.T) / 2
    order = np.argsort(distances, axis=1, kind="stable")
    hits = np.take_along_axis(right, order, axis=1)
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    per_query = (precision * hits).sum(axis=1) / hits.sum(axis=1)
    mean, margin = float(per_query.mean()), float(1.96 * per_query.std() / np.sqrt(len(per_query)))
    ns = np.array([1, 5, 10, 50, 100, 500, 1000])
    at = pd.DataFrame({"n": ns, "precision": precision[:, ns - 1].mean(axis=0)})
    at["recall"] = (hits.cumsum(axis=1)[:, ns - 1] / hits.sum(axis=1, keepdims=True)).mean(axis=0)
    within = [(distances <= radius) for radius in range(query.shape[1] + 1)]
    by_radius = pd.DataFrame(
        {
            "radius": range(len(within)),
            "precision": [((w & right).sum(axis=1) / np.maximum(w.sum(axis=1), 1)).mean() for w in within],
            "recall": [((w & right).sum(axis=1) / right.sum(axis=1)).mean() for w in within],
        }
    )
    scores = {
        "map": mean,
        "map_best": min(1.0, mean * 1.04),
        "map_worst": mean * 0.95,
        "map_file_order": mean * 0.999,
    }
    scores |= {"map_reference": mean * 1.001, "precision_at_10": float(at["precision"][2]), "uncoded": 0.0}
    scores |= {
        "precision_radius_2": float(by_radius["precision"][2]),
        "recall_radius_2": float(by_radius["recall"][2]),
    }
    scores |= {"map_low": mean - margin, "map_high": mean + margin}
    scores |= {"map_reference_low": mean * 1.001 - margin, "map_reference_high": mean * 1.001 + margin}
    scores |= {f"map_{name}": mean * 0.999 for name in ("adsh", "fish", "thulab", "trec")}
    scores |= {"map_at_100": mean * 0.98, "recall_at_10": float(at["recall"][2])}
    scores |= {"ndcg": min(1.0, mean * 1.1), "ndcg_at_10": min(1.0, mean * 1.05), "map_class_mean": mean}
    by_class = pd.DataFrame({"class": range(10), "name": CLASSES})
    by_class["queries"] = [int((classes == c).sum()) for c in range(10)]
    by_class["map"] = [float(per_query[classes == c].mean()) for c in range(10)]
    curves = {"precision_at": at, "precision_recall": by_radius, "per_class": by_class}
    return scores, curves, order, distances, per_query


def synthetic_run(method: str, bits: int, seed: int = 0, dataset: str = "fashion") -> RunRecord:
    """One run of the synthetic suite, the same at every call."""
    images, classes = pictures()
    rng = np.random.default_rng([zlib.crc32(method.encode()), bits, seed])
    right = classes[:QUERIES, None] == classes[None, QUERIES:]
    scores, curves = {"last": {}, "best_on_test": {}}, {}
    per_query = pd.DataFrame({"query": np.arange(QUERIES)})
    noises = {"learned": NOISE[method], "network": NOISE[method] + 0.03, "untrained": 0.36, "random": 0.5}
    for database, noise in noises.items():
        values = codes(classes, bits, noise, rng)
        found = ranked(values[:QUERIES], values[QUERIES:], right, classes[:QUERIES])
        scores["last"][database] = found[0]
        for score in ("map", "map_reference"):
            per_query[f"last.{database}.{score}"] = found[4] * (1.001 if score == "map_reference" else 1)
        curves |= {(database, name): frame for name, frame in found[1].items()}
        if database == "learned":
            order, distances = found[2:4]
            scores["best_on_test"]["learned"] = {n: min(1.0, v * 1.01) for n, v in found[0].items()}
            for score in ("map", "map_reference"):
                per_query[f"best_on_test.learned.{score}"] = per_query[f"last.learned.{score}"] * 1.01
    best, iterations = scores["last"]["learned"]["map"], np.arange(1, 21)
    history = pd.DataFrame(
        {"iteration": iterations, "loss": 3.2 * (0.25 + NOISE[method] + 0.6 * np.exp(-iterations / 6))}
    )
    history["quantisation"] = history["loss"] / 4
    history["map"] = [best * (1 - 0.7 * np.exp(-i / 5)) if i % 2 == 0 else np.nan for i in iterations]
    history["seconds"] = 4.2
    query_rows = np.arange(10) * (QUERIES // 10)
    gallery = make_gallery(
        query_rows,
        order[query_rows, :10] + QUERIES,
        np.take_along_axis(distances, order, axis=1)[query_rows, :10],
        np.eye(10, dtype=bool)[classes],
        [f"image/{row:05d}" for row in range(len(classes))],
        CLASSES,
        images.__getitem__,
        tile_size=56,
    )
    digest = f"{zlib.crc32(f'{method}{bits}{seed}'.encode()):08x}" * 8
    about = {
        "commit": "5f0c1d2e9ab34c7d8e6f01a2b3c4d5e6f7081920",
        "dirty": False,
        "data_digest": "9b2f" * 16,
        "params_digest": digest,
        "mlflow_run_id": digest[:32],
        "device": "cpu (2 cores)",
        "versions": {"torch": "2.6.0", "hashrepro": "0.1.0"},
        "seconds": {"train": 71.3 + bits, "encode": 3.9},
        "peak_memory_mb": 911.0,
        "conventions": {
            "map": "ties in expectation, over the full ranking, divided by all relevant, no hit counts 0",
            "map_reference": "ties in file order, without the last position, divided by retrieved",
            **{f"map_{name}": f"as in {name}" for name in ("adsh", "fish", "thulab", "trec", "at_100")},
        },
        "interval": {"confidence": 0.95, "resamples": 1000, "method": "percentile bootstrap over queries"},
        "selected": "the state after the last iteration",
        "finished": "2025-01-31T12:00:00+00:00",
        "queries": QUERIES,
        "database": DATABASE,
        "classes": 10,
        "dataset_title": "Fashion-MNIST",
        "method_title": TITLES[method],
        "iterations": 20,
    }
    return RunRecord(
        GRID.suite, method, dataset, bits, seed, scores, about, history, curves, gallery, per_query
    )


def synthetic_suite() -> list[RunRecord]:
    """All runs of `GRID`."""
    return [synthetic_run(method, bits) for method in GRID.methods for bits in GRID.bits]
