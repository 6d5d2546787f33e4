"""What a data set is made of before it is read: archives or a folder, with an inventory of their bytes."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing.pool import ThreadPool
from pathlib import Path

from tqdm import tqdm

from hashrepro.datasets.base import Archive, Reader, located
from hashrepro.delivery.answers import Manner
from hashrepro.delivery.contents import check_room, checked
from hashrepro.delivery.download import download
from hashrepro.delivery.unpack import extract, survey
from hashrepro.errors import UserError
from hashrepro.files import file_digest, locked, read_json, write_json

INVENTORY = "inventory.json"
_MARKER = ".unpacked.json"


def missing_patterns(reader: Reader, folder: Path) -> list[str]:
    """Those of the source's file patterns that nothing in the folder of a data set matches."""
    root = located(folder, reader.SOURCE.root)
    return [pattern for pattern in reader.SOURCE.files if not any(root.glob(pattern))]


def find(archive: Archive, places: Sequence[Path]) -> Path | None:
    """The first file of the archive's name in these folders or among these files."""
    for place in places:
        path = place / archive.name if place.is_dir() else place
        if path.name == archive.name and path.is_file():
            return path
    return None


def steps_by_hand(reader: Reader, archives: Sequence[Archive], *more: str) -> str:
    """What a person must do to get these archives, or a set that has none, and then `more`: a numbered line a step."""
    source = reader.SOURCE
    steps = [f"{archive.name}: {archive.by_hand}" for archive in archives if archive.by_hand]
    steps = [*steps, *source.by_hand] or [f"get it from {source.home}"]
    return "\n         ".join(f"{i}. {step}" for i, step in enumerate([*steps, *more], start=1))


def _by_hand(name: str, reader: Reader, archives: Sequence[Archive], raw: Path) -> UserError:
    source, names = reader.SOURCE, ", ".join(archive.name for archive in archives)
    last = f"set datasets.{name}.folder in params.yaml to {source.layout}"
    told = any("datasets." in step for step in source.by_hand)
    if archives:
        last = f"put {names} into {raw}/, or name its folder in params.yaml: machine.archives; or unpack it and {last}"
    return UserError(
        f"{source.title}: {names or 'the set'} cannot be downloaded by a program",
        where=f"params.yaml: datasets.{name}",
        mend=steps_by_hand(reader, archives, *([] if told else [last])),
    )


def _entries(paths: Mapping[str, Path], progress: bool) -> Iterator[dict]:
    with ThreadPool(min(8, os.cpu_count() or 1)) as pool:  # hashing releases the interpreter's lock
        digests = pool.imap(file_digest, paths.values(), chunksize=16)
        bar = tqdm(digests, desc="hashing", total=len(paths), unit="file", delay=1, disable=not progress)
        for (name, path), digest in zip(paths.items(), bar, strict=True):
            yield {"name": name, "size": path.stat().st_size, "sha256": digest}


def _folder_inventory(name: str, reader: Reader, folder: Path, progress: bool) -> dict:
    root = located(folder, reader.SOURCE.root)
    if missing := missing_patterns(reader, folder):
        raise UserError(
            f"the folder lacks {', '.join(missing)}" if folder.is_dir() else "there is no such folder",
            where=folder,
            mend=f"correct datasets.{name}.folder in params.yaml; it must be {reader.SOURCE.layout}",
        )
    try:
        files = list(_entries(_used(reader, root), progress))
    except OSError as error:
        raise UserError(
            f"a file cannot be read: {error.strerror}",
            where=error.filename,
            mend="make it readable, or take it out of the folder",
        ) from error
    return {"kind": "folder", "files": files}


def _used(reader: Reader, root: Path) -> dict[str, Path]:
    """{name: path} of all that `read` looks at in a folder.

    Raises:
        UserError: a name is not UTF-8.
    """
    found = {path for pattern in reader.SOURCE.files for path in root.glob(pattern) if path.is_file()}
    paths = {path.relative_to(root).as_posix(): path for path in sorted(found)}
    for name, path in paths.items():
        try:
            name.encode()
        except UnicodeEncodeError:  # neither the inventory nor a catalog could keep it
            where, mend = repr(os.fsencode(path)), "rename the file or folder"
            raise UserError("the name is not UTF-8", where=where, mend=mend) from None
    return paths


def changed_since(reader: Reader, folder: Path, raw: Path) -> list[str]:
    """Names of files in the user's `folder` that came, went or have another size since `fetch` looked, sorted.

    Nothing is read but the inventory in `raw`. Without one, every file has come.
    """
    inventory = Path(raw) / INVENTORY
    entries = read_json(inventory)["files"] if inventory.exists() else []
    known = {(entry["name"], entry["size"]) for entry in entries}
    here = _used(reader, located(Path(folder), reader.SOURCE.root))
    return sorted({name for name, _ in known ^ {(name, path.stat().st_size) for name, path in here.items()}})


def _archive_inventory(
    name: str,
    reader: Reader,
    archives: Sequence[Archive],
    raw: Path,
    places: Sequence[Path],
    manner: Manner,
    room: int,
) -> dict:
    found = {archive.name: find(archive, [raw, *places]) for archive in archives}
    absent = [archive for archive in archives if found[archive.name] is None]
    if absent and (gone := [place for place in places if not place.exists()]):
        raise UserError(
            f"{absent[0].name} is to be looked for where nothing is",
            where=f"params.yaml: machine.archives: {gone[0]}",
            mend="mount or correct it, or take it out of machine.archives",
        )
    closed = [archive for archive in absent if not archive.urls]
    if closed or not archives:
        raise _by_hand(name, reader, closed, raw)
    contents = {}
    for archive in archives:  # before anything is downloaded
        if path := found[archive.name]:
            again = "or take it away, and it is downloaded" if archive.urls else "and run again"
            mend = f"replace it by an intact copy, {again}"
            contents[archive.name] = checked(archive, path, mend, manner.progress)
    for i, archive in enumerate(absent):
        later = sum(other.size or 0 for other in absent[i + 1 :])
        contents[archive.name] = download(archive, raw, manner, room + later)
    files = [(archive.name, contents[archive.name]) for archive in archives]
    return {"kind": "archives", "files": [{"name": n, "size": c.size, "sha256": c.sha256} for n, c in files]}


def fetch(
    name: str,
    reader: Reader,
    folder: Path | None,
    destination: Path,
    archives: Sequence[Path] = (),
    progress: bool = True,
    room: int = 0,
) -> dict:
    """Make the data set `name` available and write `destination`/inventory.json, which is returned.

    Args:
        folder: where the user keeps the set; it is used in place. None = use the reader's archives.
        archives: folders to look for the archives in, or archives, beside `destination`; what is found there is used
            in place. The others are downloaded into `destination`.
        room: bytes of disk that the set will need beside its archives; looked for before a download begins.

    Raises:
        UserError: the folder lacks files, an archive is not the right one, cannot be fetched, or may only be fetched
            by hand (the message has the steps), or another process is fetching the set.
    """
    destination, wanted = Path(destination), reader.SOURCE.archives
    with locked(destination.with_name(f".{destination.name}.lock"), f"another process is fetching {name}"):
        if folder is not None:
            inventory = _folder_inventory(name, reader, Path(folder), progress)
        else:
            manner = Manner(progress=progress)
            inventory = _archive_inventory(name, reader, wanted, destination, archives, manner, room)
        for pattern in [*(f"*{archive.name}.part*" for archive in wanted), f".{INVENTORY}.*.part"]:
            for left in destination.glob(pattern):  # by processes that were killed
                left.unlink()
        write_json(destination / INVENTORY, inventory)
    return inventory


def source_folder(
    name: str, reader: Reader, folder: Path | None, raw: Path, scratch: Path, archives: Sequence[Path] = ()
) -> Path:
    """The folder to hand to the reader: the user's own, or `scratch` with the fetched archives unpacked in it.

    `scratch` is whole or not there; when these very archives are unpacked there already, nothing is done.

    Args:
        raw: where `fetch` wrote the inventory, and the archives that it downloaded.
        archives: as for `fetch`.

    Raises:
        UserError: the set was not fetched, an archive is missing, damaged, changed or not safe to unpack, or the disk
            is too small.
    """
    again = f"run the fetch stage again: dvc repro -f data/dvc.yaml:fetch@{name}"
    if folder is not None:
        if changed := changed_since(reader, Path(folder), Path(raw)):
            text = (
                f"{len(changed)} files are not as they were when the folder was fetched, {changed[0]} first"
            )
            raise UserError(text, where=folder, mend=again)
        return Path(folder)
    scratch = Path(scratch)
    try:
        fetched = {entry["name"]: entry for entry in read_json(Path(raw) / INVENTORY)["files"]}
        entries = [fetched[archive.name] for archive in reader.SOURCE.archives]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError("the archives were not fetched", where=Path(raw) / INVENTORY, mend=again) from None
    places = [(archive.into, archive.unpack) for archive in reader.SOURCE.archives]
    marker = {"archives": [[e["name"], e["sha256"], *p] for e, p in zip(entries, places, strict=True)]}
    with suppress(OSError, ValueError):
        if read_json(scratch / _MARKER) == marker:
            return scratch

    paths = []
    for archive, entry in zip(reader.SOURCE.archives, entries, strict=True):
        path = find(archive, [Path(raw), *archives])
        if path is None:
            raise UserError(
                f"the archive {archive.name} is missing", where=Path(raw) / archive.name, mend=again
            )
        if (size := path.stat().st_size) != entry["size"]:
            raise UserError(f"{size} bytes, {entry['size']} when it was fetched", where=path, mend=again)
        paths.append(path)

    (scratch / _MARKER).unlink(missing_ok=True)  # first: what is half removed must not count as whole
    unfinished = scratch.with_name(f".{scratch.name}.part")
    for stale in (scratch, unfinished):
        if stale.exists():
            shutil.rmtree(stale)
    try:
        unfinished.mkdir(parents=True)
        _unpack_all(reader.SOURCE.archives, paths, unfinished)
        write_json(unfinished / _MARKER, marker)
        os.replace(unfinished, scratch)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return scratch


def _unpack_all(archives: Sequence[Archive], paths: Sequence[Path], folder: Path) -> None:
    sizes = [
        survey(path, progress=True) if a.unpack else path.stat().st_size
        for a, path in zip(archives, paths, strict=True)
    ]
    check_room(folder, sum(sizes), mend="free some space and run again")
    for archive, path, size in zip(archives, paths, sizes, strict=True):
        (folder / archive.into).mkdir(parents=True, exist_ok=True)
        if archive.unpack:
            extract(path, folder / archive.into, size, progress=True)
        else:
            shutil.copyfile(path, folder / archive.into / archive.name)
