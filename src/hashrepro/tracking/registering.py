"""`hashrepro register`: the network of a finished run becomes a version of a model in MLflow's registry.

It takes a table with one column, `image`, the bytes of image files: that is what a server is sent (base64 in JSON), and
the model resizes and cuts them as the data set's images were, so that nobody can show it another view. It gives uint8
(n, ceil(bits / 8)): bit j of a code is bit j % 8, counted from the lowest, of byte j // 8, and 1 stands for +1.
"""

import re
import tempfile
import warnings
from importlib.metadata import requires, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import hashrepro
from hashrepro.devices import prepare
from hashrepro.errors import UserError
from hashrepro.retrieval.codes import BIT_ORDER
from hashrepro.search.encoder import Encoder
from hashrepro.search.runs import TrainedRun
from hashrepro.search.views import view_of
from hashrepro.settings import Machine, Settings
from hashrepro.tracking.runs import tracked
from hashrepro.tracking.store import Tracking

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

FOLDER = "hasher"  # in the run's artifacts


def register_run(
    tracking: Tracking, settings: Settings, key: str | None, name: str | None = None
) -> tuple[str, str]:
    """(name, version) of the model that a run's network is registered as; an earlier version if it is one already.

    Raises:
        UserError: there is no such finished run here, or the store does not have it; as `TrainedRun.open`.
    """
    import mlflow

    suite = settings.suite.name
    run = TrainedRun.open(tracking.root, suite, key)
    about, key = run.trained, run.folder.name
    if (run_id := tracked(tracking, run.folder, about)) is None:
        raise UserError(
            f"The tracking store does not have the run {key}.",
            where=run.folder,
            mend=f"hashrepro runs adopt {suite}",
        )
    name = name or f"{about['method']}-{about['dataset']}-{about['bits']}"
    mine = [v for v in tracking.client.search_model_versions(f"name = '{name}'") if v.run_id == run_id]
    if mine:
        return name, str(mine[0].version)
    encoder = Encoder.of_run(
        run.folder, view_of(run.cache), run.catalog.labels.shape[1], prepare(settings.machine)
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / FOLDER
        save_model(encoder, folder, settings.machine)
        tracking.client.log_artifacts(run_id, str(folder), FOLDER)
    tags = {"suite": suite, "run": key, "dataset": about["dataset"], "bits": str(about["bits"])}
    tags |= {"model": encoder.about.model, "bit_order": BIT_ORDER}
    made = mlflow.register_model(f"runs:/{run_id}/{FOLDER}", name, tags=tags)
    tracking.tag(run_id, registered=f"{name}/{made.version}")
    return name, str(made.version)


def save_model(encoder: Encoder, folder: Path, machine: Machine) -> None:
    """Write an MLflow model: the encoder's folder, the code that runs it, the versions that it ran with."""
    from mlflow import pyfunc

    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        # MLflow wants an example of the input, which it would load the model anew for; the signature is written below
        warnings.filterwarnings("ignore", ".*input example", UserWarning)
        artifact = Path(temporary) / "encoder"
        artifact.mkdir()
        encoder.save(artifact)
        pyfunc.save_model(
            folder,
            python_model=str(Path(__file__).with_name("served.py")),
            artifacts={"encoder": str(artifact)},
            signature=signature(encoder.about.bits),
            # hashrepro is on no package index: its code goes along, and stays what it was when the run was registered
            code_paths=[str(Path(hashrepro.__file__).parent)],
            pip_requirements=requirements(),
            model_config={"device": "auto", "threads": machine.threads},
            metadata={"run": encoder.about.run, "encoder": encoder.about.digest},
        )


def signature(bits: int) -> "ModelSignature":
    """What the model takes and gives.

    Parameters of a call: `form`, "packed" or "signs" (int8 (n, bits) of -1 and 1); `together`, whether SEMICON's mask
    looks across the batches that images come in, as in the evaluation of a run, or each image is by itself.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    return ModelSignature(
        inputs=Schema([ColSpec(DataType.binary, "image")]),
        outputs=Schema([TensorSpec(np.dtype("uint8"), (-1, -(-bits // 8)))]),
        params=ParamSchema(
            [ParamSpec("form", DataType.string, "packed"), ParamSpec("together", DataType.boolean, False)]
        ),
    )


def requirements() -> list[str]:
    """The packages that hashrepro needs, in the versions that are installed here; DVC apart, which encodes nothing."""
    lines = (line for line in requires("hashrepro") or [] if "extra ==" not in line)
    names = sorted({re.match(r"[\w.-]+", line)[0] for line in lines} - {"dvc"})
    return [f"{name}=={version(name).partition('+')[0]}" for name in names]
