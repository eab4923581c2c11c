"""HD-VILA-100M: a JSON object per line with `video_id`, `url` and `clip: [{clip_id, span: [start, end]}]`.

The published zip is read as it is, member by member. Spans are clocks (`00:00:17.759`) or numbers in the recipe's unit.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa

from curation_assets.ingest.dataset_index import Source
from curation_assets.ingest.sources.file_reading import MAX_LINE_BYTES, lines, reject, text_files
from curation_assets.ingest.sources.files import find_files
from curation_assets.ingest.sources.rows import (
    RejectedLine,
    RowError,
    SourceRow,
    UsualRows,
    Words,
    clean_id,
    clean_text,
    others,
    parse_object,
    video_url,
)
from curation_assets.ingest.sources.times import Span, TimeError, Unit, parse_span, shown
from curation_assets.ingest.sources.words import span_words
from curation_resources.storage import Storage

LIST_ENDINGS = (".jsonl", ".json", ".zip")
_USED = frozenset({"video_id", "url", "clip", "title", "caption", "licence", "license"})


FIRST_BYTES = 64 << 20
"""Bytes of a source that are read line by line in any case: for less, compiled code takes longer to load than it spares."""
BLOCK_BYTES = 8 << 20
"""Bytes that are read at once beyond them."""


def read(source: Source, storage: Storage | None = None) -> Iterator[SourceRow | RejectedLine]:
    """The rows of the files that `source.path` names."""
    for file in find_files(source.path, LIST_ENDINGS, storage):
        for name, stream in text_files(file, ".jsonl"):
            yield from _each(lines(stream, name), source, name)


def read_many(source: Source, storage: Storage | None = None) -> Iterator[SourceRow | RejectedLine | UsualRows]:
    """The same rows in the same order; of a large source those of the usual shape many at a time."""
    left = FIRST_BYTES
    for file in find_files(source.path, LIST_ENDINGS, storage):
        for name, stream in text_files(file, ".jsonl"):
            begun = _Beginning(stream, left)
            yield from _each(lines(cast(BinaryIO, begun), name), source, name)
            left, first = begun.left, begun.lines + 1
            for block in _blocks(stream):
                yield from _many(block, source, name, first)
                first += block.count(b"\n")


class _Beginning(io.RawIOBase):
    """The lines of a stream that begin within its first `left` bytes.

    Attributes:
        left: how many of these bytes are not read.
        lines: how many lines are.
    """

    def __init__(self, stream: BinaryIO, left: int) -> None:
        self._stream, self.left, self.lines, self._inside = stream, left, 0, False

    def readline(self, size: int | None = -1, /) -> bytes:
        if self.left <= 0 and not self._inside:
            return b""
        line = self._stream.readline(-1 if size is None else size)
        self._inside = bool(line) and not line.endswith(b"\n")
        self.left -= len(line)
        self.lines += bool(line) and not self._inside
        return line


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    """A stream as blocks of whole lines. Of a line too long to be read, only as much as shows that it is."""
    while block := stream.read(BLOCK_BYTES):
        while not block.endswith(b"\n"):
            more = stream.readline(MAX_LINE_BYTES)
            block += more if more and len(block) <= BLOCK_BYTES + MAX_LINE_BYTES else more[-1:] or b"\n"
        yield block


def _many(block: bytes, source: Source, name: str, first: int) -> Iterator[SourceRow | RejectedLine | UsualRows]:
    """The rows of whole lines, the first of which has the number `first`."""
    from curation_assets.ingest.usual_lines import OTHER, USUAL, UsualLines

    found = UsualLines(block)
    numbers = np.arange(first, first + len(found.kinds))

    def usual(start: int, end: int) -> Iterator[UsualRows]:
        there = np.flatnonzero(found.kinds[start:end] == USUAL)
        if len(there) == end - start > 0:
            yield UsualRows(name, pa.array(numbers[start:end]), *(t.slice(start, end - start) for t in found.texts))
        elif len(there):  # blank lines are passed over
            at = pa.array(there + start)
            yield UsualRows(name, pa.array(numbers).take(at), *(t.take(at) for t in found.texts))

    begin = 0
    for at in np.flatnonzero(found.kinds == OTHER).tolist():
        yield from usual(begin, at)
        line = block[found.bounds[at] : found.bounds[at + 1]]
        yield from _each(lines(io.BytesIO(line), name, first + at), source, name)
        begin = at + 1
    yield from usual(begin, len(found.kinds))


def _each(
    found: Iterator[tuple[int, bytes] | RejectedLine], source: Source, name: str
) -> Iterator[SourceRow | RejectedLine]:
    for item in found:
        if isinstance(item, RejectedLine):
            yield item
            continue
        number, line = item
        try:
            yield _row(parse_object(line), source, name, number)
        except (RowError, TimeError) as error:
            yield reject(name, number, line, error)


def _row(record: dict[str, Any], source: Source, name: str, number: int) -> SourceRow:
    video_id = clean_id(record.get("video_id"))
    spans, said = _spans(record.get("clip"), source.time_unit)
    return SourceRow(
        video_id,
        video_url(video_id, clean_text(record.get("url")), source.url_template, source.url_prefix),
        name,
        number,
        title=clean_text(record.get("title")),
        caption=clean_text(record.get("caption")),
        licence=clean_text(record.get("licence", record.get("license"))),
        spans=spans,
        words=said,
        extra=others(record, _USED),
    )


def _spans(clips: Any, unit: Unit) -> tuple[list[Span], list[Words]]:
    if clips is None:
        return [], []
    if not isinstance(clips, list):
        raise RowError(f"clip is {shown(clips)}, not a list")
    said = [span_words(clip) for clip in clips]
    return [parse_span(clip, unit) for clip in clips], said if any(said) else []
