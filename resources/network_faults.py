"""Errors which say that a network, or the machine at its other end, did not answer: they pass, whoever's code they come through.

What belongs here: telling them from errors of the code itself, across the HTTP libraries that packages of others use, none of which need be installed. What does not:
what is done about them.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

from curation_resources.download_errors import TRANSIENT, http_class

NAMES = frozenset(
    [
        "ConnectionError",
        "ConnectTimeout",
        "Timeout",
        "TimeoutError",
        "TimeoutException",
        "NetworkError",
        "ProtocolError",
        "ProxyError",
        "SSLError",
        "ChunkedEncodingError",
        "gaierror",
        "IncompleteRead",
        "ClientConnectionError",
        "ClientPayloadError",
        "NewConnectionError",
        "MaxRetryError",
        "HTTPClientError",
    ]
)
"""Classes, or bases of them, of the standard library, requests, urllib3, httpx, httpcore, aiohttp and botocore. What is wrong with an address is none of these, or a
ValueError as well."""
ERRNOS = frozenset(
    (
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.ETIMEDOUT,
        errno.EHOSTUNREACH,
        errno.EHOSTDOWN,
        errno.ENETUNREACH,
        errno.ENETDOWN,
        errno.EBUSY,
        errno.EIO,
        errno.ESTALE,
    )
)
"""Of OSErrors; the last three are what file systems of a network, and s3fs of a store that is busy, say."""

OF_MEDIA = frozenset({"av", "PIL"})
"""Packages whose OSErrors, "input/output error" among them, are of the medium."""


def of_the_network(error: BaseException) -> bool:
    """Whether an error, or what it was raised from, says that nothing answered, or that who did could not serve it now (a status of HTTP that passes)."""
    return any(map(_is, _chain(error)))


def status_of(error: BaseException) -> int | None:
    """The status of HTTP that an error, or what it was raised from, stands for: 400 to 599."""
    return next((status for one in _chain(error) if (status := _status(one)) is not None), None)


def stays(error: BaseException) -> bool:
    """Whether an error itself, not what it came of, says what asking again would not change: a status of HTTP that does not pass, or an address that is
    none. Some are OSErrors too; what s3fs makes of a store's statuses are others."""
    status = _status(error)
    return isinstance(error, ValueError) if status is None else http_class(status) not in TRANSIENT


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came of; `reason` is where urllib puts that."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [c for c in (one.__cause__, getattr(one, "reason", None)) if isinstance(c, BaseException)]


def _is(error: BaseException) -> bool:
    status = _status(error)
    if status is not None:
        return http_class(status) in TRANSIENT
    if isinstance(error, ValueError) or type(error).__module__.split(".")[0] in OF_MEDIA:
        return False
    named = any(base.__name__ in NAMES for base in type(error).__mro__)
    return named or (isinstance(error, OSError) and error.errno in ERRNOS)


def _status(error: BaseException) -> int | None:
    """The status of an answer that it stands for, as HTTP libraries keep it."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        found = getattr(response, "status_code", None) or getattr(error, "status", None) or getattr(error, "code", None)
    return found if isinstance(found, int) and 400 <= found < 600 else None
