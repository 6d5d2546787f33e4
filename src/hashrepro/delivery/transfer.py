"""One file on its way from an address into a ``.part`` file: hashed as it arrives, continued where it broke off.

Whatever happens, the part on disk is the beginning of the file and nothing else, and the note beside it says of which
file.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import requests
from tqdm import tqdm

from hashrepro.delivery.answers import (
    DEFAULT,
    HOPELESS_ERRORS,
    NETWORK_ERRORS,
    Broken,
    Manner,
    Refused,
    Session,
    blocks,
    check_status,
    content_range,
    contradicts,
    is_page,
    length,
    validator,
)
from hashrepro.delivery.contents import Content, Hashing, check_room, hashed
from hashrepro.delivery.pieces import pieces
from hashrepro.errors import UserError
from hashrepro.files import read_json, write_json


def note_of(part: Path) -> Path:
    """The file beside a part that says which file it is a part of."""
    return part.with_name(part.name + ".json")


def noted(part: Path) -> dict:
    """What is noted of a part on disk: the "url" that it came from, the "validator" of its file."""
    try:
        note = read_json(note_of(part))
    except (FileNotFoundError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


class Transfer:
    """A file on its way from `url` into `part`.

    Args:
        size: bytes that the whole file must have, None when unknown.
        room: bytes that must be left on the disk when it is there.

    Attributes:
        alone: whether one connection is used even for a large file.
        in_one_piece: whether all of the part is the body of one answer.
    """

    def __init__(self, url: str, part: Path, size: int | None, manner: Manner = DEFAULT, room: int = 0):
        self.url, self.part, self.size, self.manner, self.room = url, part, size, manner, room
        self.alone, self.in_one_piece = manner.connections == 1, False
        self._total, self._validator, self._hashing = size, None, Hashing()

    def received(self) -> int:
        """Bytes on disk."""
        return self.part.stat().st_size if self.part.exists() else 0

    def discard(self) -> None:
        self.part.unlink(missing_ok=True)  # first: a note without a part does no harm
        note_of(self.part).unlink(missing_ok=True)

    def content(self) -> Content:
        """What has arrived. Only bytes of an earlier process are read from the disk, once."""
        if self._hashing.size != self.received():
            self._hashing = hashed(self.part, self.manner.progress)
        return self._hashing.content()

    def receive(self) -> None:
        """Ask for what is missing. Ends well when all that the server promised has arrived.

        Raises:
            Refused: an answer that repeating does not change, or another size than `size`.
            Broken: an answer that may change, or a broken connection.
            UserError: the disk is too small, or cannot be written to.
        """
        wanted = self._rest()
        try:
            with Session() as session:
                with session.get(
                    self.url, headers=wanted, stream=True, timeout=self.manner.timeout
                ) as response:
                    self._begin(response, wanted.get("If-Range"))
                    split, address, rest = self._may_split(response), response.url, self.received()
                    self.in_one_piece = response.status_code == 200 and not split
                    if not split:
                        self._append(blocks(response))
                if split:
                    self._append(pieces(session, address, rest, self._total, self._validator, self.manner))
        except HOPELESS_ERRORS as error:
            raise Refused(f"{type(error).__name__}: {error}") from error
        except NETWORK_ERRORS as error:
            raise Broken(f"{type(error).__name__}: {error}") from error
        except OSError as error:
            mend = "free some space, or mend what is wrong with the disk, and run again: what arrived is kept"
            raise UserError(f"what arrives cannot be written: {error}", where=self.part, mend=mend) from error
        if self._total is not None and self.received() < self._total:
            raise Broken(f"it ended after {self.received()} of {self._total} bytes")

    def _rest(self) -> dict[str, str]:
        # The rest is asked for only of the very file that the part is from: same address, same validator.
        note = noted(self.part)
        if not self.received() or note.get("url") != self.url or not note.get("validator"):
            return {}
        return {"Range": f"bytes={self.received()}-", "If-Range": note["validator"]}

    def _begin(self, response: requests.Response, known: str | None) -> None:
        """Check what the answer to a request for the rest of the file `known` says, and make the part ready for it."""
        check_status(response)
        whole, there = response.status_code == 200, content_range(response)
        self._validator, total = (validator(response), length(response)) if whole else (known, None)
        if not whole:
            if not (known and there and there[0] == self.received()) or contradicts(response, known):
                self.discard()
                raise Broken("the server could not continue the part, which is dropped")
            total = there[2]
        if self.size is not None and total not in (None, self.size):
            raise Refused(f"it offers {total} bytes, expected {self.size}")
        if is_page(response) and (self.size is None or total is None):
            raise Refused("it answers with a web page (a login, or a message) in place of the file")
        self._total = self.size if self.size is not None else total
        needed = (self._total or 0) - self.received() + self.room
        check_room(self.part.parent, needed, mend="free some space and run again: what arrived is kept")
        if whole:  # not earlier: what is there may be a part from another mirror
            self.discard()
            write_json(note_of(self.part), {"url": self.url, "validator": self._validator})

    def _may_split(self, response: requests.Response) -> bool:
        ranges = response.status_code == 206 or response.headers.get("Accept-Ranges") == "bytes"
        if self.alone or not ranges or not self._validator or self._total is None:
            return False
        return self._total - self.received() >= self.manner.split_from

    def _append(self, arriving: Iterator[bytes]) -> None:
        self.content()  # so that the hashing has all that is on the disk
        bar = tqdm(
            desc=self.part.stem,
            initial=self.received(),
            total=self._total,
            unit="B",
            unit_scale=True,
            disable=not self.manner.progress,
        )
        with contextlib.closing(arriving), bar, open(self.part, "ab") as file:
            for block in arriving:
                if self._total is not None and file.tell() + len(block) > self._total:
                    self.discard()
                    raise Refused(f"it sends more than the expected {self._total} bytes")
                file.write(block)
                self._hashing.update(block)
                bar.update(len(block))
