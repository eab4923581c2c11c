"""An HTTP proxy on this machine that leads to public addresses only, for programs whose connections are not ours: yt-dlp and ffmpeg.

They resolve names and follow redirects and playlists themselves; given this as their proxy, every connection that they want is judged
by `curation_resources.addresses`. One serves one job and ends with it. It knows CONNECT, which carries TLS untouched, and plain requests, one
for each connection.
"""

from __future__ import annotations

import contextlib
import select
import socket
import socketserver
import threading
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

from curation_resources import addresses
from curation_resources.download_errors import DownloadError

HEAD_BYTES = 256 * 1024
RELAY_BYTES = 64 * 1024
_OWN_HEADERS = frozenset({"connection", "proxy-connection", "proxy-authorization", "keep-alive"})


class Upstream:
    """The operator's own proxy: where it is and what it wants to be told.

    Args:
        host, port: where it listens; it may be a private address.
        authorization: value of `Proxy-Authorization`, or ''.
    """

    def __init__(self, host: str, port: int, authorization: str = "") -> None:
        self.host, self.port, self.authorization = host, port, authorization


class GuardProxy:
    """The proxy; use as a context manager.

    Args:
        timeout_s: longest silence of a connection.
        upstream_of: the operator's proxy for a URL, or None where it is to be reached directly.

    Attributes:
        url: what to give as a proxy.
        refusals: why connections were refused, oldest first.
    """

    def __init__(self, timeout_s: float, upstream_of: Callable[[str], Upstream | None]) -> None:
        self.timeout_s, self.upstream_of = timeout_s, upstream_of
        self.refusals: list[str] = []
        owner = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError, ValueError):  # the client hears of it by the end of the connection
                    owner._serve(self.request)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> GuardProxy:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(self.timeout_s)
        head, rest = _read_head(client)
        request, *headers = head.split("\r\n")
        method, target, version = request.split(" ")
        tunnel = method == "CONNECT"
        parts = urlsplit(f"https://{target}" if tunnel else target)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        try:
            upstream = self.upstream_of(f"https://{target}" if tunnel else target)
            remote = self._open(host, port, upstream)
        except DownloadError as error:
            self.refusals.append(error.message)
            client.sendall(_answer("403 Forbidden", error.message))
            return
        except OSError as error:
            client.sendall(_answer("502 Bad Gateway", error.strerror or str(error)))
            return
        with remote:
            kept = [h for h in headers if h and h.partition(":")[0].strip().lower() not in _OWN_HEADERS]
            if upstream is not None:
                kept += [f"Proxy-Authorization: {upstream.authorization}"] if upstream.authorization else []
            if tunnel and upstream is None:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                remote.sendall(rest)
                self._relay(client, remote)
                return
            if not tunnel:
                kept.append("Connection: close")
                if upstream is None:
                    target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
            remote.sendall("\r\n".join([f"{method} {target} {version}", *kept, "", ""]).encode("latin-1"))
            if tunnel:
                remote.sendall(rest)
                self._relay(client, remote)
            else:
                self._relay(client, remote, _body_length(headers), rest)

    def _open(self, host: str, port: int, upstream: Upstream | None) -> socket.socket:
        if upstream is None:
            return addresses.connect(host, port, self.timeout_s)
        addresses.check_name(host, port)
        return socket.create_connection((upstream.host, upstream.port), self.timeout_s)

    def _relay(self, client: socket.socket, remote: socket.socket, body: int | None = None, first: bytes = b"") -> None:
        """Passes bytes on until both sides have ended; of the client's no more than `body`, if that is given, `first` among them."""
        if body is not None:
            first = first[:body]
            remote.sendall(first)
            body -= len(first)
        reading = {remote: client, client: remote}
        if body == 0:
            del reading[client]
        while remote in reading:
            ready, _, _ = select.select(list(reading), [], [], self.timeout_s)
            if not ready:
                return
            for source in ready:
                data = source.recv(RELAY_BYTES if source is remote or body is None else min(RELAY_BYTES, body))
                if data:
                    reading[source].sendall(data)
                    body = body - len(data) if body is not None and source is client else body
                if not data or (source is client and body == 0):
                    target = reading.pop(source)
                    if not data:
                        with contextlib.suppress(OSError):
                            target.shutdown(socket.SHUT_WR)


def _read_head(client: socket.socket) -> tuple[str, bytes]:
    """A request's first line and headers, and what came behind them."""
    data = b""
    while b"\r\n\r\n" not in data:
        block = client.recv(RELAY_BYTES)
        if not block or len(data) > HEAD_BYTES:
            raise ValueError("no request")
        data += block
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def _body_length(headers: list[str]) -> int:
    given = (h.partition(":")[2].strip() for h in headers if h.lower().startswith("content-length:"))
    return int(next(given, "0"))


def _answer(status: str, text: str) -> bytes:
    body = text.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode("latin-1") + body
