"""Plain HTTP(S) downloads into a file: redirects, resumption, and limits that no server can outwait.

`http.client` is used directly because every wait has to be bounded, also that for slowly dripping headers, TLS handshakes and
bodies: a timer shuts the socket down when the time of the attempt is over.
"""

from __future__ import annotations

import base64
import http.client
import re
import socket
import ssl
import time
import urllib.request
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from curation_resources import addresses
from curation_resources.deadline import Deadline
from curation_resources.download_errors import DownloadError, http_class
from curation_resources.retry_after import retry_after
from curation_resources.urls import HTTP_SCHEMES, redact, scheme_of

USER_AGENT = "Mozilla/5.0 (compatible; curation-assets)"
REDIRECTS = 10
READ_BYTES = 256 * 1024
_PAGE_TYPE = re.compile(
    r"(?i)^(text/html|application/xhtml\+xml|application/dash\+xml|(application|audio)/(vnd\.apple\.|x-)?mpegurl)\b"
)
_MEDIA_TYPE = re.compile(
    r"(?i)^(video/|audio/|(application|binary)/octet-stream|application/(mp4|ogg|x-matroska|mxf|x-mpegts|vnd\.rn-realmedia))"
)


class IsPage(Exception):
    """The URL answers with a page or a playlist, which is for an extractor to read; `content_type` says which."""

    def __init__(self, content_type: str) -> None:
        self.content_type = content_type
        super().__init__(content_type)


@dataclass(frozen=True)
class HttpLimits:
    """Bounds of a transfer.

    Attributes:
        timeout_s: longest silence of the connection.
        max_bytes: longest body.
        rate_limit: bytes per second; None is unlimited.
        proxy: http proxy URL; None takes the one of the environment, '' none.
        allow_private: whether addresses that are not public may be connected to; see `curation_resources.addresses`.
    """

    timeout_s: float = 60
    max_bytes: int = 8_000_000_000
    rate_limit: int | None = None
    proxy: str | None = None
    allow_private: bool = True


def _requestable(url: str) -> str:
    """`url` with spaces and non-ASCII characters encoded, its query kept as it is, and the fragment dropped."""
    parts = urlsplit(url.strip())
    host = (
        (parts.hostname or "").encode("idna").decode() if not (parts.hostname or "").isascii() else parts.hostname or ""
    )
    if not host:
        raise ValueError("no host")
    port = f":{parts.port}" if parts.port else ""
    host = f"[{host}]" if ":" in host else host
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    kept = "%/:=&?~#+!$,;'@()*[]|^"
    return urlunsplit(
        (
            parts.scheme.lower(),
            f"{user}{host}{port}",
            quote(parts.path, safe=kept) or "/",
            quote(parts.query, safe=kept),
            "",
        )
    )


def _proxy_for(url: str, limits: HttpLimits) -> str | None:
    if limits.proxy is not None:
        return limits.proxy or None
    host = urlsplit(url).hostname or ""
    return None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(scheme_of(url))


def basic(user_info: str) -> str:
    """Value of an `Authorization` header for the part of a URL before the host."""
    return "Basic " + base64.b64encode(unquote(user_info).encode()).decode()


class HttpTransfer:
    """One URL on its way into one file, over as many attempts as it takes; what has arrived is kept between them.

    Args:
        url: http(s) URL.
        path: file to write.
        limits: bounds.
        cookies: cookies to send and to keep.
        expect_media: the URL names a media file, so that an unclear content type is taken for media.
    """

    def __init__(
        self, url: str, path: Path, limits: HttpLimits, cookies: CookieJar | None = None, expect_media: bool = False
    ) -> None:
        self.url, self.path, self.limits, self.cookies, self.expect_media = url, path, limits, cookies, expect_media
        self.received = 0
        self.total: int | None = None
        self.validator: str | None = None
        self.final_url = url

    def attempt(self, deadline: Deadline) -> None:
        """Fetches what is missing.

        Raises:
            IsPage: the answer is a page or a playlist.
            DownloadError: anything else that is not the whole body.
        """
        try:
            self._follow(_requestable(self.url), deadline)
        except (IsPage, DownloadError):
            raise
        except TimeoutError as error:
            deadline.check()
            raise DownloadError("timeout", f"the server was silent for {self.limits.timeout_s:g} s") from error
        except ssl.SSLError as error:
            deadline.check()
            raise DownloadError("network", f"TLS failed: {error.reason or error}") from error
        except http.client.InvalidURL as error:
            raise DownloadError("unsupported", "not a valid URL: it contains control characters") from error
        except http.client.HTTPException as error:
            deadline.check()
            raise DownloadError("network", f"the connection broke: {_reason(error)}") from error
        except UnicodeError as error:
            raise DownloadError("unsupported", "not a valid URL: the host name cannot be encoded") from error
        except ValueError as error:
            raise DownloadError("unsupported", f"not a valid URL: {error}") from error
        except OSError as error:
            deadline.check()
            raise DownloadError("network", f"the connection failed: {error.strerror or error}") from error

    def _follow(self, url: str, deadline: Deadline) -> None:
        first = url
        for _ in range(REDIRECTS + 1):
            deadline.check()
            location = self._request(url, deadline, credentials=urlsplit(url).netloc == urlsplit(first).netloc)
            if location is None:
                self.final_url = url
                return
            target = urljoin(url, location)
            if scheme_of(target) not in HTTP_SCHEMES:
                raise DownloadError("unsupported", f"the server redirects out of http(s), to {redact(target)}")
            url = _requestable(target)
        raise DownloadError("unsupported", f"more than {REDIRECTS} redirects")

    def _connect(self, url: str, deadline: Deadline) -> tuple[http.client.HTTPConnection, dict[str, str], str]:
        """A connection for `url`, the headers that its proxy wants, and the request target."""
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        target = urlunsplit(("", "", parts.path, parts.query, ""))
        timeout = max(0.01, min(self.limits.timeout_s, deadline.remaining))
        proxy = _proxy_for(url, self.limits)
        endpoint = urlsplit(proxy if proxy and "://" in proxy else f"http://{proxy}") if proxy else parts
        if proxy and endpoint.scheme != "http":
            raise DownloadError("network", f"plain downloads need an http:// proxy, not {endpoint.scheme}://")
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        extra: dict[str, Any] = {"context": ssl.create_default_context()} if secure else {}
        connection = kind(endpoint.hostname or "", endpoint.port, timeout=timeout, **extra)
        headers: dict[str, str] = {}
        if proxy:
            if not self.limits.allow_private:
                addresses.check_name(parts.hostname or "", parts.port or (443 if secure else 80))
            user = endpoint.netloc.rpartition("@")[0]
            authorization = {"Proxy-Authorization": basic(user)} if user else {}
            if secure:
                connection.set_tunnel(parts.hostname or "", parts.port or 443, headers=authorization)
            else:
                headers |= authorization
                target = urlunsplit(("http", parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))
        return connection, headers, target

    def _headers(self, url: str, credentials: bool) -> dict[str, str]:
        headers = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}
        user = urlsplit(url).netloc.rpartition("@")[0]
        if user and credentials:
            headers["Authorization"] = basic(user)
        if self.cookies is not None:
            request = urllib.request.Request(url)
            self.cookies.add_cookie_header(request)
            if cookie := request.get_header("Cookie"):
                headers["Cookie"] = cookie
        if self.received and self.validator:
            headers["Range"] = f"bytes={self.received}-"
            headers["If-Range"] = self.validator
        elif self.received:
            self.received = 0
        return headers

    def _request(self, url: str, deadline: Deadline, credentials: bool) -> str | None:
        """One request; the location of a redirect, or None once the body is complete."""
        connection, headers, target = self._connect(url, deadline)
        proxied = _proxy_for(url, self.limits) is not None
        headers |= self._headers(url, credentials)
        guards: list[Any] = []

        def open_socket(address: tuple[str, int], timeout: float, *rest: Any) -> socket.socket:
            if self.limits.allow_private or proxied:
                sock = socket.create_connection(address, timeout, *rest)
            else:
                sock = addresses.connect(*address, timeout)
            guard = deadline.guard(sock)
            guard.__enter__()
            guards.append(guard)
            return sock

        connection._create_connection = open_socket  # type: ignore[attr-defined]  # the only hook before TLS begins
        try:
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
            if self.cookies is not None:
                self.cookies.extract_cookies(response, urllib.request.Request(url))
            if response.status in (301, 302, 303, 307, 308):
                location = response.getheader("Location")
                if not location:
                    raise DownloadError("unsupported", f"HTTP {response.status} without a location")
                return location
            self._receive(response, deadline)
            return None
        finally:
            for guard in guards:
                guard.__exit__(None, None, None)
            connection.close()

    def _receive(self, response: http.client.HTTPResponse, deadline: Deadline) -> None:
        status = response.status
        if status == 416 and self.received:
            size = re.fullmatch(r"bytes \*/(\d+)", response.getheader("Content-Range", "") or "")
            if size and int(size[1]) == self.received:
                return
            self.received, self.validator = 0, None
            raise DownloadError("network", "the file changed while it was fetched")
        if status not in (200, 206):
            raise DownloadError(
                http_class(status),
                f"HTTP {status} {response.reason}".strip(),
                retry_after_s=retry_after(response.getheader("Retry-After")),
            )
        self._check_type(response)
        self._place(response)
        self._check_size()
        self._copy(response, deadline)

    def _check_type(self, response: http.client.HTTPResponse) -> None:
        content_type = response.getheader("Content-Type") or ""
        encoding = (response.getheader("Content-Encoding") or "identity").lower()
        if _PAGE_TYPE.match(content_type):
            raise IsPage(content_type.split(";")[0].strip().lower())
        if content_type and not self.expect_media and not _MEDIA_TYPE.match(content_type):
            raise IsPage(content_type.split(";")[0].strip().lower())
        if encoding != "identity":
            raise DownloadError(
                "unsupported", f"the server compresses the file ({encoding}) though it was asked not to"
            )

    def _place(self, response: http.client.HTTPResponse) -> None:
        """Reads from the headers where in the file the body belongs and how long the file is."""
        length = response.getheader("Content-Length", "") or ""
        announced = int(length) if length.isdigit() else None
        if response.status == 206:
            span = re.match(r"bytes (\d+)-(\d+)/(\d+|\*)", response.getheader("Content-Range", "") or "")
            start = int(span[1]) if span else self.received
            if start != self.received:
                self.received = 0
                raise DownloadError("network", f"the server sent bytes from {start} on, which were not asked for")
            total = int(span[3]) if span and span[3] != "*" else None
            if self.received and self.total is not None and total is not None and total != self.total:
                self.received = 0
                raise DownloadError("network", "the file changed its length while it was fetched")
            self.total = total if total is not None else self.received + announced if announced is not None else None
        else:
            self.received = 0
            self.total = announced
        tag, modified = response.getheader("ETag"), response.getheader("Last-Modified")
        self.validator = tag if tag and not tag.startswith("W/") else modified

    def _check_size(self) -> None:
        if (self.total or 0) > self.limits.max_bytes or self.received > self.limits.max_bytes:
            raise DownloadError("too_large", f"the file has more than {self.limits.max_bytes} bytes")

    def _copy(self, response: http.client.HTTPResponse, deadline: Deadline) -> None:
        began, received_before = time.monotonic(), self.received
        with open(self.path, "r+b" if self.received else "wb") as file:
            file.seek(self.received)
            file.truncate()
            while block := response.read1(READ_BYTES):
                deadline.check()
                try:
                    file.write(block)
                except OSError as error:
                    raise DownloadError("storage", f"the scratch folder cannot be written: {error.strerror}") from error
                self.received += len(block)
                self._check_size()
                if self.limits.rate_limit:
                    ahead = (self.received - received_before) / self.limits.rate_limit - (time.monotonic() - began)
                    deadline.cancelled.wait(min(max(0.0, ahead), max(0.0, deadline.remaining)))
        deadline.check()
        if self.total is not None and self.received != self.total:
            raise DownloadError("network", f"the body ended after {self.received} of {self.total} bytes")


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
