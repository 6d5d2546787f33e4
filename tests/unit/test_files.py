import hashlib
import subprocess
import sys

import pytest

from hashrepro.files import file_digest, locked, read_json, replace, value_digest, whole, write_json


def test_a_failed_write_leaves_the_old_file_and_no_trace(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with whole(path) as temporary:
        temporary.write_text("old")

    def fail_half_way():
        with whole(path) as temporary:
            temporary.write_text("new, but half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_a_folder_is_replaced_whole(tmp_path):
    path = tmp_path / "folder"
    for name in ("first", "second"):
        with whole(path) as temporary:
            temporary.mkdir()
            (temporary / name).touch()
    assert [p.name for p in path.iterdir()] == ["second"]


def test_json_round_trip_and_refusal_of_nan(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, "é"]})
    assert read_json(tmp_path / "a.json") == {"a": [1.5, "é"], "b": 1}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))


def test_digests(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digest(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    assert file_digest(tmp_path / "a", "md5") == hashlib.md5(b"abc").hexdigest()
    assert value_digest({"a": 1, "b": 2}) == value_digest({"b": 2, "a": 1}) != value_digest({"a": 2, "b": 1})


def test_a_lock_keeps_other_processes_out(tmp_path):
    path = tmp_path / "deep" / "lock"
    script = "import sys; from hashrepro.files import locked\nwith locked(sys.argv[1], 'Busy.'): print('in')"

    def attempt():
        command = [sys.executable, "-c", script, path]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    with locked(path, "Busy."):
        assert "UserError: Busy." in attempt().stderr
    assert attempt().stdout == "in\n"


def test_a_folder_takes_the_place_of_another(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    replace(tmp_path / "new", tmp_path / "old")
    assert [path.name for path in tmp_path.rglob("*")] == ["old", "new"]
