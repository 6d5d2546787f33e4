"""`hashrepro add`: an index grows by images, of which only those are encoded that it does not have."""

import argparse
import shutil
from pathlib import Path

import numpy as np

from hashrepro.errors import UserError
from hashrepro.files import locked, value_digest
from hashrepro.search.about import About
from hashrepro.search.folder import anew, check_writable
from hashrepro.search.folders import Found, find_images, read_labels
from hashrepro.search.index import Index
from hashrepro.search.items import NETWORK, Items
from hashrepro.search.opening import check_model, describe, open_index


def add(arguments: argparse.Namespace, root: Path) -> int:
    opened, settings = open_index(arguments, root)
    found = find_images(arguments.paths)
    there = opened.contains(found.paths)
    new = [path for path, known in zip(found.paths, there, strict=True) if not known]
    print(f"{in_words(found)}; {len(new):,} are not in the index")
    if not new and arguments.labels is not None:
        raise UserError(
            "The labels were not used: all of these images are in the index, and a row keeps the labels it has.",
            where=arguments.labels,
            mend=f"make the index again and add them with --labels: {anew(opened.folder, opened.facts)}",
        )
    if not new:
        return 0
    labels = labels_of(arguments.labels, opened, new)
    check_model(opened, About.read(opened.folder).model)
    check_writable(opened.folder)  # before hours of encoding

    # torch and timm take seconds: only when all that needs neither is checked
    from hashrepro.search.encoder import unreadable_files
    from hashrepro.search.encoding import encode_folder

    work = root / "work" / "encoding" / value_digest(str(opened.folder.absolute()))[:16]
    with locked(f"{work}.lock", "Another command is adding to this index.", where=opened.folder):
        codes, unreadable = encode_folder(
            opened.folder,
            new,
            work,
            machine=settings.machine,
            processes=arguments.processes,
            workers=arguments.workers,
            progress=opened.facts["run"],
        )
        files = {new[position]: why for position, why in unreadable.items()}
        if files and arguments.unreadable == "fail":
            kept = "nothing was added, and what was encoded is kept"
            raise unreadable_files(files, f"repair them, or go on without them: --unreadable drop; {kept}")
        kept = np.setdiff1d(np.arange(len(new)), list(unreadable))
        paths = [new[position] for position in kept]
        items = Items.of(paths, [labels.get(path, []) for path in paths], NETWORK, paths=paths)
        count = opened.add(codes[kept], items).added if paths else 0
        shutil.rmtree(work)
    for path, why in files.items():
        print(f"left out: {path}: {why}")
    unlabelled = sum(not labels.get(path) for path in paths)
    print(f"added {count:,} images, {unlabelled:,} of them without labels")
    print(f"{opened.folder}: {describe(opened)}")
    return 0


def in_words(found: Found) -> str:
    parts = [f"{len(found.paths):,} images"]
    parts += [f"{found.others:,} other files"] if found.others else []
    parts += [f"{found.repeated:,} folders met again through links"] if found.repeated else []
    return ", ".join(parts)


def labels_of(table: Path | None, opened: Index, new: list[str]) -> dict[str, list[int]]:
    """What a table says of the new images.

    Raises:
        UserError: it says nothing of any, as when paths are written otherwise.
    """
    if table is None:
        return {}
    labels = read_labels(table, opened.class_names)
    if not any(path in labels for path in new):
        raise UserError(
            "The table names none of the new images.",
            where=table,
            mend="write their paths as seen from the table's folder, or absolute",
        )
    return labels
