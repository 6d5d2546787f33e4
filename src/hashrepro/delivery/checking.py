"""What of a data set is here, and whether it is whole: archives, the unpacked folder, and what was made of it."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import ImageFile
from tqdm import tqdm

from hashrepro.datasets.base import Reader, ReaderOptions, Reading, located
from hashrepro.datasets.catalog import Catalog
from hashrepro.delivery.contents import hashed, problem
from hashrepro.delivery.download import part_of
from hashrepro.delivery.fetching import INVENTORY, find, missing_patterns, steps_by_hand
from hashrepro.errors import UserError
from hashrepro.files import file_digest, read_json
from hashrepro.images import decoding

State = Literal["ok", "missing", "wrong", "note"]
_NAMED = 100  # images in a state other than "ok" that are named; the others are counted


@dataclass(frozen=True)
class Finding:
    """What was found of one file or folder."""

    path: Path
    state: State
    text: str

    def __str__(self) -> str:
        return f"{self.state:<8}{self.path}: {self.text}"


def summary(findings: Sequence[Finding]) -> str:
    """How many findings there are of each state, in one line."""
    counts = Counter(finding.state for finding in findings)
    return ", ".join(
        f"{counts[state]} {state}" for state in ("ok", "missing", "wrong", "note") if counts[state]
    )


def check_archives(reader: Reader, folders: Sequence[Path], progress: bool = True) -> list[Finding]:
    """One finding an archive: where it is and whether its bytes are right; all are read.

    Args:
        folders: the set's folder below data/raw first, then the user's folders of archives, or archives.
    """
    raw, source = Path(folders[0]), reader.SOURCE
    if not source.archives:
        text = f"the set comes as a folder, and none is named; by hand:\n         {steps_by_hand(reader, [])}"
        return [Finding(raw, "missing", text)]
    fetched = _fetched(raw)
    findings = [
        Finding(place, "note", "no such place for archives") for place in folders[1:] if not place.exists()
    ]
    for archive in source.archives:
        path = find(archive, folders)
        if path is None:
            part = part_of(raw / archive.name)
            came = (
                f"{part.stat().st_size:,} of {archive.size or 0:,} bytes are"
                if part.exists()
                else "it is not"
            )
            mend = "fetch it" if archive.urls else f"by hand:\n         {steps_by_hand(reader, [archive])}"
            findings.append(Finding(raw / archive.name, "missing", f"{came} here; {mend}"))
            continue
        content = hashed(path, progress).content()
        wrong = problem(archive, content)
        if archive.name in fetched and content.sha256 != fetched[archive.name]:
            wrong = wrong or f"sha256 {content.sha256}, {fetched[archive.name]} when it was fetched"
        checks = "the checksum is right" if archive.digest else "no checksum is published"
        right = f"{content.size:,} bytes, {checks}"
        findings.append(Finding(path, "wrong" if wrong else "ok", wrong or right))
    return findings


def _fetched(raw: Path) -> dict[str, str]:
    """Archive name -> SHA-256, as the inventory has it."""
    try:
        return {entry["name"]: entry["sha256"] for entry in read_json(raw / INVENTORY)["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def check_folder(
    reader: Reader,
    folder: Path,
    options: ReaderOptions,
    rng: np.random.Generator,
    decode: bool = False,
    workers: int = 4,
    progress: bool = True,
) -> list[Finding]:
    """What `reader` would miss in the unpacked folder: files, annotation, and images, of which every one is opened.

    Images that are in order are one finding together. Files beside them that the annotation does not mention are
    counted.

    Args:
        decode: decode images whole, not their headers alone.
        workers: threads that open images.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return [Finding(folder, "missing", f"there is no such folder; expected: {reader.SOURCE.layout}")]
    root = located(folder, reader.SOURCE.root)
    findings = [
        Finding(root / pattern, "missing", "no such file") for pattern in missing_patterns(reader, folder)
    ]
    try:
        reading = reader.read(folder, options, rng)
    except UserError as error:
        text = f"{error.what}; {error.mend}" if error.mend else error.what
        return [*findings, Finding(Path(str(error.where or root)), "wrong", text)]
    if isinstance(reading.images, np.ndarray):
        return [*findings, Finding(root, "ok", f"{len(reading.ids):,} images, read from files of pixels")]
    return findings + _check_images(reading, root, decode, workers, progress)


def _check_images(reading: Reading, root: Path, decode: bool, workers: int, progress: bool) -> list[Finding]:
    look = partial(_look, decode=decode, crop_bottom=reading.crop_bottom)
    with ThreadPool(workers) as pool, _truncation_told():
        results = pool.imap(look, reading.images, chunksize=64)
        bar = tqdm(results, desc="images", total=len(reading.images), unit="image", disable=not progress)
        found = [finding for finding in bar if finding]
    for i, finding in enumerate(found):
        if decode and finding.state == "wrong" and look(finding.path) is None:
            found[i] = Finding(finding.path, "note", f"preprocessing takes it as it is: {finding.text}")
    text = f"{len(reading.images) - len(found):,} of {len(reading.images):,} images"
    findings = [Finding(root, "ok", f"{text} can be {'decoded' if decode else 'opened'}")]
    for state in ("missing", "wrong", "note"):
        alike = [finding for finding in found if finding.state == state]
        findings += alike[:_NAMED]
        if (more := len(alike) - _NAMED) > 0:
            findings.append(Finding(root, state, f"and {more:,} more images like these"))
    if others := _unmentioned(reading.images):
        findings.append(
            Finding(root, "note", f"{others:,} files beside the images are not in the annotation")
        )
    return findings


@contextmanager
def _truncation_told() -> Iterator[None]:
    # Preprocessing has Pillow accept files whose end is missing; here they are to be named.
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _look(path: Path, decode: bool, crop_bottom: int) -> Finding | None:
    """What is wrong with one image file, None when nothing is."""
    try:
        if path.stat().st_size == 0:
            return Finding(path, "wrong", "0 bytes")
        if decode:
            decoding.decode(path.read_bytes(), crop_bottom=crop_bottom)
        else:
            decoding.stated_size(path, crop_bottom=crop_bottom)
    except FileNotFoundError:
        return Finding(path, "missing", "no such file")
    except Exception as error:  # Pillow's plugins raise whatever they stumble over in a damaged file
        return Finding(path, "wrong", decoding.reason(error))
    return None


def _unmentioned(images: Sequence[Path]) -> int:
    """Files in the folders of these images that are none of them."""
    mentioned, others = defaultdict(set), 0
    for path in images:
        mentioned[path.parent].add(path.name)
    for folder, names in mentioned.items():
        with suppress(FileNotFoundError), os.scandir(folder) as entries:
            others += sum(entry.name not in names and entry.is_file() for entry in entries)
    return others


def check_processed(folder: Path) -> list[Finding]:
    """Whether catalog and image cache are whole and belong together; the original files in the cache are all read."""
    folder = Path(folder)
    if not folder.is_dir():
        return [Finding(folder, "note", "nothing is preprocessed yet")]
    from hashrepro.images.cache import ImageCache  # torch: all that comes before does without

    findings, lengths = [], []
    for path, what, read in (
        (folder / "catalog.parquet", "catalog", Catalog.read),
        (folder, "image cache", ImageCache.open),
    ):
        try:
            lengths.append(len(found := read(path)))
        except UserError as error:
            findings.append(Finding(path, "wrong", f"{error.what}; {error.mend}"))
            continue
        if what == "image cache":
            originals = folder / ("originals.npy" if found.header["kind"] == "pixels" else "originals.bin")
            if file_digest(originals) != found.header["digest"]:
                findings.append(
                    Finding(originals, "wrong", "its bytes are not those that images.json tells of")
                )
                continue
        findings.append(Finding(path, "ok", f"the {what} is whole: {len(found):,} rows"))
    if len(set(lengths)) > 1:
        text = f"the catalog has {lengths[0]:,} rows, the image cache {lengths[1]:,}"
        findings.append(Finding(folder, "wrong", f"{text}; make both again"))
    return findings


def state(
    reader: Reader, folder: Path | None, raw: Path, processed: Path, archives: Sequence[Path] = ()
) -> str:
    """In a few words, how far a data set is; by names and sizes of files alone.

    Args:
        folder: the user's own folder of the set, None when its archives are to be used.
        raw: the set's folder below data/raw.
        processed: its folder below data/processed.
        archives: the user's folders of archives, or archives.
    """
    if (processed / "catalog.parquet").exists():
        return "ready"
    if folder is not None:
        return "in your folder" if folder.is_dir() else f"not here: there is no folder {folder}"
    source = reader.SOURCE
    paths = {archive: find(archive, [raw, *archives]) for archive in source.archives}
    for archive, path in paths.items():
        if path and archive.size not in (None, path.stat().st_size):
            return f"not here: {path} has the wrong size"
    if paths and all(paths.values()):
        return "fetched" if {path.parent for path in paths.values()} == {raw} else "your archives"
    by_hand = ": by hand" if any(not (a.urls or path) for a, path in paths.items()) or not paths else ""
    parts = [path or part_of(raw / archive.name) for archive, path in paths.items()]
    here = sum(path.stat().st_size for path in parts if path.exists())
    sizes = [archive.size for archive in source.archives]
    if not here:
        return f"not here{by_hand}"
    share = "" if None in sizes else f", {100 * here // sum(sizes)} %"
    return f"partly fetched{share}{by_hand and ', the rest by hand'}"
