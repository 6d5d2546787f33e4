"""MLflow, in one place: a run of the pipeline is one MLflow run, found again by its tags.

MLflow is the record that people compare in; nothing reads from it but the report that is asked to. A store that
cannot be reached stops a stage with a clear error before the work begins, never after.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hashrepro.errors import UserError

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault(
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"
)  # a server that is down is reported within seconds

STORE = "mlruns.db"
ARTIFACTS = "mlartifacts"


def store_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI if it is set, else the SQLite file of the repository at `root`, as an absolute path."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.resolve() / STORE}"


@contextmanager
def _creation_lock(root: Path) -> Iterator[None]:
    """Two processes that create one SQLite store at the same time both fail: let them queue."""
    with open(root / f".{STORE}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Tracking:
    """The runs of one suite in one store.

    Args:
        root: the repository.
        suite: name of the suite; its runs are one MLflow experiment.

    Raises:
        UserError: the store cannot be opened.
    """

    def __init__(self, root: Path, suite: str):
        from mlflow import MlflowClient, set_tracking_uri
        from mlflow.exceptions import MlflowException

        uri = store_uri(root)
        self.suite = suite
        try:
            with _creation_lock(root):
                set_tracking_uri(uri)
                self.client = MlflowClient(uri)
                found = self.client.get_experiment_by_name(suite)
                if found is None:
                    place = (root / ARTIFACTS).resolve().as_uri() if uri.startswith("sqlite") else None
                    self.experiment = self.client.create_experiment(suite, artifact_location=place)
                else:
                    self.experiment = found.experiment_id
        except (MlflowException, OSError) as error:
            raise UserError(
                f"The tracking store does not answer: {str(error).splitlines()[0]}",
                where=uri,
                mend="start the server, or unset MLFLOW_TRACKING_URI to use the SQLite file of the repository",
            ) from None

    def find(self, tags: dict[str, str]) -> str | None:
        """Id of the newest run that has all `tags`, or None."""
        condition = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        found = self.client.search_runs(
            [self.experiment], condition, max_results=1, order_by=["attributes.start_time DESC"]
        )
        return found[0].info.run_id if found else None

    def start(self, key: str, fingerprint: str, tags: dict[str, str], params: dict[str, object]) -> str:
        """Id of an unfinished run of the same fingerprint, to go on with, or of a new one."""
        identity = {"hashrepro.run": key, "hashrepro.fingerprint": fingerprint}
        run_id = self.find({**identity, "hashrepro.trained": "no"})
        if run_id is None:
            run = self.client.create_run(
                self.experiment, run_name=key, tags={**identity, **tags, "hashrepro.trained": "no"}
            )
            run_id = run.info.run_id
            self._batch(run_id, params={name: str(value) for name, value in params.items()})
        else:
            self.client.update_run(run_id, status="RUNNING")
            for name, value in tags.items():
                self.client.set_tag(run_id, name, value)
        return run_id

    def last_step(self, run_id: str, metric: str = "iteration") -> int:
        """The last step of a metric that the run has; 0 if none. Steps after it are still to be logged."""
        history = self.client.get_metric_history(run_id, metric)
        return max((entry.step for entry in history), default=0)

    def log_step(self, run_id: str, step: int, values: dict[str, float]) -> None:
        """All values of one step, in one batch."""
        self._batch(run_id, metrics=values, step=step)

    def log_scores(self, run_id: str, values: dict[str, float]) -> None:
        self._batch(run_id, metrics=values)

    def log_files(self, run_id: str, folder: str, *paths: Path) -> None:
        """Copy files, or folders whole, into a folder of the run's artifacts."""
        for path in paths:
            if path.is_dir():
                self.client.log_artifacts(run_id, str(path), f"{folder}/{path.name}" if folder else path.name)
            else:
                self.client.log_artifact(run_id, str(path), folder or None)

    def log_data(self, run_id: str, name: str, digest: str, source: dict[str, str]) -> None:
        """Name the data set that the run learned from; no array is loaded."""
        from mlflow.data.code_dataset_source import CodeDatasetSource
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.entities import DatasetInput, InputTag

        data = MetaDataset(CodeDatasetSource(tags=source), name=name, digest=digest[:32])
        tag = InputTag("mlflow.data.context", "training")
        self.client.log_inputs(run_id, datasets=[DatasetInput(data._to_mlflow_entity(), [tag])])

    def tag(self, run_id: str, **tags: str) -> None:
        for name, value in tags.items():
            self.client.set_tag(run_id, f"hashrepro.{name}", value)

    def end(self, run_id: str, status: str = "FINISHED") -> None:
        self.client.set_terminated(run_id, status)

    def finished_runs(self) -> list:
        """The runs with scores, newest first (MLflow's Run objects)."""
        runs, token = [], None
        while True:
            page = self.client.search_runs(
                [self.experiment],
                "tags.`hashrepro.evaluated` = 'yes'",
                max_results=1000,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            runs += page
            token = page.token
            if not token:
                return runs

    def download(self, run_id: str, name: str, folder: Path) -> None:
        """Copy one file or folder of a run's artifacts into `folder`, if the run has it."""
        if any(file.path == name for file in self.client.list_artifacts(run_id)):
            self.client.download_artifacts(run_id, name, str(folder))

    def _batch(
        self, run_id: str, *, metrics: dict | None = None, params: dict | None = None, step: int = 0
    ) -> None:
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        self.client.log_batch(
            run_id,
            metrics=[Metric(name, float(value), now, step) for name, value in (metrics or {}).items()],
            params=[Param(name, value) for name, value in (params or {}).items()],
        )
