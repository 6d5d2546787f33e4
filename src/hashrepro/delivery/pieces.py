"""A large file over several connections: pieces that are asked for side by side and handed on in their order."""

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import requests

from hashrepro.delivery.answers import (
    NETWORK_ERRORS,
    Broken,
    Manner,
    Refused,
    Session,
    blocks,
    check_status,
    content_range,
    contradicts,
)

_TRIES = 3  # of one piece


def pieces(
    session: Session, address: str, first: int, total: int, validator: str, manner: Manner
) -> Iterator[bytes]:
    """The bytes from `first` to the end of a file of `total` bytes, in order.

    A piece waits in memory for those before it, so that what was handed on is always the beginning of the file.

    Raises:
        Broken: a connection broke repeatedly, or an answer is not the piece of this very file that was asked for.
    """
    stopped = threading.Event()

    def receive(start: int, end: int) -> bytes:
        data, reason = bytearray(), "it ended early"
        for _ in range(_TRIES):
            wanted = {"Range": f"bytes={start + len(data)}-{end - 1}", "If-Range": validator}
            try:
                with session.get(address, headers=wanted, stream=True, timeout=manner.timeout) as response:
                    _check(response, (start + len(data), end - 1, total), validator)
                    for block in blocks(response):
                        data += block
                        if stopped.is_set() or len(data) > end - start:
                            raise Broken("it sends more than was asked for", alone=True)
            except NETWORK_ERRORS as error:
                reason = f"{type(error).__name__}: {error}"
            if len(data) == end - start:
                return data
        raise Broken(reason)

    pool, coming = ThreadPoolExecutor(manner.connections), deque()
    try:
        for start in range(first, total, manner.piece):
            coming.append(pool.submit(receive, start, min(start + manner.piece, total)))
            if len(coming) == 2 * manner.connections:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)


def _check(response: requests.Response, wanted: tuple[int, int, int], validator: str) -> None:
    try:
        check_status(response)
    except Refused as error:  # the address that a redirect led to may have been good for a while only
        raise Broken(str(error)) from error
    if content_range(response) != wanted or contradicts(response, validator):
        raise Broken(f"bytes {wanted[0]} to {wanted[1]} were asked for, others came", alone=True)
