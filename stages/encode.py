"""encode SUITE_FILE METHOD DATASET BITS SEED: the codes of all images, packed.

reads  runs/<suite>/<run>/{model,learned}.safetensors, data/processed/DATASET
writes codes.safetensors (query codes; database codes learned, by the network, and by the untrained network, of a
       sample; query and learned codes as they were when the test score was best), encode.json (time, memory),
       attention/ (maps of a few queries; empty where the network has none);
       of a skipped run, markers that say why
"""

import resource
import time

import numpy as np
import torch
from common import ROOT, Run, skipped, stage, write_marker
from recorded import drop_checkpoint
from safetensors.torch import load_file

from hashrepro.devices import prepare
from hashrepro.files import write_json
from hashrepro.images.processed import open_dataset
from hashrepro.learning.loop import encode
from hashrepro.methods.attention import attention_maps
from hashrepro.reporting.attention import Attention, make_attention, write_attention
from hashrepro.reporting.choosing import spread_over_classes
from hashrepro.retrieval.codes import Codes, read_codes, write_codes
from hashrepro.seeds import stream


@stage
def main(*arguments: str) -> None:
    run = Run.from_arguments(arguments)
    drop_checkpoint(run)
    if reason := skipped(run.folder / "model.safetensors", run.target("train")):
        print(f"{run.key} is skipped: {reason}")
        write_marker(run.folder / "codes.safetensors", reason)
        write_json(run.folder / "encode.json", {"skipped": reason})
        write_attention(run.folder / "attention", None)
        return
    device = prepare(run.settings.machine)
    catalog, cache = open_dataset(ROOT, run.dataset)
    recipe, classes = run.recipe, catalog.labels.shape[1]
    network = run.kind.untrained_network(recipe, run.bits, classes, run.seed).to(device)
    workers = run.settings.machine.workers

    def codes(rows, label: str) -> Codes:
        values = encode(
            network,
            cache,
            torch.from_numpy(rows),
            batch_size=recipe.evaluation_batch_size,
            device=device,
            workers=workers,
            progress=f"{run.key}: {label}",
        )
        return Codes.pack(values.numpy())

    floor = np.arange(len(catalog.database_rows))
    if limit := run.settings.encode.untrained_database:
        floor = np.sort(stream(run.seed, "untrained database").permutation(floor)[:limit])
    untrained = {
        "query_untrained": codes(catalog.query_rows, "untrained, query"),
        "untrained": codes(catalog.database_rows[floor], "untrained, database"),
    }
    network.load_state_dict(load_file(run.folder / "model.safetensors"))
    begun = time.perf_counter()
    trained = {
        "query": codes(catalog.query_rows, "query"),
        "network": codes(catalog.database_rows, "database"),
    }
    seconds = time.perf_counter() - begun
    write_attention(run.folder / "attention", attention(run, network, catalog, cache, device))
    learned, header = read_codes(run.folder / "learned.safetensors")
    header["untrained_rows"] = " ".join(map(str, floor))  # places in the database of the rows of `untrained`
    write_codes(run.folder / "codes.safetensors", {**learned, **trained, **untrained}, header)
    took = {
        "seconds": seconds,
        "images_per_second": len(catalog.ids) / seconds,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    write_json(run.folder / "encode.json", took)


def attention(run: Run, network: torch.nn.Module, catalog, cache, device: torch.device) -> Attention | None:
    """The maps of the queries that the gallery shows, too; None where the network has no attention."""
    rows = catalog.query_rows
    chosen = spread_over_classes(catalog.labels[rows], run.settings.encode.attention_images)
    batch_size = run.recipe.evaluation_batch_size
    maps = attention_maps(network, cache, rows, chosen, batch_size=batch_size, device=device)
    if maps is None:
        return None
    facts = (catalog.labels, catalog.ids, catalog.class_names)
    return make_attention(maps, rows[chosen], *facts, lambda row: cache.pictures([row])[0])


if __name__ == "__main__":
    main()
