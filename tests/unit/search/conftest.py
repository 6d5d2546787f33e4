"""A repository with two finished runs on eighteen small photographs: what a search by image starts from."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from hashrepro.datasets.catalog import Catalog
from hashrepro.files import value_digest, write_json
from hashrepro.images.cache import ImageCache, build_cache
from hashrepro.learning.base import load_method
from hashrepro.learning.loop import encode
from hashrepro.retrieval.codes import Codes, write_codes

ROOT = Path(__file__).parents[3]
CLASSES = ["red bird", "green bird", "blue bird"]
RECIPE = {
    "backbone": "timm:test_byobnet", "weights": "imagenet", "batch_norm_momentum": 0.1, "iterations": 1, "epochs": 1,
    "samples": 8, "batch_size": 4, "learning_rate": 1e-3, "evaluation_batch_size": 4,
}  # fmt: skip


@dataclass(frozen=True)
class Repository:
    """The folder, its catalog and cache, and the file of every row."""

    root: Path
    catalog: Catalog
    cache: ImageCache
    files: list[Path]

    def run(self, method: str) -> Path:
        return self.root / "runs" / "quickstart" / f"{method}-birds-12-s0"


def photo(rng: np.random.Generator, colour: int, side: int = 40) -> Image.Image:
    pixels = rng.integers(0, 110, (side, side + 7, 3), dtype=np.uint8)
    pixels[..., colour] += 120
    return Image.fromarray(pixels).resize((side + 7, side + 3), Image.Resampling.BICUBIC)


def finish(root: Path, method: str, catalog: Catalog, cache: ImageCache) -> None:
    """What training and encoding would leave, with weights as they are before training; row 2 was never sampled."""
    kind = load_method(method)
    recipe = kind.Recipe(**RECIPE)
    bare = recipe.model_copy(update={"weights": "none"})
    network = kind.untrained_network(bare, 12, len(CLASSES), 0)
    folder = root / "runs" / "quickstart" / f"{method}-birds-12-s0"
    folder.mkdir(parents=True)
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file(state, folder / "model.safetensors")

    def codes(rows: np.ndarray) -> Codes:
        values = encode(
            network, cache, torch.from_numpy(rows), batch_size=recipe.evaluation_batch_size,
            device=torch.device("cpu"),
        )  # fmt: skip
        return Codes.pack(values.numpy())

    learned = 2 * np.random.default_rng(1).integers(0, 2, (len(catalog.database_rows), 12)) - 1
    learned[2] = 0
    parts = {
        "learned": Codes.pack(learned),
        "network": codes(catalog.database_rows),
        "query": codes(catalog.query_rows),
    }
    header = {"run": folder.name, "catalog": catalog.digest, "uncoded": "rank", "reference": "adsh"}
    write_codes(folder / "codes.safetensors", parts, header)
    identity = {"method": method, "dataset": "birds", "bits": 12, "seed": 0}
    dumped = recipe.model_dump(mode="json")
    trained = {
        **identity,
        "recipe": dumped,
        "params_digest": value_digest({**identity, **dumped}),
        "data_digest": value_digest([catalog.digest, cache.header]),
    }
    write_json(folder / "train.json", trained)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Repository:
    """Six photographs a class, of which two are queries; runs of ADSH and SEMICON. Not to be written to."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("finished")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, root / name)
    text = (root / "params.yaml").read_text()
    assert text.count("  threads: 2 ") == 1
    (root / "params.yaml").write_text(text.replace("  threads: 2 ", "  threads: 1 "))
    (root / "stages").mkdir()
    rng, files = np.random.default_rng(0), []
    for number in range(18):
        files.append(root / "photos" / f"{number:02}.{'jpg' if number % 2 else 'png'}")
        files[-1].parent.mkdir(exist_ok=True)
        photo(rng, number % 3).save(files[-1])
    labels = np.eye(3, dtype=bool)[np.arange(18) % 3]
    catalog = Catalog("birds", [path.name for path in files], labels, np.arange(18) >= 12, CLASSES)
    processed = root / "data" / "processed" / "birds"
    build_cache(processed, files, resize=36, crop=32, workers=0, progress=False)
    catalog.write(processed / "catalog.parquet")
    cache = ImageCache.open(processed)
    for method in ("adsh", "semicon"):
        finish(root, method, catalog, cache)
    return Repository(root, catalog, cache, files)


@pytest.fixture
def repository(finished, tmp_path, monkeypatch) -> Repository:
    """A copy of the finished repository, which is the working folder."""
    root = tmp_path / "repository"
    shutil.copytree(finished.root, root)
    monkeypatch.chdir(root)
    cache = ImageCache.open(root / "data" / "processed" / "birds")
    return Repository(root, finished.catalog, cache, [root / "photos" / path.name for path in finished.files])
