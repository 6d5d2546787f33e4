"""train SUITE_FILE METHOD DATASET BITS SEED: learn a network and the database codes; resumes where it was killed.

reads  data/processed/DATASET, params.yaml: train.METHOD.DATASET
writes runs/<suite>/<run>/: model.safetensors, learned.safetensors (database codes at the end, and query and database
       codes of the iteration with the best test score), history.csv, train.json (provenance)

A run whose parts do not fit together is skipped. With machine.processes above 1, several processes train it together.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd
import torch
from common import ROOT, Run, params_digest, run_params, skip, stage
from machine import code_digest, commit, exclusive, machine_facts, spread
from recorded import recorded
from safetensors.torch import save_file

from hashrepro.devices import prepare
from hashrepro.files import remove_leftovers, value_digest, whole, write_json
from hashrepro.images.processed import open_dataset
from hashrepro.learning.checkpoints import Checkpoints
from hashrepro.learning.loop import Images, train
from hashrepro.learning.parallel import first_process_first, joined
from hashrepro.networks.synced import rank
from hashrepro.retrieval.average_precision import mean_average_precisions, scan_for
from hashrepro.retrieval.codes import Codes, write_codes
from hashrepro.retrieval.conventions import EXPECTED, convention, searched_rows
from hashrepro.tracking import Tracking
from hashrepro.tracking.delivery import Steps, deliver
from hashrepro.tracking.runs import log_training, tags_of
from hashrepro.tracking.store import answering

FILES = ("model.safetensors", "learned.safetensors", "history.csv", "train.json")


@stage
def main(*arguments: str) -> None:
    run = Run.from_arguments(arguments)
    if reason := run.kind.incompatible(run.recipe, run.bits):
        skip(run, reason)
        return
    with exclusive(run.work):
        spread(run.settings.machine)
        device = prepare(run.settings.machine)
        with joined(device):
            learn(run, device)


def learn(run: Run, device: torch.device) -> None:
    kind, recipe = run.kind, run.recipe
    catalog, cache = open_dataset(ROOT, run.dataset)
    query_labels, database_labels = catalog.labels[catalog.query_rows], catalog.labels[catalog.database_rows]
    data = value_digest([catalog.digest, cache.header])
    # top_k decides which iteration is best
    numbers = {"params": params_digest(run), "top_k": run.block.top_k, "data": data}
    fingerprint = value_digest({**numbers, "code": code_digest(), "torch": torch.__version__})
    with first_process_first():
        checkpoints = Checkpoints(run.work, fingerprint)
        if recorded(run, checkpoints.finished):  # asked for once more: dvc repro --force
            checkpoints.start_anew()
        remove_leftovers(run.folder)
        method = kind(recipe, run.bits, torch.from_numpy(database_labels), run.seed, device)
    ended = checkpoints.finished is not None
    record = Record.open(run, fingerprint, data, device, ended) if rank() == 0 else None

    conventions = {"map": EXPECTED, "map_reference": convention(kind.REFERENCE, run.block.top_k)}

    def evaluate(query: torch.Tensor, database: torch.Tensor) -> dict[str, float]:
        codes = Codes.pack(database.numpy())
        searched = searched_rows(codes, recipe.uncoded)
        sides = Codes.pack(query.numpy()), codes[searched], query_labels, database_labels[searched]
        return mean_average_precisions(scan_for(conventions.values(), *sides), conventions)

    rows = torch.from_numpy(catalog.query_rows), torch.from_numpy(catalog.database_rows)
    seen = train(
        method,
        Images(cache, *rows, workers=run.settings.machine.workers),
        evaluate=evaluate,
        checkpoints=checkpoints,
        log=lambda row: record.log(row),
        checkpoint_minutes=run.settings.machine.checkpoint_minutes,
        progress=run.key,
    )
    if record is None:
        return

    with whole(run.folder / "model.safetensors") as path:
        save_file({k: v.cpu().contiguous() for k, v in method.network.state_dict().items()}, path)
    codes = {
        "learned": Codes.pack(seen.codes.numpy()),
        "best_query": Codes.pack(seen.best["query"].numpy()),
        "best_learned": Codes.pack(seen.best["codes"].numpy()),
    }
    header = {
        "run": run.key,
        "catalog": catalog.digest,
        "rows": "query and database rows in catalog order",
        "reference": kind.REFERENCE,
        "uncoded": recipe.uncoded,
    }
    write_codes(run.folder / "learned.safetensors", codes, header)
    with whole(run.folder / "history.csv") as path:
        pd.DataFrame(seen.history).to_csv(path, index=False)
    record.about |= {
        "kind": run.settings.kind(run.method),
        "method_title": run.settings.method_title(run.method),
        "paper": method.PAPER,
        "recipe": recipe.model_dump(mode="json"),
        "iterations": recipe.iterations,
        "best_iteration": seen.best["iteration"],
        "mlflow_run_id": record.run_id,
        "fingerprint": fingerprint,
        **checkpoints.spent(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(run.folder / "train.json", record.about)
    checkpoints.finish(*(run.folder / name for name in FILES))
    record.close(run)


@dataclass
class Record:
    """The run in the tracking store, and what train.json will say of it."""

    tracking: Tracking
    run_id: str
    about: dict
    steps: Steps

    @classmethod
    def open(cls, run: Run, fingerprint: str, data: str, device: torch.device, ended: bool) -> "Record":
        for warning in run.recipe.warnings():
            print(f"{run.key}: {warning}")
        tracking = Tracking(ROOT, run.settings.suite.name)
        head, dirty = commit()
        about = {
            **run.identity,
            "commit": head,
            "dirty": dirty,
            "params_digest": params_digest(run),
            "data_digest": data,
            **machine_facts(device),
        }
        with answering(tracking.uri):
            run_id = tracking.start(run.key, fingerprint, tags_of(about), run_params(run), ended=ended)
            tracking.log_data(run_id, run.dataset, data, {"dvc.path": f"data/processed/{run.dataset}"})
            return cls(tracking, run_id, about, Steps(tracking, run_id))

    def log(self, row: dict[str, float]) -> None:
        self.steps.log(row["iteration"], {name: value for name, value in row.items() if name != "iteration"})

    def close(self, run: Run) -> None:
        def send() -> None:
            self.steps.send()
            log_training(self.tracking, self.run_id, run.folder)

        deliver(run.key, self.tracking.suite, send)


if __name__ == "__main__":
    main()
