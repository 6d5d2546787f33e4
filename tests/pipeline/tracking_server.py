"""A tracking server in front of a store's file, which hands out files itself."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path


class TrackingServer:
    """Not started yet; it has the same address however often it is started.

    Args:
        folder: for its log and the files that it hands out.
        store: the SQLite file.
    """

    def __init__(self, folder: Path, store: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        self.address, self.log, self.process = f"http://127.0.0.1:{port}", folder / "server.log", None
        self.command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port]
        self.command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{store}"]
        self.command += ["--artifacts-destination", str(folder / "served"), "--serve-artifacts"]

    def start(self) -> None:
        """Start it; return when it answers."""
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        with open(self.log, "a") as log:
            how = {"env": environment, "stdout": log, "stderr": log, "start_new_session": True}
            self.process = subprocess.Popen(self.command, **how)
        end = time.monotonic() + 180
        while not self._answers():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, "the server did not start in time"
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.address}/health", timeout=5).close()
        except OSError:
            return False
        return True

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it and its workers; nothing happens if it does not run."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number)
            self.process.wait()
