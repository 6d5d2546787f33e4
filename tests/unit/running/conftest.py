"""A DVC repository of shell commands."""

import subprocess
from pathlib import Path

import pytest

PIPELINE = """
stages:
  half:
    matrix: {side: [left, right]}
    cmd: echo ${item.side} | tee -a log > ${item.side}
    outs: ["${item.side}"]
  whole:
    cmd: cat left right > whole; echo whole >> log
    deps: [left, right]
    outs: [whole]
"""


@pytest.fixture
def pipeline(tmp_path, monkeypatch) -> Path:
    """A DVC repository of two stages that a third waits for; each adds a line to the file `log` when it runs."""
    monkeypatch.setenv("DVC_NO_ANALYTICS", "true")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    root = tmp_path / "repository"
    root.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    (root / ".dvc").mkdir()  # what `dvc init` does, without the seconds that it takes
    (root / ".dvc" / "config").write_text("")
    (root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (root / "dvc.yaml").write_text(PIPELINE)
    return root
