"""`hashrepro search`, `recall` and `score`: what an index answers, and how good its answers are."""

import argparse
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hashrepro.errors import UserError
from hashrepro.files import whole
from hashrepro.retrieval.codes import Codes
from hashrepro.search.index import Hits, Index
from hashrepro.search.nearest import MISSING
from hashrepro.search.opening import open_encoder, open_index, parameters, run_of
from hashrepro.search.pictures import Pictures
from hashrepro.search.recall import measure_recall
from hashrepro.search.rerank import rerank
from hashrepro.search.results import Query, answers, to_html, to_json, to_text
from hashrepro.search.scoring import score_index

if TYPE_CHECKING:
    from hashrepro.search.encoder import Encoder


def search(arguments: argparse.Namespace, root: Path) -> int:
    if arguments.open and arguments.html is None:
        raise UserError(
            "There is no page to open.", where="--open", mend="say where to write one: --html FILE"
        )
    opened, settings = open_index(arguments, root)
    pictures = Pictures(root, opened.facts)
    rows = None if arguments.query is None else query_rows(pictures, arguments.query)
    encoder = open_encoder(opened, settings)
    if rows is None:
        # each image by itself, so that its answer does not depend on what else is asked for
        outputs = encoder.encode_files(arguments.image, batch_size=1)
        queries = [
            Query(str(path), picture=pictures.of_file(path, encoder.about.view)) for path in arguments.image
        ]
    else:
        catalog, cache = pictures.require_dataset()
        outputs = encoder.encode_rows(cache, rows, batch_size=1)
        labels = [np.flatnonzero(catalog.labels[row]).tolist() for row in rows]
        queries = [
            Query(catalog.ids[row], known, pictures.of_row(row))
            for row, known in zip(rows, labels, strict=True)
        ]
    candidates = max(arguments.k, arguments.candidates) if arguments.rerank else arguments.k
    hits = opened.search(Codes.pack(outputs), candidates, parameters=parameters(arguments))
    if arguments.rerank:
        hits = reorder(hits, outputs, arguments, opened, encoder, pictures)
    found = answers(opened, queries, hits)
    print(to_json(found) if arguments.json else to_text(found), end="")
    if arguments.html:
        shown = np.unique(hits.rows[hits.rows != MISSING])
        items = opened.items(shown)
        where = dict(zip(shown.tolist(), zip(items.paths, items.catalog_rows, strict=True), strict=True))
        page = to_html(
            found, queries, lambda row: pictures.of_item(*where[row], encoder.about.view), opened.facts
        )
        write_page(arguments, page)
    return 0


def query_rows(pictures: Pictures, numbers: Sequence[int]) -> np.ndarray:
    """The rows of the catalog of queries by their numbers from 0.

    Raises:
        UserError: there is no such query; or as `Pictures.require_dataset`.
    """
    catalog, _ = pictures.require_dataset()
    if (largest := max(numbers)) >= len(catalog.query_rows):
        raise UserError(
            f"There is no query {largest}.",
            where=f"data set {catalog.name}",
            mend=f"give numbers from 0 to {len(catalog.query_rows) - 1}",
        )
    return catalog.query_rows[list(numbers)]


def reorder(
    hits: Hits,
    outputs: np.ndarray,
    arguments: argparse.Namespace,
    opened: Index,
    encoder: "Encoder",
    pictures: Pictures,
) -> Hits:
    """The best of the candidates by real-valued outputs."""

    def encode(rows: np.ndarray) -> np.ndarray:
        """float32 (n, bits) of rows of the index."""
        items, values = opened.items(rows), np.empty((len(rows), opened.bits), np.float32)
        ours = items.catalog_rows >= 0
        with encoder.each_by_itself():  # as the queries are: the candidates beside do not matter
            if ours.any():
                _, cache = pictures.require_dataset()
                values[ours] = encoder.encode_rows(cache, items.catalog_rows[ours])
            if not ours.all():
                paths = [path for path, own in zip(items.paths, ours, strict=True) if not own]
                try:
                    values[~ours] = encoder.encode_files(paths)
                except UserError as error:
                    mend = "put these images back, or take --rerank query, which needs none"
                    raise UserError(error.what, mend=mend) from error
        return values

    return rerank(hits, outputs, arguments.k, mode=arguments.rerank, codes=opened.codes, outputs=encode)


def write_page(arguments: argparse.Namespace, page: str) -> None:
    """Write the page with pictures, and open it where that is asked for."""
    with whole(arguments.html) as temporary:
        temporary.write_text(page, encoding="utf-8")
    if not arguments.json:
        print(f"\npictures: {arguments.html}")
    if arguments.open:
        webbrowser.open(arguments.html.absolute().as_uri())


def recall(arguments: argparse.Namespace, root: Path) -> int:
    opened, _ = open_index(arguments, root)
    queries = run_of(opened, root).codes["query"]
    frame = measure_recall(opened, queries, arguments.k, [parameters(arguments)])
    print_frame(frame, arguments.json)
    return 0


def score(arguments: argparse.Namespace, root: Path) -> int:
    opened, settings = open_index(arguments, root)
    run = run_of(opened, root)
    labels = run.catalog.labels[run.catalog.query_rows]
    frame = score_index(opened, run.codes["query"], labels, threads=settings.machine.threads)
    print_frame(frame, arguments.json)
    return 0


def print_frame(frame: pd.DataFrame, as_json: bool) -> None:
    if as_json:
        print(frame.to_json(orient="records", indent=2))
    else:
        print(frame.to_string(index=False, float_format="%.4f", na_rep="-"))
