"""A tracking store on disk, and a server in front of it."""

from pathlib import Path

import pytest
from tracking_server import TrackingServer

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
    """Address of a server over the store's file."""
    started = TrackingServer(root, root / "mlruns.db")
    try:
        started.start()
        yield started.address
    finally:
        started.end()
