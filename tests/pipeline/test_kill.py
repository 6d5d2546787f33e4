"""Trainings that are killed outright, again and again, end in the bits of those that are not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ALL = ("adsh:0", "adsh:2", "schn_tomm:0", "schn_tomm:2")

pytestmark = [
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        not Path("/proc/self/stat").exists(), reason="looks for orphans in /proc, which is Linux's"
    ),
]


@pytest.mark.parametrize(
    ("kills", "trainings"), [(4, ("schn_tomm:2",)), pytest.param(8, ALL, marks=pytest.mark.slow)]
)
def test_killed_at_random_moments(tmp_path, kills, trainings):
    """See `kill_often`: in no attempt is a bit lost, and no process that loads images is left behind."""
    paths = [HERE.parents[1] / "src", HERE.parent / "unit" / "learning"]
    # no pipes: a process left behind would hold them open
    output, errors = tmp_path / "output", tmp_path / "errors"
    with open(output, "w") as out, open(errors, "w") as err:
        subprocess.run(
            [sys.executable, HERE / "kill_often.py", tmp_path, "0", str(kills), *trainings],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"},
            stdout=out,
            stderr=err,
            check=False,
            timeout=900,
        )
    found = json.loads(output.read_text() or "{}")
    assert found.keys() == set(trainings), errors.read_text()
    for name, seen in found.items():
        assert seen["same"], (name, seen, errors.read_text())
        assert seen["left"] == 0, (name, seen)
        assert seen["kills"] >= 1, (name, seen)  # else the test tests nothing
    assert sum(seen["loader_processes"] for seen in found.values()) >= 1
