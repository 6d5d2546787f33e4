import hashlib
import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageFile

from hashrepro.datasets.base import Archive, ReaderOptions, Reading, Source, one_hot
from hashrepro.datasets.catalog import Catalog
from hashrepro.delivery import checking
from hashrepro.delivery.checking import check_archives, check_folder, check_processed, state, summary
from hashrepro.errors import UserError
from hashrepro.files import write_json
from hashrepro.images.cache import build_cache

NAMES = [f"{c}/{i}.jpg" for c in "ab" for i in range(4)]
RNG = np.random.default_rng(0)


def jpeg(width=20, height=30):
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(buffer, "jpeg")
    return buffer.getvalue()


def read(folder, options, rng):
    """Images as list.txt names them, of two classes; "x" in its place is not a list."""
    root = folder / "set" if (folder / "set").is_dir() else folder
    names = (root / "list.txt").read_text().split()
    if names == ["x"]:
        raise UserError("not a list", where=f"{root / 'list.txt'}:1", mend="fetch the file again")
    classes, is_query = np.arange(len(names)) % 2, np.arange(len(names)) < 2
    return Reading(
        names, one_hot(classes, 2), is_query, ["a", "b"], [root / "images" / name for name in names]
    )


def reader(*archives, by_hand=()):
    source = Source(
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
    return SimpleNamespace(SOURCE=source, read=read)


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        path = tmp_path / "set" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg())
    (tmp_path / "set" / "list.txt").write_text("\n".join(NAMES))
    return tmp_path / "set"


def checked(folder, **options):
    return check_folder(reader(), folder, ReaderOptions(), np.random.default_rng(), progress=False, **options)


def told(findings, state):
    """{file name: text} of the findings in a state."""
    return {finding.path.name: finding.text for finding in findings if finding.state == state}


# folders


@pytest.mark.parametrize("decode", [False, True])
def test_a_folder_in_order_is_one_finding(folder, decode):
    (finding,) = checked(folder, decode=decode)
    assert finding.state == "ok"
    assert finding.text == f"8 of 8 images can be {'decoded' if decode else 'opened'}"
    assert summary([finding]) == "1 ok"
    assert checked(folder.parent, decode=decode) == [finding]


@pytest.mark.parametrize("decode", [False, True])
def test_every_image_that_is_missing_or_wrong_is_named(folder, decode):
    images = folder / "images"
    (images / "a/0.jpg").unlink()
    (images / "a/1.jpg").write_bytes(b"")
    (images / "a/2.jpg").write_text("<html>not found</html>")
    (images / "b/0.jpg").write_bytes(jpeg()[:50])
    (images / "b/1.jpg").unlink()
    (images / "b/1.jpg").mkdir()
    findings = checked(folder, decode=decode)
    assert told(findings, "ok")["set"].startswith("3 of 8 images")
    assert told(findings, "missing") == {"0.jpg": "no such file"}
    wrong = [str(f.path.relative_to(images)) for f in findings if f.state == "wrong"]
    assert wrong == ["a/1.jpg", "a/2.jpg", "b/0.jpg", "b/1.jpg"]
    assert next(f.text for f in findings if f.state == "wrong") == "0 bytes"
    assert told(findings, "wrong")["2.jpg"].startswith("not an image")
    assert summary(findings) == "1 ok, 1 missing, 4 wrong"
    assert (
        str(next(f for f in findings if f.state == "missing"))
        == f"missing {images / 'a/0.jpg'}: no such file"
    )


def test_a_file_whose_end_is_missing_is_noted_when_it_is_decoded(folder):
    path = folder / "images/a/3.jpg"
    path.write_bytes(path.read_bytes()[:-300])
    assert told(checked(folder), "note") == {}
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    findings = checked(folder, decode=True)
    assert "truncated" in told(findings, "note")["3.jpg"]
    assert told(findings, "ok")["set"] == "7 of 8 images can be decoded"
    assert told(findings, "wrong") == {}
    assert before == ImageFile.LOAD_TRUNCATED_IMAGES


def test_a_damaged_middle_is_seen_only_when_it_is_decoded(folder):
    path = folder / "images/a/3.jpg"
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (60, 60, 3), dtype=np.uint8)).save(buffer, "png")
    data = bytearray(buffer.getvalue())
    data[5000:6000] = bytes(1000)
    path.write_bytes(data)
    assert summary(checked(folder)) == "1 ok"
    assert "3.jpg" in told(checked(folder, decode=True), "wrong") | told(checked(folder, decode=True), "note")


def test_files_that_the_annotation_does_not_mention_are_counted(folder):
    (folder / "images/a/Thumbs.db").write_bytes(b"")
    (folder / "images/b/more.jpg").write_bytes(jpeg())
    (folder / "images/b/folder").mkdir()
    (folder / "images/c").mkdir()
    findings = checked(folder)
    assert told(findings, "note") == {"set": "2 files beside the images are not in the annotation"}


def test_of_very_many_images_the_first_are_named_and_the_others_counted(folder, monkeypatch):
    monkeypatch.setattr(checking, "_NAMED", 3)
    for name in NAMES[:5]:
        (folder / "images" / name).unlink()
    findings = checked(folder)
    assert [f.path.name for f in findings if f.state == "missing"] == ["0.jpg", "1.jpg", "2.jpg", "set"]
    assert findings[-1].text == "and 2 more images like these"


def test_missing_patterns_and_a_malformed_annotation_are_findings(folder):
    (folder / "list.txt").write_text("x")
    (folder / "images").rename(folder / "pictures")
    findings = checked(folder)
    assert told(findings, "missing") == {"*": "no such file"}
    assert told(findings, "wrong") == {"list.txt:1": "not a list; fetch the file again"}


def test_a_folder_that_is_not_there_is_a_finding(tmp_path):
    (finding,) = checked(tmp_path / "nowhere")
    assert finding.state == "missing"
    assert "a folder with list.txt and images/" in finding.text


def test_images_that_come_as_pixels_are_read_and_no_more(folder, monkeypatch):
    pixels = np.zeros((8, 4, 4, 3), np.uint8)
    as_pixels = reader()
    as_pixels.read = lambda *arguments: Reading(**{**vars(read(*arguments)), "images": pixels})
    (finding,) = check_folder(as_pixels, folder, ReaderOptions(), RNG, progress=False)
    assert (finding.state, finding.text) == ("ok", "8 images, read from files of pixels")


# archives


@pytest.fixture
def archives():
    """Three archives, and their bytes by name."""
    data = {"a.tgz": b"a" * 1000, "b.zip": b"b" * 3000, "c.zip": b"c" * 50}
    return data, [
        Archive("a.tgz", ("https://birds.example/a",), 1000, f"md5:{hashlib.md5(data['a.tgz']).hexdigest()}"),
        Archive("b.zip", ("https://birds.example/b",), 3000),
        Archive("c.zip", (), None, None, by_hand="write a letter"),
    ]


def put(folder, data, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(data[name])


def test_archives_are_found_wherever_they_are(archives, tmp_path):
    data, declared = archives
    put(tmp_path / "raw", data, "a.tgz")
    put(tmp_path / "mine", data, "b.zip", "c.zip")
    places = [tmp_path / "raw", tmp_path / "mine", tmp_path / "mine" / "c.zip"]
    findings = check_archives(reader(*declared), places, progress=False)
    assert [(f.path, f.state) for f in findings] == [
        (tmp_path / "raw" / "a.tgz", "ok"),
        (tmp_path / "mine" / "b.zip", "ok"),
        (tmp_path / "mine" / "c.zip", "ok"),
    ]
    assert findings[0].text == "1,000 bytes, the checksum is right"
    assert findings[1].text == "3,000 bytes, no checksum is published"


def test_what_is_not_here_and_what_is_partly_here(archives, tmp_path):
    data, declared = archives
    put(tmp_path / "raw", {"b.zip.part": data["b.zip"][:750]}, "b.zip.part")
    findings = check_archives(reader(*declared), [tmp_path / "raw"], progress=False)
    assert [finding.state for finding in findings] == ["missing"] * 3
    assert findings[0].text == "it is not here; fetch it"
    assert findings[1].text == "750 of 3,000 bytes are here; fetch it"
    assert findings[2].text == "it is not here; by hand:\n         1. c.zip: write a letter"


def test_wrong_archives_are_told_from_what_is_expected(archives, tmp_path):
    data, declared = archives
    put(
        tmp_path / "raw",
        {"a.tgz": b"x" * 1000, "b.zip": b"short", "c.zip": b"other"},
        "a.tgz",
        "b.zip",
        "c.zip",
    )
    files = [{"name": "c.zip", "size": 50, "sha256": hashlib.sha256(data["c.zip"]).hexdigest()}]
    write_json(tmp_path / "raw" / "inventory.json", {"kind": "archives", "files": files})
    findings = check_archives(reader(*declared), [tmp_path / "raw"], progress=False)
    assert [finding.state for finding in findings] == ["wrong"] * 3
    assert (
        findings[0].text == f"md5 {hashlib.md5(b'x' * 1000).hexdigest()}, expected {declared[0].digest[4:]}"
    )
    assert findings[1].text == "5 bytes, expected 3000"
    assert "when it was fetched" in findings[2].text


def test_a_named_place_without_anything_is_noted(archives, tmp_path):
    findings = check_archives(reader(*archives[1]), [tmp_path / "raw", tmp_path / "gone"], progress=False)
    assert next((f.path.name, f.state) for f in findings) == ("gone", "note")


def test_a_set_that_comes_as_a_folder_says_how_to_get_it(tmp_path):
    (finding,) = check_archives(reader(by_hand=("ask the owners", "sign")), [tmp_path], progress=False)
    assert finding.state == "missing"
    assert finding.text.endswith("by hand:\n         1. ask the owners\n         2. sign")


# what was made of it


@pytest.fixture(params=["files", "pixels"])
def processed(folder, tmp_path, request):
    reading = read(folder, None, None)
    images = (
        reading.images if request.param == "files" else RNG.integers(0, 256, (8, 9, 9, 3), dtype=np.uint8)
    )
    build_cache(tmp_path / "made", images, resize=16, crop=12, workers=0, progress=False)
    reading.catalog("birds").write(tmp_path / "made" / "catalog.parquet")
    return tmp_path / "made"


def test_what_was_made_whole_is_found_whole(processed):
    assert [finding.state for finding in check_processed(processed)] == ["ok", "ok"]


def test_nothing_made_is_no_fault(tmp_path):
    (finding,) = check_processed(tmp_path / "made")
    assert finding.state == "note"


def test_a_changed_byte_of_the_originals_is_found(processed):
    (path,) = processed.glob("originals.*")
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    assert list(told(check_processed(processed), "wrong")) == [path.name]


@pytest.mark.parametrize("name", ["catalog.parquet", "images.json"])
def test_a_missing_part_is_found(processed, name):
    (processed / name).unlink()
    findings = check_processed(processed)
    assert sorted(finding.state for finding in findings) == ["ok", "wrong"]


def test_a_catalog_of_another_cache_is_found(processed):
    labels, is_query = np.eye(3, dtype=bool), np.array([True, False, False])
    Catalog("birds", ["1", "2", "3"], labels, is_query, ["a", "b", "c"]).write(processed / "catalog.parquet")
    assert "3 rows, the image cache 8" in told(check_processed(processed), "wrong")["made"]


# the state in a few words


def test_the_state_goes_from_nothing_to_ready(archives, tmp_path):
    data, (a, b, c) = archives
    raw, mine, made = tmp_path / "raw", tmp_path / "mine", tmp_path / "made"

    def now(*declared, folder=None):
        return state(reader(*declared), folder, raw, made, [mine])

    assert now(a, b) == "not here"
    assert now(a, b, c) == now() == "not here: by hand"
    assert now(folder=mine) == f"not here: there is no folder {mine}"
    put(raw, {"b.zip.part": data["b.zip"][:720]}, "b.zip.part")
    assert now(a, b) == "partly fetched, 18 %"
    put(raw, data, "a.tgz")
    assert now(a, b) == "partly fetched, 43 %"
    assert now(a, b, c) == "partly fetched, the rest by hand"
    put(raw, data, "b.zip")
    assert now(a, b) == "fetched"
    put(mine, data, "c.zip")
    assert now(a, b, c) == "your archives"
    assert now(a, b, c, folder=mine) == "in your folder"
    (raw / "a.tgz").write_bytes(b"short")
    assert now(a, b, c) == f"not here: {raw / 'a.tgz'} has the wrong size"
    put(made, {"catalog.parquet": b""}, "catalog.parquet")
    assert now(a, b, c) == "ready"
