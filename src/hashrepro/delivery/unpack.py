"""Unpacking tar and zip archives that are not trusted: plain files inside the folder, and nothing else."""

import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tqdm import tqdm

from hashrepro.delivery.contents import check_room
from hashrepro.errors import UserError

_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)
_BLOCK = 1 << 20
_LONGEST_NAME, _LONGEST_PATH = 255, 1000  # bytes of one part, letters of all: within file systems' limits

Member = tuple[str, int, Callable[[], BinaryIO] | None]  # path, bytes, how it is opened (None: a folder)


class _Closed(Exception):
    """What is in the archive cannot be read without something that we do not have."""


def _tar_members(path: Path) -> Iterator[Member]:
    with tarfile.open(path) as archive:
        for member in archive:
            if not (member.isreg() or member.isdir()):
                raise ValueError(f"{member.name!r} is a link or a device")
            opened = None if member.isdir() else lambda member=member: archive.extractfile(member)
            yield _inner(member.name), member.size, opened
        # tarfile takes a cut between two members for the end; the true end is a block of its own.
        if archive.fileobj.tell() - archive.offset < tarfile.BLOCKSIZE:
            raise EOFError("it has no end mark")
        while archive.fileobj.read(_BLOCK):  # to the end, where the compressed stream's checksum is compared
            pass


def _zip_members(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ValueError(f"{member.filename!r} is a link or a device")
            if member.flag_bits & 1:
                raise _Closed(f"{member.filename!r} is encrypted: a password is needed")
            opened = None if member.is_dir() else lambda member=member: archive.open(member)
            yield _inner(member.filename), member.file_size, opened


def _inner(name: str) -> str:
    path = PurePosixPath(name)
    if (
        path.is_absolute()
        or ".." in path.parts
        or "\\" in name
        or "\0" in name
        or ":" in "".join(path.parts[:1])
    ):
        raise ValueError(f"{name!r} would be written outside the folder")
    if len(name) > _LONGEST_PATH or any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts):
        raise ValueError(f"a name of {len(name)} letters is too long: {name[:40]!r}...")
    return str(path)


def _members(path: Path) -> Iterator[Member]:
    with open(path, "rb") as file:
        return _zip_members(path) if file.read(2) == b"PK" else _tar_members(path)


@contextmanager
def _explained(path: Path, folder: Path | None = None) -> Iterator[None]:
    """What goes wrong while the archive is read, or written below `folder`, as a UserError."""
    by_hand = "and name the folder as datasets.<name>.folder in params.yaml"
    try:
        yield
    except ValueError as error:
        raise UserError(
            f"the archive is not safe to unpack: {error}",
            where=path,
            mend=f"fetch it from the official source, or unpack it by hand {by_hand}",
        ) from error
    except (_Closed, NotImplementedError) as error:
        raise UserError(
            f"the archive cannot be opened: {error}",
            where=path,
            mend=f"unpack it with 7z x {path.name}, which asks for the password if there is one, {by_hand}",
        ) from error
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the decompressors' own errors have none
            mend = "free or choose a disk" if folder else "make it readable"
            raise UserError(
                f"cannot {'write' if folder else 'read'}: {error}", where=folder or path, mend=mend
            ) from error
        raise UserError(
            f"the archive is damaged or cut short: {error}",
            where=path,
            mend=f"rm {path}, then fetch it again",
        ) from error


def survey(path: Path, limit: int | None = None, progress: bool = False) -> int:
    """The bytes that a tar (plain, gz, bz2, xz) or zip archive holds, by what its members state; all are looked at.

    Args:
        limit: most bytes that it may hold; by default 1 GiB and twenty times the archive's own size.

    Raises:
        UserError: the archive is damaged or cut short, needs a password, holds more than the limit, or has a member
            that leaves the folder, is a link or a device, stands twice or is a file and a folder at once.
    """
    files, folders, total = set(), set(), 0
    bar = tqdm(desc=f"looking through {path.name}", unit="B", unit_scale=True, delay=1, disable=not progress)
    with _explained(path), bar:
        left = limit if limit is not None else (1 << 30) + 20 * path.stat().st_size
        for name, size, opened in _members(path):
            total += size
            bar.update(size)
            if total > left:
                raise ValueError("its content is larger than the limit")
            if opened and name in files:
                raise ValueError(f"{name!r} stands twice in it")
            (files if opened else folders).add(name)
            while name := os.path.dirname(name):
                folders.add(name)
        if both := files & folders:
            raise ValueError(f"{min(both)!r} is a file and a folder")
    return total


def extract(path: Path, folder: Path, total: int, progress: bool = False) -> None:
    """Write what `survey` found to be `total` bytes into `folder`. Owners, modes and times are not kept.

    A file that is there already is replaced.

    Raises:
        UserError: as for `survey`, or the disk cannot be written to. What was written until then is left.
    """
    bar = tqdm(desc=path.name, total=total, unit="B", unit_scale=True, disable=not progress)
    left = total
    with _explained(path, folder), bar:
        for name, _, opened in _members(path):
            target = folder / name
            if opened is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened() as source, open(target, "wb") as file:
                while block := source.read(_BLOCK):
                    left -= len(block)
                    if left < 0:
                        raise ValueError("its content is larger than its members state")
                    file.write(block)
                    bar.update(len(block))


def unpack(path: Path, folder: Path, limit: int | None = None) -> None:
    """Look through the archive, then unpack it into `folder`, where there must be room for it.

    Raises:
        UserError: as for `survey` and `extract`, or the disk is too small. Nothing is written before the archive was
            looked through.
    """
    total = survey(path, limit)
    folder.mkdir(parents=True, exist_ok=True)
    check_room(folder, total, mend="free some space and run again")
    extract(path, folder, total)
