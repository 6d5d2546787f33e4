import http.server
import os
import threading
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data sets, for the tests that need them."""
    folder = os.environ.get("HASHREPRO_TEST_DATA")
    if not folder:
        pytest.skip("HASHREPRO_TEST_DATA does not name a folder with birds50/ and cifar-10-batches-py/")
    return Path(folder)


class Site:
    """A web site whose pages misbehave as told.

    `files` are the true contents by path; `plans` are lists of behaviours by path, one used up by each
    request, the last one kept: "whole", "cut" (half of what was asked for, then the connection drops), "no
    ranges", "no length", "cut, no length", "404", "503", ("wrong", bytes), "shifted" (continues at another
    byte), "gzip" (calls it encoded).
    """

    def __init__(self):
        self.files, self.plans, self.etags, self.requests = {}, {}, {}, []

    def plan(self, path):
        plan = self.plans.get(path, ["whole"])
        return plan.pop(0) if len(plan) > 1 else plan[0]


class Handler(http.server.BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *_):
        pass

    def do_GET(self):
        site, wanted = self.site, self.headers.get("Range")
        site.requests.append((self.path, wanted))
        how = site.plan(self.path)
        if how in ("404", "503") or self.path not in site.files:
            self.send_error(int(how) if how in ("404", "503") else 404)
            return
        content = how[1] if isinstance(how, tuple) else site.files[self.path]
        etag, start = site.etags.get(self.path, '"one"'), 0
        if wanted and how != "no ranges" and self.headers.get("If-Range") == etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            first = start - 3 if how == "shifted" else start
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if etag:
            self.send_header("ETag", etag)
        if how == "gzip":
            self.send_header("Content-Encoding", "x-gzip")
        rest = content[start:]
        if how not in ("no length", "cut, no length"):
            self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: len(rest) // 2] if how in ("cut", "cut, no length") else rest)


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    site = Site()
    handler = type("OneSite", (Handler,), {"site": site})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        site.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        server.shutdown()
        thread.join()
