"""Bytes on the disk: what a file holds, whether it is an archive's own, and whether there is room for more."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from hashrepro.datasets.base import Archive
from hashrepro.errors import UserError

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Content:
    """A file's bytes, told by their number and their digests (hexadecimal)."""

    size: int
    md5: str
    sha256: str


class Hashing:
    """Size and digests of bytes that come one block after another."""

    def __init__(self):
        self.size = 0
        self._md5, self._sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()

    def update(self, block: bytes) -> None:
        self.size += len(block)
        self._md5.update(block)
        self._sha256.update(block)

    def content(self) -> Content:
        return Content(self.size, self._md5.hexdigest(), self._sha256.hexdigest())


def hashed(path: Path, progress: bool = False) -> Hashing:
    """The hashing of a file's bytes, to which more may be added; of none when there is no such file."""
    hashing, size = Hashing(), path.stat().st_size if path.exists() else 0
    if size:
        bar = tqdm(
            desc=f"checking {path.name}", total=size, unit="B", unit_scale=True, delay=1, disable=not progress
        )
        with open(path, "rb") as file, bar:
            while block := file.read(_BLOCK):
                hashing.update(block)
                bar.update(len(block))
    return hashing


def problem(archive: Archive, content: Content) -> str | None:
    """What is wrong with this content as that of the archive, None when nothing is."""
    if archive.size not in (None, content.size):
        return f"{content.size} bytes, expected {archive.size}"
    algorithm, _, expected = (archive.digest or "").partition(":")
    found = {"": expected, "md5": content.md5, "sha256": content.sha256}[algorithm]
    return None if found == expected else f"{algorithm} {found}, expected {expected}"


def checked(archive: Archive, path: Path, mend: str, progress: bool = False) -> Content:
    """The content of the file at `path`, which is the archive's.

    Raises:
        UserError: it has another size or digest; `mend` says what to do then.
    """
    size = path.stat().st_size
    content = Content(size, "", "") if archive.size not in (None, size) else hashed(path, progress).content()
    if wrong := problem(archive, content):
        raise UserError(f"{archive.name} is not the right file: {wrong}", where=path, mend=mend)
    return content


def check_room(folder: Path, needed: int, mend: str) -> None:
    """Look whether the disk of the existing `folder` has `needed` bytes left.

    Raises:
        UserError: it has not; `mend` says what to do then.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(f"{needed} bytes are to come, {free} are free on the disk", where=folder, mend=mend)
