"""From original files to catalog and image cache: the real stages on every set in miniature, and what goes wrong."""

import csv
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from miniatures import OWN, PAPERS, Miniature, write_cub
from PIL import Image, ImageOps
from torchvision.transforms import CenterCrop, Compose, PILToTensor, Resize

from hashrepro.datasets.catalog import Catalog
from hashrepro.files import file_digest, read_json
from hashrepro.images.cache import ImageCache

pytestmark = pytest.mark.timeout(600)  # whole processes, on a slow machine, too

SETS = {**PAPERS, **OWN}
VIEW = Compose([Resize(40), CenterCrop(32), PILToTensor()])
linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes by their folder")


def start(space, *command: str) -> subprocess.Popen:
    """A command of the workspace, left running in a session of its own."""
    pipes = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, cwd=space.root, env=space.environment(), start_new_session=True, **pipes)


def script(space, *words: str) -> tuple[int, str]:
    """Exit code and output of a stage's script or of `hashrepro`."""
    code, output = space.script(*words)
    assert "Traceback" not in output, output
    return code, output


def succeed(space, *words: str) -> str:
    code, output = script(space, *words)
    assert code == 0, output
    return output


def processed(space, name: str) -> Path:
    return space.root / "data" / "processed" / name


def building(space, name: str) -> Path:
    return processed(space, name).with_name(f".{name}.building")


def contents(folder: Path) -> dict[str, str]:
    """Path below the folder -> digest, of all files at any depth."""
    return {str(p.relative_to(folder)): file_digest(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def expected_view(image: Path | np.ndarray, upright: bool) -> torch.Tensor:
    if isinstance(image, np.ndarray):
        return VIEW(Image.fromarray(image))
    with Image.open(image) as file:
        return VIEW((ImageOps.exif_transpose(file) if upright else file).convert("RGB"))


def opened(space, name: str) -> tuple[Catalog, ImageCache]:
    return Catalog.read(processed(space, name) / "catalog.parquet"), ImageCache.open(processed(space, name))


def assert_prepared(space, name: str, written: Miniature, without: tuple[str, ...] = ()) -> None:
    """Catalog and cache have what was written, but for the ids `without`: splits, labels, and pixels, bit for bit."""
    catalog, cache = opened(space, name)
    queries = [catalog.ids[row] for row in catalog.query_rows]
    database = [catalog.ids[row] for row in catalog.database_rows]
    expected = {i: names for i, names in written.labels.items() if i not in without}
    if written.queries is None:
        assert len(queries) == written.num_query
    else:
        assert queries == [i for i in expected if i in written.queries]
    assert database == [i for i in expected if i not in queries]
    found = {
        i: {catalog.class_names[c] for c in np.flatnonzero(row)}
        for i, row in zip(catalog.ids, catalog.labels, strict=True)
    }
    assert found == expected
    assert len(cache) == len(catalog)
    upright = written.block.get("upright", False)
    views = [expected_view(written.images[i], upright) for i in catalog.ids]
    assert torch.equal(cache.evaluation(np.arange(len(cache))), torch.stack(views))


@pytest.fixture(scope="module")
def space(fresh):
    return fresh("sets")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A function: a new folder outside the workspace."""
    return lambda name: tmp_path_factory.mktemp("sets") / name


def set_block(space, name: str, block: dict) -> None:
    def change(values):
        values["datasets"][name] = {**values["templates"]["photographs"], **block}

    space.edit(change)


def fetch(space, name: str, block: dict) -> None:
    """Give the set its block, and run its first stage."""
    set_block(space, name, block)
    succeed(space, "stages/fetch.py", name)


@pytest.fixture(scope="module")
def prepared(space, folders):
    """A function: what was written of a set of this name, which was then fetched and preprocessed from its folder."""
    written = {}

    def prepare(name: str) -> Miniature:
        if name not in written:
            miniature = SETS[name](folders(name))
            fetch(space, name, miniature.block)
            succeed(space, "stages/preprocess.py", name)
            written[name] = miniature
        return written[name]

    return prepare


@pytest.mark.parametrize("name", SETS)
def test_a_set_in_a_folder_is_prepared_as_it_was_written(space, prepared, name):
    written = prepared(name)
    assert_prepared(space, name, written)
    catalog, _ = opened(space, name)
    assert catalog.name == name
    assert catalog.facts["reader"] == written.block["reader"]
    inventory = read_json(space.root / "data" / "raw" / name / "inventory.json")
    assert inventory["kind"] == "folder"
    listed = {entry["name"]: entry["sha256"] for entry in inventory["files"]}
    files = {str(image): file_digest(image) for image in written.images.values() if isinstance(image, Path)}
    assert set(files.values()) <= set(listed.values())
    assert not building(space, name).exists()


# Another data set is one file: this one is a set that there is, in archives of the test's.
READER = '''"""{title} in other archives than the official ones."""

from dataclasses import replace

from hashrepro.datasets.{reader} import SOURCE, Options, read

FOUND = {found}
SOURCE = replace(SOURCE, archives=tuple(replace(a, **FOUND[a.name]) for a in SOURCE.archives))
'''


@pytest.fixture(scope="module")
def archived(space, folders):
    """A function: (miniature, its archives) of a set, read by a reader mini<set> that knows these archives.

    Each entry of `parts` is an archive: its official name, its format, and what of the set's folder it holds, a
    folder below which the names in the archive begin, and what is in it ("." for all).
    """

    def pack(name: str, parts: list[tuple[str, str, str, str]]) -> tuple[Miniature, list[Path]]:
        miniature, place = SETS[name](folders(name)), folders("archives")
        archives, found = [], {}
        for archive, kind, root, base in parts:
            made = Path(
                shutil.make_archive(place / "made", kind, Path(miniature.block["folder"], root), base)
            )
            archives.append(made.rename(place / archive))
            digest = f"sha256:{file_digest(archives[-1])}"
            found[archive] = {"size": archives[-1].stat().st_size, "digest": digest, "urls": ()}
        text = READER.format(title=name, reader=name, found=found)
        (space.root / "src" / "hashrepro" / "datasets" / f"mini{name}.py").write_text(text)
        set_block(space, f"mini{name}", {**miniature.block, "reader": f"mini{name}", "folder": None})
        return miniature, archives

    return pack


def look_for_archives(space, *places: Path) -> None:
    space.edit(lambda values: values["machine"].update(archives=[str(place) for place in places]))


FLICKR = [
    ("mirflickr25k.zip", "zip", ".", "mirflickr"),
    ("mirflickr25k_annotations_v080.zip", "zip", "mirflickr25k_annotations_v080", "."),
]
CUB = [("CUB_200_2011.tgz", "gztar", ".", "CUB_200_2011")]


@pytest.mark.parametrize(("name", "parts"), [("flickr25k", FLICKR), ("cub", CUB)])
def test_archives_are_used_where_they_are(space, archived, name, parts):
    written, archives = archived(name, parts)
    before = {path: (file_digest(path), path.stat().st_mtime_ns) for path in archives}
    # a folder to look into, and any others by their own names
    look_for_archives(space, archives[0].parent, *archives[1:])
    succeed(space, "stages/fetch.py", f"mini{name}")
    succeed(space, "stages/preprocess.py", f"mini{name}")
    assert_prepared(space, f"mini{name}", written)
    raw, work = space.root / "data" / "raw" / f"mini{name}", space.root / "work"
    assert [path.name for path in raw.iterdir()] == ["inventory.json"]
    assert read_json(raw / "inventory.json")["kind"] == "archives"
    assert list((work / "unpacked").iterdir()) == []
    assert {path: (file_digest(path), path.stat().st_mtime_ns) for path in archives} == before


def test_an_archive_with_another_byte_is_refused(space, archived):
    _, (archive,) = archived("cub", CUB)
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    look_for_archives(space, archive)
    shutil.rmtree(space.root / "data" / "raw" / "minicub", ignore_errors=True)
    code, output = script(space, "stages/fetch.py", "minicub")
    assert code == 2
    assert "CUB_200_2011.tgz is not the right file: sha256" in output
    assert str(archive) in output
    assert not (space.root / "data" / "raw" / "minicub" / "inventory.json").exists()


def damage(written: Miniature) -> tuple[str, str, str]:
    """Ids of an image that is empty now, one that is a text, and one that is gone; the first is a query."""
    query = next(i for i in written.labels if i in written.queries)
    text, gone = [i for i in written.labels if i not in written.queries][2:4]
    written.images[query].write_bytes(b"")
    written.images[text].write_text("404 not found\n")
    written.images[gone].unlink()
    return query, text, gone


def test_images_that_cannot_be_read_are_named_or_dropped(space, folders):
    written = write_cub(folders("torn"))
    bad = damage(written)
    fetch(space, "torn", written.block)
    code, output = script(space, "stages/preprocess.py", "torn")
    assert "3 of 18 images cannot be decoded" in output
    assert all(i in output for i in bad)
    assert code == 2
    assert not processed(space, "torn").exists()

    set_block(space, "torn", {**written.block, "unreadable": "drop"})
    output = succeed(space, "stages/preprocess.py", "torn")
    assert "dropped 1 queries and 2 database images" in output
    assert_prepared(space, "torn", written, without=bad)
    catalog, _ = opened(space, "torn")
    assert catalog.facts["dropped"] == [i for i in written.labels if i in bad]
    assert (len(catalog.query_rows), len(catalog.database_rows)) == (6 - 1, 12 - 2)
    with open(processed(space, "torn") / "unreadable.csv", newline="") as file:
        listed = [row["path"] for row in csv.DictReader(file)]
    assert sorted(Path(path).name for path in listed) == sorted(Path(i).name for i in bad)


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def processes(space) -> list[int]:
    """Those that live in the workspace's folder; one that has ended and is not waited for has none."""
    return [p.pid for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(space.root.resolve())]


def done(space, name: str) -> int:
    """How many rows an unfinished build says to have done."""
    try:
        return int((np.load(building(space, name) / "building" / "done.npy")["changed"] != 0).sum())
    except FileNotFoundError:
        return 0


def first_progress(output: str) -> int:
    """The number of images that the bar of a build begins at."""
    return int(re.search(r"decoding: .*?(\d+)/264 \[", output)[1])


@pytest.fixture
def many(space, folders):
    """256 small pictures and 8 large ones behind them; of a build, what is done is recorded at once."""
    written = write_cub(folders("many"), per_class=88)
    large = Image.new("L", (4000, 3000), 128)
    first, *others = list(written.images.values())[256:]
    large.save(first)
    for path in others:
        shutil.copy(first, path)
    fetch(space, "many", {**written.block, "workers": 2})
    source = space.root / "src" / "hashrepro" / "images" / "building.py"
    text = source.read_text()
    # it is every few seconds, which a build of 264 pictures does not take
    quick, times = re.subn(r"^_RECORD_EVERY = .*$", "_RECORD_EVERY = 0.0", text, flags=re.MULTILINE)
    assert times == 1
    source.write_text(quick)
    yield written
    source.write_text(text)


@linux
def test_two_at_once_refuse_and_a_killed_one_goes_on_where_it_was(space, many):
    stage = ("stages/preprocess.py", "many")
    first = start(space, "python", *stage)
    try:
        wait_for(lambda: done(space, "many") or first.poll() is not None)
        first.send_signal(signal.SIGSTOP)
        count = done(space, "many")
        assert 0 < count < 264

        code, output = script(space, *stage)
        assert "Another process is preprocessing many." in output
        assert "wait for it to end, or stop it" in output
        assert code == 2
        assert done(space, "many") == count

        first.kill()
        wait_for(lambda: not processes(space))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
    assert first.returncode == -signal.SIGKILL
    assert not processed(space, "many").exists()

    output = succeed(space, *stage)
    assert first_progress(output) == count
    assert not building(space, "many").exists()
    resumed = contents(processed(space, "many"))
    assert_prepared(space, "many", many)

    shutil.rmtree(processed(space, "many"))
    output = succeed(space, *stage)
    assert first_progress(output) == 0
    assert contents(processed(space, "many")) == resumed


def test_validation_queries_are_of_the_database(space, folders):
    written = write_cub(folders("tuning"))
    database = set(written.labels) - written.queries
    fetch(space, "tuning", {**written.block, "validation": 4})
    succeed(space, "stages/preprocess.py", "tuning")
    catalog, cache = opened(space, "tuning")
    assert set(catalog.ids) == database
    assert len(catalog.query_rows) == 4
    assert len(cache) == len(catalog) == 12
    assert catalog.facts["validation"] == 4


def test_check_is_content_with_a_set_that_is_in_order(space, prepared):
    prepared("cub")
    code, output = script(space, "hashrepro", "data", "check", "cub")
    assert code == 0, output
    assert "18 of 18 images can be opened" in output
    assert "the catalog is whole: 18 rows" in output
    assert "the image cache is whole: 18 rows" in output


def test_check_names_what_is_missing_and_what_is_wrong(space, folders):
    written = write_cub(folders("holes"))
    empty, text, gone = damage(written)
    set_block(space, "holes", written.block)
    code, output = script(space, "hashrepro", "data", "check", "holes")
    assert code == 1, output
    assert re.search(rf"^missing +{re.escape(str(written.images[gone]))}: ", output, re.MULTILINE)
    for name in (empty, text):
        assert re.search(rf"^wrong +{re.escape(str(written.images[name]))}: ", output, re.MULTILINE)
    assert "15 of 18 images can be opened" in output


def executed(log: str) -> set[str]:
    """Names of the stages that a `dvc repro` ran."""
    return set(re.findall(r"Running stage '(?:[^':]*:)?([^']+)'", log))


def test_dvc_makes_a_set_again_when_a_value_that_it_depends_on_changes(space, folders):
    written = SETS["class_folders"](folders("mine"))
    set_block(space, "mine", written.block)
    target = "data/dvc.yaml:preprocess@mine"
    assert executed(space.run("dvc", "repro", target)) == {"fetch@mine", "preprocess@mine"}
    assert_prepared(space, "mine", written)
    look_for_archives(space, space.root / "elsewhere")
    space.edit(lambda values: values["datasets"]["mine"].update(workers=3, top_k=7))
    assert "up to date" in space.run("dvc", "status", target)

    space.edit(lambda values: values["datasets"]["mine"]["options"].update(query_per_class=1))
    assert executed(space.run("dvc", "repro", target)) == {"preprocess@mine"}
    catalog, _ = opened(space, "mine")
    assert (len(catalog.query_rows), len(catalog.database_rows)) == (3, 15)
