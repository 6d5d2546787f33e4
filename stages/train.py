"""train SUITE_FILE METHOD DATASET BITS SEED: learn a network and the database codes; resumes where it was killed.

reads  data/processed/DATASET, params.yaml: train.METHOD.DATASET
writes runs/<suite>/<run>/: model.safetensors, learned.safetensors (B at the end, and query codes and B of the
       iteration with the best test score), history.csv, train.json (provenance)
"""

import json
import resource
import time
from datetime import UTC, datetime

import pandas as pd
import torch
from common import ROOT, Run, params_digest, run_params, stage
from machine import code_digest, commit, exclusive, machine_facts, prepare
from processed import open_dataset
from safetensors.torch import save_file

from hashrepro.files import file_digest, value_digest, whole, write_json
from hashrepro.methods.base import load_method
from hashrepro.methods.checkpoints import Checkpoints
from hashrepro.methods.loop import train
from hashrepro.retrieval.average_precision import mean_average_precisions, scan_for
from hashrepro.retrieval.codes import Codes, write_codes
from hashrepro.retrieval.conventions import EXPECTED, convention
from hashrepro.tracking import Tracking


@stage
def main(*arguments: str) -> None:
    run = Run.from_arguments(arguments)
    begun, device = time.perf_counter(), prepare(run.settings.machine)
    catalog, cache = open_dataset(run.dataset)
    data = value_digest([catalog.digest, cache.header])
    recipe = run.recipe
    head, dirty = commit()
    fingerprint = value_digest(
        {"params": params_digest(run), "data": data, "code": code_digest(), "torch": torch.__version__}
    )

    with exclusive(run.work):
        tracking = Tracking(ROOT, run.settings.suite.name)
        checkpoints = Checkpoints(run.work, fingerprint)
        about = {
            "method": run.method,
            "dataset": run.dataset,
            "bits": run.bits,
            "seed": run.seed,
            "commit": head,
            "dirty": dirty,
            "params_digest": params_digest(run),
            "data_digest": data,
            **machine_facts(device),
        }
        tags = {
            name: json.dumps(value) if isinstance(value, dict) else str(value)
            for name, value in about.items()
        }
        run_id = tracking.start(run.key, fingerprint, tags, run_params(run))
        tracking.log_data(run_id, run.dataset, data, {"dvc.path": f"data/processed/{run.dataset}"})

        query_labels, database_labels = (
            catalog.labels[catalog.query_rows],
            catalog.labels[catalog.database_rows],
        )
        kind = load_method(run.method)
        conventions = {"map": EXPECTED, "map_reference": convention(kind.REFERENCE, run.block.top_k)}

        def evaluate(query: torch.Tensor, B: torch.Tensor) -> dict[str, float]:
            query_codes, codes = Codes.pack(query.numpy()), Codes.pack(B.numpy())
            scanned = scan_for(conventions.values(), query_codes, codes, query_labels, database_labels)
            return mean_average_precisions(scanned, conventions)

        logged = tracking.last_step(run_id, "loss")

        def log(row: dict[str, float]) -> None:
            if row["iteration"] > logged:
                tracking.log_step(
                    run_id, row["iteration"], {k: v for k, v in row.items() if k != "iteration"}
                )

        method = kind(recipe, run.bits, torch.from_numpy(database_labels), run.seed, device)
        seen = train(
            method,
            cache,
            torch.from_numpy(catalog.query_rows),
            torch.from_numpy(catalog.database_rows),
            evaluate=evaluate,
            checkpoints=checkpoints,
            log=log,
            workers=run.settings.machine.workers,
            progress=run.key,
        )

        with whole(run.folder / "model.safetensors") as path:
            save_file({k: v.cpu().contiguous() for k, v in method.network.state_dict().items()}, path)
        codes = {
            "learned": Codes.pack(method.B.cpu().numpy()),
            "best_query": Codes.pack(seen.best["query"].numpy()),
            "best_learned": Codes.pack(seen.best["B"].numpy()),
        }
        header = {
            "run": run.key,
            "catalog": catalog.digest,
            "rows": "query and database rows in catalog order",
            "reference": kind.REFERENCE,
        }
        write_codes(run.folder / "learned.safetensors", codes, header)
        with whole(run.folder / "history.csv") as path:
            pd.DataFrame(seen.history).to_csv(path, index=False)
        about |= {
            "method_title": method.TITLE,
            "paper": method.PAPER,
            "recipe": recipe.model_dump(mode="json"),
            "iterations": recipe.iterations,
            "best_iteration": seen.best["iteration"],
            "mlflow_run_id": run_id,
            "fingerprint": fingerprint,
            "seconds": time.perf_counter() - begun,
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_json(run.folder / "train.json", about)
        files = ("model.safetensors", "learned.safetensors", "history.csv", "train.json")
        tracking.log_files(run_id, "", *(run.folder / name for name in files))
        tracking.tag(run_id, trained="yes", model=file_digest(run.folder / "model.safetensors"))
        tracking.end(run_id)
        checkpoints.remove()


if __name__ == "__main__":
    main()
