"""The image cache is built: in parallel, and so that a build which was killed goes on where it was.

What is being written stands in the folder `building` of the destination: the large files; `build.json`, what the build
is; and `done.npy`, every row as it was when it was written. A row is done if it still is as there: the same path, size
and time of change, and the same places in the files. So of a data set in which some files were repaired, those are
decoded, and the originals behind them copied to their new places; and images that could not be decoded are tried again.
"""

import csv
import errno
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
import PIL
from tqdm import tqdm

from hashrepro.errors import UserError
from hashrepro.files import file_digest, read_json, whole, write_json
from hashrepro.images import chunks, layout
from hashrepro.images.chunks import Parameters
from hashrepro.images.layout import UNFINISHED, TrainingCache
from hashrepro.images.pool import each

VERSION = 1  # of the files
HEADER = "images.json"
UNREADABLE = "unreadable.csv"
_FILES = ["originals.npy", "originals.bin", "offsets.npy", "evaluation.npy"]
_FILES += ["resized.bin", "resized_shapes.npy"]
_CODE = ["building", "chunks", "decoding", "layout", "resampling"]
_RECORD_EVERY = 5.0  # seconds: as much work a build that is killed may lose
_NAMED = 20  # images that a message names at most


def build_cache(
    destination: str | Path,
    images: Sequence[str | Path] | np.ndarray,
    *,
    resize: int,
    crop: int,
    workers: int,
    training_cache: TrainingCache = "none",
    unreadable: Literal["fail", "drop"] = "fail",
    upright: bool = False,
    crop_bottom: int = 0,
    progress: bool = True,
) -> dict:
    """Write the cache of `images` into the folder `destination`; the header `images.json` comes last.

    A call that was killed or that failed is gone on with by another one with the same images and arguments: the files
    are those of an undisturbed build. They do not depend on the number of workers either.

    Args:
        images: n paths of encoded files, or uint8 (n, h, w, 3).
        resize: shorter side in pixels before the central crop.
        crop: side of the evaluation view in pixels, at most `resize`.
        workers: processes that decode; 0 = this one, which a few images never leave.
        training_cache: "resized" also keeps every file's image with its shorter side resized to `resize`, decoded.
            Images that come as pixels are resized when they are asked for: nothing is kept.
        unreadable: what becomes of missing or damaged files, which `unreadable.csv` in the destination lists: "fail",
            an error when all the others are done; "drop", they are left out, and row i is the i-th of the others.
        upright: turn images as their EXIF data say; of no effect on images that come as pixels.
        crop_bottom: pixels to remove from the bottom of every image before anything else but turning it.

    Returns:
        the header: kind, n, resize, crop, version, the bytes of the originals and their SHA-256; and, only where they
        are not the default, training_cache, upright, crop_bottom, and the numbers of the rows that were dropped.

    Raises:
        UserError: crop exceeds resize, images cannot be decoded or change meanwhile, or the disk is too small.
    """
    if not 0 < crop <= resize:
        raise UserError(f"crop {crop} must be within 1..resize {resize}", mend="change crop or resize")
    if not len(images):
        raise UserError("There are no images.", mend="look at the data set's options")
    destination = Path(destination)
    destination.mkdir(parents=True, exist_ok=True)
    for stale in (destination / HEADER, destination / UNREADABLE, *destination.glob(".*.part")):
        stale.unlink(missing_ok=True)
    header = {"n": len(images), "resize": resize, "crop": crop, "version": VERSION}
    if isinstance(images, np.ndarray):
        _clear(destination)
        header |= _write_pixels(destination, layout.without_bottom(images, crop_bottom))
    else:
        ours = Parameters(len(images), resize, crop, training_cache == "resized", upright, crop_bottom)
        build = _Build(destination, [os.fspath(path) for path in images], ours, workers)
        try:
            bad = build.write_rows(workers, progress)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            mend = "free some space and run it again: it goes on where it was"
            raise UserError("The disk is full.", where=destination, mend=mend) from error
        if bad:
            all_of_them = len(bad) == len(images)
            _report(destination, bad, build.paths, fail=unreadable == "fail" or all_of_them)
            header |= {"n": len(images) - len(bad), "dropped": sorted(bad)}
        header |= build.put_in_place()
        # a header of the defaults stays what it was: runs on such a cache are not stale
        header |= {"training_cache": training_cache} if ours.keep_resized else {}
        header |= {"upright": True} if upright else {}
    header |= {"crop_bottom": crop_bottom} if crop_bottom else {}
    write_json(destination / HEADER, header)
    shutil.rmtree(destination / UNFINISHED, ignore_errors=True)
    return header


def _clear(destination: Path) -> None:
    shutil.rmtree(destination / UNFINISHED, ignore_errors=True)
    for name in _FILES:
        (destination / name).unlink(missing_ok=True)


def _write_pixels(destination: Path, images: np.ndarray) -> dict:
    with whole(destination / "originals.npy") as temporary:
        _save(temporary, images)
    digest = file_digest(destination / "originals.npy")
    return {"kind": "pixels", "original_bytes": images.nbytes, "digest": digest}


class _Build:
    """The unfinished files of one build.

    Attributes:
        table: (n,) of dtype ROW, the rows as they are now.
        done: (n,) of dtype ROW, what they were when they were written; zeros before.
        moved: bool (n,), of rows that are done but for their originals, whose place is another one now.
    """

    def __init__(self, destination: Path, paths: list[str], ours: Parameters, workers: int):
        self.destination, self.folder = destination, destination / UNFINISHED
        self.paths, self.ours = paths, ours
        here = Path(__file__).parent
        code = {name: file_digest(here / f"{name}.py") for name in _CODE}
        key = asdict(ours) | {"version": VERSION, "pillow": PIL.__version__, "code": code}
        known = self._left(key)
        if known is None:
            _clear(destination)
        self.table = layout.make_table(paths, ours, workers)
        self.plan = layout.planned(self.table, ours)
        layout.check_room(self.plan, destination)
        if known is None:
            self._create(key)
            known = np.zeros_like(self.table)
        elsewhere = known.copy()
        elsewhere["original"] = self.table["original"]
        same = elsewhere == self.table
        self.moved = same & (known != self.table)
        self.done = np.where(same, known, np.zeros_like(known))
        self.done["original"][self.moved] = -1
        self.record()  # before anything is written, or cut off, where something else stood
        for name in ours.files[1:]:
            os.truncate(self.folder / name, self.plan.files[name])

    def _left(self, key: dict) -> np.ndarray | None:
        """What an earlier build of the same kind has in `done.npy`; None if there is none, or not all of it."""
        try:
            if read_json(self.folder / "build.json") != key:
                return None
            for name in self.ours.files:  # it was killed at its very end
                if (self.destination / name).exists() and not (self.folder / name).exists():
                    os.replace(self.destination / name, self.folder / name)
            known = np.load(self.folder / "done.npy")
        except (OSError, ValueError, EOFError):
            return None
        fits = known.shape == (self.ours.n,) and known.dtype == chunks.ROW
        return known if fits and all((self.folder / name).exists() for name in self.ours.files) else None

    def _create(self, key: dict) -> None:
        self.folder.mkdir()
        shape = (self.ours.n, self.ours.crop, self.ours.crop, 3)
        np.lib.format.open_memmap(self.folder / "evaluation.npy", "w+", np.uint8, shape)
        for name in self.ours.files[1:]:
            (self.folder / name).touch()
        write_json(self.folder / "build.json", key)

    def record(self) -> None:
        """Have `done.npy` say what is done, once that is on the disk."""
        for name in self.ours.files:
            _flush(self.folder / name)
        with whole(self.folder / "done.npy") as temporary:
            _save(temporary, self.done)
            _flush(temporary)

    def write_rows(self, workers: int, progress: bool) -> dict[int, str]:
        """Write all rows that are not done; returns those that cannot be decoded, and why."""
        todo, bad = np.flatnonzero(self.done != self.table), {}
        some = layout.chunks(todo, self.paths, self.table, self.ours, moved=self.moved, folder=self.folder)
        count = {"total": self.ours.n, "initial": self.ours.n - len(todo)}
        with tqdm(desc="decoding", unit="image", disable=not progress, **count) as bar:
            if progress:
                bar.write(f"the image cache takes {self.plan}")
            recorded = time.monotonic()
            try:
                for chunk, unreadable in each(chunks.write, some, layout.processes(len(todo), workers)):
                    bad |= unreadable
                    fine = [row for row in chunk.rows.tolist() if row not in unreadable]
                    self.done[fine] = self.table[fine]
                    bar.update(len(chunk.rows))
                    if time.monotonic() - recorded >= _RECORD_EVERY:
                        self.record()
                        recorded = time.monotonic()
            finally:
                self.record()
        return bad

    def put_in_place(self) -> dict:
        """Give the files their names in the destination; returns what the header says of them."""
        offsets, digest = layout.offsets(self.table), file_digest(self.folder / "originals.bin")
        for name in self.ours.files:
            os.replace(self.folder / name, self.destination / name)
        with whole(self.destination / "offsets.npy") as temporary:
            _save(temporary, offsets)
        if self.ours.keep_resized:
            with whole(self.destination / "resized_shapes.npy") as temporary:
                _save(temporary, np.stack([self.table["height"], self.table["width"]], 1).astype(np.int64))
        return {"kind": "files", "original_bytes": int(offsets[-1]), "digest": digest}


def _report(destination: Path, bad: dict[int, str], paths: list[str], *, fail: bool) -> None:
    """List the rows that are `bad`, and why, in `unreadable.csv`; with `fail`, a UserError that names the first."""
    folder = os.path.commonpath([os.path.abspath(os.path.dirname(min(paths))), os.path.abspath(max(paths))])
    names = {row: _printable(os.path.relpath(paths[row], folder)) for row in sorted(bad)}
    with whole(destination / UNREADABLE) as temporary, open(temporary, "w", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["row", "path", "reason"])
        writer.writerows((row, name, bad[row]) for row, name in names.items())
    if fail:
        lines = [f"{name}: {bad[row]}" for row, name in names.items()]
        if len(lines) > _NAMED:
            lines[_NAMED:] = [f"and {len(lines) - _NAMED} more: see {destination / UNREADABLE}"]
        raise UserError(
            f"{len(bad)} of {len(paths)} images cannot be decoded:\n    " + "\n    ".join(lines),
            where=folder,
            mend="replace these files by intact copies and run it again, what was done is kept (in a folder of yours, "
            "have them fetched first: dvc repro -f data/dvc.yaml:fetch@NAME); or set the data set's `unreadable` to "
            "drop, to go on without them",
        )


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode("utf-8")  # a file's name may be any bytes


def _save(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as file:  # np.save would add .npy to a temporary name
        np.save(file, array)


def _flush(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
