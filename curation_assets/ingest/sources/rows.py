"""What every source adapter yields, and the ids of videos."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

import orjson
import pyarrow as pa

from curation_assets.ingest.sources.times import Span, is_missing
from curation_resources.urls import redact_text

YOUTUBE = "https://www.youtube.com/watch?v={id}"
TEXT_CHARS = 300
"""How much of a rejected line is kept."""
ID_CHARS = 256
"""Longest id that is accepted; longer ones are text that slipped into the id column."""

_YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_ACTIVITYNET_ID = re.compile(rf"v_({_YOUTUBE_ID.pattern})")
"""ActivityNet's name of a YouTube video; no YouTube id is that long."""
_YOUTUBE_HOSTS = frozenset(
    {"youtube.com", "www.youtube.com", "m.youtube.com", "music.youtube.com", "www.youtube-nocookie.com"}
)
_SIGNATURES = frozenset({"signature", "sig", "x-amz-signature", "x-goog-signature"})
_SIGNING = re.compile(
    r"x-(amz|goog)-.*|signature|sig|expires|policy|key-pair-id|awsaccesskeyid|googleaccessid|s[eprtv]|spr|skoid|sktid|skt|ske|sks|skv",
    re.IGNORECASE,
)


Words = dict[str, Any]
"""What a source says of one span: `captions`, a list of texts, `licence`, and `extra`, each only where there is something."""


class SourceError(RuntimeError):
    """A source that cannot be read as a whole; the message names the file and says what to do. Secrets of URLs are taken out of it."""

    def __init__(self, message: str) -> None:
        super().__init__(redact_text(message, 2000))


@dataclass(slots=True)
class SourceRow:
    """A video as one row of a source describes it.

    Attributes:
        video_id: the source's own id; None if it gives none, and the id is made of `url`.
        url: where the video is fetched from, or the URI of the file or tar it lies in.
        source: file that the row came from, named as the recipe names it.
        line: line or row of that file, counted from 1.
        captions: all captions of the video where the source gives several; `caption` is the first.
        spans: spans in the source's order, in milliseconds.
        words: what the source says of each span, in the order of `spans`; empty where it says nothing of any.
        extra: everything else that the source says, fit for JSON.
        location: for videos that lie in storage, the path relative to the source's root. Then `video_id` is only a name, the
            stem, and becomes the id if no other video of the dataset has it.
    """

    video_id: str | None
    url: str | None
    source: str
    line: int
    title: str | None = None
    caption: str | None = None
    licence: str | None = None
    captions: list[str] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    words: list[Words] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    location: str | None = None


@dataclass(slots=True)
class RejectedLine:
    """A line, row, sample or file that could not be read as a video.

    Attributes:
        source: file that it came from, named as the recipe names it.
        line: line or row of that file, counted from 1.
        text: the beginning of what was read.
        reason: one sentence that says what is wrong.
    """

    source: str
    line: int
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class UsualRows:
    """Rows of which their records are known already, in the order of their lines.

    Attributes:
        source: file that they came from, named as the recipe names it.
        lines: line of each, counted from 1 (int64).
        video_ids, urls, records: of each (string); `records` as `index_records.record_of` makes them.
    """

    source: str
    lines: pa.Array
    video_ids: pa.Array
    urls: pa.Array
    records: pa.Array


class RowError(ValueError):
    """A row that cannot be used; the message says why. Adapters turn it into a `RejectedLine`."""


def excerpt(text: str | bytes) -> str:
    """The beginning of a line that was read, as text that any table can hold, without the secrets of its URLs."""
    if isinstance(text, str):
        text = text[: 2 * TEXT_CHARS].encode("utf-8", "backslashreplace")
    decoded = text[: 8 * TEXT_CHARS].decode("utf-8", "backslashreplace").rstrip("\r\n")
    return redact_text(decoded, TEXT_CHARS)


def short_hash(text: str) -> str:
    """80 bits of BLAKE2b in hexadecimal: among a hundred million texts a collision has odds of about 1 in 10^8."""
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=10).hexdigest()


def youtube_id(url: str) -> str | None:
    """The id of the video that a YouTube URL names, or None."""
    if "youtu" not in url:
        return None
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return None
    candidate = ""
    if host == "youtu.be":
        candidate = parts.path.strip("/").split("/")[0]
    elif host in _YOUTUBE_HOSTS:
        if parts.path == "/watch":
            candidate = parse_qs(parts.query).get("v", [""])[0]
        elif parts.path.startswith(("/shorts/", "/embed/", "/v/", "/live/")):
            candidate = parts.path.split("/")[2]
    return candidate if _YOUTUBE_ID.fullmatch(candidate) else None


def unsigned(url: str) -> str:
    """`url` without the parameters of a signature, which differ each time that a list of URLs is made."""
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return url
    if not any(name.lower() in _SIGNATURES for name, _ in query):
        return url
    kept = [(name, value) for name, value in query if not _SIGNING.fullmatch(name)]
    return urlunsplit(parts._replace(query=urlencode(kept)))


def id_of_url(url: str) -> str:
    """The id of a video that is known only by its URL: YouTube's id, else a hash of the URL without its signature."""
    return youtube_id(url) or short_hash(unsigned(url))


def clean_id(value: Any) -> str | None:
    """The id that a cell holds, or None if it holds none.

    Raises:
        RowError: it cannot be an id: control characters, or longer than `ID_CHARS`.
    """
    if is_missing(value):
        return None
    if isinstance(value, bool | list | dict | tuple | bytes):
        raise RowError(f"the id is {type(value).__name__}, not text")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    if len(text) > ID_CHARS:
        raise RowError(f"the id has {len(text)} characters; at most {ID_CHARS} are allowed")
    if not text.isprintable():
        raise RowError("the id has control characters")
    return text


def clean_text(value: Any) -> str | None:
    """The text that a cell holds, or None if it holds none."""
    if value is None:
        return None
    if isinstance(value, str):
        return value.strip() or None
    return None if is_missing(value) else str(value)


def video_url(video_id: str | None, url: str | None, template: str | None, prefix: str | None) -> str:
    """The URL of a video: as given, behind `prefix` if relative, else made of the id.

    Raises:
        RowError: there is neither.
    """
    if url is None:
        if video_id is None:
            raise RowError("neither an id nor a URL")
        if template is None and (named := _ACTIVITYNET_ID.fullmatch(video_id)):
            return YOUTUBE.replace("{id}", named[1])
        return (template or YOUTUBE).replace("{id}", video_id)
    return prefix + url if prefix and "://" not in url else url


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no white space. NaN becomes null.

    Raises:
        RowError: text that is no valid Unicode, or a value that JSON cannot hold.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:
        pass
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RowError("text that is no valid Unicode (half a surrogate pair)") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise RowError(f"a value that JSON cannot hold: {error}") from error
    return text


def parse_object(line: bytes) -> dict[str, Any]:
    """The JSON object on a line. NaN and infinities, which Python writes, count as null.

    Raises:
        RowError: it is no JSON object.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as first:
        try:
            value = json.loads(line, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            raise RowError(_why_not_json(line, first)) from None
    if not isinstance(value, dict):
        raise RowError(f"a JSON {type(value).__name__}, not an object")
    return value


def _why_not_json(line: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as bad:
        return f"not UTF-8 at byte {bad.start + 1}"
    return f"not JSON: {error.msg} (column {error.colno})"


def others(record: Mapping[str, Any], used: frozenset[str] | set[str]) -> dict[str, Any]:
    """The entries of `record` that are not `used` and hold something."""
    return {k: v for k, v in record.items() if k not in used and v is not None and v != ""}
