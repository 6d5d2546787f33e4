import http.server
import re
import threading

import pytest


class Site:
    """A web site whose pages misbehave as told.

    `files` are the true contents by path; `plans` are lists of behaviours by path, one used up by each request, the
    last one kept. A behaviour is "whole", or how the answer differs from a right one:

        "cut"           half of what was asked for, then the connection drops
        "stall"         half of what was asked for, then nothing, until the test ends
        "no length", "chunked", "cut, no length"    no Content-Length
        "too long"      a Content-Length of 7 bytes more than come
        "too short"     the last 7 bytes are neither promised nor sent
        "no ranges"     the whole file, whatever is asked for; ranges are not offered
        "no If-Range"   a range of the present file, whichever file it is asked of
        "shifted"       a range that begins three bytes earlier, and says so
        "lying"         a range that begins three bytes earlier, and does not say so
        "gzip"          is called encoded
        "page"          a web page that says that there is none, with status 200
        ("wrong", bytes)            another file's bytes
        ("redirect", address)
        (status, headers)           an error

    Attributes:
        etags: by path; '"one"' without one, none for "".
        modified: when the files were last changed, None to be silent about it.
        requests: (path, range) in the order of arrival.
        sent: bytes of bodies.
        pause: seconds after every 64 KiB.
        change: called before each answer.
    """

    def __init__(self):
        self.files, self.plans, self.etags, self.requests = {}, {}, {}, []
        self.modified, self.sent, self.pause, self.change = None, 0, 0, lambda: None
        self.lock, self.over = threading.Lock(), threading.Event()

    def next(self, path, wanted):
        with self.lock:
            self.requests.append((path, wanted))
            self.change()
            plan = self.plans.get(path, ["whole"])
            return plan.pop(0) if len(plan) > 1 else plan[0]


class Handler(http.server.BaseHTTPRequestHandler):
    site: Site
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def fail(self, status, headers=()):
        self.send_response(status)
        for name, value in [*dict(headers).items(), ("Content-Length", "0")]:
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self):
        site, wanted = self.site, self.headers.get("Range")
        how = site.next(self.path, wanted)
        if isinstance(how, tuple) and how[0] == "redirect":
            return self.fail(302, {"Location": how[1]})
        if isinstance(how, tuple) and how[0] != "wrong":
            return self.fail(*how)
        if self.path not in site.files:
            return self.fail(404)
        content = how[1] if isinstance(how, tuple) else site.files[self.path]
        etag = site.etags.get(self.path, '"one"')
        if how == "page":
            content, etag, wanted = b"<html>Sorry, too many visitors today.</html>" * 50, "", None
        first, end = 0, len(content)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted or "")
        if (
            asked
            and how != "no ranges"
            and (self.headers.get("If-Range") in (etag, site.modified) or how == "no If-Range")
        ):
            first, end = int(asked[1]), int(asked[2] or end - 1) + 1
            if first >= len(content):
                return self.fail(416, {"Content-Range": f"bytes */{len(content)}"})
            self.send_response(206)
            told = first - 3 if how == "shifted" else first
            self.send_header("Content-Range", f"bytes {told}-{end - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[max(0, first - 3) : end - 3] if how in ("shifted", "lying") else content[first:end]
        if how == "too short":
            body = body[:-7]
        if how != "no ranges":
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "text/html" if how == "page" else "application/octet-stream")
        if etag:
            self.send_header("ETag", etag)
        if site.modified:
            self.send_header("Last-Modified", site.modified)
        if how == "gzip":
            self.send_header("Content-Encoding", "x-gzip")
        if how == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        elif how in ("no length", "cut, no length"):
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body) + (7 if how == "too long" else 0)))
        if how in ("cut", "stall", "too long"):
            self.close_connection = True
        self.end_headers()
        self.send(
            body[: len(body) // 2] if how in ("cut", "cut, no length", "stall") else body, how == "chunked"
        )
        if how == "stall":
            site.over.wait(20)

    def send(self, body, chunked):
        for start in range(0, len(body), 1 << 16):
            block = body[start : start + (1 << 16)]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
            with self.site.lock:
                self.site.sent += len(block)
            if self.site.pause:
                self.site.over.wait(self.site.pause)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):  # a client that has seen enough
        pass


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    site = Site()
    handler = type("OneSite", (Handler,), {"site": site})
    with Server(("127.0.0.1", 0), handler) as server:
        site.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        site.over.set()
        server.shutdown()
        thread.join()
