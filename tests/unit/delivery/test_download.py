import dataclasses
import gzip
import hashlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashrepro.datasets.base import Archive
from hashrepro.delivery import contents, transfer
from hashrepro.delivery import download as module
from hashrepro.delivery.answers import Broken, Manner, Refused, Session
from hashrepro.delivery.contents import Content
from hashrepro.delivery.download import download
from hashrepro.errors import UserError
from hashrepro.files import write_json

CONTENT = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
MANNER = Manner(timeout=(20, 20), attempts=5, wait=0.001, progress=False)
# for servers that stall; a second, for a busy machine may not answer within less
IMPATIENT = dataclasses.replace(MANNER, timeout=(20, 1))
PIECES = dataclasses.replace(MANNER, split_from=50_000, piece=20_000)


@pytest.fixture
def archive(site):
    site.files = {"/a.bin": CONTENT, "/b.bin": CONTENT}
    digest = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
    return Archive("set.bin", (f"{site.url}/a.bin", f"{site.url}/b.bin"), len(CONTENT), digest)


def get(archive, folder, manner=MANNER, room=0):
    """The bytes that arrived; what `download` says of them is compared with them."""
    told = download(archive, folder, manner, room)
    data = (folder / archive.name).read_bytes()
    assert told == Content(len(data), hashlib.md5(data).hexdigest(), hashlib.sha256(data).hexdigest())
    return data


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def asked(site):
    return [path for path, _ in site.requests]


def begin(site, archive, folder, size):
    """A process was killed when `size` bytes from the first mirror had arrived."""
    (folder / "set.bin.part").write_bytes(CONTENT[:size])
    write_json(folder / "set.bin.part.json", {"url": f"{site.url}/a.bin", "validator": '"one"'})


def test_the_file_arrives_whole_under_its_name(site, archive, tmp_path):
    assert get(archive, tmp_path / "new") == CONTENT
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
    (tmp_path / "set.bin").write_bytes(OTHER)
    with pytest.raises(UserError, match=f"md5 {hashlib.md5(OTHER).hexdigest()}, expected"):
        get(archive, tmp_path)
    assert (tmp_path / "set.bin").read_bytes() == OTHER


# one connection


@pytest.mark.parametrize("how", ["cut", "stall"])
def test_a_transfer_that_breaks_is_resumed_where_it_broke_off(site, archive, tmp_path, how):
    site.plans["/a.bin"] = [how, "cut", "whole"]
    assert get(archive, tmp_path, IMPATIENT) == CONTENT
    (_, first), (_, second), (_, third) = site.requests
    assert first is None
    assert second == "bytes=150000-" or (how == "stall" and int(second[6:-1]) > 0)
    assert int(third[6:-1]) > int(second[6:-1])


def test_a_transfer_cut_without_a_promised_length_is_resumed(site, archive, tmp_path):
    site.plans["/a.bin"] = ["cut, no length", "whole"]
    assert get(archive, tmp_path) == CONTENT
    assert site.requests == [("/a.bin", None), ("/a.bin", "bytes=150000-")]


@pytest.mark.parametrize("how", ["no length", "chunked", "whole"])
def test_an_archive_of_unknown_size_and_digest_is_taken_as_it_comes(site, archive, tmp_path, how):
    site.plans["/a.bin"] = [how]
    assert get(dataclasses.replace(archive, size=None, digest=None), tmp_path) == CONTENT


def test_of_an_archive_of_unknown_size_what_the_server_promised_must_come(site, archive, tmp_path):
    site.plans["/a.bin"] = ["cut", "cut", "whole"]
    assert get(dataclasses.replace(archive, size=None, digest=None), tmp_path) == CONTENT
    assert [wanted for _, wanted in site.requests] == [None, "bytes=150000-", "bytes=225000-"]


def test_bytes_are_hashed_as_they_arrive_and_those_of_an_earlier_process_once(
    site, archive, tmp_path, monkeypatch
):
    read = []
    monkeypatch.setattr(transfer, "hashed", lambda path, *_: read.append(path) or contents.hashed(path))
    site.plans["/a.bin"] = ["cut", "cut", "whole"]
    assert get(archive, tmp_path) == CONTENT
    assert read == []
    (tmp_path / "set.bin").unlink()
    begin(site, archive, tmp_path, 70_000)
    site.plans["/a.bin"] = ["cut", "cut", "whole"]
    assert get(archive, tmp_path) == CONTENT
    assert read == [tmp_path / "set.bin.part"]


def test_what_a_killed_run_left_is_continued_from_its_own_mirror(site, archive, tmp_path):
    site.plans = {"/a.bin": [(404, {})], "/b.bin": ["cut"]}
    with pytest.raises(UserError, match="could not be fetched"):
        get(archive, tmp_path, dataclasses.replace(MANNER, attempts=1))
    assert files(tmp_path) == ["set.bin.part", "set.bin.part.json"]
    site.plans, site.requests[:] = {"/a.bin": [(404, {})]}, []
    assert get(archive, tmp_path) == CONTENT
    assert site.requests == [("/b.bin", "bytes=150000-")]
    assert files(tmp_path) == ["set.bin"]


def test_a_part_is_kept_until_another_mirror_has_the_file(site, archive, tmp_path):
    begin(site, archive, tmp_path, 200_000)
    site.plans = {"/a.bin": [(503, {})], "/b.bin": [(404, {})]}
    with pytest.raises(UserError, match="could not be fetched"):
        get(archive, tmp_path)
    site.plans, site.requests[:] = {}, []
    assert get(archive, tmp_path) == CONTENT
    assert site.requests == [("/a.bin", "bytes=200000-")]


def test_a_part_that_is_complete_is_taken_without_a_request(site, archive, tmp_path):
    (tmp_path / "set.bin.part").write_bytes(CONTENT)
    assert get(archive, tmp_path) == CONTENT
    assert site.requests == []


@pytest.mark.parametrize("part", [bytes(len(CONTENT)), bytes(len(CONTENT) + 5), b""])
def test_a_spoilt_part_is_fetched_again(site, archive, tmp_path, part):
    begin(site, archive, tmp_path, 0)
    (tmp_path / "set.bin.part").write_bytes(part)
    assert get(archive, tmp_path) == CONTENT
    assert asked(site)[-1] == "/a.bin"


def test_a_part_whose_beginning_is_spoilt_is_fetched_again(site, archive, tmp_path):
    begin(site, archive, tmp_path, 0)
    (tmp_path / "set.bin.part").write_bytes(bytes(1000))
    assert get(archive, tmp_path) == CONTENT
    assert site.requests == [("/a.bin", "bytes=1000-"), ("/a.bin", None)]


@pytest.mark.parametrize("note", ["", "{", "[]", '{"url": 1}', '{"validator": null}'])
def test_a_part_with_a_spoilt_note_is_fetched_again(site, archive, tmp_path, note):
    begin(site, archive, tmp_path, 1000)
    (tmp_path / "set.bin.part.json").write_text(note)
    assert get(archive, tmp_path) == CONTENT
    assert site.requests == [("/a.bin", None)]


@pytest.mark.parametrize("how", ["no ranges", "shifted", "lying", "too short", "too long", "page"])
def test_a_server_that_continues_wrongly_is_not_believed(site, archive, tmp_path, how):
    site.plans["/a.bin"] = ["cut", how, "whole"]
    if how != "lying":
        archive = dataclasses.replace(archive, digest=None)
    assert get(archive, tmp_path) == CONTENT


def test_when_the_servers_file_has_changed_parts_are_not_mixed(site, archive, tmp_path):
    site.plans["/a.bin"] = ["cut"]
    site.files["/a.bin"] = OTHER
    transferring = transfer.Transfer(f"{site.url}/a.bin", tmp_path / "set.bin.part", None, MANNER)
    with pytest.raises(Broken):
        transferring.receive()
    site.plans, site.files["/a.bin"], site.etags["/a.bin"] = {}, CONTENT, '"two"'
    transferring.receive()
    assert (tmp_path / "set.bin.part").read_bytes() == CONTENT


def test_a_server_that_continues_with_another_file_is_found_out_by_its_etag(site, archive, tmp_path):
    begin(site, archive, tmp_path, 1000)
    (tmp_path / "set.bin.part").write_bytes(OTHER[:1000])
    site.etags["/a.bin"], site.plans["/a.bin"] = '"two"', ["no If-Range", "whole"]
    assert get(dataclasses.replace(archive, digest=None), tmp_path) == CONTENT


def test_a_part_is_not_continued_from_another_mirror(site, archive, tmp_path):
    begin(site, archive, tmp_path, 1000)
    (tmp_path / "set.bin.part").write_bytes(OTHER[:1000])
    assert get(dataclasses.replace(archive, urls=archive.urls[1:], digest=None), tmp_path) == CONTENT


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_validator_a_part_is_not_continued(site, archive, tmp_path, etag):
    site.plans["/a.bin"], site.etags["/a.bin"] = ["cut", "whole"], etag
    assert get(archive, tmp_path) == CONTENT
    assert site.requests == [("/a.bin", None), ("/a.bin", None)]


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
@pytest.mark.parametrize("changed", [False, True])
def test_the_time_of_the_last_change_is_a_validator(site, archive, tmp_path, etag, changed):
    site.plans["/a.bin"], site.etags["/a.bin"] = ["cut", "no If-Range" if changed else "whole"], etag
    site.modified = "Wed, 21 Oct 2015 07:28:00 GMT"
    if changed:
        site.files["/a.bin"] = OTHER

    def change():
        if changed and len(site.requests) == 2:
            site.files["/a.bin"], site.modified = CONTENT, "Thu, 22 Oct 2015 07:28:00 GMT"

    site.change = change
    assert get(dataclasses.replace(archive, digest=None), tmp_path) == CONTENT
    assert [wanted for _, wanted in site.requests][:2] == [None, "bytes=150000-"]
    assert len(site.requests) == (3 if changed else 2)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_busy_server_is_asked_again(site, archive, tmp_path, status):
    site.plans["/a.bin"] = [(status, {}), (status, {}), "whole"]
    assert get(archive, tmp_path) == CONTENT
    assert asked(site) == ["/a.bin"] * 3


@pytest.mark.parametrize(
    ("asked_for", "least", "most"),
    [
        ("7", 7, 7),
        ("100000", 60, 60),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 1),
        ("soon", 0, 1),
        ("9" * 5000, 0, 60),
    ],
)
def test_a_server_is_left_alone_for_as_long_as_it_asks_but_not_for_ever(
    site, archive, tmp_path, monkeypatch, asked_for, least, most
):
    waits = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    site.plans["/a.bin"] = [(429, {"Retry-After": asked_for}), "whole"]
    assert get(archive, tmp_path) == CONTENT
    assert len(waits) == 1
    assert least <= waits[0] <= most


def test_waits_are_doubled_and_scattered(site, archive, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    site.plans["/a.bin"] = [(503, {})]
    get(archive, tmp_path, dataclasses.replace(MANNER, wait=1.0, attempts=6))
    assert all(0.5 * 2**i <= wait <= 1.5 * 2**i for i, wait in enumerate(waits))
    assert len(waits) == 5
    assert all(wait != 2**i for i, wait in enumerate(waits))


@pytest.mark.parametrize("how", [(404, {}), (403, {}), "page", "too short"])
def test_an_answer_that_will_not_change_is_left_for_the_next_mirror_at_once(site, archive, tmp_path, how):
    site.plans["/a.bin"] = [how]
    assert get(archive, tmp_path) == CONTENT
    assert asked(site) == ["/a.bin", "/b.bin"]


@pytest.mark.parametrize("how", [(503, {}), "stall"])
def test_a_server_that_does_not_get_on_is_left_for_the_next_mirror(site, archive, tmp_path, how):
    site.plans["/a.bin"], site.files["/a.bin"] = [how], b"x" if how == "stall" else CONTENT
    manner = dataclasses.replace(IMPATIENT, attempts=2)
    assert get(dataclasses.replace(archive, size=None), tmp_path, manner) == CONTENT
    assert asked(site) == ["/a.bin"] * 2 + ["/b.bin"]


def test_an_address_where_nobody_listens_is_left_for_the_next_mirror(site, archive, tmp_path):
    deaf = dataclasses.replace(archive, urls=("http://127.0.0.1:1/a.bin", archive.urls[1]))
    assert get(deaf, tmp_path) == CONTENT


@pytest.mark.parametrize("wrong", [bytes(len(CONTENT)), CONTENT[:-1], CONTENT + b"!", b""])
def test_wrong_bytes_are_left_for_the_next_mirror(site, archive, tmp_path, wrong):
    site.plans["/a.bin"] = [("wrong", wrong)]
    assert get(archive, tmp_path) == CONTENT
    assert files(tmp_path) == ["set.bin"]


@pytest.mark.parametrize("how", ["no length", "chunked"])
def test_too_many_bytes_without_a_length_are_cut_off(site, archive, tmp_path, how):
    site.files["/a.bin"] = CONTENT + bytes(5_000_000)
    site.plans["/a.bin"] = [how]
    assert get(archive, tmp_path) == CONTENT
    (tmp_path / "set.bin").unlink()
    with pytest.raises(UserError, match="more than the expected 300000 bytes"):
        get(dataclasses.replace(archive, urls=archive.urls[:1]), tmp_path)
    assert files(tmp_path) == []


def test_a_wrong_file_in_two_parts_is_fetched_once_more_and_no_oftener(site, archive, tmp_path):
    site.files["/a.bin"], site.plans["/a.bin"] = OTHER, ["cut", "whole", "cut", "whole", "cut", "whole"]
    with pytest.raises(UserError, match="md5"):
        get(dataclasses.replace(archive, urls=archive.urls[:1]), tmp_path)
    assert len(site.requests) == 4


def test_a_web_page_in_place_of_an_archive_of_unknown_size_is_refused(site, archive, tmp_path):
    site.plans["/a.bin"] = ["page"]
    with pytest.raises(UserError, match="web page"):
        get(Archive("set.bin", archive.urls[:1]), tmp_path)
    assert files(tmp_path) == []


def test_when_no_mirror_helps_each_is_named_with_its_reason(site, archive, tmp_path):
    site.plans = {"/a.bin": [(404, {})], "/b.bin": [("wrong", bytes(len(CONTENT)))]}
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
    assert get(Archive("a.tgz", (f"{site.url}/a.tgz",), len(packed), digest), tmp_path) == packed


@pytest.mark.parametrize(("room", "free"), [(0, 299_999), (1, 300_000), (10**12, 10**12)])
@pytest.mark.parametrize("size", [None, 300_000])
def test_a_disk_that_is_too_small_is_reported_before_the_transfer(
    site, archive, tmp_path, monkeypatch, room, free, size
):
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(contents.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=f"{300_000 + room} bytes are to come, {free} are free"):
        get(dataclasses.replace(archive, size=size), tmp_path, room=room)
    assert files(tmp_path) == []


def test_what_is_here_of_a_part_needs_no_room(site, archive, tmp_path, monkeypatch):
    begin(site, archive, tmp_path, 200_000)
    usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr(contents.shutil, "disk_usage", lambda _: usage)
    assert get(archive, tmp_path) == CONTENT


def test_a_folder_that_cannot_be_written_to_is_reported(site, archive, tmp_path):
    (tmp_path / "set.bin.part").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        get(archive, tmp_path)


# redirects


def test_redirects_are_followed_and_a_broken_transfer_goes_on_from_where_they_begin(site, archive, tmp_path):
    site.plans = {
        "/a.bin": [("redirect", "/c.bin")],
        "/c.bin": [("redirect", f"{site.url}/b.bin")],
        "/b.bin": ["cut", "whole"],
    }
    assert get(archive, tmp_path) == CONTENT
    assert asked(site) == ["/a.bin", "/c.bin", "/b.bin"] * 2


@pytest.mark.parametrize("where", ["/a.bin", "ftp://127.0.0.1/a.bin", "file:///etc/passwd", "http://[::1/a"])
def test_redirects_that_lead_nowhere_are_left_for_the_next_mirror(site, archive, tmp_path, where):
    site.plans["/a.bin"] = [("redirect", where)]
    assert get(archive, tmp_path) == CONTENT
    assert asked(site)[-1] == "/b.bin"
    assert asked(site).count("/a.bin") <= 11


@pytest.mark.parametrize(
    ("address", "target", "followed"),
    [
        ("https://a.example/x", "http://a.example/x", False),
        ("https://a.example/x", "HTTP://b.example/", False),
        ("https://a.example/x", "//b.example/y", True),
        ("https://a.example/x", "/y", True),
        ("https://a.example/x", "https://b.example/y", True),
        ("http://a.example/x", "http://b.example/y", True),
        ("http://a.example/x", "https://b.example/y", True),
    ],
)
def test_no_redirect_leads_from_https_to_http(address, target, followed):
    response = requests.Response()
    response.status_code, response.url, response.headers["Location"] = 302, address, target
    with Session() as session:
        if followed:
            assert session.get_redirect_target(response) == target
        else:
            with pytest.raises(Refused, match="from https to"):
                session.get_redirect_target(response)


# several connections


def test_a_large_file_comes_in_pieces_each_asked_for_once(site, archive, tmp_path):
    assert get(archive, tmp_path, PIECES) == CONTENT
    (_, first), *pieces = site.requests
    assert first is None
    assert {wanted for _, wanted in pieces} == {f"bytes={i}-{i + 19_999}" for i in range(0, 300_000, 20_000)}
    assert len(pieces) == 15


def test_several_connections_are_used_at_once_and_no_more_than_allowed(site, archive, tmp_path):
    now, most = [], []
    answer = site.next

    def counted(path, wanted):
        now.append(path)
        most.append(len(now))
        time.sleep(0.03)
        now.pop()
        return answer(path, wanted)

    site.next = counted
    assert get(archive, tmp_path, PIECES) == CONTENT
    assert 2 <= max(most) <= PIECES.connections


@pytest.mark.parametrize("manner", [dataclasses.replace(PIECES, connections=1), MANNER])
def test_pieces_are_for_large_files_and_by_choice(site, archive, tmp_path, manner):
    assert get(archive, tmp_path, manner) == CONTENT
    assert site.requests == [("/a.bin", None)]


@pytest.mark.parametrize("without", ["validator", "length", "ranges"])
def test_pieces_are_for_servers_that_can(site, archive, tmp_path, without):
    if without == "validator":
        site.etags["/a.bin"] = ""
    elif without == "ranges":
        site.plans["/a.bin"] = ["no ranges"]
    else:
        site.plans["/a.bin"], archive = ["no length"], dataclasses.replace(archive, size=None)
    assert get(archive, tmp_path, PIECES) == CONTENT
    assert site.requests == [("/a.bin", None)]


def test_pieces_go_on_where_a_killed_process_left_off(site, archive, tmp_path):
    begin(site, archive, tmp_path, 130_001)
    assert get(archive, tmp_path, PIECES) == CONTENT
    assert site.requests[0] == ("/a.bin", "bytes=130001-")
    assert all(wanted and int(wanted[6:].split("-")[0]) >= 130_001 for _, wanted in site.requests)


TROUBLES = [
    *(
        "cut",
        "stall",
        "no length",
        "chunked",
        "cut, no length",
        "too long",
        "too short",
        "no ranges",
        "no If-Range",
    ),
    *("shifted", "lying", "page", ("wrong", OTHER), ("wrong", CONTENT[:100_000]), ("redirect", "/b.bin")),
    *((404, {}), (403, {}), (416, {}), (429, {"Retry-After": "0"}), (503, {})),
]


UNNOTICED = ["lying", ("wrong", OTHER)]  # but for the digest


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda how: how if isinstance(how, str) else str(how[0]))
@pytest.mark.parametrize("lasting", [False, True])
def test_no_trouble_with_a_piece_is_more_than_a_delay(site, archive, tmp_path, trouble, lasting):
    site.plans["/a.bin"] = ["whole"] * 6 + [trouble] * (5 if lasting else 1) + ["whole"]
    if trouble not in UNNOTICED:
        archive = dataclasses.replace(archive, digest=None)
    manner = dataclasses.replace(PIECES, timeout=(20, 0.2)) if trouble == "stall" else PIECES
    assert get(archive, tmp_path, manner) == CONTENT
    assert files(tmp_path) == ["set.bin"]


def test_a_server_that_does_pieces_badly_is_asked_for_the_rest_in_one(site, archive, tmp_path):
    site.plans["/a.bin"] = ["whole"] * 8 + ["shifted", "whole"]
    assert get(archive, tmp_path, PIECES) == CONTENT
    assert site.requests[-1][1].endswith("-")
    assert site.requests[-1][1] != "bytes=0-"


@pytest.mark.parametrize("request_", [2, 5, 9])
@pytest.mark.parametrize("how", ["whole", "no If-Range"])
def test_when_the_file_changes_between_pieces_they_are_not_mixed(site, archive, tmp_path, request_, how):
    site.files["/a.bin"], site.plans["/a.bin"] = OTHER, [how]

    def change():
        if len(site.requests) == request_:
            site.files["/a.bin"], site.etags["/a.bin"] = CONTENT, '"two"'

    site.change = change
    assert get(dataclasses.replace(archive, digest=None), tmp_path, PIECES) == CONTENT


def test_pieces_come_from_where_a_redirect_led_and_when_that_expires_from_the_beginning(
    site, archive, tmp_path
):
    site.plans = {
        "/a.bin": [("redirect", "/b.bin")],
        "/b.bin": ["whole"] * 7 + [(403, {}), (403, {}), "whole"],
    }
    assert get(archive, tmp_path, PIECES) == CONTENT
    assert 2 <= asked(site).count("/a.bin") <= 4
    assert all(wanted is None or path != "/a.bin" or wanted.endswith("-") for path, wanted in site.requests)


def test_no_thread_is_left_behind(site, archive, tmp_path):
    before = {thread for thread in threading.enumerate() if "ThreadPool" in thread.name}
    site.plans["/a.bin"] = ["whole"] * 3 + [("wrong", b"")]
    with pytest.raises(UserError):
        get(dataclasses.replace(archive, urls=archive.urls[:1]), tmp_path, PIECES)
    assert {thread for thread in threading.enumerate() if "ThreadPool" in thread.name} == before


# whatever happens


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_a_server_does_no_wrong_byte_gets_the_final_name(site, archive, data):
    manner = dataclasses.replace(
        data.draw(st.sampled_from([MANNER, PIECES])), timeout=(20, 0.05), attempts=3, wait=1e-4
    )
    unknown = data.draw(st.booleans(), label="digest unknown")
    archive = dataclasses.replace(archive, digest=None) if unknown else archive
    behaviours = st.sampled_from(["whole", *(how for how in TROUBLES if how not in UNNOTICED or not unknown)])
    site.plans = {
        page: data.draw(st.lists(behaviours, min_size=1, max_size=10), label=page)
        for page in ("/a.bin", "/b.bin")
    }
    site.etags = {
        page: data.draw(st.sampled_from(['"one"', "", 'W/"weak"'])) for page in ("/a.bin", "/b.bin")
    }
    site.requests.clear()
    with tempfile.TemporaryDirectory() as name:
        for _ in range(2):
            with_error = False
            try:
                assert get(archive, Path(name), manner) == CONTENT
            except UserError:
                with_error = True
            assert (Path(name) / "set.bin").exists() is not with_error
        site.plans = {}
        assert get(archive, Path(name), dataclasses.replace(manner, timeout=(20, 20))) == CONTENT
        assert files(Path(name)) == ["set.bin"]


def test_a_process_killed_at_any_moment_loses_no_byte_that_it_had(site, archive, tmp_path):
    """Killed with SIGKILL while pieces arrive, three times; every run goes on from what the one before it had."""
    large = np.random.default_rng(2).bytes(6_000_000)
    site.files["/a.bin"], site.pause = large, 0.005
    digest = f"sha256:{hashlib.sha256(large).hexdigest()}"
    script = (
        "from pathlib import Path; from hashrepro.datasets.base import Archive\n"
        "from hashrepro.delivery.answers import Manner; from hashrepro.delivery.download import download\n"
        f"archive = Archive('set.bin', ('{site.url}/a.bin',), {len(large)}, '{digest}')\n"
        f"download(archive, Path('{tmp_path}'), Manner(split_from=1, piece=200_000, progress=False))"
    )
    moments, final, had = np.random.default_rng().uniform(0.1e6, 1e6, 3), tmp_path / "set.bin", b""
    for moment in moments:
        site.sent = 0
        process = subprocess.Popen([sys.executable, "-c", script])
        while site.sent < moment and process.poll() is None:
            time.sleep(0.001)
        process.kill()
        process.wait()
        before, had = (
            had,
            b"".join(path.read_bytes() for path in tmp_path.glob("set.bin*") if path.suffix != ".json"),
        )
        assert large.startswith(had), moments
        assert len(had) >= len(before), moments
        assert not final.exists() or had == large, moments
    site.requests.clear()
    site.pause = 0
    big = Archive("set.bin", archive.urls[:1], len(large), digest)
    assert get(big, tmp_path, dataclasses.replace(PIECES, piece=200_000)) == large, moments
    assert had == large or site.requests[0][1] == (f"bytes={len(had)}-" if had else None), moments
    assert files(tmp_path) == ["set.bin"]
