"""Whether DVC has recorded a training, read from a lock file that DVC wrote."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from hashrepro.settings import Suite

LOCK = """\
schema: '2.0'
stages:
  train@adsh-birds-12-0:
    cmd: exec python stages/train.py params.yaml adsh birds 12 0
    outs:
    - path: runs/quickstart/adsh-birds-12-s0/model.safetensors
      hash: md5
      md5: 945a0e87760f0ac913f3695859a96916
      size: 13740736
    - path: runs/quickstart/adsh-birds-12-s0/train.json
      hash: md5
      md5: 00aae87760f0ac913f3695859a969166
      size: 1873
  encode@adsh-birds-12-0:
    cmd: exec python stages/encode.py params.yaml adsh birds 12 0
"""
WRITTEN = {
    "model.safetensors": "945a0e87760f0ac913f3695859a96916",
    "train.json": "00aae87760f0ac913f3695859a969166",
}


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A function: whether a run's files are recorded; the stages' own, below a folder of the test."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "stages")
    for name in ("common", "recorded"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import common
    import recorded

    monkeypatch.setattr(recorded, "ROOT", tmp_path)
    (tmp_path / "papers").mkdir()

    def ask(written, seed=0, file="papers/params.yaml"):
        suite = Suite(name="any", root=".", file=file, reports="reports")
        run = common.Run(SimpleNamespace(suite=suite), "adsh", "birds", 12, seed)
        return recorded.recorded(run, written)

    return ask


def test_recorded_only_with_every_file_as_it_is(recorded, tmp_path):
    assert not recorded(WRITTEN)
    (tmp_path / "papers" / "dvc.lock").write_text(LOCK)
    assert recorded(WRITTEN)
    assert not recorded(None)
    assert not recorded(WRITTEN | {"train.json": "1" * 32})  # another training that ended in the same weights
    assert not recorded({"model.safetensors": WRITTEN["model.safetensors"]})
    assert not recorded(WRITTEN, seed=1)
    assert not recorded(WRITTEN, file="params.yaml")
