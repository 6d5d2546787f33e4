"""A full disk, by the device that is always full: what cannot be written is said, and nothing half-written is left."""

import errno
import os
import resource
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from hashrepro.errors import UserError
from hashrepro.files import disk_trouble, remove_leftovers, whole

full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which is Linux's")


def write_text(path: Path) -> None:
    with whole(path) as temporary:
        temporary.symlink_to("/dev/full")
        temporary.write_text("new" * 10_000)


def write_tensors(path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (1000, before[1])
    )  # safetensors writes no file that is there already
    try:
        with whole(path) as temporary:
            save_file({"B": np.ones(10_000)}, temporary)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@full
@pytest.mark.parametrize(
    ("write", "number", "mend"),
    [(write_text, errno.ENOSPC, "free some space"), (write_tensors, errno.EFBIG, "ulimit")],
)
def test_a_full_disk_is_said_and_leaves_what_was_there(tmp_path, write, number, mend):
    path = tmp_path / "model"
    path.write_text("old")
    with pytest.raises(UserError) as told:
        write(path)
    assert told.value.what == f"The disk refuses: {os.strerror(number)}."
    assert told.value.where == path
    assert mend in told.value.mend
    assert [found.name for found in tmp_path.iterdir()] == ["model"]
    assert path.read_text() == "old"


def test_what_another_file_refuses_is_not_blamed_on_the_one_written(tmp_path):
    with pytest.raises(UserError) as told, whole(tmp_path / "model"):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/elsewhere")
    assert told.value.where == "/elsewhere"


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "gone"), ValueError("no"), KeyError(28)])
def test_other_errors_stay_what_they_are(tmp_path, error):
    assert disk_trouble(error) is None
    with pytest.raises(type(error)), whole(tmp_path / "model"):
        raise error


def test_leftovers_of_killed_processes_go_and_nothing_else(tmp_path):
    (tmp_path / ".model.7.part").write_text("half")
    (tmp_path / ".tmp3qTCgq").write_text("half")
    (tmp_path / ".curves.7.old").mkdir()
    (tmp_path / ".curves.7.old" / "a.csv").write_text("x")
    for name in ("model", ".hidden", "a.part", "b.old"):
        (tmp_path / name).write_text("x")
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"model", ".hidden", "a.part", "b.old"}
    remove_leftovers(tmp_path / "absent")
