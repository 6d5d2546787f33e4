"""A folder is encoded in shards: killed or not, alone or with others, the codes are the same."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from hashrepro.errors import UserError
from hashrepro.search import encoding
from hashrepro.search.about import About
from hashrepro.search.encoder import Encoder
from hashrepro.search.encoding import encode_folder
from hashrepro.search.views import view_of
from hashrepro.settings import Machine

MACHINE = Machine(device="cpu", threads=1)


@pytest.fixture
def folder(finished, tmp_path, monkeypatch) -> Path:
    """Of SEMICON's encoder, the one that looks across a batch; shards of one batch, of four images."""
    monkeypatch.setattr(encoding, "SHARD", 1)
    view = view_of(finished.cache)
    Encoder.of_run(finished.run("semicon"), view, 3, torch.device("cpu")).save(tmp_path / "encoder")
    return tmp_path / "encoder"


@pytest.fixture
def paths(repository) -> list[str]:
    return [str(path) for path in repository.files]


def shards(work):
    return {path.name: path.read_bytes() for path in work.glob("*.safetensors")}


def test_codes_are_those_of_batches_fixed_by_place(folder, paths, tmp_path):
    codes, unreadable = encode_folder(folder, paths, tmp_path / "work", machine=MACHINE)
    values = Encoder.open(folder, torch.device("cpu")).encode_files(paths)
    np.testing.assert_array_equal(codes.unpack() > 0, values >= 0)
    assert codes.coded.all()
    assert unreadable == {}
    assert len(shards(tmp_path / "work")) == 5


def test_the_default_shard_is_of_whole_batches(finished, folder, monkeypatch):
    monkeypatch.undo()
    about = About.read(folder)
    planned = encoding.plan(about, ["x"] * 2500)
    assert [(shard.start, shard.stop) for shard in planned] == [(0, 1024), (1024, 2048), (2048, 2500)]
    assert planned[-1].batches(4)[-1] == range(2496, 2500)


def test_what_is_there_is_not_encoded_again(folder, paths, tmp_path, monkeypatch):
    work = tmp_path / "work"
    first, _ = encode_folder(folder, paths, work, machine=MACHINE)
    before = shards(work)
    lost = sorted(before)[2]
    (work / lost).unlink()
    (work / f".{lost}.1.part").write_text("half")
    encoded = []
    original = encoding.encode_shards
    monkeypatch.setattr(
        encoding, "encode_shards", lambda *words: encoded.extend(words[2]) or original(*words)
    )
    again, _ = encode_folder(folder, paths, work, machine=MACHINE)
    assert [f"{shard.name}.safetensors" for shard in encoded] == [lost]
    assert shards(work) == before
    assert not list(work.glob(".*.part"))
    np.testing.assert_array_equal(again.packed, first.packed)


def test_a_damaged_shard_is_encoded_again(folder, paths, tmp_path):
    expected, _ = encode_folder(folder, paths, tmp_path / "work", machine=MACHINE)
    shard = min((tmp_path / "work").glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:100])
    codes, _ = encode_folder(folder, paths, tmp_path / "work", machine=MACHINE)
    assert (codes.packed == expected.packed).all()


def test_a_changed_file_changes_its_shard_alone(folder, paths, tmp_path):
    encode_folder(folder, paths, tmp_path / "work", machine=MACHINE)
    before = set(shards(tmp_path / "work"))
    os.utime(paths[5], (1, 1))
    encode_folder(folder, paths, tmp_path / "work", machine=MACHINE)
    assert len(set(shards(tmp_path / "work")) - before) == 1


def test_unreadable_files_are_named_and_encoded_when_they_can_be_read(folder, paths, tmp_path):
    sound = Path(paths[6]).read_bytes()
    state = os.stat(paths[6])
    Path(paths[6]).write_bytes(b"x" * len(sound))
    os.utime(paths[6], ns=(state.st_mtime_ns, state.st_mtime_ns))
    os.remove(paths[17])
    codes, unreadable = encode_folder(folder, paths, tmp_path / "work", machine=MACHINE)
    assert sorted(unreadable) == [6, 17]
    assert unreadable[6].startswith("not an image")
    assert unreadable[17].startswith("No such file")
    assert np.flatnonzero(~codes.coded).tolist() == [6, 17]

    Path(paths[6]).write_bytes(sound)  # with the same size and time: only a look shows that it can be read
    os.utime(paths[6], ns=(state.st_mtime_ns, state.st_mtime_ns))
    codes, unreadable = encode_folder(folder, paths, tmp_path / "work", machine=MACHINE)
    assert sorted(unreadable) == [17]
    whole, _ = encode_folder(folder, paths[:16], tmp_path / "whole", machine=MACHINE)
    np.testing.assert_array_equal(codes.packed[:16], whole.packed)


def test_workers_change_nothing(folder, paths, tmp_path):
    encode_folder(folder, paths, tmp_path / "alone", machine=MACHINE)
    encode_folder(folder, paths, tmp_path / "helped", machine=MACHINE, workers=2)
    assert shards(tmp_path / "helped") == shards(tmp_path / "alone")


@pytest.mark.slow  # the processes of the killed one, below, write some of its codes, too
def test_two_processes_write_what_one_does(folder, paths, tmp_path):
    alone, _ = encode_folder(folder, paths, tmp_path / "alone", machine=MACHINE)
    codes, _ = encode_folder(folder, paths, tmp_path / "two", machine=MACHINE, processes=2)
    assert shards(tmp_path / "two") == shards(tmp_path / "alone")
    np.testing.assert_array_equal(codes.packed, alone.packed)


def test_an_error_in_a_process_is_told_with_its_log(folder, paths, tmp_path, monkeypatch):
    failing = tmp_path / "failing"
    failing.write_text("#!/bin/sh\necho no memory\nexit 3\n")
    failing.chmod(0o755)
    monkeypatch.setattr("hashrepro.search.sharing.sys.executable", str(failing))
    with pytest.raises(UserError, match="ended with an error") as error:
        encode_folder(folder, paths, tmp_path / "work", machine=MACHINE, processes=2)
    assert Path(error.value.where).read_text() == "no memory\n"


SCRIPT = """
import sys
from pathlib import Path
from hashrepro.search import encoding
from hashrepro.settings import Machine

encoding.SHARD = 1
folder, work, *paths = sys.argv[1:]
machine = Machine(device="cpu", threads=1)
encoding.encode_folder(Path(folder), paths, Path(work), machine=machine, processes=2)
"""


def working_on(work) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile
            continue
        if os.fsencode(work) in words:
            found.append(int(entry.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the signal is Linux's")
def test_killed_it_leaves_no_process_and_goes_on(folder, paths, tmp_path):
    work = tmp_path / "work"
    with subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder), str(work), *paths]) as process:
        end = time.monotonic() + 200
        while not shards(work):
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    while working_on(work):
        assert time.monotonic() < end, "a process outlived the one that started it"
        time.sleep(0.05)
    encode_folder(folder, paths, work, machine=MACHINE)
    encode_folder(folder, paths, tmp_path / "alone", machine=MACHINE)
    assert shards(work) == shards(tmp_path / "alone")
