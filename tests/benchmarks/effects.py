"""effects ["CHANGE" ...]: what one changed value does to the quick-start's scores; writes docs/effects.csv.

Every CHANGE, "semicon alpha 0.3" in quotes, is trained with the quick-start's recipe and that one value, at 12 bits
and seed 0, and compared with the recipe itself on the same machine. Without arguments: all of CHANGES that the file
has not yet. It needs data/processed/fashion: `dvc repro data/dvc.yaml:preprocess@fashion`.
"""

import csv
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "stages"))
from machine import commit  # noqa: E402

from hashrepro.deviations import Effect, read_effects  # noqa: E402
from hashrepro.devices import prepare  # noqa: E402
from hashrepro.files import whole  # noqa: E402
from hashrepro.images.processed import open_dataset  # noqa: E402
from hashrepro.learning.base import load_method  # noqa: E402
from hashrepro.learning.checkpoints import Checkpoints  # noqa: E402
from hashrepro.learning.loop import Images, train  # noqa: E402
from hashrepro.retrieval.average_precision import mean_average_precisions, scan_for  # noqa: E402
from hashrepro.retrieval.codes import Codes  # noqa: E402
from hashrepro.retrieval.conventions import EXPECTED, convention, searched_rows  # noqa: E402
from hashrepro.settings import load_settings  # noqa: E402

TABLE = ROOT / "docs" / "effects.csv"
BITS, SEED = 12, 0
# the recipe itself with other seeds comes first: it says what a difference means
CHANGES = [
    *(f"{method} seed {seed}" for method in ("adsh", "semicon", "schn", "schn_tomm") for seed in (1, 2)),
    *("semicon sem plain", "semicon sem none", "semicon icon false", "semicon local false"),
    *("schn cycle_net false", "schn_tomm cycle_net false", "schn_tomm discriminator false"),
    *("semicon alpha 0.3", "semicon sem_std image", "semicon load_last_unit false"),
    *("semicon icon_residual pre_relu", "semicon icon_aligned true"),
    *("adsh initial_codes zeros", "adsh initial_codes sign", "adsh initial_codes network"),
    *(
        "adsh dcc_outputs eval_pass",
        "adsh precision bf16",
        "semicon precision bf16",
        "adsh crop_from resized",
    ),
    *("schn initial_codes sign", "schn initial_codes network", "schn loss_similarity signed"),
    *("schn loss_similarity soft", "schn dcc_rows all", "schn unsampled network", "schn unsampled label_net"),
    *("schn unsampled drop", "schn gcn_norm row", "schn gcn_norm sym", "schn latent_activation tanh"),
    *("schn detach_features false", "schn detach_targets true", "schn cycle_query latent"),
    *("schn replay_batches true", "schn dcc_outputs eval_pass", "schn_tomm adversarial_loss logits"),
]
# parts that cannot stand without what the change takes away
GOES_TOO = {("schn_tomm", "cycle_net"): {"discriminator": False}}


def scores(method: str, changes: dict, seed: int) -> dict[str, float]:
    """mAP in percent of the learned and of the network's database codes, after the quick-start's recipe."""
    settings = load_settings(ROOT)
    device = prepare(settings.machine)
    catalog, cache = open_dataset(ROOT, "fashion")
    kind, recipe = load_method(method), settings.recipe(method, "fashion")
    recipe = type(recipe)(**{**recipe.model_dump(), **changes})
    query, database = catalog.labels[catalog.query_rows], catalog.labels[catalog.database_rows]
    conventions = {"map": EXPECTED, "map_reference": convention(kind.REFERENCE)}

    def evaluate(query_codes: torch.Tensor, codes: torch.Tensor) -> dict[str, float]:
        packed = Codes.pack(codes.numpy())
        searched = searched_rows(packed, recipe.uncoded)
        sides = Codes.pack(query_codes.numpy()), packed[searched], query, database[searched]
        return mean_average_precisions(scan_for(conventions.values(), *sides), conventions)

    images = Images(cache, torch.from_numpy(catalog.query_rows), torch.from_numpy(catalog.database_rows))
    trained = kind(recipe, BITS, torch.from_numpy(database), seed, device)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder) / "work", "effects")
        seen = train(trained, images, evaluate=evaluate, checkpoints=checkpoints, log=lambda row: None)
    query_codes = images.encode(trained, images.query_rows)
    network = images.encode(trained, images.database_rows)
    return {
        "learned": 100 * evaluate(query_codes, seen.codes.cpu())["map"],
        "network": 100 * evaluate(query_codes, network)["map"],
    }


def main(changes: list[str]) -> None:
    effects, yaml, plain = read_effects(TABLE), YAML(typ="safe"), {}
    done = {(effect.method, effect.key, effect.value) for effect in effects}
    for method, key, value in (change.split() for change in changes or CHANGES):
        if not changes and (method, key, value) in done:
            continue
        if method not in plain:
            plain[method] = scores(method, {}, SEED)
            print(f"{method}: {plain[method]}", flush=True)
        changed = {key: yaml.load(value), **GOES_TOO.get((method, key), {})}
        found = scores(method, {}, int(value)) if key == "seed" else scores(method, changed, SEED)
        without = {f"without_{name}": score for name, score in plain[method].items()}
        effect = Effect(method, key, value, BITS, SEED, **without, **found, commit=commit()[0])
        print(effect, flush=True)
        effects = [old for old in effects if (old.method, old.key, old.value) != (method, key, value)] + [
            effect
        ]
        with whole(TABLE) as path, open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(Effect.__dataclass_fields__))
            writer.writeheader()
            for row in effects:
                values = {
                    name: f"{item:.3f}" if isinstance(item, float) else item
                    for name, item in asdict(row).items()
                }
                writer.writerow(values)


if __name__ == "__main__":
    main(sys.argv[1:])
