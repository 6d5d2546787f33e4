"""What a data set is made of before it is read: archives or a folder, with an inventory of their bytes."""

import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from hashrepro.datasets.base import Reader, located
from hashrepro.datasets.download import download
from hashrepro.datasets.unpack import unpack
from hashrepro.errors import UserError
from hashrepro.files import file_digest, whole, write_json


def _inventory(kind: str, root: Path, paths: list[Path]) -> dict:
    """{"kind", "files": [{"name", "size", "sha256"}]}: content only, so equal folders compare equal."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # hashing releases the interpreter's lock
        digests = list(pool.map(file_digest, paths))
    files = [
        {"name": path.relative_to(root).as_posix(), "size": path.stat().st_size, "sha256": digest}
        for path, digest in zip(paths, digests, strict=True)
    ]
    return {"kind": kind, "files": files}


def _folder_inventory(name: str, reader: Reader, folder: Path) -> dict:
    root = located(folder, reader.SOURCE.root)
    missing = [pattern for pattern in reader.SOURCE.files if not any(root.glob(pattern))]
    if missing:
        raise UserError(
            f"the folder lacks {', '.join(missing)}",
            where=folder,
            mend=f"correct datasets.{name}.folder in params.yaml; it must be {reader.SOURCE.layout}",
        )
    paths = {path for pattern in reader.SOURCE.files for path in root.glob(pattern) if path.is_file()}
    return _inventory("folder", root, sorted(paths))


def fetch(
    name: str,
    reader: Reader,
    folder: Path | None,
    destination: Path,
    urls_override: Mapping[str, Sequence[str]] | None = None,
    progress: bool = True,
) -> dict:
    """Make the data set `name` available and write `destination`/inventory.json, which is returned.

    Args:
        folder: where the user keeps the set; it is used in place. None = download the reader's archives into
            `destination`.
        urls_override: archive name -> mirrors to use in place of the reader's.

    Raises:
        UserError: the folder lacks files, an archive cannot be fetched, or the set cannot be fetched at all
            and no folder is named.
    """
    destination = Path(destination)
    if folder is not None:
        inventory = _folder_inventory(name, reader, Path(folder))
    else:
        if not reader.SOURCE.archives:
            raise UserError(
                f"{reader.SOURCE.title} cannot be downloaded by a program",
                where=f"datasets.{name}",
                mend=f"get it from {reader.SOURCE.home} and set datasets.{name}.folder to {reader.SOURCE.layout}",
            )
        urls = urls_override or {}
        if unknown := urls.keys() - {archive.name for archive in reader.SOURCE.archives}:
            raise UserError(
                f"unknown archive {min(unknown)!r}",
                where=f"datasets.{name}.urls",
                mend=f"choose of {', '.join(archive.name for archive in reader.SOURCE.archives)}",
            )
        archives = [replace(a, urls=tuple(urls.get(a.name, a.urls))) for a in reader.SOURCE.archives]
        inventory = _inventory(
            "archives", destination, [download(a, destination, progress) for a in archives]
        )
    write_json(destination / "inventory.json", inventory)
    return inventory


def source_folder(name: str, reader: Reader, folder: Path | None, raw: Path, scratch: Path) -> Path:
    """The folder to hand to the reader: the user's own, or `raw`'s archives unpacked below `scratch`.

    Raises:
        UserError: an archive is missing, damaged or not safe to unpack.
    """
    if folder is not None:
        return Path(folder)
    with whole(Path(scratch) / name) as temporary:
        temporary.mkdir()
        for archive in reader.SOURCE.archives:
            path = Path(raw) / archive.name
            if not path.is_file():
                raise UserError(
                    f"the archive {archive.name} is missing", where=path, mend="run the fetch stage again"
                )
            if archive.unpack:
                unpack(path, temporary)
            else:
                shutil.copyfile(path, temporary / archive.name)
    return Path(scratch) / name
