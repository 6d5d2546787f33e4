"""An image cache is built whatever happens: killed, on damaged files, on a full disk."""

import csv
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from hashrepro.errors import UserError
from hashrepro.images import building, chunks, layout
from hashrepro.images.building import build_cache
from hashrepro.images.layout import Plan, check_room, plan

RESIZE, CROP, N = 24, 20, 11
linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the signal is Linux's")


def write_image(path, seed, height, width):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


@pytest.fixture
def paths(tmp_path):
    kinds = ["a/{}.jpg", "b/{}.png"]
    return [
        write_image(tmp_path / "images" / kinds[i % 2].format(i), i, 20 + 3 * i, 40 - i) for i in range(N)
    ]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(layout, "_CHUNK", 2)
    monkeypatch.setattr(building, "_RECORD_EVERY", 0)


def build(folder, images, **changes):
    options = {"resize": RESIZE, "crop": CROP, "workers": 0, "progress": False} | changes
    return build_cache(folder, images, **options)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files that were decoded."""
    names, parts, read = [], chunks._parts, chunks._read
    monkeypatch.setattr(
        chunks, "_read", lambda path, *rest: names.append(Path(path).name) or read(path, *rest)
    )
    seen = []
    monkeypatch.setattr(chunks, "_parts", lambda *rest: seen.append(names[-1]) or parts(*rest))
    return seen


@pytest.mark.parametrize("training_cache", ["none", "resized"])
def test_the_number_of_processes_changes_no_byte(tmp_path, paths, training_cache):
    for workers in (0, 2):
        build(tmp_path / str(workers), paths, workers=workers, training_cache=training_cache)
    alone = contents(tmp_path / "0")
    assert alone == contents(tmp_path / "2")
    assert not [name for name in alone if name.startswith("building")]


def test_the_processes_do_not_run_the_callers_script_and_load_no_torch(tmp_path, paths):
    script = tmp_path / "script.py"  # without `if __name__ == "__main__"`
    script.write_text(
        "import sys\n"
        "from hashrepro.images import building, layout\n"
        "layout._CHUNK = 2\n"
        "print('begun')\n"
        f"building.build_cache({str(tmp_path / 'cache')!r}, {[str(path) for path in paths]!r}, resize={RESIZE}, "
        f"crop={CROP}, workers=2, progress=False)\n"
        "print(*{'torch', 'numba'} & set(sys.modules), 'ended')\n"
    )
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (run.stdout, run.returncode) == ("begun\nended\n", 0), run.stderr


def test_a_killed_worker_is_an_error_that_says_what_to_do(tmp_path, paths, monkeypatch):
    monkeypatch.setattr(building.chunks, "write", os._exit)  # of an argument that it does not take: it fails
    monkeypatch.setattr(layout, "chunks", lambda *_, **__: iter([1, 1, 1]))
    with pytest.raises(UserError, match="was killed") as caught:
        build(tmp_path / "cache", paths, workers=2)
    assert "fewer workers" in str(caught.value)


# -- what it takes on disk


@pytest.mark.parametrize("training_cache", ["none", "resized"])
@pytest.mark.parametrize("crop_bottom", [0, 7])
def test_the_plan_is_what_the_files_take(tmp_path, paths, training_cache, crop_bottom):
    options = {"training_cache": training_cache, "crop_bottom": crop_bottom}
    told = plan(paths, RESIZE, CROP, **options, workers=2)
    build(tmp_path / "cache", paths, **options)
    sizes = {name: len(data) for name, data in contents(tmp_path / "cache").items() if name != "images.json"}
    assert told.files == sizes
    assert told.total == sum(sizes.values())


def test_the_plan_of_pixels(tmp_path):
    pixels = np.zeros((5, 30, 30, 3), np.uint8)
    build(tmp_path / "cache", pixels, crop_bottom=2)
    assert plan(pixels, RESIZE, CROP, "resized", 2).total == (tmp_path / "cache/originals.npy").stat().st_size


def test_the_plan_does_without_damaged_files(paths):
    whole = plan(paths, RESIZE, CROP, "resized").files
    gone = paths[3].stat().st_size
    paths[3].unlink()
    paths[5].write_bytes(b"x" * paths[5].stat().st_size)
    files = plan(paths, RESIZE, CROP, "resized").files
    assert whole["originals.bin"] - files["originals.bin"] == gone
    height, width = (20 + 3 * np.array([3, 5])), 40 - np.array([3, 5])
    assert whole["resized.bin"] - files["resized.bin"] == sum(
        3 * RESIZE * (RESIZE * max(h, w) // min(h, w)) for h, w in zip(height, width, strict=True)
    )


def test_a_disk_that_is_too_small_is_told_before_an_image_is_decoded(tmp_path, paths, monkeypatch, decoded):
    needed = plan(paths, RESIZE, CROP, "resized")
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(layout.shutil, "disk_usage", lambda path: usage(needed.total - 1))
    with pytest.raises(UserError, match=r"takes 0.00 GB, but only 0.00 GB of disk are free") as caught:
        build(tmp_path / "cache", paths, training_cache="resized")
    assert "training_cache to none" in str(caught.value)
    assert decoded == []
    assert contents(tmp_path / "cache") == {}
    monkeypatch.setattr(layout.shutil, "disk_usage", lambda path: usage(needed.total))
    build(tmp_path / "cache", paths, training_cache="resized")


def test_room_that_an_unfinished_build_takes_is_room(tmp_path, paths, monkeypatch):
    place = tmp_path / "cache" / "building"
    place.mkdir(parents=True)
    (place / "evaluation.npy").write_bytes(b"x" * 10**6)
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(layout.shutil, "disk_usage", lambda path: usage(10**6))
    check_room(Plan({"evaluation.npy": 2 * 10**6}), tmp_path / "cache")
    with pytest.raises(UserError, match=r"takes 0\.01 GB"):
        check_room(Plan({"evaluation.npy": 5 * 10**6}), tmp_path / "cache" / "deeper")


def test_a_disk_that_is_full_is_told_and_the_build_goes_on(tmp_path, paths, monkeypatch):
    build(tmp_path / "expected", paths)
    write = chunks.write

    def full(chunk):
        if 4 in chunk.rows:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(chunk)

    monkeypatch.setattr(chunks, "write", full)
    with pytest.raises(UserError, match="disk is full"):
        build(tmp_path / "cache", paths)
    monkeypatch.setattr(chunks, "write", write)
    build(tmp_path / "cache", paths)
    assert contents(tmp_path / "cache") == contents(tmp_path / "expected")


# -- damaged files


def damage(paths):
    """What is wrong with which row, as the list of unreadable images is to say."""
    paths[1].unlink()
    paths[2].write_bytes(b"")
    paths[5].write_text("<html>404</html>")
    paths[8].unlink()
    paths[8].mkdir()
    return {
        1: "No such file or directory",
        2: "the file is empty",
        5: "not an image, or of a kind that Pillow does not know",
        8: "not a file",
    }


def listed(folder):
    with open(folder / "unreadable.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("workers", [0, 2])
def test_all_damaged_images_are_named_at_once(tmp_path, paths, workers):
    reasons = damage(paths)
    with pytest.raises(UserError, match="4 of 11 images cannot be decoded") as caught:
        build(tmp_path / "cache", paths, workers=workers, training_cache="resized")
    assert caught.value.where == str(tmp_path / "images")
    names = {row: str(paths[row].relative_to(tmp_path / "images")) for row in reasons}
    for row in range(N):
        assert (f"{paths[row].name}:" in str(caught.value)) == (row in reasons)
    assert listed(tmp_path / "cache") == [
        {"row": str(row), "path": names[row], "reason": reasons[row]} for row in reasons
    ]
    assert not (tmp_path / "cache" / "images.json").exists()


def test_of_many_damaged_images_the_message_names_some_and_the_list_all(tmp_path, paths):
    missing = [paths[0].with_name(f"missing{i}.jpg") for i in range(30)]
    with pytest.raises(UserError, match="30 of 41 images") as caught:
        build(tmp_path / "cache", missing + paths)
    assert "a/missing19.jpg" in str(caught.value)
    assert "missing20" not in str(caught.value)
    assert f"and 10 more: see {tmp_path / 'cache' / 'unreadable.csv'}" in str(caught.value)
    assert [line["path"] for line in listed(tmp_path / "cache")] == [f"a/{path.name}" for path in missing]


@pytest.mark.parametrize("training_cache", ["none", "resized"])
def test_after_some_files_were_repaired_only_those_are_decoded(tmp_path, paths, training_cache, decoded):
    intact = {row: paths[row].read_bytes() for row in (1, 2, 5)}
    build(tmp_path / "expected", paths, training_cache=training_cache)
    for row in intact:  # all of another size than the intact ones, so that the originals behind them move
        cut = len(intact[row]) // 2
        paths[row].write_bytes(b"" if row == 2 else b"x" * cut if row == 5 else b"")
    decoded.clear()
    with pytest.raises(UserError, match="3 of 11"):
        build(tmp_path / "cache", paths, training_cache=training_cache)
    assert set(decoded) == {path.name for path in paths} - {paths[1].name, paths[2].name}
    decoded.clear()
    for row, data in intact.items():
        paths[row].write_bytes(data)
    build(tmp_path / "cache", paths, training_cache=training_cache)
    if training_cache == "none":
        assert set(decoded) == {paths[row].name for row in intact}
    else:  # the resized images behind those move, too
        assert set(decoded) == {path.name for path in paths[1:]}
    assert contents(tmp_path / "cache") == contents(tmp_path / "expected")


@pytest.mark.parametrize("moved", [False, True])
def test_an_image_that_could_not_be_read_is_tried_again(tmp_path, paths, monkeypatch, decoded, moved):
    read, intact = chunks._read, paths[0].read_bytes()
    if moved:
        paths[0].write_bytes(b"")
        with pytest.raises(UserError, match="1 of 11"):
            build(tmp_path / "cache", paths)
        paths[0].write_bytes(intact)
    build(tmp_path / "expected", paths)

    def forbidden(path, expected):
        if Path(path) == paths[3]:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return read(path, expected)

    monkeypatch.setattr(chunks, "_read", forbidden)
    with pytest.raises(UserError, match=r"3\.png: Permission denied"):
        build(tmp_path / "cache", paths)
    monkeypatch.setattr(chunks, "_read", read)
    decoded.clear()
    build(tmp_path / "cache", paths)
    assert len(decoded) == (0 if moved else 1)
    assert contents(tmp_path / "cache") == contents(tmp_path / "expected")


@pytest.mark.parametrize("failed_before", [False, True])
@pytest.mark.parametrize("training_cache", ["none", "resized"])
def test_damaged_images_can_be_left_out(tmp_path, paths, failed_before, training_cache, decoded):
    build(tmp_path / "was", paths)  # their rows are zeros, whatever stood there
    reasons = damage(paths)
    options = {"training_cache": training_cache}
    header = build(tmp_path / "expected", paths, unreadable="drop", **options)
    if failed_before:
        with pytest.raises(UserError, match="4 of 11"):
            build(tmp_path / "cache", paths, **options)
        decoded.clear()
    assert build(tmp_path / "cache", paths, unreadable="drop", **options) == header
    assert (header["n"], header["dropped"]) == (7, sorted(reasons))
    assert not failed_before or decoded == [paths[5].name]
    assert contents(tmp_path / "cache") == contents(tmp_path / "expected")
    assert [int(line["row"]) for line in listed(tmp_path / "cache")] == sorted(reasons)


def test_nothing_is_left_of_an_image_that_became_unreadable(tmp_path, paths):
    paths[0].unlink()
    with pytest.raises(UserError, match="1 of 11"):
        build(tmp_path / "cache", paths)
    damage(paths)
    paths[5].write_bytes(b"x" * 3000)
    build(tmp_path / "cache", paths, unreadable="drop")
    build(tmp_path / "expected", paths, unreadable="drop")
    assert contents(tmp_path / "cache") == contents(tmp_path / "expected")


def test_an_image_of_another_size_than_its_header_states_writes_over_no_other(tmp_path, paths, monkeypatch):
    build(tmp_path / "expected", paths, training_cache="resized")
    stated = chunks.stated_size
    lie = str(paths[4])
    monkeypatch.setattr(
        chunks, "stated_size", lambda path, **options: (9, 9) if path == lie else stated(path)
    )
    with pytest.raises(UserError, match=r"a/4\.jpg: 32 × 36 pixels, but its header states another size"):
        build(tmp_path / "cache", paths, training_cache="resized")
    monkeypatch.setattr(chunks, "stated_size", stated)
    build(tmp_path / "cache", paths, training_cache="resized")
    assert contents(tmp_path / "cache") == contents(tmp_path / "expected")


def test_a_cache_of_no_image_is_refused(tmp_path, paths):
    for path in paths:
        path.write_bytes(b"")
    with pytest.raises(UserError, match="11 of 11 images"):
        build(tmp_path / "cache", paths, unreadable="drop")
    with pytest.raises(UserError, match="no images"):
        build(tmp_path / "cache", [])


@pytest.mark.parametrize("change", ["longer", "same size", "gone", "there now"])
def test_an_image_that_changes_meanwhile_is_named(tmp_path, paths, monkeypatch, change):
    make_table, data = layout.make_table, paths[4].read_bytes()
    if change == "there now":
        paths[4].unlink()

    def make_and_change(*arguments):
        table = make_table(*arguments)
        if change == "gone":
            paths[4].unlink()
        else:
            paths[4].write_bytes(data + b"x" if change == "longer" else data)
        return table

    monkeypatch.setattr(layout, "make_table", make_and_change)
    with pytest.raises(UserError, match="changed while") as caught:
        build(tmp_path / "cache", paths, workers=2 if change == "longer" else 0)
    assert caught.value.where == str(paths[4])
    monkeypatch.setattr(layout, "make_table", make_table)
    if change != "gone":
        build(tmp_path / "cache", paths)


# -- going on


class Killed(BaseException):
    pass


def interrupt(folder, paths, monkeypatch, after, **options):
    """A build that ends as if it were killed when `after` chunks were written."""
    write, record, left = chunks.write, building._Build.record, list(range(after))

    def until(chunk):
        if not left:
            raise Killed
        left.pop()
        return write(chunk)

    with monkeypatch.context() as patch:
        patch.setattr(chunks, "write", until)
        patch.setattr(building._Build, "record", lambda build: record(build) if left else None)
        with pytest.raises(Killed):
            build(folder, paths, **options)


@pytest.mark.parametrize("training_cache", ["none", "resized"])
def test_a_build_goes_on_where_it_was(tmp_path, paths, monkeypatch, decoded, training_cache):
    build(tmp_path / "expected", paths, training_cache=training_cache)
    decoded.clear()
    interrupt(tmp_path / "cache", paths, monkeypatch, 3, training_cache=training_cache)
    assert len(decoded) == 6
    build(tmp_path / "cache", paths, training_cache=training_cache)
    done = [path.name for path in paths]
    assert decoded == done[:6] + done[4:]  # the third chunk was not recorded any more
    assert contents(tmp_path / "cache") == contents(tmp_path / "expected")


@pytest.mark.parametrize(
    "change",
    [{"resize": 30}, {"crop": 18}, {"training_cache": "resized"}, {"upright": True}, {"crop_bottom": 1}],
    ids=lambda change: next(iter(change)),
)
def test_with_other_arguments_it_starts_anew(tmp_path, paths, monkeypatch, decoded, change):
    build(tmp_path / "expected", paths, **change)
    interrupt(tmp_path / "cache", paths, monkeypatch, 3)
    decoded.clear()
    build(tmp_path / "cache", paths, **change)
    assert len(decoded) == N
    assert contents(tmp_path / "cache") == contents(tmp_path / "expected")


def test_with_another_pillow_or_code_it_starts_anew(tmp_path, paths, monkeypatch, decoded):
    interrupt(tmp_path / "cache", paths, monkeypatch, 3)
    monkeypatch.setattr(building.PIL, "__version__", "9.9")
    interrupt(tmp_path / "cache", paths, monkeypatch, 3)
    assert len(decoded) == 12
    monkeypatch.setattr(building, "_CODE", ["decoding"])
    decoded.clear()
    build(tmp_path / "cache", paths)
    assert len(decoded) == N


def test_other_images_and_changed_ones_are_decoded_again(tmp_path, paths, monkeypatch, decoded):
    interrupt(tmp_path / "cache", paths, monkeypatch, 4)
    shutil.copy(paths[1], paths[1].with_name("other.png"))
    paths[1] = paths[1].with_name("other.png")
    write_image(paths[4], 99, 50, 50)
    os.utime(paths[6])
    build(tmp_path / "expected", paths)
    decoded.clear()
    build(tmp_path / "cache", paths)
    assert decoded == [paths[row].name for row in (1, 4, 6, 7, 8, 9, 10)]
    assert contents(tmp_path / "cache") == contents(tmp_path / "expected")
    build(tmp_path / "fewer", paths[:-1])
    interrupt(tmp_path / "cache", paths, monkeypatch, 4)
    build(tmp_path / "cache", paths[:-1])
    assert contents(tmp_path / "cache") == contents(tmp_path / "fewer")


def test_places_that_were_written_over_are_not_taken_for_done(tmp_path, paths, monkeypatch):
    """Row 0 grows, is written behind, and shrinks again: what had been done first no longer stands where it stood."""
    small, state = paths[0].read_bytes(), paths[0].stat()
    build(tmp_path / "expected", paths)
    interrupt(tmp_path / "cache", paths, monkeypatch, 4)
    paths[0].write_bytes(small + bytes(500))
    with monkeypatch.context() as patch:
        patch.setattr(building, "_RECORD_EVERY", 1e9)
        interrupt(tmp_path / "cache", paths, monkeypatch, 2)
    paths[0].write_bytes(small)
    os.utime(paths[0], ns=(state.st_atime_ns, state.st_mtime_ns))
    build(tmp_path / "cache", paths)
    assert contents(tmp_path / "cache") == contents(tmp_path / "expected")


UNFINISHED = ["done.npy", "build.json", "evaluation.npy", "originals.bin"]


@pytest.mark.parametrize(
    ("name", "left"), [(n, None) for n in UNFINISHED] + [(n, k) for n in UNFINISHED[:2] for k in (0, 100)]
)
def test_a_lost_or_torn_part_of_an_unfinished_build_is_no_matter(tmp_path, paths, monkeypatch, name, left):
    build(tmp_path / "expected", paths)
    interrupt(tmp_path / "cache", paths, monkeypatch, 3)
    part = tmp_path / "cache" / "building" / name
    if left is None:
        part.unlink()
    else:
        part.write_bytes(part.read_bytes()[:left])
    build(tmp_path / "cache", paths)
    assert contents(tmp_path / "cache") == contents(tmp_path / "expected")


@pytest.mark.parametrize("training_cache", ["none", "resized"])
def test_stopped_before_any_change_of_names(tmp_path, paths, monkeypatch, training_cache):
    build(tmp_path / "expected", paths, training_cache=training_cache)
    destination, moments, headers = tmp_path / "cache", 0, 0

    def dying(function, left):
        def call(*arguments, **options):
            if destination in Path(arguments[-1]).parents and next(left, None) is None:
                raise Killed
            return function(*arguments, **options)

        return call

    ended = False
    while not ended:  # every time one change further
        left = iter(range(moments))
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", dying(os.replace, left))
            patch.setattr(shutil, "rmtree", dying(shutil.rmtree, left))
            try:
                build(destination, paths, training_cache=training_cache)
                ended = True
            except Killed:
                headers += (destination / "images.json").exists()
        moments += 1
    assert moments >= 8
    assert headers >= 1  # only the folder `building` was left to remove
    assert contents(destination) == contents(tmp_path / "expected")


KILLABLE = """
import sys
from hashrepro.images import building, layout
layout._CHUNK, building._RECORD_EVERY = 4, 0
paths = [f"{sys.argv[2]}/{i}.png" for i in range(96)]
building.build_cache(sys.argv[1], paths, resize=64, crop=48, workers=int(sys.argv[3]), progress=False)
"""


@linux
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_random_moments(tmp_path, workers):
    rng, images, destination = random.Random(workers), tmp_path / "images", tmp_path / "cache"
    paths = [write_image(images / f"{i}.png", i, 200, 150 + i) for i in range(96)]
    build(tmp_path / "expected", paths, resize=64, crop=48)
    seen, kills, command = [], 0, [sys.executable, "-c", KILLABLE, destination, images, str(workers)]
    record = destination / "building" / "done.npy"

    def state():
        return record.stat().st_ino if record.exists() else 0

    while kills < 3:
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            changes, last = rng.randrange(1, 6), state()
            while changes and process.poll() is None:
                if state() != last:
                    changes, last = changes - 1, state()
                time.sleep(0.0005)
            time.sleep(rng.uniform(0, 0.02))
            if process.poll() is None:
                seen += psutil.Process(process.pid).children(recursive=True)
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
            elif process.returncode == 0:
                break
        assert process.returncode in (0, -signal.SIGKILL)
    if not (destination / "images.json").exists():
        subprocess.run(command, check=True)
    assert kills >= 1
    assert contents(destination) == contents(tmp_path / "expected")
    assert len(seen) >= workers
    _, alive = psutil.wait_procs(seen, timeout=60)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
