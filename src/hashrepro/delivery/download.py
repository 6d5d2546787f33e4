"""Fetching one archive: mirrors in order, broken transfers resumed, size and digest checked as the bytes arrive."""

import os
import random
import sys
import time
from pathlib import Path

from tqdm import tqdm

from hashrepro.datasets.base import Archive
from hashrepro.delivery.answers import DEFAULT, Broken, Manner, Refused
from hashrepro.delivery.contents import Content, checked, problem
from hashrepro.delivery.transfer import Transfer, note_of, noted
from hashrepro.errors import UserError


def part_of(path: Path) -> Path:
    """Where a file is kept until it is whole."""
    return path.with_name(f"{path.name}.part")


def _fill(transfer: Transfer, archive: Archive, manner: Manner) -> Content:
    """Bring the part to its full length from one mirror and check it; raises Refused when that cannot be."""
    failures, most, restarted = 0, transfer.received(), False
    while True:
        try:
            if transfer.received() != archive.size:
                transfer.receive()
        except Broken as error:
            gained = transfer.received() > most
            failures, most = (1 if gained else failures + 1), max(most, transfer.received())
            if failures >= manner.attempts:
                raise Refused(str(error)) from error
            transfer.alone |= error.alone or not gained
            wait = max(error.wait, manner.wait * 2 ** (failures - 1) * random.uniform(0.5, 1.5))
            if manner.progress:
                tqdm.write(f"{transfer.url}: {error}; asked again in {wait:.0f} s", file=sys.stderr)
            time.sleep(wait)
            continue
        content = transfer.content()
        wrong = problem(archive, content)
        if wrong is None:
            return content
        transfer.discard()
        # A part may have been spoilt on the disk or mixed by the server; the body of one answer is the server's file.
        if transfer.in_one_piece or restarted:
            raise Refused(wrong)
        restarted, most, transfer.alone = True, 0, True


def download(archive: Archive, folder: Path, manner: Manner = DEFAULT, room: int = 0) -> Content:
    """Fetch `archive` into `folder` under its own name, which only ever holds the whole, checked file.

    A file that is there already is checked and kept. An interrupted transfer is resumed from its ``.part``
    when the server vouches (ETag or Last-Modified) that it is still the same file.

    Args:
        room: bytes that must be left on the disk when the archive is there.

    Returns:
        its size and digests, computed while it arrived.

    Raises:
        UserError: no mirror gave the right file (each is named with its reason), the disk is too small, or a
            file of that name is there and is not the right one.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / archive.name
    part = part_of(path)
    if path.exists():
        return checked(archive, path, mend=f"rm {path}, then fetch it again", progress=manner.progress)
    begun = noted(part).get("url")
    reasons = []
    for url in sorted(archive.urls, key=lambda url: url != begun):
        try:
            content = _fill(Transfer(url, part, archive.size, manner, room), archive, manner)
        except Refused as reason:
            reasons.append(f"{url}: {reason}")
            continue
        os.replace(part, path)
        note_of(part).unlink(missing_ok=True)
        return content
    raise UserError(
        f"{archive.name} could not be fetched:\n    " + "\n    ".join(reasons),
        where=folder,
        mend=f"check the connection and run again (what arrived is kept), or put the file there: {path}",
    )
