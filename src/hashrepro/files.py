"""Files that are either whole or absent, and their digests."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from hashrepro.errors import UserError

_FULL = "free some space, then run the same command again"
_SHUT = "let this user write there, then run the same command again"
_DISK = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "allow larger files (ulimit -f), then run the same command again",
    errno.EROFS: _SHUT,
    errno.EACCES: _SHUT,
}


def disk_trouble(error: BaseException, path: os.PathLike | str | None = None) -> UserError | None:
    """What to tell a user whose disk is full, or whose folder cannot be written; None if `error` is not of that kind.

    Args:
        error: an OSError, or safetensors' own, which has the number of the system's error in its text.
        path: what is named in place of the file that the error names.
    """
    number = getattr(error, "errno", None)
    if number is None and (found := re.search(r"\(os error (\d+)\)", str(error))):
        number = int(found[1])
    if number not in _DISK:
        return None
    where = path or getattr(error, "filename", None)
    return UserError(f"The disk refuses: {os.strerror(number)}.", where=where, mend=_DISK[number])


@contextlib.contextmanager
def whole(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` when the block ends well, remove it when not.

    A reader therefore never sees a half-written file or folder under the final name. An existing folder at
    `path` is replaced.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        replace(temporary, path)
    except Exception as error:
        of_another = not str(getattr(error, "filename", None) or temporary).startswith(str(temporary))
        if trouble := disk_trouble(error, None if of_another else path):
            raise trouble from error
        raise
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder; for one that nobody else writes into now."""
    for pattern in (".*.part", ".*.old", ".tmp??????"):  # the last are safetensors' own
        for leftover in folder.glob(pattern):
            if leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink(missing_ok=True)


def replace(made: Path, path: Path) -> None:
    """Give the file or folder `made` the name `path`, in place of what has that name.

    A process that is killed here may leave nothing of that name, but never half of it.
    """
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    if made.is_dir() and path.is_dir():
        os.replace(path, old)
    os.replace(made, path)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def locked(
    path: str | os.PathLike, what: str, *, where: object = None, inheritable: bool = False
) -> Iterator[None]:
    """Hold a lock on the file `path`, which ends with the process whatever happens to it; its children do not hold it.

    Args:
        what: says in a sentence what another process that holds it is doing.
        where: what the message names in place of `path`.
        inheritable: keep the lock when this process becomes another program (exec).

    Raises:
        UserError: another process holds it.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        os.set_inheritable(file.fileno(), inheritable)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise UserError(what, where=where or path, mend="wait for it to end, or stop it") from None
        yield


def write_json(path: str | os.PathLike, value: object) -> None:
    """Write `value` as indented JSON with sorted keys, whole or not at all. NaN is refused (ValueError)."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    with whole(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike) -> object:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def read_json_if_whole(path: str | os.PathLike) -> dict:
    """The object in a JSON file; empty where the file is missing or damaged, for what DVC will make anew."""
    try:
        return read_json(path)
    except (FileNotFoundError, ValueError):
        return {}


def file_digest(path: str | os.PathLike, algorithm: str = "sha256") -> str:
    """Hexadecimal digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def value_digest(value: object) -> str:
    """SHA-256 (hexadecimal) of a JSON-serialisable value; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
