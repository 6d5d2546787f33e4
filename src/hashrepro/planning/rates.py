"""How fast an image goes through a method: from runs that are here, or from data/rates.csv."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median

import pandas as pd

from hashrepro.files import read_json_if_whole
from hashrepro.settings import Settings, load_settings, suite_files

FALLBACK = (10.0, 2.0)  # milliseconds an image, training and encoding, of what nobody has measured


@dataclass(frozen=True)
class Rate:
    """Milliseconds an image, in training and in encoding, with where that is from."""

    train_ms: float
    encode_ms: float
    device: str
    measured: bool  # on this repository's own runs or in the authors' logs; else it is a guess


class Rates:
    """The rates of a repository: `of(method, backbone, data set)`.

    A rate of this repository's own runs goes before a published one, and one for the data set before a general one.
    Own runs count for what they ran on: a run on a CPU says nothing of a GPU.

    Args:
        root: the repository.
        settings: of the suite that is planned; its data sets' crops scale what was measured on other crops.
        device: "cuda" or "cpu", what the planned runs will run on.
    """

    def __init__(self, root: Path, settings: Settings, device: str):
        self.root, self.settings, self.device = root, settings, device
        self.published = pd.read_csv(root / "data" / "rates.csv", keep_default_na=False)

    @cached_property
    def own(self) -> list[dict]:
        """Finished runs on this kind of device: method, backbone, dataset, crop, train_ms, encode_ms."""
        return list(self._finished())

    def _finished(self) -> Iterator[dict]:
        for file in suite_files(self.root).values():
            suite = load_settings(self.root, file)
            for path in sorted((self.root / "runs" / suite.suite.name).glob("*/train.json")):
                train, encoded = read_json_if_whole(path), read_json_if_whole(path.with_name("encode.json"))
                if "recipe" not in train or train.get("dataset") not in suite.datasets:
                    continue  # skipped, or of a data set that is gone
                if train["device"].startswith("CPU") != (self.device == "cpu"):
                    continue
                recipe = train["recipe"]
                images = recipe["iterations"] * recipe["epochs"] * recipe["samples"]
                speed = encoded.get("images_per_second")
                yield {
                    "method": train.get("kind", train["method"]),
                    "backbone": recipe["backbone"],
                    "dataset": train["dataset"],
                    "crop": suite.datasets[train["dataset"]].crop,
                    "train_ms": 1000 * train["seconds"] / images,
                    "encode_ms": 1000 / speed if speed else FALLBACK[1],
                }

    def of(self, method: str, backbone: str, dataset: str) -> Rate:
        """The rate of a method on a data set; a guess where nothing is known."""
        crop = self.settings.dataset(dataset).crop
        alike = [run for run in self.own if (run["method"], run["backbone"]) == (method, backbone)]
        if close := [run for run in alike if run["dataset"] == dataset] or alike:
            scale = (crop / median(run["crop"] for run in close)) ** 2
            train, encode = (scale * median(run[name] for run in close) for name in ("train_ms", "encode_ms"))
            return Rate(train, encode, "this machine", True)
        rows = self.published
        rows = rows[(rows["method"] == method) & (rows["backbone"] == backbone)]
        rows = rows[rows["dataset"].isin([dataset, ""])].sort_values("dataset", ascending=False)
        if rows.empty:
            return Rate(*FALLBACK, "a guess", False)
        row = rows.iloc[0]
        scale = (crop / 224) ** 2
        train, encode = scale * row["train_ms"], scale * row["encode_ms"]
        return Rate(train, encode, row["device"], row["verified"] == "yes")
