"""preprocess DATASET: from original files to a Catalog and an image cache.

reads  data/raw/DATASET/, params.yaml: datasets.DATASET
writes data/processed/DATASET/: catalog.parquet, images.json and the image files beside it

Killed at any moment, it goes on where it was: what is unpacked stays in work/, the cache grows in a hidden folder
beside its own, and takes its name when it is whole.
"""

import dataclasses
import shutil
import signal

import numpy as np
from common import ROOT, stage

from hashrepro.datasets.base import Reader, Reading, load_reader, parse_options
from hashrepro.datasets.splits import check_recorded
from hashrepro.delivery.fetching import source_folder
from hashrepro.errors import UserError
from hashrepro.files import locked, replace, value_digest
from hashrepro.images.building import build_cache
from hashrepro.processes import signal_at_parents_end
from hashrepro.seeds import stream
from hashrepro.settings import Dataset, load_settings


def with_validation_queries(reading: Reading, count: int, rng: np.random.Generator, name: str) -> Reading:
    """The database alone, `count` of its images drawn to serve as queries when recipes are chosen."""
    database = np.flatnonzero(~reading.is_query)
    if count >= len(database):
        raise UserError(
            f"{count} validation queries are asked for, but the database has {len(database)} images.",
            where=f"params.yaml: datasets.{name}.validation",
            mend=f"set it below {len(database)}",
        )
    is_query = np.zeros(len(database), dtype=bool)
    is_query[rng.permutation(len(database))[:count]] = True
    return dataclasses.replace(reading.only(database), is_query=is_query)


def readable(reading: Reading, dropped: list[int], name: str) -> Reading:
    """The reading without the rows that the cache had to leave out."""
    if not dropped:
        return reading
    lost = {
        "query": int(reading.is_query[dropped].sum()),
        "database": int((~reading.is_query[dropped]).sum()),
    }
    print(
        f"{name}: dropped {lost['query']} queries and {lost['database']} database images that cannot be read"
    )
    kept = reading.only(np.setdiff1d(np.arange(len(reading.ids)), dropped))
    kept.facts["dropped"] = [reading.ids[row] for row in dropped]
    return kept


def facts(name: str, reader: Reader, block: Dataset, reading: Reading) -> dict:
    """What the catalog remembers beside rows and labels: where they are from, and the split as hashed lists of ids."""
    ids = np.array(reading.ids, dtype=object)
    return {
        **reading.facts,
        "reader": block.reader,
        "title": block.title or (reader.SOURCE.title if reader.SOURCE.images else name),
        "terms": reader.SOURCE.terms,
        "home": reader.SOURCE.home,
        "seed": block.seed,
        "validation": block.validation,
        "query_digest": value_digest(ids[reading.is_query].tolist()),
        "database_digest": value_digest(ids[~reading.is_query].tolist()),
    }


@stage
def main(name: str) -> None:
    signal_at_parents_end(signal.SIGTERM)  # dvc, which may be killed: what was done is kept
    settings = load_settings(ROOT)
    block = settings.dataset(name)
    reader = load_reader(block.reader)
    options = parse_options(name, reader, block.options)
    raw, unpacked = ROOT / "data" / "raw" / name, ROOT / "work" / "unpacked" / name
    processed = ROOT / "data" / "processed" / name
    building = processed.with_name(f".{name}.building")
    with locked(ROOT / "work" / f"preprocess-{name}.lock", f"Another process is preprocessing {name}."):
        folder = source_folder(
            name, reader, block.own_folder(ROOT), raw, unpacked, settings.archive_places(ROOT, name)
        )
        reading = reader.read(folder, options, stream(block.seed, "split", block.reader))
        check_recorded(block.reader, options, block.seed, reading)
        if block.validation:
            reading = with_validation_queries(
                reading, block.validation, stream(block.seed, "validation"), name
            )
        header = build_cache(
            building,
            reading.images,
            resize=block.resize,
            crop=block.crop,
            workers=block.workers,
            training_cache=block.training_cache,
            unreadable=block.unreadable,
            upright=block.upright,
            crop_bottom=reading.crop_bottom,
        )
        reading = readable(reading, header.get("dropped", []), name)
        reading.facts = facts(name, reader, block, reading)
        catalog = reading.catalog(name)
        catalog.write(building / "catalog.parquet")
        replace(building, processed)
        shutil.rmtree(unpacked, ignore_errors=True)
    print(
        f"{name}: {len(catalog.query_rows):,} queries, {len(catalog.database_rows):,} database images, "
        f"{len(catalog.class_names)} classes, digest {catalog.digest[:12]}"
    )


if __name__ == "__main__":
    main()
