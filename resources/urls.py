"""URLs from lists that others wrote: which may be fetched, and how they are shown without what is secret in them.

The URLs and texts are anybody's, of any length, so every pattern here takes time in proportion to the text: names of schemes have a
longest length, and what is repeated either begins only where such a run begins or is never given back (`++`).

`redact` and `redact_text` are the only way for a URL or a message that may quote one into a log or Dagster's metadata. Tables hold
what `public_url` and `public_text` leave, and the settings that a table was made with go through `public_settings`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, unquote_plus, urlsplit, urlunsplit

HTTP_SCHEMES = frozenset({"http", "https"})
STORAGE_SCHEMES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "hdfs", "oci", "oss", "memory"})
"""fsspec schemes that name bytes in a store. Chained URLs (``zip://a::http://b``) are none of these on purpose."""

HIDDEN = "***"
NESTED = 8
"""URLs within URLs that are looked into; what is nested deeper is hidden whole."""

_SECRET_WORD = r"token|secret|password|passwd|credential|session|cookie|api[-_]?key|access[-_]?key|auth(?!or)|jwt|bearer|signature|hmac"
_SECRET_KEY = re.compile(_SECRET_WORD, re.IGNORECASE)
_SECRET_PARAMETER = re.compile(
    r"""(?isx)
        x-(amz|goog|oss|ms|cos)-.* | awsaccesskeyid | googleaccessid | ossaccesskeyid | key-pair-id | policy  # signed object URLs
      | .*sig | l?sig | sparams | hdnts | hdnea | hdntl | hash_?key | md5 | verify | nonce                    # signed stream URLs
      | key | pwd | pass | code | sid | sas | expires?
    """
)
_USER_INFO = re.compile(r"^[^/@]*@")
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{0,40}"
_PLAIN = re.compile(r"[a-z][a-z0-9+.-]*+://[^@=;\[\s]*(?:\?v=[\w-]+)?")
"""URLs without anything that could be secret, YouTube's among them: most of a list, and quickly seen."""
_PASSWORD = re.compile(rf"(?P<scheme>{_SCHEME}://)[^/@:]*+:[^/]*@")
_ENVIRONMENT = re.compile(rf"{_SCHEME}://(?P<user>\$(?:\{{\w+\}}|\w+)(?::\$(?:\{{\w+\}}|\w+))?@)")
_PAIR = re.compile(r"(?<![^=&;/?#])(?P<name>[^=&;/?#]++)=(?P<value>[^&;/?#]*)")
_URL = re.compile(rf"{_SCHEME}://[^\s<>\"'`\\]+")
_BARE_PAIR = re.compile(r"(?<![\w-])(?P<name>[A-Za-z][\w-]{1,40})=(?P<value>[^\s&;,\"'<>)\]}]+)")
_HEADER = re.compile(
    r"(?im)\b(?P<name>(?:proxy-)?authorization|(?:set-)?cookie|x-api-key)(?P<mark>[\"']?\s*[:=]\s*)[^\r\n]+"
)


def is_secret_parameter(name: str) -> bool:
    """Whether a URL parameter of this name carries something secret: a signature, a token, a password, a key."""
    name = unquote_plus(name).strip()
    return _SECRET_KEY.search(name) is not None or _SECRET_PARAMETER.fullmatch(name) is not None


def is_secret_key(name: str) -> bool:
    """Whether a key of a JSON document says that its value is secret. Narrower than for URLs, where ``key`` is no sample key."""
    return _SECRET_KEY.search(name) is not None


def scheme_of(url: str) -> str:
    """Lower-case scheme of `url`; '' for plain paths and for the drive letters of Windows."""
    scheme, mark, _ = url.partition("://")
    return scheme.lower() if mark and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]+", scheme) else ""


def host_of(url: str) -> str:
    """Host and port of `url`, lower case, without user info; '' where there is none or it cannot be read."""
    try:
        return _USER_INFO.sub("", urlsplit(url).netloc).lower()
    except ValueError:
        return ""


def _hide_pair(match: re.Match[str], depth: int) -> str:
    name, value = match["name"], match["value"]
    if is_secret_parameter(name):
        return f"{name}={HIDDEN}"
    nested = unquote(value)
    if "://" not in nested:
        return match[0]
    return f"{name}={quote(_redact(nested, depth + 1), safe='*') if depth < NESTED else HIDDEN}"


def _hide_pairs(text: str, depth: int) -> str:
    return _PAIR.sub(lambda m: _hide_pair(m, depth), text)


def redact(url: str) -> str:
    """`url` without user info and with the values of secret parameters (query, path or fragment) replaced by ``***``.

    What cannot be parsed keeps only its scheme.
    """
    return _redact(url, 0)


def _redact(url: str, depth: int) -> str:
    if "://" not in url:
        return _hide_pairs(url, depth) if "=" in url else url
    if _PLAIN.fullmatch(url):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"{scheme_of(url)}://{HIDDEN}"
    return urlunsplit(
        (
            parts.scheme,
            parts.netloc.rpartition("@")[2],
            _hide_pairs(parts.path, depth),
            _hide_pairs(parts.query, depth),
            _hide_pairs(parts.fragment, depth),
        )
    )


def public_url(url: str) -> str:
    """`url` as tables hold it: of http(s) redacted; of storage URIs and paths, which are names, only a password is taken out."""
    if "://" not in url:
        return url
    return redact(url) if scheme_of(url) in HTTP_SCHEMES else _PASSWORD.sub(r"\g<scheme>", url)


def public_text(text: str) -> str:
    """`text` with every URL in it as `public_url` has it."""
    return _URL.sub(lambda m: public_url(m[0]), text) if "://" in text else text


def public_settings(value: Any) -> Any:
    """JSON-able settings with the secrets of their URLs hidden. User and password that are ``${NAME}`` references stay: they are names."""
    if isinstance(value, str):
        return _URL.sub(_public_setting, value) if "://" in value else value
    if isinstance(value, Mapping):
        return {k: public_settings(v) for k, v in value.items()}
    return [public_settings(v) for v in value] if isinstance(value, list | tuple) else value


def _public_setting(match: re.Match[str]) -> str:
    named = _ENVIRONMENT.match(match[0])
    url = public_url(match[0])
    if named is None:
        return url
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{named['user']}{rest.removeprefix(named['user'])}"


def redact_text(text: str, limit: int = 500) -> str:
    """`text` with every URL in it redacted, secret headers and ``name=value`` pairs hidden, cut to `limit` characters."""
    text = _URL.sub(lambda m: redact(m[0]), text[: 20 * limit])
    text = _HEADER.sub(lambda m: f"{m['name']}{m['mark']}{HIDDEN}", text)
    text = _BARE_PAIR.sub(lambda m: f"{m['name']}={HIDDEN}" if is_secret_parameter(m["name"]) else m[0], text)
    return text if len(text) <= limit else text[: limit - 3] + "..."
