import io
import shutil
import tarfile
import zipfile

import numpy as np
import pytest

from hashrepro.delivery import contents
from hashrepro.delivery.unpack import extract, survey, unpack
from hashrepro.errors import UserError

RNG = np.random.default_rng(0)
FILES = {"set/a.txt": b"one\n", "set/images/b.jpg": RNG.bytes(40_000), "set/images/empty": b""}
KINDS = ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip"]


def member(name, kind=tarfile.REGTYPE, size=0, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


def write(path, files, extra=()):
    """An archive of `files`, and in a tar the TarInfos of `extra`; the kind is the name's ending."""
    if path.name.endswith("zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    mode = "w:" + path.name.partition("tar")[2].removeprefix(".")
    with tarfile.open(path, mode) as archive:
        archive.addfile(member("set", tarfile.DIRTYPE))
        for name, content in files.items():
            archive.addfile(member(name, size=len(content)), io.BytesIO(content))
        for info in extra:
            archive.addfile(info)
    return path


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_files_come_out_as_they_went_in(tmp_path, kind):
    unpack(write(tmp_path / f"a.{kind}", FILES), tmp_path / "out")
    assert tree(tmp_path / "out") == FILES


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize(
    "name", ["../out.txt", "set/../../out.txt", "/tmp/out.txt", "C:/out.txt", "..\\out.txt"]
)
def test_a_member_that_leaves_the_folder_is_refused(tmp_path, kind, name):
    path = write(tmp_path / f"a.{kind}", FILES | {name: b"escaped"})
    with pytest.raises(UserError, match="outside the folder"):
        unpack(path, tmp_path / "out" / "deep")
    assert "escaped" not in {content.decode("latin1") for content in tree(tmp_path / "out").values()}
    assert not (tmp_path / "out" / "out.txt").exists()
    assert not (tmp_path / "out.txt").exists()


@pytest.mark.parametrize(
    "info",
    [
        member("set/link", tarfile.SYMTYPE, link="/etc/passwd"),
        member("set/link", tarfile.SYMTYPE, link="a.txt"),
        member("set/link", tarfile.LNKTYPE, link="../../secret"),
        member("set/device", tarfile.CHRTYPE),
        member("set/disk", tarfile.BLKTYPE),
        member("set/pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda info: f"{info.type.decode()}-{info.linkname.replace('/', '_')}",
)
def test_links_and_devices_are_refused(tmp_path, info):
    with pytest.raises(UserError, match="link or a device"):
        unpack(write(tmp_path / "a.tar", FILES, [info]), tmp_path / "out")
    assert not (tmp_path / "out" / info.name).is_symlink()
    assert not (tmp_path / "out" / info.name).exists()


def test_a_link_in_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(UserError, match="link or a device"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("kind", KINDS)
def test_no_more_than_the_limit_is_written(tmp_path, kind):
    path = write(tmp_path / f"a.{kind}", {"set/bomb": bytes(5_000_000)})
    with pytest.raises(UserError, match="larger than the limit"):
        unpack(path, tmp_path / "out", limit=4_999_999)
    assert not (tmp_path / "out").exists()
    unpack(path, tmp_path / "enough", limit=5_000_000)


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_cut_anywhere_is_refused(tmp_path, kind):
    whole = write(tmp_path / f"a.{kind}", FILES).read_bytes()
    content = sum(map(len, FILES.values())) + 512 * 6
    end = content if kind == "tar" else len(whole) - 1  # after its end mark a plain tar has padding only
    for i, cut in enumerate([0, 1, 511, 512, 600, 1024, 2048, *np.linspace(0, end, 12).astype(int)]):
        path = tmp_path / f"cut{i}.{kind}"
        path.write_bytes(whole[: min(cut, end)])
        with pytest.raises(UserError, match="damaged or cut short"):
            unpack(path, tmp_path / f"out{i}")


@pytest.mark.parametrize("kind", ["tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_flipped_bits_are_noticed(tmp_path, kind):
    path = write(tmp_path / f"a.{kind}", {"set/b.jpg": RNG.bytes(40_000)})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        unpack(path, tmp_path / "out")


def test_a_web_page_in_place_of_an_archive_is_refused(tmp_path):
    (tmp_path / "a.tgz").write_text("<html>Please log in</html>" * 100)
    with pytest.raises(UserError, match=r"rm .*a\.tgz"):
        unpack(tmp_path / "a.tgz", tmp_path / "out")


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("other", ["set/a.txt", "set//a.txt", "./set/./a.txt"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_stands_twice_is_refused(tmp_path, kind, other):
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("set/a.txt", b"one")
            archive.writestr(other, b"two")
    else:
        write(path, {"set/a.txt": b"one"}, [member(other)])
    with pytest.raises(UserError, match=r"'set/a\.txt' stands twice"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("names", [("set/a", "set/a/b"), ("set/a/b", "set/a"), ("set/a/b/c/d", "set/a")])
def test_a_file_and_a_folder_of_one_name_are_refused(tmp_path, kind, names):
    path = write(tmp_path / f"a.{kind}", dict.fromkeys(names, b"content"))
    with pytest.raises(UserError, match="'set/a' is a file and a folder"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folders_may_stand_twice(tmp_path):
    path = write(tmp_path / "a.tar", FILES, [member("set/", tarfile.DIRTYPE), member("./", tarfile.DIRTYPE)])
    unpack(path, tmp_path / "out")
    assert tree(tmp_path / "out") == FILES


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("name", ["set/" + "a" * 256, "set/" + "é" * 128, "set/" + "deep/" * 400 + "a"])
def test_a_name_that_no_disk_takes_is_refused(tmp_path, kind, name):
    path = write(tmp_path / f"a.{kind}", FILES | {name: b""})
    with pytest.raises(UserError, match=r"too long: 'set/.{36}'\.\.\.") as caught:
        unpack(path, tmp_path / "out")
    assert len(str(caught.value)) < 500
    assert not (tmp_path / "out").exists()


def test_the_longest_names_come_out(tmp_path):
    files = {"set/" + "a" * 255: b"1", "set/" + "é" * 127: b"2"}
    unpack(write(tmp_path / "a.tar", files), tmp_path / "out")
    assert tree(tmp_path / "out") == files


def patched(path, local, central, value):
    """The zip archive with two bytes of every member's headers replaced."""
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\3\4", local), (b"PK\1\2", central)):
        at = data.find(mark)
        while at >= 0:
            data[at + offset : at + offset + 2] = value.to_bytes(2, "little")
            at = data.find(mark, at + 4)
    path.write_bytes(data)
    return path


def test_an_archive_with_a_password_says_what_to_do(tmp_path):
    path = patched(write(tmp_path / "a.zip", {"set/a.txt": b"secret"}), 6, 8, 1)
    with pytest.raises(
        UserError, match=r"(?s)'set/a.txt' is encrypted: a password is needed.*7z x a\.zip.*folder"
    ):
        unpack(path, tmp_path / "out")


def test_an_archive_that_is_packed_in_an_unknown_way_says_what_to_do(tmp_path):
    path = patched(
        write(tmp_path / "a.zip", {"set/a.txt": b"large"}), 8, 10, 9
    )  # Deflate64, as Windows packs
    with pytest.raises(UserError, match=r"(?s)compression.*7z x a\.zip.*folder"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("kind", KINDS)
def test_the_content_is_counted_before_anything_is_written(tmp_path, kind, monkeypatch):
    path, total = write(tmp_path / f"a.{kind}", FILES), sum(map(len, FILES.values()))
    assert survey(path) == total
    usage = shutil.disk_usage(tmp_path)
    for free in (total, total - 1):
        monkeypatch.setattr(contents.shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        if free == total:
            unpack(path, tmp_path / "out")
        else:
            with pytest.raises(UserError, match=f"{total} bytes are to come, {free} are free"):
                unpack(path, tmp_path / "full")
    assert tree(tmp_path / "out") == FILES
    assert tree(tmp_path / "full") == {}


def test_no_more_is_written_than_was_counted(tmp_path):
    path = write(tmp_path / "a.tar", FILES)
    with pytest.raises(UserError, match="larger than its members state"):
        extract(path, tmp_path / "out", 100)
    assert sum(map(len, tree(tmp_path / "out").values())) <= 100


def test_what_is_in_the_way_is_named(tmp_path):
    path = write(tmp_path / "a.tar", FILES)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "set").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"cannot write: .*out/set"):
        unpack(path, tmp_path / "out")


def test_an_archive_that_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read: .*a\.tar"):
        unpack(tmp_path / "a.tar", tmp_path / "out")
