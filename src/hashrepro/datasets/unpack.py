"""Unpacking tar and zip archives that are not trusted: plain files inside the folder, and nothing else."""

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from hashrepro.errors import UserError

_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)
_BLOCK = 1 << 20


def _tar_members(path: Path) -> Iterator[tuple[str, Callable[[], BinaryIO] | None]]:
    with tarfile.open(path) as archive:
        for member in archive:
            if not (member.isreg() or member.isdir()):
                raise ValueError(f"{member.name!r} is a link or a device")
            yield member.name, None if member.isdir() else lambda member=member: archive.extractfile(member)
        # tarfile takes a cut between two members for the end; the true end is a block of its own.
        if archive.fileobj.tell() - archive.offset < tarfile.BLOCKSIZE:
            raise EOFError("it has no end mark")
        while archive.fileobj.read(_BLOCK):  # to the end, where the compressed stream's checksum is compared
            pass


def _zip_members(path: Path) -> Iterator[tuple[str, Callable[[], BinaryIO] | None]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ValueError(f"{member.filename!r} is a link or a device")
            yield member.filename, None if member.is_dir() else lambda member=member: archive.open(member)


def _target(folder: Path, name: str) -> Path:
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or (parts and ":" in parts[0]):
        raise ValueError(f"{name!r} would be written outside the folder")
    return folder.joinpath(*parts)


def unpack(path: Path, folder: Path, limit: int | None = None) -> None:
    """Unpack a tar (plain, gz, bz2, xz) or zip archive into `folder`. Owners, modes and times are not kept.

    Args:
        limit: most bytes to write; by default 1 GiB and twenty times the archive's own size.

    Raises:
        UserError: the archive is damaged or cut short, or has a member that leaves the folder, is a link or a
            device, or would exceed the limit. What was written until then is left for the caller to remove.
    """
    left = limit if limit is not None else (1 << 30) + 20 * path.stat().st_size
    with open(path, "rb") as file:
        members = _zip_members(path) if file.read(2) == b"PK" else _tar_members(path)
    try:
        for name, open_member in members:
            target = _target(folder, name)
            if open_member is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with open_member() as source, open(target, "wb") as file:
                while block := source.read(_BLOCK):
                    left -= len(block)
                    if left < 0:
                        raise ValueError("its content is larger than the limit")
                    file.write(block)
    except ValueError as error:
        raise UserError(
            f"the archive is not safe to unpack: {error}",
            where=path,
            mend="fetch it from the official source, or unpack it by hand and name the folder in params.yaml",
        ) from error
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the decompressors' own errors have none
            raise UserError(f"cannot write: {error}", where=folder, mend="free or choose a disk") from error
        raise UserError(
            f"the archive is damaged or cut short: {error}",
            where=path,
            mend=f"rm {path}, then fetch it again",
        ) from error
