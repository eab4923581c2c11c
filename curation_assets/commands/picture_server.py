"""Contact sheets over HTTP, for the links in Dagster's events: `curation pictures`, and beside `curation ui`.

Read-only and small: an address names an asset, a partition and the hash of the sheet that is meant, as an event has them, and nothing else of the
storage root can be asked for. The hash is that of the bytes, so a sheet of another version of the table is not shown in its place, nor any other
file that somebody puts there. Of a bucket the bytes are passed on, so nobody needs its credentials, and no signed address can expire in an event.
"""

from __future__ import annotations

import ipaddress
import re
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6
from urllib.parse import parse_qs, urlsplit

from curation_assets.engine.sheets import sheet_hash
from curation_assets.schemas import SCHEMAS
from curation_resources.storage_errors import READ_ERRORS
from curation_resources.table_headers import SHEET, SHEET_FILE
from curation_resources.tables import TableStore

PLACE = re.compile(rf"/(?P<asset>[a-z_]+)(/(?P<partition>[A-Za-z0-9_][A-Za-z0-9_-]*))?/{re.escape(SHEET_FILE)}")
HERE = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names under which a browser of this machine may reach a server that answers to it alone: a page of others that has its name point here has another."""
JPEG = b"\xff\xd8"
GONE = (
    "This contact sheet is not there any more: its table was made again since, or a video was taken down. "
    "The latest event of the partition has the sheet of the table in force.\n"
)


class PictureServer(ThreadingHTTPServer):
    """Answers requests for contact sheets of a store.

    Args:
        store: where the tables lie.
        address: host and port; port 0 takes a free one.
    """

    daemon_threads = True

    def __init__(self, store: TableStore, address: tuple[str, int]) -> None:
        self.store = store
        self.address_family = AF_INET6 if ":" in address[0] else AF_INET
        super().__init__(address, _Handler)
        self.loopback = ipaddress.ip_address(self.server_address[0]).is_loopback  # type: ignore[arg-type]

    def sheet(self, address: str) -> bytes | None:
        """The sheet that an address means; None if there is none, or it is another."""
        parts = urlsplit(address)
        place, wanted = PLACE.fullmatch(parts.path), parse_qs(parts.query).get(SHEET, [""])[0]
        if place is None or place["asset"] not in SCHEMAS:
            return None
        folder = self.store.folder(place["asset"], place["partition"])
        try:
            jpeg = self.store.storage.read(f"{folder}/{SHEET_FILE}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        return jpeg if jpeg.startswith(JPEG) and sheet_hash(jpeg) == wanted else None


class _Handler(BaseHTTPRequestHandler):
    server: PictureServer
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:  # the name is that of the standard library
        try:
            if self.server.loopback and urlsplit(f"//{self.headers.get('Host', '')}").hostname not in HERE:
                self._answer(HTTPStatus.FORBIDDEN, b"This server answers to this machine alone.\n")
                return
            jpeg = self.server.sheet(self.path)
        except READ_ERRORS as error:
            self.log_error("%s: %s", self.path, error)
            self._answer(HTTPStatus.BAD_GATEWAY, b"The storage cannot be read; the server's log says why.\n")
            return
        except ValueError:
            self._answer(HTTPStatus.BAD_REQUEST, b"That is no address of a contact sheet.\n")
            return
        if jpeg is None:
            self._answer(HTTPStatus.NOT_FOUND, GONE.encode())
        else:
            self._answer(HTTPStatus.OK, jpeg, "image/jpeg")

    do_HEAD = do_GET

    def _answer(self, status: HTTPStatus, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "private, no-cache",
            "Content-Security-Policy": "default-src 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Requests that went well are nobody's concern."""
