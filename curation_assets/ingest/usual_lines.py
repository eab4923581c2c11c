"""Lines of HD-VILA's lists as nearly all of them are, made into records a block at a time by compiled code.

Reading a line the usual way costs Python half a millisecond for every hundred spans. Nearly all lines have one shape: `video_id`, `url` and `clip`,
plain ASCII without escapes, clocks with milliseconds, spans that differ. These are read here, byte by byte, into exactly the record
that `index_records.record_of` makes of them; whatever else a line holds, it is left for the adapter. What belongs here: that shape
and no other. What is right of other lines, and what is wrong, is said in `sources/hdvila.py`.

Compiling takes some seconds once for each machine, so this module is imported by those who read much (`spilled_rows.py`).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from curation_resources.compiled import compiled

USUAL, OTHER, BLANK = 1, 0, 2
ID_BYTES = 256
"""Longest id, as `sources.rows.ID_CHARS`."""
SPANS = 4096
"""Spans of a line at most."""
_START = np.frombuffer(b'{"spans":[', np.uint8)
_URL = np.frombuffer(b'],"url":"', np.uint8)
_VIDEO_ID, _URL_KEY, _CLIP, _CLIP_ID, _SPAN = (
    np.frombuffer(k, np.uint8) for k in (b"video_id", b"url", b"clip", b"clip_id", b"span")
)


@compiled
def _skip(data, at, end):  # type: ignore[no-untyped-def]
    """Behind white space."""
    while at < end and (data[at] == 32 or data[at] == 9 or data[at] == 13):
        at += 1
    return at


@compiled
def _plain(data, at, end, blanks):  # type: ignore[no-untyped-def]
    """The end of the text whose opening quote is at `at`, if it is printable ASCII without escapes, of at least five characters so that it is
    no word for a missing value; else -1."""
    if at >= end or data[at] != 34:
        return -1
    start = at + 1
    at = start
    while at < end and data[at] != 34:
        byte = data[at]
        if byte < 32 or byte > 126 or byte == 92 or (byte == 32 and not blanks):
            return -1
        at += 1
    return at if at < end and at - start >= 5 else -1


@compiled
def _key(data, at, end, name):  # type: ignore[no-untyped-def]
    """Whether the text that begins at `at` is `name` in quotes."""
    size = len(name)
    if at + size + 2 > end or data[at] != 34 or data[at + 1 + size] != 34:
        return False
    for i in range(size):  # noqa: SIM110 - numba compiles no generators
        if data[at + 1 + i] != name[i]:
            return False
    return True


@compiled
def _digit(data, at):  # type: ignore[no-untyped-def]
    return np.int64(data[at]) - 48


@compiled
def _clock(data, at, end):  # type: ignore[no-untyped-def]
    """Milliseconds of "HH:MM:SS.mmm" with its quotes, or -1."""
    if at + 14 > end or data[at] != 34 or data[at + 13] != 34 or data[at + 3] != 58 or data[at + 6] != 58:
        return -1
    if data[at + 9] != 46:
        return -1
    for i in (1, 2, 4, 5, 7, 8, 10, 11, 12):
        if data[at + i] < 48 or data[at + i] > 57:
            return -1
    minutes = 10 * _digit(data, at + 4) + _digit(data, at + 5)
    seconds = 10 * _digit(data, at + 7) + _digit(data, at + 8)
    if minutes > 59 or seconds > 59:
        return -1
    hours = 10 * _digit(data, at + 1) + _digit(data, at + 2)
    thousandths = 100 * _digit(data, at + 10) + 10 * _digit(data, at + 11) + _digit(data, at + 12)
    return (hours * 3600 + minutes * 60 + seconds) * 1000 + thousandths


@compiled
def _url_is_plain(data, at, end):  # type: ignore[no-untyped-def]
    """Whether an address holds nothing that could be secret: http(s) and nothing but a path, perhaps with YouTube's `?v=` at its end."""
    colon = at
    for byte in (104, 116, 116, 112):  # http
        if colon >= end or data[colon] != byte:
            return False
        colon += 1
    if colon < end and data[colon] == 115:
        colon += 1
    if colon + 4 > end or data[colon] != 58 or data[colon + 1] != 47 or data[colon + 2] != 47:
        return False
    i = colon + 3
    while i < end:
        byte = data[i]
        if byte == 64 or byte == 59 or byte == 91:  # @ ; [
            return False
        if byte == 61:
            if data[i - 1] != 118 or data[i - 2] != 63 or i + 1 == end:
                return False
            for k in range(i + 1, end):
                c = data[k]
                if not (48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122 or c == 95 or c == 45):
                    return False
            return True
        i += 1
    return True


@compiled
def _put(out, at, data, start, end):  # type: ignore[no-untyped-def]
    for i in range(start, end):
        out[at] = data[i]
        at += 1
    return at


@compiled
def _put_number(out, at, value):  # type: ignore[no-untyped-def]
    first = at
    while True:
        out[at] = 48 + value % 10
        at += 1
        value //= 10
        if value == 0:
            break
    last = at - 1
    while first < last:
        out[first], out[last] = out[last], out[first]
        first += 1
        last -= 1
    return at


@compiled
def _clips(data, at, end, out, o, times):  # type: ignore[no-untyped-def]
    """Writes the spans of the list that begins at `at`; returns where it ends and where what is written does, or -1."""
    if at >= end or data[at] != 91:
        return -1, o
    at = _skip(data, at + 1, end)
    count = 0
    while True:
        if at >= end or data[at] != 123 or count == SPANS:
            return -1, o
        at = _skip(data, at + 1, end)
        name, name_end, first, last = -1, -1, np.int64(-1), np.int64(-1)
        while True:
            if _key(data, at, end, _CLIP_ID) and name < 0:
                at = _skip(data, at + 9, end)
                if at >= end or data[at] != 58:
                    return -1, o
                at = _skip(data, at + 1, end)
                name, name_end = at, _plain(data, at, end, False)
                if name_end < 0:
                    return -1, o
                at = name_end + 1
            elif _key(data, at, end, _SPAN) and first < 0:
                at = _skip(data, at + 6, end)
                if at >= end or data[at] != 58:
                    return -1, o
                at = _skip(data, at + 1, end)
                if at >= end or data[at] != 91:
                    return -1, o
                at = _skip(data, at + 1, end)
                first = _clock(data, at, end)
                at = _skip(data, at + 14, end)
                if first < 0 or at >= end or data[at] != 44:
                    return -1, o
                at = _skip(data, at + 1, end)
                last = _clock(data, at, end)
                at = _skip(data, at + 14, end)
                if last < 0 or at >= end or data[at] != 93:
                    return -1, o
                at += 1
            else:
                return -1, o
            at = _skip(data, at, end)
            if at < end and data[at] == 44:
                at = _skip(data, at + 1, end)
                continue
            break
        if at >= end or data[at] != 125 or name < 0 or first < 0:
            return -1, o
        times[count, 0], times[count, 1] = first, last
        if count and first <= times[count - 1, 0]:  # out of order: are they all different?
            for k in range(count):
                if times[k, 0] == first and times[k, 1] == last:
                    return -1, o
        count += 1
        if count > 1:
            out[o] = 44
            o += 1
        out[o] = 91
        o = _put(out, o + 1, data, name, name_end + 1)
        out[o] = 44
        o = _put_number(out, o + 1, first)
        out[o] = 44
        o = _put_number(out, o + 1, last)
        out[o] = 93
        o += 1
        at = _skip(data, at + 1, end)
        if at < end and data[at] == 44:
            at = _skip(data, at + 1, end)
            continue
        if at < end and data[at] == 93:
            return at + 1, o
        return -1, o


@compiled
def _read(data, start, end, out, o, times):  # type: ignore[no-untyped-def]
    """(where the id begins and ends, where the address begins and ends, where what was written ends) of a line; -1 first if it is none of the usual ones."""
    at = _skip(data, start, end)
    nothing = (-1, -1, -1, -1, o)
    if at >= end or data[at] != 123:
        return nothing
    at = _skip(data, at + 1, end)
    video, video_end, url, url_end, clips = -1, -1, -1, -1, False
    o = _put(out, o, _START, 0, len(_START))
    while True:
        if _key(data, at, end, _VIDEO_ID) and video < 0:
            at = _skip(data, at + 10, end)
            if at >= end or data[at] != 58:
                return nothing
            at = _skip(data, at + 1, end)
            video, video_end = at + 1, _plain(data, at, end, False)
            if video_end < 0 or video_end - video > ID_BYTES:
                return nothing
            at = video_end + 1
        elif _key(data, at, end, _URL_KEY) and url < 0:
            at = _skip(data, at + 5, end)
            if at >= end or data[at] != 58:
                return nothing
            at = _skip(data, at + 1, end)
            url, url_end = at + 1, _plain(data, at, end, False)
            if url_end < 0 or not _url_is_plain(data, url, url_end):
                return nothing
            at = url_end + 1
        elif _key(data, at, end, _CLIP) and not clips:
            at = _skip(data, at + 6, end)
            if at >= end or data[at] != 58:
                return nothing
            at, o = _clips(data, _skip(data, at + 1, end), end, out, o, times)
            if at < 0:
                return nothing
            clips = True
        else:
            return nothing
        at = _skip(data, at, end)
        if at < end and data[at] == 44:
            at = _skip(data, at + 1, end)
            continue
        break
    if at >= end or data[at] != 125 or video < 0 or url < 0 or not clips or _skip(data, at + 1, end) != end:
        return nothing
    o = _put(out, o, _URL, 0, len(_URL))
    o = _put(out, o, data, url, url_end)
    out[o], out[o + 1] = 34, 125
    return video, video_end, url, url_end, o + 2


@compiled
def _lines(data, kinds, bounds, texts, text_ends, times):  # type: ignore[no-untyped-def]
    """Reads every line of `data`, which ends with a line feed; returns how many there are."""
    ids, urls, records = texts
    id_ends, url_ends, record_ends = text_ends
    size = len(data)
    start = np.int64(0)
    row, i, u, o = 0, np.int64(0), np.int64(0), np.int64(0)
    while start < size:
        end = start
        while data[end] != 10:
            end += 1
        at = _skip(data, start, end)
        if at == end:
            kinds[row] = BLANK
        else:
            video, video_end, url, url_end, written = _read(data, at, end, records, o, times)
            if video < 0:
                kinds[row] = OTHER
            else:
                kinds[row] = USUAL
                i = _put(ids, i, data, video, video_end)
                u = _put(urls, u, data, url, url_end)
                o = written
        bounds[row + 1] = end + 1
        id_ends[row + 1], url_ends[row + 1], record_ends[row + 1] = i, u, o
        row += 1
        start = end + 1
    return row


class UsualLines:
    """The lines of a block of bytes.

    Args:
        block: whole lines, the last with its line feed.

    Attributes:
        kinds: of each line: USUAL, OTHER or BLANK.
        bounds: where each line begins; one more than there are lines.
        texts: video ids, addresses and records of all lines; empty texts for those that are not usual.
    """

    def __init__(self, block: bytes) -> None:
        data = np.frombuffer(block, np.uint8)
        count = block.count(b"\n")
        self.kinds = np.empty(count, np.uint8)
        self.bounds = np.zeros(count + 1, np.int64)
        ends = [np.zeros(count + 1, np.int32) for _ in range(3)]
        texts = [np.empty(len(data) + 64, np.uint8) for _ in range(3)]
        _lines(data, self.kinds, self.bounds, tuple(texts), tuple(ends), np.empty((SPANS, 2), np.int64))
        self.texts = [
            pa.StringArray.from_buffers(count, pa.py_buffer(e), pa.py_buffer(t))
            for e, t in zip(ends, texts, strict=True)
        ]
