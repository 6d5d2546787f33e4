"""evaluate SUITE_FILE METHOD DATASET BITS SEED: from codes to numbers, curves, a gallery and a map of the codes.

reads  runs/<suite>/<run>/{codes.safetensors,attention}, data/processed/DATASET, params.yaml: evaluate
writes metrics.json (the headline numbers), scores.json (every score, with its interval), per_query.parquet,
       embedding.parquet (t-SNE of query codes), curves/*.csv, gallery/; of a skipped run no numbers, but why
"""

import numpy as np
import pandas as pd
from common import ROOT, Run, skipped, stage

from hashrepro.errors import UserError
from hashrepro.images.processed import open_dataset
from hashrepro.reporting.choosing import spread_over_classes
from hashrepro.reporting.embedding import make_embedding
from hashrepro.reporting.gallery import make_gallery
from hashrepro.reporting.records import write_evaluation
from hashrepro.retrieval.codes import random_codes, read_codes
from hashrepro.retrieval.conventions import EXPECTED, convention, searched_rows
from hashrepro.retrieval.scores import conventions_of, evaluate_codes, first_hits
from hashrepro.retrieval.uncertainty import METHOD, bootstrap_interval
from hashrepro.seeds import stream
from hashrepro.tracking import Tracking
from hashrepro.tracking.delivery import deliver
from hashrepro.tracking.runs import adopt

# what is scored: (selected, database) -> (query codes, database codes)
PAIRS = {
    ("last", "learned"): ("query", "learned"),
    ("last", "network"): ("query", "network"),
    ("last", "untrained"): ("query_untrained", "untrained"),
    ("last", "random"): ("query_random", "random"),
    ("best_on_test", "learned"): ("best_query", "best_learned"),
}


@stage
def main(*arguments: str) -> None:
    run = Run.from_arguments(arguments)
    if reason := skipped(run.folder / "codes.safetensors", run.target("encode")):
        print(f"{run.key} is skipped: {reason}")
        write_evaluation(run.folder, {}, {"skipped": reason}, {}, None)
        return
    tracking = Tracking(ROOT, run.settings.suite.name)
    settings = run.settings.evaluate
    catalog, cache = open_dataset(ROOT, run.dataset)
    codes, header = read_codes(run.folder / "codes.safetensors")
    if header["catalog"] != catalog.digest:
        raise UserError(
            "The codes belong to another catalog than the data set has now.",
            where=run.folder / "codes.safetensors",
            mend=f"dvc repro {run.target('encode')}",
        )
    query_rows, database_rows = catalog.query_rows, catalog.database_rows
    query_labels, database_labels = catalog.labels[query_rows], catalog.labels[database_rows]
    rng = stream(run.seed, "random codes")
    codes["query_random"] = random_codes(len(query_rows), run.bits, rng)
    codes["random"] = random_codes(len(database_rows), run.bits, rng)

    uncoded = header.get("uncoded", "rank")
    reference = convention(header["reference"], run.block.top_k)
    scores, curves, per_query = {}, {}, pd.DataFrame({"query": query_rows})
    floor = np.array(header["untrained_rows"].split(), dtype=np.int64)
    for (selected, database), (query, base) in PAIRS.items():
        labels = database_labels[floor] if database == "untrained" else database_labels
        searched = searched_rows(codes[base], uncoded)
        labels = labels[searched]
        at = {
            name: [n for n in getattr(settings, name) if n <= len(labels)]
            for name in ("precision_at", "map_at", "ndcg_at")
        }
        scored = evaluate_codes(
            codes[query],
            codes[base][searched],
            query_labels,
            labels,
            **at,
            radius=settings.radius,
            reference=reference,
            threads=run.settings.machine.own_threads,
        )
        values = {name: value for name, value in scored.scores.items() if not np.isnan(value)}
        values["uncoded"] = float((~codes[base].coded).sum())  # counted even if they are not searched
        scores.setdefault(selected, {})[database] = values
        for name, precisions in scored.per_query.items():
            per_query[f"{selected}.{database}.{name}"] = precisions
        if selected == "last":
            scored.curves["per_class"].insert(1, "name", catalog.class_names)
            curves |= {(database, name): frame for name, frame in scored.curves.items()}

    precisions = per_query.drop(columns="query")
    sampling = {"confidence": settings.confidence, "resamples": settings.resamples}
    lows, highs = bootstrap_interval(precisions.to_numpy(), **sampling, rng=stream(0, "bootstrap", "queries"))
    for column, low, high in zip(precisions, lows, highs, strict=True):
        selected, database, name = column.split(".")
        if name in scores[selected][database]:
            scores[selected][database] |= {f"{name}_low": float(low), f"{name}_high": float(high)}

    gallery = None
    if settings.gallery_queries:
        chosen = spread_over_classes(query_labels, settings.gallery_queries)
        searched = searched_rows(codes["learned"], uncoded)
        learned = codes["learned"][searched]
        hits, distances = first_hits(codes["query"], learned, chosen, settings.gallery_hits)
        gallery = make_gallery(
            query_rows[chosen],
            database_rows[searched[hits]],
            distances,
            catalog.labels,
            catalog.ids,
            catalog.class_names,
            lambda row: cache.pictures([row])[0],
            tile_size=min(cache.size, 96),
        )
    embedding = make_embedding(
        codes["query"],
        query_labels,
        query_rows,
        catalog.class_names,
        settings.map_points,
        stream(0, "embedding"),  # the same images for all runs on a data set
    )
    about = {
        "conventions": {
            **{name: rule.describe() for name, rule in conventions_of(reference, settings.map_at).items()},
            "map_class_mean": f"mean over classes of their queries' {EXPECTED.describe()}",
        },
        "interval": {**sampling, "method": METHOD},
        "queries": len(query_rows),
        "database": len(database_rows),
        "untrained_database": len(floor),
        "classes": len(catalog.class_names),
        "dataset_title": catalog.facts["title"],
        "data_facts": catalog.facts,
    }
    write_evaluation(run.folder, scores, about, curves, gallery, per_query, embedding)

    deliver(run.key, tracking.suite, lambda: adopt(tracking, run.folder))


if __name__ == "__main__":
    main()
