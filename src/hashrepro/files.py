"""Files that are either whole or absent, and their digests."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from hashrepro.errors import UserError


@contextlib.contextmanager
def whole(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` when the block ends well, remove it when not.

    A reader therefore never sees a half-written file or folder under the final name. An existing folder at
    `path` is replaced.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


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


def file_digest(path: str | os.PathLike, algorithm: str = "sha256") -> str:
    """Hexadecimal digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def value_digest(value: object) -> str:
    """SHA-256 (hexadecimal) of a JSON-serialisable value; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
