"""The folder of an index: index.json, which says what the other files are, is written last."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hashrepro.errors import UserError
from hashrepro.files import file_digest, locked, write_json
from hashrepro.search.kinds import FAISS, check_kind

FORMAT = "hashrepro index, version 1"
NAME = "index.json"
REQUIRED = ("run", "suite", "dataset", "catalog", "model", "class_names")
# all that is ever in the folder of an index
_OWN = (
    NAME,
    "encoder.json",
    "model.safetensors",
    "codes-*.faiss",
    "items-*.parquet",
    ".lock",
    ".*.part",
    "lancedb",
)


def anew(folder: Path, facts: Mapping | None = None) -> str:
    """The command that makes the index in `folder` again."""
    return f"hashrepro index {(facts or {}).get('run', 'RUN')} --force --out {folder}"


def damaged(what: str, where: Path, facts: Mapping | None = None) -> UserError:
    """The error for an index that cannot be used as it stands; `where`: its folder, or a file in it."""
    folder = where if where.is_dir() else where.parent
    return UserError(what, where=where, mend=f"make it again: {anew(folder, facts)}")


def check_free(folder: Path, force: bool) -> None:
    """UserError when `folder` is there and is not an index that may be replaced: nothing else is ever removed."""
    if not folder.exists():
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not _is_index(folder)):
        raise UserError(
            "This is there and is no index.", where=folder, mend="choose another folder with --out"
        )
    if others := sorted(p.name for p in folder.iterdir() if not any(map(p.match, _OWN))):
        raise UserError(
            f"Beside the index there are other files, which would be removed with it: {others[0]}.",
            where=folder,
            mend="move them elsewhere, or choose another folder with --out",
        )
    if (folder / NAME).exists() and not force:
        raise UserError("There is an index already.", where=folder, mend="replace it with --force")


def _is_index(folder: Path) -> bool:
    """Whether its index.json is ours, readable or not: others write files of that name too."""
    try:
        return json.loads((folder / NAME).read_text(encoding="utf-8"))["format"].startswith("hashrepro index")
    except (ValueError, UnicodeDecodeError):  # damaged: ours if the network is beside it
        return (folder / "encoder.json").exists()
    except (OSError, KeyError, TypeError, AttributeError):
        return False


def check_facts(facts: Mapping) -> None:
    """UserError when one of REQUIRED is missing."""
    if missing := [name for name in REQUIRED if name not in facts]:
        raise UserError(
            f"The facts of an index lack {', '.join(missing)}.",
            where="facts",
            mend=f"give {', '.join(REQUIRED)}",
        )


def write_facts(folder: Path, facts: Mapping) -> None:
    """Write index.json, whole or not at all."""
    write_json(folder / NAME, {"format": FORMAT, **facts})


def read_facts(folder: Path) -> dict:
    """What `write_facts` wrote.

    Raises:
        UserError: no index, an index of another version, or one that cannot be read.
    """
    path = folder / NAME
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise damaged(f"The index is of another format: {facts['format']!r}.", path, facts)
        check_kind(facts["store"], facts["kind"])
        if missing := [
            name for name in (*REQUIRED, "bits", "parameters", "uri", "files", "rows") if name not in facts
        ]:
            raise damaged(f"The index does not say its {missing[0]}.", path, facts)
        if facts["store"] == FAISS and not {"codes", "items"} <= facts["files"].keys():
            raise damaged("The index does not say which files it has.", path, facts)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            "There is no index here.", where=folder, mend="make one: hashrepro index RUN"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(f"The index cannot be read: {error!r}.", path) from error
    return facts


def readable_facts(folder: Path) -> dict | None:
    """`read_facts`, or None where there is no index, or a damaged one."""
    try:
        return read_facts(folder)
    except UserError:
        return None


def describe_file(path: Path) -> dict[str, str]:
    """What index.json says of a file of the index."""
    return {"name": path.name, "sha256": file_digest(path)}


def checked_file(folder: Path, facts: Mapping, part: str) -> Path:
    """The file that holds a part of the index, with the content that index.json says.

    Raises:
        UserError: it has another content.
        FileNotFoundError: it is not there; an addition by another process may have replaced it.
    """
    path = folder / Path(facts["files"][part]["name"]).name
    if file_digest(path) != facts["files"][part]["sha256"]:
        raise damaged("This file of the index is damaged: it has not the digest in index.json.", path, facts)
    return path


def remove_unlisted(folder: Path, facts: Mapping) -> None:
    """Remove codes and items that index.json does not name: earlier ones, and what a killed addition has left."""
    listed = {file["name"] for file in facts["files"].values()}
    for pattern in ("codes-*.faiss", "items-*.parquet", ".*.part"):
        for path in folder.glob(pattern):
            if path.name not in listed:
                path.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """UserError when one may not write into `folder`."""
    if not os.access(folder, os.W_OK):
        mend = f"give yourself the right to write there, or copy the index: cp -r {folder} ELSEWHERE"
        raise UserError("This index cannot be written to.", where=folder, mend=mend)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the index for writing. UserError when another process does, or as `check_writable`."""
    check_writable(folder)
    with locked(folder / ".lock", "Another command is adding to this index.", where=folder):
        yield
