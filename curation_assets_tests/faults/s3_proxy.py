"""A proxy before an S3 server that lets a share of the requests fail, in the ways that networks and stores fail.

Which requests fail follows from a seed and from what is asked, not from when: the n-th request of a kind for a path fails in every run
or in none. What belongs here: faults of requests. What does not: what must hold in spite of them.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qsl, urlsplit

TOKEN = re.compile(r"[0-9a-f]{8,}|\d{10,}")
LATE_S = 0.3
ERROR = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{}</Code><Message>injected</Message><RequestId>0</RequestId></Error>'


class Fault(Enum):
    """What becomes of a request.

    UNSENT: the connection breaks before the request reached the store. LOST: it was carried out, the connection breaks without an answer.
    CUT: it was carried out, the answer breaks off in the middle of its body, or before if it has none. SLOW_DOWN, ERROR: 503 and 500. LATE_ERROR: an error with
    status 200, as S3 ends uploads whose parts it could not join. LATE: the answer takes its time.
    """

    UNSENT = "unsent"
    LOST = "lost"
    CUT = "cut"
    SLOW_DOWN = "SlowDown"
    ERROR = "InternalError"
    LATE_ERROR = "late error"
    LATE = "late"


EVERYWHERE = (Fault.UNSENT, Fault.LOST, Fault.CUT, Fault.SLOW_DOWN, Fault.ERROR, Fault.LATE)
UPLOADS = {
    "begin": (Fault.LOST, Fault.UNSENT),
    "part": (Fault.LOST, Fault.CUT, Fault.SLOW_DOWN),
    "complete": (Fault.LOST, Fault.LATE_ERROR, Fault.CUT),
}
"""Requests of uploads in parts are few, so their first ones fail like this whatever the seed says."""


def kind_of(method: str, target: str) -> str:
    """begin, part, complete and abort of uploads in parts; of all others the method."""
    query = dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
    if "uploads" in query and method == "POST":
        return "begin"
    if "uploadId" in query:
        return {"PUT": "part", "POST": "complete", "DELETE": "abort"}.get(method, method)
    return method


class S3Proxy:
    """Forwards to `upstream`; use as a context manager. An upload that was completed is unknown from then on, as with most stores; moto
    answers as before.

    Args:
        upstream: URL of an S3 server.
        share: of the requests that fail, 0 to 1.
        seed: which.

    Attributes:
        requests: how many there were, by kind.
        faults: (kind, fault) -> how many.
    """

    def __init__(self, upstream: str, share: float, seed: int = 0) -> None:
        self.upstream, self.share, self.seed = upstream, share, seed
        self.requests: Counter[str] = Counter()
        self.faults: Counter[tuple[str, Fault]] = Counter()
        self._seen: Counter[str] = Counter()
        self._completed: set[str] = set()
        self._lock = threading.Lock()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> S3Proxy:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def completed(self, target: str, now: bool = False) -> bool:
        """Whether a request is of an upload that was completed; with `now`, it is from here on."""
        upload = dict(parse_qsl(urlsplit(target).query)).get("uploadId", "")
        with self._lock:
            if now:
                self._completed.add(upload)
            return upload in self._completed

    def draw(self, method: str, target: str) -> Fault | None:
        """What becomes of this request."""
        kind, parts = kind_of(method, target), urlsplit(target)
        path = ".runs" if "/.runs/" in parts.path else TOKEN.sub("T", parts.path.partition("/")[2].partition("/")[2])
        with self._lock:
            self.requests[kind] += 1
            chosen = UPLOADS.get(kind, ())
            if self.requests[kind] <= len(chosen):
                fault: Fault | None = chosen[self.requests[kind] - 1]
            else:
                asked = f"{self.seed} {kind} {path}"
                self._seen[asked] += 1
                digest = hashlib.sha256(f"{asked} {self._seen[asked]}".encode()).digest()
                fails = int.from_bytes(digest[:4]) < self.share * 2**32
                fault = EVERYWHERE[digest[4] % len(EVERYWHERE)] if fails else None
            if fault is not None:
                self.faults[kind, fault] += 1
            return fault


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    owner: S3Proxy
    protocol_version = "HTTP/1.1"

    def _forward(self) -> None:
        assert "chunked" not in self.headers.get("Transfer-Encoding", "")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.owner.draw(self.command, self.path)
        if fault in (Fault.SLOW_DOWN, Fault.ERROR, Fault.LATE_ERROR):
            status = {Fault.SLOW_DOWN: 503, Fault.ERROR: 500, Fault.LATE_ERROR: 200}[fault]
            self._answer(status, {"Content-Type": "application/xml"}, ERROR.format(fault_code(fault)).encode())
            return
        if fault is Fault.UNSENT:
            self._break()
            return
        if self.owner.completed(self.path):
            self._answer(404, {"Content-Type": "application/xml"}, ERROR.format("NoSuchUpload").encode())
            return
        upstream = urlsplit(self.owner.upstream)
        connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=60)
        try:
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            answer = connection.getresponse()
            data, headers = answer.read(), dict(answer.getheaders())
        finally:
            connection.close()
        if kind_of(self.command, self.path) == "complete" and answer.status == 200:
            self.owner.completed(self.path, now=True)
        if fault is Fault.LOST or (fault is Fault.CUT and (self.command == "HEAD" or not data)):
            self._break()
            return
        if fault is Fault.LATE:
            time.sleep(LATE_S)
        self._answer(answer.status, headers, data, cut=fault is Fault.CUT)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _forward

    def _answer(self, status: int, headers: Mapping[str, str], data: bytes, cut: bool = False) -> None:
        self.send_response_only(status)
        head = self.command == "HEAD"
        for name, value in headers.items():
            if name.lower() not in ("transfer-encoding", "connection") and (head or name.lower() != "content-length"):
                self.send_header(name, value)
        if not head:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if not head:
            self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self._break()

    def _break(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        return


def fault_code(fault: Fault) -> str:
    """S3's word for an error."""
    return "SlowDown" if fault is Fault.SLOW_DOWN else "InternalError"
