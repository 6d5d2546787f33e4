"""The folder of an index: index.json, which says what the other files are, is written last."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hashrepro.errors import UserError
from hashrepro.files import file_digest, locked, write_json
from hashrepro.search.kinds import check_kind

FORMAT = "hashrepro index, version 1"
NAME = "index.json"
REQUIRED = ("run", "suite", "dataset", "catalog", "model", "class_names")
_MEND = "build it again: hashrepro index {run} --force"


def damaged(what: str, folder: Path, facts: Mapping | None = None) -> UserError:
    """The error for an index that cannot be used as it stands."""
    return UserError(what, where=folder, mend=_MEND.format(run=(facts or {}).get("run", "RUN")))


def check_free(folder: Path, force: bool) -> None:
    """UserError when `folder` is there and is not an index that may be replaced: nothing else is ever removed."""
    if not folder.exists():
        return
    if not folder.is_dir() or (not (folder / NAME).exists() and any(folder.iterdir())):
        raise UserError(
            "This is there and is no index.", where=folder, mend="choose another folder with --out"
        )
    if (folder / NAME).exists() and not force:
        raise UserError("There is an index already.", where=folder, mend="replace it with --force")


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
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            "There is no index here.", where=folder, mend="make one: hashrepro index RUN"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(f"The index cannot be read: {error!r}.", path) from error
    return facts


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


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the index for writing. UserError when another process does."""
    with locked(folder / ".lock", "Another command is adding to this index.", where=folder):
        yield
