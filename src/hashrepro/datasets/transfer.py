"""One HTTP transfer into a ``.part`` file, continued where it broke off if the server vouches for it."""

import shutil
from pathlib import Path

import requests
import urllib3
from tqdm import tqdm

from hashrepro.errors import UserError
from hashrepro.files import read_json, write_json

TIMEOUT = (10, 60)  # seconds to connect, seconds without a byte
_BLOCK = 1 << 20
_RETRIED = {408, 425, 429, 500, 502, 503, 504}


class Refused(Exception):
    """This address will not give the right file; another one may."""


class Broken(Exception):
    """The transfer broke off; what arrived is kept, and asking again may help."""


def noted_url(part: Path) -> str | None:
    """The address that a part on disk came from."""
    note = part.with_name(part.name + ".json")
    return read_json(note)["url"] if note.exists() else None


class Transfer:
    """A file on its way from `url` into `part`, with a note beside it of which file it is a part of.

    Args:
        size: bytes that the whole file must have, None when unknown.
    """

    def __init__(self, url: str, part: Path, size: int | None, progress: bool):
        self.url, self.part, self.size, self.progress = url, part, size, progress
        self.note = part.with_name(part.name + ".json")

    def received(self) -> int:
        """Bytes on disk."""
        return self.part.stat().st_size if self.part.exists() else 0

    def discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def receive(self) -> None:
        """One request for what is missing. Ends well when all that the server promised has arrived.

        Raises:
            Refused: an answer that repeating does not change, or another size than `size`.
            Broken: an answer that may change, or a broken connection.
            UserError: the disk is too small.
        """
        headers = {"Accept-Encoding": "identity"} | self._range()
        try:
            with requests.get(self.url, headers=headers, stream=True, timeout=TIMEOUT) as response:
                self._check_status(response)
                self._check_room(response)
                etag = response.headers.get("ETag", "W/")
                validator = response.headers.get("Last-Modified") if etag.startswith("W/") else etag
                write_json(self.note, {"url": self.url, "validator": validator})
                self._store(response)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise Broken(f"{type(error).__name__}: {error}") from error
        if self.size is not None and self.received() < self.size:
            raise Broken(f"it ended after {self.received()} of {self.size} bytes")

    def _range(self) -> dict[str, str]:
        # The rest is asked for only of the very file that the part is from: same address, same validator.
        note = read_json(self.note) if self.received() and self.note.exists() else {}
        if note.get("url") != self.url or not note.get("validator"):
            self.discard()
            return {}
        return {"Range": f"bytes={self.received()}-", "If-Range": note["validator"]}

    def _check_status(self, response: requests.Response) -> None:
        status, content_range = response.status_code, response.headers.get("Content-Range", "")
        if status in _RETRIED:
            raise Broken(f"HTTP status {status}")
        if status not in (200, 206, 416):
            raise Refused(f"HTTP status {status}")
        if status == 200:  # the whole file, whatever was asked for
            self.discard()
        elif status == 416 or not content_range.startswith(f"bytes {self.received()}-"):
            self.discard()
            raise Broken("the server could not continue the part, which is dropped")

    def _check_room(self, response: requests.Response) -> None:
        length = response.headers.get("Content-Length", "")
        if not length.isdigit():
            return
        coming = int(length)
        if self.size is not None and self.received() + coming != self.size:
            raise Refused(f"it offers {self.received() + coming} bytes, expected {self.size}")
        free = shutil.disk_usage(self.part.parent).free
        if coming > free:
            raise UserError(
                f"{coming} bytes are to come, {free} are free on the disk",
                where=self.part.parent,
                mend="free some space and run again: what arrived is kept",
            )

    def _store(self, response: requests.Response) -> None:
        bar = tqdm(
            desc=self.part.stem,
            initial=self.received(),
            total=self.size,
            unit="B",
            unit_scale=True,
            disable=not self.progress,
        )
        with bar, open(self.part, "ab") as file:
            # Undecoded: some servers call a .tgz "Content-Encoding: x-gzip", and the archive is wanted.
            for block in response.raw.stream(_BLOCK, decode_content=False):
                file.write(block)
                bar.update(len(block))
                if self.size is not None and file.tell() > self.size:
                    raise Refused(f"it sends more than the expected {self.size} bytes")
