"""A tracking store on disk, and a server in front of it."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from hashrepro.tracking import Tracking


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    """A repository with a store of its own; tests tell their experiments apart."""
    root = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        Tracking(root, "first")
    return root


@pytest.fixture(scope="session")
def server(root):
    """Address of a server over the store's file, which hands out files itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
        ),
        *("--backend-store-uri", f"sqlite:///{root}/mlruns.db"),
        *("--artifacts-destination", str(root / "served"), "--serve-artifacts"),
    ]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    with open(root / "server.log", "w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    address, end = f"http://127.0.0.1:{port}", time.monotonic() + 120
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, (root / "server.log").read_text()
                assert time.monotonic() < end, "the server did not start in time"
                time.sleep(0.1)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait()
