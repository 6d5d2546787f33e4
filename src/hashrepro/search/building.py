"""`hashrepro index`: an index is made of a run's codes, or of another index."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hashrepro.errors import UserError
from hashrepro.retrieval.codes import Codes
from hashrepro.search.folder import check_free, readable_facts
from hashrepro.search.index import Index
from hashrepro.search.items import Items
from hashrepro.search.kinds import FLAT, resolve
from hashrepro.search.opening import describe, open_encoder, parameters, run_of
from hashrepro.search.recall import measure_recall
from hashrepro.search.runs import TrainedRun, recipe_changed
from hashrepro.settings import Settings, load_settings

if TYPE_CHECKING:
    from hashrepro.search.encoder import Encoder

# facts that an index hands on to one that is made of it
KEPT = ("run", "suite", "dataset", "catalog", "model", "class_names", "database")
Source = tuple[Codes, Items, dict, "Encoder"]  # rows with their codes, facts, and the network


def index(arguments: argparse.Namespace, root: Path) -> int:
    settings = load_settings(root, arguments.params)
    suite, name = settings.suite.name, arguments.run
    again = name is not None and (Path(name) / "index.json").exists()
    if again and arguments.database is not None:
        raise UserError(
            "An index is made of another one with the codes that are there.",
            where="--database",
            mend="leave it out, or give the key of the run in place of the index",
        )
    source = Index.open(Path(name)) if again else TrainedRun.open(root, suite, name)
    folder = arguments.out or (Path(name) if again else root / "indexes" / suite / source.folder.name)
    folder = Path(os.path.abspath(folder))  # "." has no name
    given, rows = parameters(arguments), len(source) if again else len(source.catalog.database_rows)
    resolve(arguments.store, arguments.kind, given, rows)
    check_free(folder, arguments.force)
    if not again:
        check_grown(folder, rows)
    codes, items, facts, encoder = (
        of_index(source, settings) if again else of_run(source, arguments.database or "learned", settings)
    )
    made = Index.build(
        folder,
        codes,
        items,
        facts,
        store=arguments.store,
        kind=arguments.kind,
        parameters=given,
        uri=arguments.uri,
        force=arguments.force,
        threads=settings.machine.threads,
        beside=encoder.save,
    )
    print(f"{made.folder}: {describe(made)}")
    if made.facts["kind"] != FLAT:
        print_recall(made, root)
    print("Search it: hashrepro search --image PATH   |   Add images: hashrepro add INDEX PATH")
    return 0


def check_grown(folder: Path, rows: int) -> None:
    """UserError when the index in `folder` has images that were added: a run has only its own `rows`."""
    facts = readable_facts(folder)
    if facts is not None and facts["rows"] > rows:
        raise UserError(
            f"{facts['rows'] - rows:,} images were added to this index, and the run does not have them.",
            where=folder,
            mend=f"keep them: hashrepro index {folder} --force; or remove the index first: rm -r {folder}",
        )


def of_run(run: TrainedRun, database: str, settings: Settings) -> Source:
    """What an index of a run's database codes is made of."""
    # torch and timm take seconds: only when all that needs neither is checked
    from hashrepro.devices import prepare
    from hashrepro.search.encoder import Encoder
    from hashrepro.search.views import view_of

    if recipe_changed(run, settings):
        print(f"{run.folder.name} was trained by another recipe than params.yaml has now: its own is used")
    classes = list(run.catalog.class_names)
    encoder = Encoder.of_run(run.folder, view_of(run.cache), len(classes), prepare(settings.machine))
    check_network(encoder, run)
    facts = {
        "run": run.folder.name,
        "suite": run.folder.parent.relative_to(run.root / "runs").as_posix(),
        "dataset": run.catalog.name,
        "catalog": run.catalog.digest,
        "model": encoder.about.model,
        "class_names": classes,
        "database": database,
    }
    return *run.database(database), facts, encoder


def of_index(opened: Index, settings: Settings) -> Source:
    """All that is in an index, for one of another kind or store: nothing is encoded again."""
    rows = np.arange(len(opened))
    facts = {name: opened.facts[name] for name in KEPT}
    return opened.codes(rows), opened.items(rows), facts, open_encoder(opened, settings)


def print_recall(made: Index, root: Path) -> None:
    """Measure what an approximate index finds, by the queries of its run, and keep it in the index."""
    try:
        run = run_of(made, root)
    except UserError as error:
        print(f"Its recall was not measured. {error.what}")
        return
    frame = measure_recall(made, run.codes["query"])
    made.record_recall(frame)
    print(frame.drop(columns="parameters").to_string(index=False, float_format="%.4g"))


def check_network(encoder: "Encoder", run: TrainedRun) -> None:
    """See to it that the run's network gives the run's codes: queries will be encoded by it.

    Raises:
        UserError: more than one bit in a hundred differs.
    """
    rows = run.catalog.query_rows[: encoder.about.batch_size]
    found = Codes.pack(encoder.encode_rows(run.cache, rows)).unpack()
    if (wrong := float((found != run.codes["query"][: len(rows)].unpack()).mean())) > 0.01:
        raise UserError(
            f"The run's network gives other codes than the run has: {wrong:.0%} of the bits differ.",
            where=run.folder,
            mend="encode again: dvc repro",
        )
