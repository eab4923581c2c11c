"""A web server on loopback that misbehaves on request, for everything that downloads.

What a path does is its first segment, so that a table of URLs says which faults it holds:

========================  =====================================================================================================
``/ok/NAME``              the file, with ETag, ranges and HEAD
``/plain/NAME``           the file without validators and without ranges
``/partial/NAME``         answers 206 though no range was asked for
``/moved/CODE/NAME``      redirects to ``/ok/NAME``
``/away/SCHEME/NAME``     redirects to another scheme
``/loop/NAME``            redirects to itself
``/slow/SECONDS/NAME``    the file after a pause
``/status/CODE/NAME``     answers that code, always
``/flaky/CODE/N/NAME``    answers that code N times, then the file; 429 and 503 carry ``Retry-After: 0``
``/patience/S/NAME``      answers 429 with ``Retry-After: S``
``/stall/NAME``           sends half of the file and then nothing
``/mute/NAME``            sends not even headers
``/drip/NAME``            sends a byte now and then, for ever
``/dripheaders/NAME``     the same in the headers
``/cut/N/NAME``           breaks the connection in the middle N times, then serves (ranges work)
``/cutplain/NAME``        always breaks in the middle, knows no ranges
``/changed/NAME``         cut once; the ETag is another one afterwards
``/long/NAME``            announces more bytes than it has
``/short/NAME``           announces half of the bytes it has
``/endless/NAME``         a body without end or length
``/endlesspage/NAME``     a page without end
``/huge/NAME``            announces a terabyte
``/html/NAME``            a page without a video, whatever the name says
``/lie/NAME``             a page that calls itself video/mp4
``/json/NAME``            an error in JSON that calls itself video/mp4
``/empty/NAME``           nothing, with status 200
``/page/KIND/NAME``       a page with the video in it; KIND is ``video`` or ``og``
``/folder/...``           files of `folder` by path, with types by extension (playlists and their segments)
``/auth/NAME``            the file for ``Authorization: Basic``, else 401
``/query/NAME?a=b``       the file if the query came through as it was sent
========================  =====================================================================================================
"""

from __future__ import annotations

import hashlib
import html
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote, urlsplit

TYPES = {
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mkv": "video/x-matroska",
    "m3u8": "application/vnd.apple.mpegurl",
    "ts": "video/mp2t",
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "vtt": "text/vtt",
    "html": "text/html; charset=utf-8",
}
DRIP_S = 0.05


class FaultServer:
    """Serves `files` by name in the ways above; use as a context manager.

    Args:
        files: name -> content.
        folder: root of ``/folder/...``.

    Attributes:
        requests: (method, path with query, headers) of every request so far.
        peak: most requests that were answered at the same time.
    """

    def __init__(self, files: Mapping[str, bytes], folder: Path | None = None) -> None:
        self.files, self.folder = dict(files), folder
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.peak = 0
        self.stopping = threading.Event()
        self._active = 0
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> FaultServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, path: str, user: str = "") -> str:
        """URL of `path`; `user` is put before the host (``name:password``)."""
        return f"http://{user + '@' if user else ''}127.0.0.1:{self.port}/{path.lstrip('/')}"

    def hits(self, path: str) -> int:
        """Number of requests for `path`, without its query."""
        return sum(urlsplit(p).path == "/" + path.lstrip("/") for _, p, _ in self.requests)

    def _count(self, key: str) -> int:
        """How often `key` was asked for before."""
        with self._lock:
            self._seen[key] += 1
            return self._seen[key] - 1

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(_Handler):
            server_owner = owner

        return Handler


class _Handler(BaseHTTPRequestHandler):
    server_owner: FaultServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        return

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        owner = self.server_owner
        with owner._lock:
            owner.requests.append((self.command, self.path, dict(self.headers.items())))
            owner._active += 1
            owner.peak = max(owner.peak, owner._active)
        self.close_connection = True
        try:
            kind, *rest = unquote(urlsplit(self.path).path).strip("/").split("/")
            getattr(self, f"_{kind}", self._unknown)(*rest)
        except (BrokenPipeError, ConnectionResetError):
            return
        finally:
            with owner._lock:
                owner._active -= 1

    def _unknown(self, *_: str) -> None:
        self._send(404, b"", "text/plain")

    def _send(self, status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        extra = dict(headers or {})
        self.send_header("Content-Length", extra.pop("Content-Length", str(len(body))))
        for name, value in extra.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _file(self, name: str) -> tuple[bytes, str]:
        """Content and type of a file."""
        return self.server_owner.files[name], TYPES.get(name.rsplit(".", 1)[-1], "application/octet-stream")

    def _ok(self, name: str, etag: str = "", cut: bool = False) -> None:
        body, content_type = self._file(name)
        etag = etag or f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers = {"ETag": etag, "Accept-Ranges": "bytes"}
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if span and self.headers.get("If-Range", etag) == etag:
            start, end = int(span[1]), min(int(span[2] or len(body) - 1), len(body) - 1)
            if start >= len(body):
                self._send(416, b"", content_type, {"Content-Range": f"bytes */{len(body)}"})
                return
            headers["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
            part, status = body[start : end + 1], 206
        else:
            part, status = body, 200
        if not cut:
            self._send(status, part, content_type, headers)
        else:
            self._send(status, part[: len(part) // 2], content_type, {**headers, "Content-Length": str(len(part))})

    def _plain(self, name: str) -> None:
        self._send(200, *self._file(name))

    def _partial(self, name: str) -> None:
        body, content_type = self._file(name)
        self._send(206, body, content_type, {"Content-Range": f"bytes 0-{len(body) - 1}/{len(body)}", "ETag": '"p"'})

    def _slow(self, seconds: str, name: str) -> None:
        self.server_owner.stopping.wait(float(seconds))
        self._ok(name)

    def _moved(self, code: str, name: str) -> None:
        self._send(int(code), b"", "text/plain", {"Location": f"/ok/{name}"})

    def _away(self, scheme: str, name: str) -> None:
        self._send(302, b"", "text/plain", {"Location": f"{scheme}:///etc/{name}"})

    def _to(self, name: str) -> None:
        self._send(302, b"", "text/plain", {"Location": urlsplit(self.path).query})

    def _loop(self, name: str) -> None:
        self._send(302, b"", "text/plain", {"Location": self.path})

    def _status(self, code: str, name: str) -> None:
        self._send(int(code), b"no", "text/plain")

    def _flaky(self, code: str, times: str, name: str) -> None:
        if self.server_owner._count(self.path) < int(times):
            self._send(int(code), b"not now", "text/plain", {"Retry-After": "0"} if code in ("429", "503") else None)
        else:
            self._ok(name)

    def _patience(self, seconds: str, name: str) -> None:
        self._send(429, b"later", "text/plain", {"Retry-After": seconds})

    def _stall(self, name: str) -> None:
        body, content_type = self._file(name)
        self._send(200, body[: len(body) // 2], content_type, {"Content-Length": str(len(body))})
        self.wfile.flush()
        self.server_owner.stopping.wait(60)

    def _mute(self, name: str) -> None:
        self.server_owner.stopping.wait(60)

    def _drip(self, name: str) -> None:
        self._begin("video/mp4")
        while not self.server_owner.stopping.wait(DRIP_S):
            self.wfile.write(b"x")
            self.wfile.flush()

    def _dripheaders(self, name: str) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.server_owner.stopping.wait(DRIP_S):
            self.wfile.write(b"x")
            self.wfile.flush()

    def _cut(self, times: str, name: str) -> None:
        self._ok(name, cut=self.server_owner._count(self.path) < int(times))

    def _cutplain(self, name: str) -> None:
        body, content_type = self._file(name)
        self._send(200, body[: len(body) // 2], content_type, {"Content-Length": str(len(body))})

    def _changed(self, name: str) -> None:
        before = self.server_owner._count(self.path)
        self._ok(name, etag='"first"' if before == 0 else '"second"', cut=before == 0)

    def _long(self, name: str) -> None:
        body, content_type = self._file(name)
        self._send(200, body, content_type, {"Content-Length": str(len(body) + 1000)})

    def _short(self, name: str) -> None:
        body, content_type = self._file(name)
        self._send(200, body, content_type, {"Content-Length": str(len(body) // 2)})

    def _begin(self, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Connection", "close")
        self.end_headers()

    def _endless(self, name: str) -> None:
        self._begin("video/mp4")
        while not self.server_owner.stopping.is_set():
            self.wfile.write(b"\0\0\0\1" * 16_384)

    def _endlesspage(self, name: str) -> None:
        self._begin("text/html")
        self.wfile.write(b"<!doctype html><html><body>")
        while not self.server_owner.stopping.is_set():
            self.wfile.write(b"<p>more</p>\n" * 10_000)

    def _huge(self, name: str) -> None:
        self._send(200, b"x", "video/mp4", {"Content-Length": str(10**12)})

    def _html(self, name: str) -> None:
        self._send(
            200,
            b"<!doctype html><html><head><title>Nothing</title></head><body><p>No video.</p></body></html>",
            TYPES["html"],
        )

    def _lie(self, name: str) -> None:
        self._send(200, b"<!DOCTYPE html><html><body>Please sign in</body></html>" * 50, "video/mp4")

    def _json(self, name: str) -> None:
        self._send(200, b'{"error": "quota exceeded"}', "video/mp4")

    def _empty(self, name: str) -> None:
        self._send(200, b"", "video/mp4")

    def _page(self, kind: str, name: str) -> None:
        source = html.escape(self.server_owner.url(f"folder/{name}" if name.endswith("m3u8") else f"ok/{name}"))
        head = f'<meta property="og:video" content="{source}">' if kind == "og" else ""
        body = f'<video src="{source}"></video>' if kind == "video" else ""
        text = f"<!doctype html><html><head><title>A page</title>{head}</head><body>{body}</body></html>"
        self._send(200, text.encode(), TYPES["html"])

    def _folder(self, *path: str) -> None:
        file = self.server_owner.folder.joinpath(*path) if self.server_owner.folder else None
        if file is None or not file.is_file():
            self._send(404, b"", "text/plain")
            return
        self._send(200, file.read_bytes(), TYPES.get(file.suffix[1:], "application/octet-stream"))

    def _auth(self, name: str) -> None:
        if self.headers.get("Authorization", "").startswith("Basic "):
            self._ok(name)
        else:
            self._send(401, b"", "text/plain", {"WWW-Authenticate": "Basic"})

    def _query(self, name: str) -> None:
        self._ok(name) if urlsplit(self.path).query else self._send(403, b"", "text/plain")


def wait_until(condition: Callable[[], object], seconds: float = 240.0) -> None:
    """Waits until `condition()` is true; AssertionError if it is not within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.01)
