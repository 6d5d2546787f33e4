"""The tracking store: a run of the pipeline is one MLflow run, found again by its tags."""

import fcntl
import os
import re
import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from hashrepro.errors import UserError
from hashrepro.files import value_digest

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

for name, value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a server that is down is noticed within seconds,
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",  # one that hangs within minutes
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}.items():
    os.environ.setdefault(name, value)

STORE = "mlruns.db"
ARTIFACTS = "mlartifacts"


def store_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI if it is set, else the SQLite file of the repository at `root`, as an absolute path."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.resolve() / STORE}"


def shown(uri: str) -> str:
    """`uri` without a user's name and password, for messages."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if "@" in parts.netloc else uri


def failures() -> tuple[type[Exception], ...]:
    """What MLflow raises when a store does not take or give something; requests' errors are OSErrors."""
    from mlflow.exceptions import MlflowException

    return MlflowException, OSError


def reason(error: Exception) -> str:
    """A failure in a line, without names and passwords in addresses."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    request, _, detail = line.partition(" failed with exception ")
    if system := re.search(
        r"\[Errno -?\d+\] [\w ]+", detail
    ):  # of the names of all layers the last one says most
        line = f"{request} failed: {system[0]}"
    return re.sub(r"//[^/\s]+@", "//", line)  # a password may have an @


@contextmanager
def answering(uri: str) -> Iterator[None]:
    """Turn a store's failure into an error that says how to mend it (UserError)."""
    try:
        yield
    except failures() as error:
        if getattr(error, "filename", None):  # of a file here, not of the store
            raise
        raise UserError(
            f"The tracking store does not answer: {reason(error)}",
            where=shown(uri),
            mend="start the server, or unset MLFLOW_TRACKING_URI to use the SQLite file of the repository",
        ) from None


@contextmanager
def _creation_lock(root: Path) -> Iterator[None]:
    """Two processes that create one SQLite store at the same time both fail: let them queue."""
    with open(root / f".{STORE}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _clone_id(root: Path) -> str:
    """A name for the clone at `root`, drawn once: checkpoints are the clone's, whichever machine goes on with them."""
    path = root / ".clone"
    if not path.exists():
        drawn = path.with_name(f".clone.{uuid.uuid4().hex}")
        drawn.write_text(uuid.uuid4().hex)
        try:
            os.link(drawn, path)
        except FileExistsError:  # another process was quicker
            pass
        except OSError:  # a file system without hard links
            os.replace(drawn, path)
        drawn.unlink(missing_ok=True)
    return path.read_text()


class Tracking:
    """The runs of one suite in one store.

    Args:
        root: the repository.
        suite: name of the suite; its runs are one MLflow experiment.

    Raises:
        UserError: the store cannot be opened, or the experiment was deleted in it.
    """

    def __init__(self, root: Path, suite: str):
        from mlflow import MlflowClient, set_tracking_uri

        self.uri, self.suite, self.root = store_uri(root), suite, root
        own = self.uri.startswith("sqlite")
        with answering(self.uri), _creation_lock(root) if own else nullcontext():
            set_tracking_uri(self.uri)
            self.client = MlflowClient(self.uri)
            experiment = self.client.get_experiment_by_name(suite) or self._create(root, own)
        if experiment.lifecycle_stage != "active":
            raise UserError(
                f"The experiment {suite!r} was deleted from the tracking store.",
                where=shown(self.uri),
                mend=f"{f'MLFLOW_TRACKING_URI={self.uri} ' if own else ''}mlflow experiments restore "
                f"--experiment-id {experiment.experiment_id}",
            )
        self.experiment = experiment.experiment_id
        # of two clones that share a store, each goes on with its own unfinished runs only
        self.place = value_digest([_clone_id(root), str(root.resolve())])[:16]

    def _create(self, root: Path, own: bool):
        from mlflow.exceptions import MlflowException

        if own:  # readers do not hold up writers, who are quicker, too; it stays with the file
            with closing(sqlite3.connect(self.uri.removeprefix("sqlite:///"))) as file:
                file.execute("PRAGMA journal_mode=WAL")
        try:
            # a server has a place of its own for files
            self.client.create_experiment(self.suite, (root / ARTIFACTS).resolve().as_uri() if own else None)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another machine was quicker
                raise
        return self.client.get_experiment_by_name(self.suite)

    def find(self, tags: dict[str, str]) -> str | None:
        """Id of the newest run that has all `tags`, or None."""
        condition = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        found = self.client.search_runs(
            [self.experiment], condition, max_results=1, order_by=["attributes.start_time DESC"]
        )
        return found[0].info.run_id if found else None

    def start(
        self,
        key: str,
        fingerprint: str,
        tags: dict[str, str],
        params: dict[str, object],
        *,
        ended: bool = False,
    ) -> str:
        """Id of this clone's unfinished run of the same fingerprint, to go on with, or of a new one.

        Args:
            ended: the training had ended, and only its files are written again: its run is found, too.
        """
        identity = {"hashrepro.run": key, "hashrepro.fingerprint": fingerprint, "hashrepro.place": self.place}
        unfinished = {**identity, "hashrepro.trained": "no"}
        run_id = self.find(unfinished) or (self.find(identity) if ended else None)
        tags = {"suite": self.suite, **tags}
        if run_id is None:
            run = self.client.create_run(self.experiment, run_name=key, tags={**unfinished, **tags})
            run_id = run.info.run_id
        else:
            self.client.update_run(run_id, status="RUNNING")
            for name, value in tags.items():
                self.client.set_tag(run_id, name, value)
        self._log_params(run_id, params)
        return run_id

    def last_step(self, run_id: str, metric: str = "loss") -> int:
        """The last step of a metric that the run has; 0 if none. Steps after it are still to be logged."""
        history = self.client.get_metric_history(run_id, metric)
        return max((entry.step for entry in history), default=0)

    def log_metrics(self, run_id: str, metrics: "list[Metric]") -> None:
        """Log at most 1,000 values, all or none. What the run has of the same step, time and value stays once."""
        self.client.log_batch(run_id, metrics=metrics)

    def log_scores(self, run_id: str, values: dict[str, float]) -> None:
        self.log_metrics(run_id, metrics(values, 0))

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

    def runs(self, condition: str = "") -> "list[Run]":
        """The runs that fulfil a condition in MLflow's language, newest first; all of them if it is empty."""
        runs, token = [], None
        while True:
            page = self.client.search_runs(
                [self.experiment],
                condition,
                max_results=1000,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            runs += page
            token = page.token
            if not token:
                return runs

    def finished_runs(self) -> "list[Run]":
        """The runs with scores, newest first."""
        return self.runs("tags.`hashrepro.evaluated` = 'yes'")

    def download(self, run: "Run", names: Iterable[str], folder: Path) -> None:
        """Copy files and folders of a run's artifacts into `folder`; those that the run does not have are left out."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        place = urlsplit(run.info.artifact_uri)
        if place.scheme == "file":  # MLflow's own way takes a third of a second a run for it
            for path in (Path(url2pathname(place.path)) / name for name in names):
                if path.is_dir():
                    shutil.copytree(path, folder / path.name)
                elif path.exists():
                    shutil.copyfile(path, folder / path.name)
            return
        # one repository object and one listing a run; the client would make and ask for both again for every name
        artifacts = get_artifact_repository(run.info.artifact_uri)
        there = {file.path for file in artifacts.list_artifacts()}
        for name in names:
            if name in there:
                artifacts.download_artifacts(name, str(folder))

    def _log_params(self, run_id: str, params: dict[str, object]) -> None:
        from mlflow.entities import Param

        if params:
            self.client.log_batch(run_id, params=[Param(name, str(value)) for name, value in params.items()])


def metrics(values: dict[str, float], step: int) -> "list[Metric]":
    """MLflow's form of the values of one step, made now."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [Metric(name, float(value), now, step) for name, value in values.items()]
