"""Fetching one archive: mirrors in order, interrupted transfers resumed, size and digest checked."""

import os
import time
from pathlib import Path

from hashrepro.datasets.base import Archive
from hashrepro.datasets.transfer import Broken, Refused, Transfer, noted_url
from hashrepro.errors import UserError
from hashrepro.files import file_digest

ATTEMPTS = 5  # in a row without a new byte, before the next mirror


def problem(archive: Archive, path: Path) -> str | None:
    """What is wrong with the file at `path` as this archive, None when nothing is."""
    size = path.stat().st_size
    if archive.size is not None and size != archive.size:
        return f"{size} bytes, expected {archive.size}"
    if archive.digest is not None:
        algorithm, _, expected = archive.digest.partition(":")
        found = file_digest(path, algorithm)
        if found != expected:
            return f"{algorithm} {found}, expected {expected}"
    return None


def _fill(transfer: Transfer, archive: Archive, wait: float) -> None:
    """Bring the part to its full length from one mirror and check it; raises Refused when that cannot be."""
    failures, most = 0, transfer.received()
    while True:
        resumed = transfer.received() > 0
        try:
            if transfer.received() != archive.size:
                transfer.receive()
        except Broken as error:
            gained = transfer.received() > most
            failures, most = (1 if gained else failures + 1), max(most, transfer.received())
            if failures >= ATTEMPTS:
                raise Refused(str(error)) from error
            time.sleep(wait * 2 ** (failures - 1))
            continue
        wrong = problem(archive, transfer.part)
        if wrong is None:
            return
        transfer.discard()
        # A part from an earlier run may have been spoilt; a file fetched in one piece is the server's own.
        if not resumed:
            raise Refused(wrong)


def download(archive: Archive, folder: Path, progress: bool = True, wait: float = 1.0) -> Path:
    """Fetch `archive` into `folder` under its own name, which only ever holds the whole, checked file.

    A file that is there already is checked and kept. An interrupted transfer is resumed from its ``.part``
    when the server vouches (ETag or Last-Modified) that it is still the same file.

    Args:
        wait: seconds before a failed request is repeated, doubled each time.

    Raises:
        UserError: no mirror gave the right file (each is named with its reason), the disk is too small, or a
            file of that name is there and is not the right one.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / archive.name
    if path.exists():
        if wrong := problem(archive, path):
            raise UserError(f"{archive.name} is not the right file: {wrong}", where=path, mend=f"rm {path}")
        return path

    part = folder / f"{archive.name}.part"
    begun = noted_url(part)
    reasons = []
    for url in sorted(archive.urls, key=lambda url: url != begun):
        transfer = Transfer(url, part, archive.size, progress)
        try:
            _fill(transfer, archive, wait)
        except Refused as reason:
            reasons.append(f"{url}: {reason}")
            continue
        os.replace(part, path)
        transfer.discard()
        return path
    raise UserError(
        f"{archive.name} could not be fetched:\n    " + "\n    ".join(reasons),
        where=folder,
        mend=f"check the connection and run again (what arrived is kept), or put the file there: {path}",
    )
