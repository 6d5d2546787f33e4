"""preprocess DATASET: from original files to a Catalog and an image cache.

reads  data/raw/DATASET/, params.yaml: datasets.DATASET
writes data/processed/DATASET/: catalog.parquet, images.json and the image files beside it
"""

import shutil
import tempfile

import numpy as np
from common import ROOT, stage

from hashrepro.datasets.base import load_reader, parse_options
from hashrepro.datasets.catalog import Catalog
from hashrepro.datasets.fetching import source_folder
from hashrepro.errors import UserError
from hashrepro.files import whole
from hashrepro.images.cache import build_cache
from hashrepro.seeds import stream
from hashrepro.settings import load_settings


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
            "title": reader.TITLE,
            "terms": reader.TERMS,
            "home": reader.HOME,
            "seed": block.seed,
            "validation": block.validation,
        }
        catalog = Catalog(name, ids, labels, is_query, reading.class_names, facts)
        with whole(ROOT / "data" / "processed" / name) as destination:
            destination.mkdir()
            build_cache(destination, images, resize=block.resize, crop=block.crop, workers=block.workers)
            catalog.write(destination / "catalog.parquet")
        print(
            f"{name}: {len(catalog.query_rows):,} queries, {len(catalog.database_rows):,} database images, "
            f"{len(catalog.class_names)} classes, digest {catalog.digest[:12]}"
        )
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
