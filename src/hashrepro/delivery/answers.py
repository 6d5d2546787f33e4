"""What a server answers: followed where it leads, and believed only as far as it agrees with itself."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

NETWORK_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError)
HOPELESS_ERRORS = (  # of them
    requests.TooManyRedirects,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
)
_BUSY = {408, 425, 429, 500, 502, 503, 504}
_LONGEST_WAIT = 60  # seconds, however long a server asks to be left alone
_BLOCK = 1 << 17


@dataclass(frozen=True)
class Manner:
    """How files are asked for.

    Args:
        timeout: seconds to connect, seconds without a byte.
        connections: that share a large file where the server allows it; 1 = never more than one.
        split_from: bytes still missing from which on they do.
        piece: bytes that a connection asks for at a time; twice `connections` of them may be in memory.
        attempts: in a row without a new byte, before the next mirror.
        wait: seconds before the second attempt, doubled for each further one, give or take a half.
        progress: whether a bar, and what goes wrong, are shown.
    """

    timeout: tuple[float, float] = (10, 60)
    connections: int = 4
    split_from: int = 64 << 20
    piece: int = 8 << 20
    attempts: int = 7
    wait: float = 1.0
    progress: bool = True


DEFAULT = Manner()


class Refused(Exception):
    """This address will not give the right file; another one may."""


class Broken(Exception):
    """The transfer broke off; what arrived is kept, and asking again may help.

    Args:
        wait: seconds that the server asks to be left alone.
        alone: whether it should be asked over one connection from now on.
    """

    def __init__(self, what: str, wait: float = 0.0, alone: bool = False):
        super().__init__(what)
        self.wait, self.alone = wait, alone


class Session(requests.Session):
    """Follows ten redirects at most, and none that leads from https to http."""

    def __init__(self):
        super().__init__()
        self.max_redirects = 10
        self.headers["Accept-Encoding"] = "identity"

    def get_redirect_target(self, response: requests.Response) -> str | None:
        target = super().get_redirect_target(response)
        try:
            schemes = [urlsplit(url).scheme for url in (response.url, urljoin(response.url, target or ""))]
        except ValueError as error:
            raise Refused(f"it redirects to {target!r}: {error}") from error
        if schemes == ["https", "http"]:
            raise Refused(f"it redirects from https to {target}")
        return target


def check_status(response: requests.Response) -> None:
    """Raise Broken when the server may answer otherwise later, Refused when it has no file to give."""
    if response.status_code in _BUSY:
        raise Broken(f"HTTP status {response.status_code}", _wait_asked(response), alone=True)
    if response.status_code not in (200, 206, 416):
        raise Refused(f"HTTP status {response.status_code}")


def _wait_asked(response: requests.Response) -> float:
    try:
        asked = urllib3.Retry().parse_retry_after(response.headers.get("Retry-After", "0"))
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return 0.0
    return min(asked, _LONGEST_WAIT)


def length(response: requests.Response) -> int | None:
    """The bytes that the body is said to have."""
    told = response.headers.get("Content-Length", "")
    return int(told) if re.fullmatch(r"\d{1,18}", told) else None


def content_range(response: requests.Response) -> tuple[int, int, int | None] | None:
    """(first byte, last byte, bytes of the whole file if told) of a part of a file; None for any other answer."""
    told = response.headers.get("Content-Range", "").strip()
    found = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", told)
    if response.status_code != 206 or not found:
        return None
    return int(found[1]), int(found[2]), None if found[3] == "*" else int(found[3])


def validator(response: requests.Response) -> str | None:
    """What tells this file from a later one at the same address: a strong ETag, or the time of its last change."""
    etag = response.headers.get("ETag", "W/")
    return response.headers.get("Last-Modified") if etag.startswith("W/") else etag


def contradicts(response: requests.Response, expected: str) -> bool:
    """Whether the answer is of another file than that with the expected validator: servers do ignore If-Range."""
    told = response.headers.get("ETag" if expected.startswith('"') else "Last-Modified")
    return told is not None and told != expected


def is_page(response: requests.Response) -> bool:
    """Whether it calls itself a web page."""
    return response.headers.get("Content-Type", "").lower().startswith("text/html")


def blocks(response: requests.Response) -> Iterator[bytes]:
    """The body as it is sent, undecoded: some servers call a .tgz "Content-Encoding: x-gzip"."""
    return response.raw.stream(_BLOCK, decode_content=False)
