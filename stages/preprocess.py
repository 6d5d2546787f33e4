"""preprocess DATASET: from original files to a Catalog and an image cache.

reads  data/raw/DATASET/, params.yaml: datasets.DATASET
writes data/processed/DATASET/: catalog.parquet, images.json and the image files beside it
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from common import ROOT, stage

from hashrepro.datasets.base import load_reader, parse_options
from hashrepro.datasets.catalog import Catalog
from hashrepro.datasets.fetching import source_folder
from hashrepro.errors import UserError
from hashrepro.files import whole
from hashrepro.images.cache import build_cache
from hashrepro.images.decoding import resized_bytes
from hashrepro.seeds import stream
from hashrepro.settings import Dataset, load_settings


def validation_queries(is_query: np.ndarray, count: int, rng: np.random.Generator, name: str) -> np.ndarray:
    """bool (n,): `count` database images, drawn to serve as queries when recipes are chosen."""
    database = np.flatnonzero(~is_query)
    if count >= len(database):
        raise UserError(
            f"{count} validation queries are asked for, but the database has {len(database)} images.",
            where=f"params.yaml: datasets.{name}.validation",
            mend=f"set it below {len(database)}",
        )
    chosen = np.zeros(len(is_query), dtype=bool)
    chosen[rng.permutation(database)[:count]] = True
    return chosen


def make_room(paths: Sequence[Path], block: Dataset, name: str) -> None:
    """Say how much the training cache will take; UserError if the disk has less."""
    needed, free = resized_bytes(paths, block.resize), shutil.disk_usage(ROOT).free
    print(f"{name}: the training cache takes {needed / 1e9:.2f} GB, {free / 1e9:.2f} GB are free", flush=True)
    if needed > free:
        raise UserError(
            f"The training cache takes {needed / 1e9:.2f} GB, but only {free / 1e9:.2f} GB of disk are free.",
            where=f"params.yaml: datasets.{name}.training_cache",
            mend="free some space, or set it to none",
        )


@stage
def main(name: str) -> None:
    block = load_settings(ROOT).dataset(name)
    reader = load_reader(block.reader)
    options = parse_options(name, reader, block.options)
    work = ROOT / "work"
    work.mkdir(exist_ok=True)
    scratch = tempfile.mkdtemp(prefix=f"unpack-{name}-", dir=work)
    try:
        raw = ROOT / "data" / "raw" / name
        folder = source_folder(name, reader, ROOT / block.folder if block.folder else None, raw, scratch)
        reading = reader.read(folder, options, stream(block.seed, "split", name))
        labels, is_query, ids, images = reading.labels, reading.is_query, reading.ids, reading.images
        if block.validation:
            chosen = validation_queries(is_query, block.validation, stream(block.seed, "validation"), name)
            keep = np.flatnonzero(~is_query)
            labels, is_query, ids = labels[keep], chosen[keep], [ids[row] for row in keep]
            images = images[keep] if isinstance(images, np.ndarray) else [images[row] for row in keep]
        facts = {
            **reading.facts,
            "reader": block.reader,
            "title": reader.SOURCE.title,
            "terms": reader.SOURCE.terms,
            "home": reader.SOURCE.home,
            "seed": block.seed,
            "validation": block.validation,
        }
        catalog = Catalog(name, ids, labels, is_query, reading.class_names, facts)
        with whole(ROOT / "data" / "processed" / name) as destination:
            destination.mkdir()
            if block.training_cache == "resized" and not isinstance(images, np.ndarray):
                make_room(images, block, name)
            build_cache(
                destination,
                images,
                resize=block.resize,
                crop=block.crop,
                workers=block.workers,
                training_cache=block.training_cache,
            )
            catalog.write(destination / "catalog.parquet")
        print(
            f"{name}: {len(catalog.query_rows):,} queries, {len(catalog.database_rows):,} database images, "
            f"{len(catalog.class_names)} classes, digest {catalog.digest[:12]}"
        )
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
