import hashlib
import io
import tarfile
from types import SimpleNamespace

import pytest

from hashrepro.datasets.base import Archive, Source
from hashrepro.datasets.fetching import fetch, source_folder
from hashrepro.errors import UserError
from hashrepro.files import read_json

FILES = {"list.txt": b"a b\n", "images/x/1.jpg": b"one", "images/x/2.jpg": b"two"}


def packed():
    """The bytes of a tar.gz with FILES below set/, and of a plain file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in FILES.items():
            info = tarfile.TarInfo(f"set/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue(), b"extra list\n"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def reader(*archives):
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


def test_archives_are_fetched_and_unpacked(served, tmp_path):
    inventory = fetch("birds", served, None, tmp_path / "raw", progress=False)
    archive, extra = packed()
    assert inventory["kind"] == "archives"
    assert [file["name"] for file in inventory["files"]] == ["set.tgz", "more.txt"]
    assert [file["size"] for file in inventory["files"]] == [len(archive), len(extra)]

    source = source_folder("birds", served, None, tmp_path / "raw", tmp_path / "scratch")
    there = {p.relative_to(source).as_posix(): p.read_bytes() for p in source.rglob("*") if p.is_file()}
    assert there == {f"set/{name}": content for name, content in FILES.items()} | {"more.txt": extra}
    assert source_folder("birds", served, None, tmp_path / "raw", tmp_path / "scratch") == source


def test_other_mirrors_may_be_named(served, site, tmp_path):
    urls = {"set.tgz": [f"{site.url}/mirror.tgz"]}
    site.files["/mirror.tgz"] = packed()[0]
    fetch("birds", served, None, tmp_path / "raw", urls, progress=False)
    assert [path for path, _ in site.requests] == ["/mirror.tgz", "/more.txt"]
    with pytest.raises(UserError, match=r"set\.tgz, more\.txt"):
        fetch("birds", served, None, tmp_path / "raw", {"sat.tgz": []}, progress=False)


def test_a_set_that_cannot_be_downloaded_says_what_to_do(tmp_path):
    with pytest.raises(UserError) as caught:
        fetch("birds", reader(), None, tmp_path / "raw")
    for text in ("https://birds.example", "datasets.birds.folder", "a folder with list.txt and images/"):
        assert text in str(caught.value)


def test_a_missing_archive_is_named(served, tmp_path):
    with pytest.raises(UserError, match=r"set\.tgz is missing"):
        source_folder("birds", served, None, tmp_path / "raw", tmp_path / "scratch")


def test_a_damaged_archive_leaves_nothing_behind(served, tmp_path):
    fetch("birds", served, None, tmp_path / "raw", progress=False)
    path = tmp_path / "raw" / "set.tgz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="cut short"):
        source_folder("birds", served, None, tmp_path / "raw", tmp_path / "scratch")
    assert list((tmp_path / "scratch").iterdir()) == []
