import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from hashrepro.datasets.base import Archive, Source
from hashrepro.delivery import contents, fetching
from hashrepro.delivery.fetching import changed_since, fetch, source_folder
from hashrepro.errors import UserError
from hashrepro.files import read_json

FILES = {"list.txt": b"a b\n", "images/x/1.jpg": b"one", "images/x/2.jpg": b"two"}


def packed():
    """The bytes of a tar.gz with FILES below set/, and of a plain file."""
    buffer = io.BytesIO()
    # an own gzip header: tarfile's has the second in it, and the same archive is packed more than once
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        for name, content in FILES.items():
            info = tarfile.TarInfo(f"set/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue(), b"extra list\n"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def reader(*archives, by_hand=()):
    return SimpleNamespace(
        SOURCE=Source(
            title="Birds",
            home="https://birds.example",
            terms="free",
            citation="nobody",
            content="birds",
            layout="a folder with list.txt and images/",
            root="set",
            files=("list.txt", "images/*/*"),
            archives=archives,
            by_hand=by_hand,
        )
    )


@pytest.fixture
def served(site):
    archive, extra = packed()
    site.files = {"/set.tgz": archive, "/more.txt": extra}
    return reader(
        Archive(
            "set.tgz",
            (f"{site.url}/gone.tgz", f"{site.url}/set.tgz"),
            len(archive),
            f"sha256:{sha256(archive)}",
        ),
        Archive("more.txt", (f"{site.url}/more.txt",), unpack=False),
    )


@pytest.fixture
def closed():
    """A set of which no program may fetch the archive set.tgz; more.txt nobody serves either."""
    archive, extra = packed()
    size, digest = len(archive), f"md5:{hashlib.md5(archive).hexdigest()}"
    return reader(
        Archive("set.tgz", (), size, digest, by_hand="fill in the form, the password is sent by mail"),
        Archive("more.txt", (), len(extra), unpack=False, into="lists"),
        by_hand=("ask the owners", "sign"),
    )


@pytest.fixture
def mine(tmp_path):
    """A folder of the user's with both archives."""
    (tmp_path / "mine").mkdir()
    for name, content in zip(("set.tgz", "more.txt"), packed(), strict=True):
        (tmp_path / "mine" / name).write_bytes(content)
    return tmp_path / "mine"


def tree(folder):
    """The files below a folder, but for hidden ones."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def folder(tmp_path):
    for name, content in (FILES | {"unread.txt": b"notes"}).items():
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "mine"


def expected(files):
    return [{"name": n, "size": len(c), "sha256": sha256(c)} for n, c in sorted(files.items())]


def test_a_folder_is_used_in_place_and_inventoried_by_content(folder, tmp_path):
    inventory = fetch("birds", reader(), folder, tmp_path / "raw")
    assert inventory == {"kind": "folder", "files": expected(FILES)}
    assert read_json(tmp_path / "raw" / "inventory.json") == inventory
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["inventory.json"]
    assert source_folder("birds", reader(), folder, tmp_path / "raw", tmp_path / "scratch") == folder
    assert not (tmp_path / "scratch").exists()


def test_equal_folders_elsewhere_have_the_same_inventory(folder, tmp_path):
    one = fetch("birds", reader(), folder, tmp_path / "raw")
    (tmp_path / "above").mkdir()
    folder.rename(tmp_path / "above" / "set")
    assert fetch("birds", reader(), tmp_path / "above", tmp_path / "raw") == one


def test_a_changed_byte_changes_the_inventory(folder, tmp_path):
    one = fetch("birds", reader(), folder, tmp_path / "raw")
    (folder / "unread.txt").write_bytes(b"other notes")
    assert fetch("birds", reader(), folder, tmp_path / "raw") == one
    (folder / "images" / "x" / "2.jpg").write_bytes(b"owt")
    assert fetch("birds", reader(), folder, tmp_path / "raw") != one


@pytest.mark.parametrize("name", ["list.txt", "images"])
def test_a_folder_that_lacks_files_is_reported(folder, tmp_path, name):
    (folder / name).rename(tmp_path / "away")
    with pytest.raises(UserError, match=r"datasets\.birds\.folder") as caught:
        fetch("birds", reader(), folder, tmp_path / "raw")
    assert name in str(caught.value)
    assert not (tmp_path / "raw" / "inventory.json").exists()


def test_a_folder_that_is_not_there_is_reported(tmp_path):
    with pytest.raises(UserError, match="there is no such folder"):
        fetch("birds", reader(), tmp_path / "mine", tmp_path / "raw")


def test_archives_are_fetched_and_unpacked(served, tmp_path):
    inventory = fetch("birds", served, None, tmp_path / "raw", progress=False)
    archive, extra = packed()
    files = [("set.tgz", archive), ("more.txt", extra)]
    assert inventory == {
        "kind": "archives",
        "files": [{"name": name, "size": len(c), "sha256": sha256(c)} for name, c in files],
    }
    assert read_json(tmp_path / "raw" / "inventory.json") == inventory
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == [
        "inventory.json",
        "more.txt",
        "set.tgz",
    ]

    scratch = tmp_path / "scratch" / "birds"
    assert source_folder("birds", served, None, tmp_path / "raw", scratch) == scratch
    assert tree(scratch) == {f"set/{name}": content for name, content in FILES.items()} | {"more.txt": extra}


def test_fetching_again_asks_for_nothing(served, site, tmp_path):
    one = fetch("birds", served, None, tmp_path / "raw", progress=False)
    site.requests.clear()
    assert fetch("birds", served, None, tmp_path / "raw", progress=False) == one
    assert site.requests == []


def test_what_killed_downloads_left_is_no_part_of_the_set(served, tmp_path):
    (tmp_path / "raw").mkdir()
    for name in (
        "set.tgz.part.json",
        ".set.tgz.part.json.77.part",
        "more.txt.part",
        ".inventory.json.77.part",
    ):
        (tmp_path / "raw" / name).write_text("{")
    fetch("birds", served, None, tmp_path / "raw", progress=False)
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == [
        "inventory.json",
        "more.txt",
        "set.tgz",
    ]


def test_two_processes_do_not_fetch_into_one_folder(served, tmp_path):
    script = (
        "from hashrepro.files import locked\n"
        f"with locked('{tmp_path}/.raw.lock', ''): print(flush=True); input()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script], **pipes) as process:
        process.stdout.readline()
        with pytest.raises(UserError, match="another process is fetching birds"):
            fetch("birds", served, None, tmp_path / "raw", progress=False)
        process.kill()
    fetch("birds", served, None, tmp_path / "raw", progress=False)


def test_room_for_all_that_is_to_come_is_looked_for_before_the_first_byte(served, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(contents.shutil, "disk_usage", lambda _: usage)
    extra = len(packed()[1])
    sized = reader(served.SOURCE.archives[0], replace(served.SOURCE.archives[1], size=extra))
    needed = len(packed()[0]) + extra + 10_000
    with pytest.raises(UserError, match=f"{needed} bytes are to come, 10000 are free"):
        fetch("birds", sized, None, tmp_path / "raw", progress=False, room=10_000)
    assert list((tmp_path / "raw").iterdir()) == []


# archives that the user has


@pytest.mark.parametrize("as_files", [False, True])
def test_the_users_archives_are_used_in_place(closed, mine, tmp_path, as_files):
    places = sorted(mine.iterdir()) if as_files else [tmp_path, mine]
    inventory = fetch("birds", closed, None, tmp_path / "raw", places, progress=False)
    assert [(f["name"], f["sha256"]) for f in inventory["files"]] == [
        ("set.tgz", sha256(packed()[0])),
        ("more.txt", sha256(packed()[1])),
    ]
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["inventory.json"]
    source = source_folder("birds", closed, None, tmp_path / "raw", tmp_path / "unpacked", places)
    assert tree(source) == {f"set/{name}": content for name, content in FILES.items()} | {
        "lists/more.txt": packed()[1]
    }


def test_only_what_the_user_has_not_is_downloaded(served, site, mine, tmp_path):
    (mine / "more.txt").unlink()
    fetch("birds", served, None, tmp_path / "raw", [mine], progress=False)
    assert [path for path, _ in site.requests] == ["/more.txt"]
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["inventory.json", "more.txt"]


def test_where_an_archive_lies_does_not_change_the_inventory(served, mine, tmp_path):
    one = fetch("birds", served, None, tmp_path / "raw", progress=False)
    assert fetch("birds", served, None, tmp_path / "other", [mine], progress=False) == one


@pytest.mark.parametrize("wrong", [b"short", bytes(len(packed()[0]))])
@pytest.mark.parametrize("place", ["mine", "raw"])
def test_a_wrong_archive_of_the_users_is_named_before_anything_is_downloaded(
    served, site, mine, tmp_path, wrong, place
):
    (tmp_path / "raw").mkdir()
    (tmp_path / place / "set.tgz").write_bytes(wrong)
    (mine / "more.txt").unlink()
    with pytest.raises(UserError, match=r"(?s)set\.tgz is not the right file.*replace it") as caught:
        fetch("birds", served, None, tmp_path / "raw", [mine], progress=False)
    assert caught.value.where == tmp_path / place / "set.tgz"
    assert site.requests == []
    assert not (tmp_path / "raw" / "inventory.json").exists()


def test_a_named_place_that_is_not_there_is_an_error_only_when_something_is_missing(closed, mine, tmp_path):
    fetch("birds", closed, None, tmp_path / "raw", [tmp_path / "unmounted", mine], progress=False)
    (mine / "more.txt").unlink()
    with pytest.raises(UserError, match=r"machine\.archives: .*unmounted"):
        fetch("birds", closed, None, tmp_path / "raw", [tmp_path / "unmounted", mine], progress=False)


def test_what_is_to_be_got_by_hand_is_told_before_anything_is_downloaded(closed, served, site, tmp_path):
    mixed = reader(served.SOURCE.archives[0], *closed.SOURCE.archives[1:], by_hand=("ask the owners", "sign"))
    with pytest.raises(UserError, match=r"Birds: more\.txt cannot be downloaded") as caught:
        fetch("birds", mixed, None, tmp_path / "raw", progress=False)
    for text in ("1. ask the owners", "2. sign", f"put more.txt into {tmp_path / 'raw'}", "machine.archives"):
        assert text in str(caught.value)
    assert site.requests == []
    with pytest.raises(UserError) as caught:
        fetch("birds", closed, None, tmp_path / "raw", progress=False)
    assert "1. set.tgz: fill in the form, the password is sent by mail" in str(caught.value)
    assert "set.tgz, more.txt" in str(caught.value)
    assert "datasets.birds.folder" in str(caught.value)


@pytest.mark.parametrize("by_hand", [(), ("ask the owners", "sign")])
def test_a_set_without_archives_says_what_to_do(tmp_path, by_hand):
    with pytest.raises(UserError) as caught:
        fetch("birds", reader(by_hand=by_hand), None, tmp_path / "raw")
    for text in (*(by_hand or ["https://birds.example"]), "datasets.birds.folder", "a folder with list.txt"):
        assert text in str(caught.value)


def test_steps_that_end_in_params_yaml_are_not_followed_by_another_one(tmp_path):
    steps = ("ask the owners", "set datasets.NAME.folder")
    with pytest.raises(UserError) as caught:
        fetch("birds", reader(by_hand=steps), None, tmp_path / "raw")
    assert "2. set datasets.NAME.folder" in str(caught.value)
    assert "3." not in str(caught.value)


def test_a_folder_that_changed_since_it_was_fetched_is_not_read(folder, tmp_path):
    birds, raw = reader(), tmp_path / "raw"
    fetch("birds", birds, folder, raw)
    assert source_folder("birds", birds, folder, raw, tmp_path / "unpacked") == folder
    (folder / "unread.txt").write_text("longer notes")  # which nothing reads
    assert changed_since(birds, folder, raw) == []
    (folder / "images" / "x" / "1.jpg").write_bytes(b"another size")
    (folder / "images" / "x" / "3.jpg").write_bytes(b"new")
    (folder / "images" / "x" / "2.jpg").unlink()
    assert changed_since(birds, folder, raw) == [f"images/x/{i}.jpg" for i in (1, 2, 3)]
    with pytest.raises(UserError, match="3 files are not as they were") as caught:
        source_folder("birds", birds, folder, raw, tmp_path / "unpacked")
    assert caught.value.mend.endswith("dvc repro -f data/dvc.yaml:fetch@birds")
    fetch("birds", birds, folder, raw)
    assert changed_since(birds, folder, raw) == []


def test_a_name_that_is_not_text_is_told(folder, tmp_path):
    name = os.fsencode(folder / "images" / "x") + b"/n\xe9u.jpg"
    try:
        os.close(os.open(name, os.O_CREAT))
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    with pytest.raises(UserError, match="not UTF-8") as caught:
        fetch("birds", reader(), folder, tmp_path / "raw")
    assert "n\\xe9u.jpg" in str(caught.value)


# unpacking


def fetched(reader, mine, tmp_path):
    """Archives of the user's, fetched; the arguments with which `source_folder` is called from then on."""
    fetch("birds", reader, None, tmp_path / "raw", [mine], progress=False)
    return "birds", reader, None, tmp_path / "raw", tmp_path / "work" / "birds", [mine]


def test_what_is_unpacked_is_used_as_it_is(closed, mine, tmp_path):
    call = fetched(closed, mine, tmp_path)
    source = source_folder(*call)
    (source / "set" / "list.txt").write_bytes(b"looked at")
    for archive in mine.iterdir():
        archive.unlink()
    assert source_folder(*call) == source
    assert (source / "set" / "list.txt").read_bytes() == b"looked at"


@pytest.mark.parametrize("what", ["archive", "into", "no marker", "spoilt marker"])
def test_what_is_unpacked_of_something_else_is_unpacked_anew(closed, mine, tmp_path, what):
    source = source_folder(*fetched(closed, mine, tmp_path))
    (source / "old.txt").write_bytes(b"of the last version")
    if what == "no marker":
        (source / ".unpacked.json").unlink()
    elif what == "spoilt marker":
        (source / ".unpacked.json").write_text("{")
    set_tgz, more = closed.SOURCE.archives
    other = reader(set_tgz, replace(more, into="text") if what == "into" else more)
    if what == "archive":
        (mine / "more.txt").write_bytes(b"other list\n")
    call = fetched(other, mine, tmp_path)
    assert source_folder(*call) == source
    assert not (source / "old.txt").exists()
    more_there = [content for name, content in tree(source).items() if name.endswith("more.txt")]
    assert more_there == [(mine / "more.txt").read_bytes()]


def test_what_is_half_removed_does_not_count_as_unpacked(closed, mine, tmp_path, monkeypatch):
    source = source_folder(*fetched(closed, mine, tmp_path))
    inventory = read_json(tmp_path / "raw" / "inventory.json")
    (mine / "more.txt").write_bytes(b"other list\n")
    call = fetched(closed, mine, tmp_path)

    def killed(folder, **_):
        (folder / "set" / "list.txt").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fetching.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            source_folder(*call)
    assert not (source / "set" / "list.txt").exists()
    (mine / "more.txt").write_bytes(packed()[1])
    assert fetched(closed, mine, tmp_path)[1:] == call[1:]
    assert read_json(tmp_path / "raw" / "inventory.json") == inventory  # as at first, when it was whole
    assert (source_folder(*call) / "set" / "list.txt").exists()


def test_what_a_killed_unpacking_left_is_removed(closed, mine, tmp_path):
    call = fetched(closed, mine, tmp_path)
    left = tmp_path / "work" / ".birds.part" / "set"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"of something")
    source = source_folder(*call)
    assert "set/half" not in tree(source)
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["birds"]


def test_an_unpacking_killed_at_any_moment_leaves_all_or_nothing(closed, tmp_path):
    (tmp_path / "mine").mkdir()
    with tarfile.open(tmp_path / "mine" / "set.tgz", "w:gz", compresslevel=1) as archive:
        for i in range(3000):
            info = tarfile.TarInfo(f"set/images/{i % 7}/{i}.jpg")
            info.size = 100
            archive.addfile(info, io.BytesIO(i.to_bytes(2, "big") * 50))
    large = reader(Archive("set.tgz"))
    call = fetched(large, tmp_path / "mine", tmp_path)
    script = (
        "from pathlib import Path, PosixPath; from types import SimpleNamespace\n"
        "from hashrepro.datasets.base import Archive, Source; from hashrepro.delivery.fetching import source_folder\n"
        f"reader = SimpleNamespace(SOURCE={large.SOURCE!r})\n"
        f"source_folder('birds', reader, None, *{call[3:]!r})"
    )
    unfinished, unpacked = tmp_path / "work" / ".birds.part", tmp_path / "work" / "birds"
    for i in (1, 2000):
        process = subprocess.Popen([sys.executable, "-c", script])
        while not (unfinished / f"set/images/{i % 7}/{i}.jpg").exists() and process.poll() is None:
            time.sleep(0.0005)
        process.kill()
        process.wait()
        assert not unpacked.exists() or len(tree(unpacked)) == 3000  # on a busy machine it may have ended
    assert len(tree(source_folder(*call))) == 3000
    assert not unfinished.exists()


def test_a_missing_archive_is_named(closed, mine, tmp_path):
    call = fetched(closed, mine, tmp_path)
    (mine / "set.tgz").unlink()
    with pytest.raises(UserError, match=r"set\.tgz is missing"):
        source_folder(*call)


def test_what_was_not_fetched_is_not_unpacked(closed, mine, tmp_path):
    with pytest.raises(UserError, match="archives were not fetched"):
        source_folder("birds", closed, None, tmp_path / "raw", tmp_path / "work", [mine])
    fetched(reader(closed.SOURCE.archives[0]), mine, tmp_path)  # an older version, with one archive
    with pytest.raises(UserError, match="archives were not fetched"):
        source_folder("birds", closed, None, tmp_path / "raw", tmp_path / "work", [mine])


def test_an_archive_that_has_changed_since_is_reported(closed, mine, tmp_path):
    call = fetched(closed, mine, tmp_path)
    (mine / "more.txt").write_bytes(b"longer than it was\n")
    with pytest.raises(UserError, match="19 bytes, 11 when it was fetched"):
        source_folder(*call)


def test_a_damaged_archive_leaves_nothing_behind(closed, mine, tmp_path):
    call = fetched(closed, mine, tmp_path)
    data = bytearray((mine / "set.tgz").read_bytes())
    data[-20] ^= 0xFF
    (mine / "set.tgz").write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        source_folder(*call)
    assert list((tmp_path / "work").iterdir()) == []


def test_room_for_all_that_is_packed_is_looked_for_first(closed, mine, tmp_path, monkeypatch):
    call = fetched(closed, mine, tmp_path)
    total = sum(map(len, FILES.values())) + len(packed()[1])
    usage = shutil.disk_usage(tmp_path)._replace(free=total - 1)
    monkeypatch.setattr(contents.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=f"{total} bytes are to come, {total - 1} are free"):
        source_folder(*call)
    assert list((tmp_path / "work").iterdir()) == []
