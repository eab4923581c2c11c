"""What each HTTP library raises where nothing answers, where the answer is cut off, and where it is a status: told from real exchanges."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import aiohttp
import av
import httpx
import pytest
import requests
import urllib3
from av.error import InvalidDataError
from botocore.exceptions import ClientError
from s3fs.errors import translate_boto_error

from curation_resources.faults import STORAGE, Fault, fault_of
from curation_resources.network_faults import of_the_network


class _Answers(BaseHTTPRequestHandler):
    """The status that the path names; of 200 a body that ends early."""

    def do_GET(self) -> None:
        status = int(self.path.strip("/"))
        self.send_response(status)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"x" * (50 if status == 200 else 100))

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    listening = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}"
    listening.shutdown()
    listening.server_close()


def _urllib(url: str) -> None:
    with urllib.request.urlopen(url, timeout=20) as answer:
        answer.read()


def _urllib3(url: str) -> None:
    answer = urllib3.PoolManager(retries=False).request("GET", url, timeout=20)
    if answer.status >= 400:
        answer.read()
        raise urllib3.exceptions.ResponseError(f"status {answer.status}")


async def _aiohttp(url: str) -> None:
    async with aiohttp.ClientSession(raise_for_status=True) as session, session.get(url) as answer:
        await answer.read()


CLIENTS: dict[str, Callable[[str], object]] = {
    "urllib": _urllib,
    "httpx": lambda url: httpx.get(url, timeout=20).raise_for_status(),
    "requests": lambda url: requests.get(url, timeout=20).raise_for_status(),
    "urllib3": _urllib3,
    "aiohttp": lambda url: asyncio.run(_aiohttp(url)),
}


def raised(client: str, url: str) -> Exception:
    with pytest.raises(Exception) as error:  # noqa: PT011 - each library has its own
        CLIENTS[client](url)
    return error.value


@pytest.mark.parametrize("client", CLIENTS)
def test_what_does_not_answer_passes_and_a_refusal_or_a_wrong_address_does_not(client: str, server: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        refused = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        away = [
            raised(client, refused),
            raised(client, f"{server}/200"),
            raised(client, "http://no-such-host.invalid/"),
        ]
        assert [of_the_network(error) for error in away] == [True, True, True], away
        assert {fault_of(error).kind for error in away if fault_of(error)} == {STORAGE}  # type: ignore[union-attr]
    if client != "urllib3":  # which leaves statuses to its callers
        assert of_the_network(raised(client, f"{server}/503"))
        assert of_the_network(raised(client, f"{server}/429"))
        assert not of_the_network(raised(client, "nonsense"))  # it takes for the name of a machine
    refused_for_good = raised(client, f"{server}/404")
    assert not of_the_network(refused_for_good)
    if client in ("urllib", "httpx", "requests"):  # through the others storage is asked too
        assert fault_of(refused_for_good) is None
        assert fault_of(raised(client, "nonsense")) is None


@pytest.mark.parametrize(("code", "status"), [("NoSuchKey", 404), ("AccessDenied", 403), ("SlowDown", 503)])
def test_what_a_store_refuses_is_a_fault_of_storage_whatever_its_status(code: str, status: int) -> None:
    answer: Any = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    own = ClientError(answer, "GetObject")
    error = translate_boto_error(own)
    assert isinstance(error, OSError)
    assert error.__cause__ is own
    for one in (own, error):
        assert fault_of(one) == Fault(STORAGE, str(one))


def test_what_it_came_of_counts_and_what_is_of_files_or_media_does_not() -> None:
    error = LookupError("no such list")
    assert not of_the_network(error)
    error.__cause__ = ConnectionRefusedError(111, "Connection refused")
    assert of_the_network(error)
    assert fault_of(io.UnsupportedOperation("seek")) is None, "an OSError that no other try would spare"
    for other in (KeyError("a"), FileNotFoundError(2, "x"), PermissionError(13, "x"), ValueError("x")):
        assert not of_the_network(other)
    broken = InvalidDataError(5, "Input/output error")
    assert not of_the_network(broken)
    assert isinstance(broken, av.FFmpegError)
    assert fault_of(broken) is None
