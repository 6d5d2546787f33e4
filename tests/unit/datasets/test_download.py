import dataclasses
import gzip
import hashlib
import shutil

import numpy as np
import pytest

from hashrepro.datasets import download as module
from hashrepro.datasets import transfer
from hashrepro.datasets.base import Archive
from hashrepro.datasets.download import download
from hashrepro.errors import UserError

CONTENT = np.random.default_rng(0).bytes(300_000)


@pytest.fixture
def archive(site):
    site.files = {"/a.bin": CONTENT, "/b.bin": CONTENT}
    digest = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
    return Archive("set.bin", (f"{site.url}/a.bin", f"{site.url}/b.bin"), len(CONTENT), digest)


def get(archive, folder, **options):
    return download(archive, folder, progress=False, wait=0.001, **options)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def asked(site):
    return [path for path, _ in site.requests]


def test_the_file_arrives_whole_under_its_name(site, archive, tmp_path):
    path = get(archive, tmp_path / "new")
    assert path == tmp_path / "new" / "set.bin"
    assert path.read_bytes() == CONTENT
    assert files(tmp_path / "new") == ["set.bin"]
    assert asked(site) == ["/a.bin"]


def test_a_right_file_that_is_there_is_kept_without_a_request(site, archive, tmp_path):
    (tmp_path / "set.bin").write_bytes(CONTENT)
    get(archive, tmp_path)
    assert site.requests == []


def test_a_wrong_file_that_is_there_is_neither_used_nor_overwritten(site, archive, tmp_path):
    (tmp_path / "set.bin").write_bytes(b"mine")
    with pytest.raises(UserError, match="4 bytes, expected 300000"):
        get(archive, tmp_path)
    assert (tmp_path / "set.bin").read_bytes() == b"mine"


def test_a_cut_transfer_is_resumed_where_it_broke_off(site, archive, tmp_path):
    site.plans["/a.bin"] = ["cut", "cut", "whole"]
    assert get(archive, tmp_path).read_bytes() == CONTENT
    assert site.requests == [("/a.bin", None), ("/a.bin", "bytes=150000-"), ("/a.bin", "bytes=225000-")]


def test_a_transfer_cut_without_a_promised_length_is_resumed(site, archive, tmp_path):
    site.plans["/a.bin"] = ["cut, no length", "whole"]
    assert get(archive, tmp_path).read_bytes() == CONTENT
    assert site.requests == [("/a.bin", None), ("/a.bin", "bytes=150000-")]


def test_an_archive_of_unknown_size_and_digest_is_taken_as_it_comes(site, archive, tmp_path):
    site.plans["/a.bin"] = ["no length"]
    assert get(dataclasses.replace(archive, size=None, digest=None), tmp_path).read_bytes() == CONTENT


def test_what_a_killed_run_left_is_continued(site, archive, tmp_path, monkeypatch):
    site.plans = {"/a.bin": ["404"], "/b.bin": ["cut"]}
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    with pytest.raises(UserError, match="could not be fetched"):
        get(archive, tmp_path)
    assert files(tmp_path) == ["set.bin.part", "set.bin.part.json"]
    site.plans, site.requests[:] = {"/a.bin": ["404"]}, []
    assert get(archive, tmp_path).read_bytes() == CONTENT
    assert site.requests == [("/b.bin", "bytes=150000-")]
    assert files(tmp_path) == ["set.bin"]


def test_a_part_that_is_complete_is_taken_without_a_request(site, archive, tmp_path):
    (tmp_path / "set.bin.part").write_bytes(CONTENT)
    assert get(archive, tmp_path).read_bytes() == CONTENT
    assert site.requests == []


def test_a_spoilt_part_is_fetched_again(site, archive, tmp_path):
    (tmp_path / "set.bin.part").write_bytes(bytes(len(CONTENT)))
    assert get(archive, tmp_path).read_bytes() == CONTENT
    assert site.requests == [("/a.bin", None)]


def test_when_the_server_ignores_ranges_it_starts_again(site, archive, tmp_path):
    site.plans["/a.bin"] = ["cut", "no ranges"]
    assert get(archive, tmp_path).read_bytes() == CONTENT


def test_when_the_servers_file_has_changed_parts_are_not_mixed(site, archive, tmp_path):
    site.plans["/a.bin"] = ["cut"]
    other = np.random.default_rng(1).bytes(len(CONTENT))
    site.files["/a.bin"] = other
    transferring = transfer.Transfer(f"{site.url}/a.bin", tmp_path / "set.bin.part", None, False)
    with pytest.raises(transfer.Broken):
        transferring.receive()
    site.plans, site.files["/a.bin"], site.etags["/a.bin"] = {}, CONTENT, '"two"'
    transferring.receive()
    assert (tmp_path / "set.bin.part").read_bytes() == CONTENT


def test_without_a_validator_a_part_is_not_continued(site, archive, tmp_path):
    site.plans["/a.bin"], site.etags["/a.bin"] = ["cut", "whole"], ""
    assert get(archive, tmp_path).read_bytes() == CONTENT
    assert site.requests == [("/a.bin", None), ("/a.bin", None)]


def test_a_server_that_continues_at_another_byte_is_not_believed(site, archive, tmp_path):
    site.plans["/a.bin"] = ["cut", "shifted", "whole"]
    assert get(archive, tmp_path).read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(site, archive, tmp_path):
    site.plans["/a.bin"] = ["503", "503", "whole"]
    assert get(archive, tmp_path).read_bytes() == CONTENT
    assert asked(site) == ["/a.bin"] * 3


def test_a_missing_page_is_left_for_the_next_mirror_at_once(site, archive, tmp_path):
    site.plans["/a.bin"] = ["404"]
    assert get(archive, tmp_path).read_bytes() == CONTENT
    assert asked(site) == ["/a.bin", "/b.bin"]


def test_a_server_that_stays_busy_is_left_for_the_next_mirror(site, archive, tmp_path):
    site.plans["/a.bin"] = ["503"]
    assert get(archive, tmp_path).read_bytes() == CONTENT
    assert asked(site) == ["/a.bin"] * module.ATTEMPTS + ["/b.bin"]


def test_an_address_where_nobody_listens_is_left_for_the_next_mirror(site, archive, tmp_path):
    deaf = dataclasses.replace(archive, urls=("http://127.0.0.1:1/a.bin", archive.urls[1]))
    assert get(deaf, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("wrong", [bytes(len(CONTENT)), CONTENT[:-1], CONTENT + b"!", b""])
def test_wrong_bytes_are_left_for_the_next_mirror(site, archive, tmp_path, wrong):
    site.plans["/a.bin"] = [("wrong", wrong)]
    assert get(archive, tmp_path).read_bytes() == CONTENT
    assert files(tmp_path) == ["set.bin"]


def test_too_many_bytes_without_a_length_are_cut_off(site, archive, tmp_path):
    site.files["/a.bin"] = CONTENT + bytes(5_000_000)
    site.plans["/a.bin"] = ["no length"]
    assert get(archive, tmp_path).read_bytes() == CONTENT


def test_when_no_mirror_helps_each_is_named_with_its_reason(site, archive, tmp_path):
    site.plans = {"/a.bin": ["404"], "/b.bin": [("wrong", bytes(len(CONTENT)))]}
    with pytest.raises(UserError) as caught:
        get(archive, tmp_path)
    message = str(caught.value)
    assert f"{site.url}/a.bin: HTTP status 404" in message
    assert f"{site.url}/b.bin: md5 {hashlib.md5(bytes(len(CONTENT))).hexdigest()}, expected" in message
    assert str(tmp_path / "set.bin") in message
    assert files(tmp_path) == []


def test_an_archive_that_is_called_gzip_encoded_is_not_decoded(site, tmp_path):
    packed = gzip.compress(CONTENT)
    site.files["/a.tgz"], site.plans["/a.tgz"] = packed, ["gzip"]
    digest = f"sha256:{hashlib.sha256(packed).hexdigest()}"
    archive = Archive("a.tgz", (f"{site.url}/a.tgz",), len(packed), digest)
    assert get(archive, tmp_path).read_bytes() == packed


def test_a_disk_that_is_too_small_is_reported_before_the_transfer(site, archive, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=299_999)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="300000 bytes are to come, 299999 are free"):
        get(archive, tmp_path)
    assert not (tmp_path / "set.bin").exists()
