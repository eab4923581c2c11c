"""ACAV100M: CSV rows of an id and a span, with or without a header; a video with several spans has several rows.

Three layouts are told apart by their first row: `id,start,end`; the curation repository's
`SHARD_NAME,FILENAME,YOUTUBE_ID,"[start, end]"`; and a header that names an id, a start and an end among other columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from curation_assets.ingest.dataset_index import Source
from curation_assets.ingest.sources.file_reading import csv_records, reject, unpacked
from curation_assets.ingest.sources.files import find_files
from curation_assets.ingest.sources.rows import (
    RejectedLine,
    RowError,
    SourceError,
    SourceRow,
    clean_id,
    clean_text,
    others,
    video_url,
)
from curation_assets.ingest.sources.times import TimeError, is_missing, parse_spans, parse_time
from curation_assets.ingest.sources.words import words
from curation_resources.storage import Storage

LIST_ENDINGS = (".csv", ".tsv")
_ID = ("videoid", "video_id", "youtube_id", "ytid", "id")
_START = ("start", "start_time", "start_seconds")
_END = ("end", "end_time", "end_seconds")
_SPAN = ("span", "segment", "clip", "timestamp")


@dataclass(frozen=True)
class Layout:
    """Which field of a row is what; fields that are named here nowhere go to `extra` by their name."""

    names: tuple[str, ...]
    id: int
    start: int | None = None
    end: int | None = None
    span: int | None = None
    clip_id: int | None = None
    url: int | None = None
    title: int | None = None
    header: bool = False

    @property
    def used(self) -> frozenset[str]:
        fields = (self.id, self.start, self.end, self.span, self.clip_id, self.url, self.title)
        return frozenset(self.names[i] for i in fields if i is not None)


PLAIN = Layout(("id", "start", "end"), id=0, start=1, end=2)
CURATION = Layout(("SHARD_NAME", "FILENAME", "YOUTUBE_ID", "SPAN"), id=2, span=3, clip_id=1)


def read(source: Source, storage: Storage | None = None) -> Iterator[SourceRow | RejectedLine]:
    """The rows of the files that `source.path` names, one per span."""
    for file in find_files(source.path, LIST_ENDINGS, storage):
        layout: Layout | None = None
        with unpacked(file) as stream:
            for item in csv_records(stream, file.name, "\t" if ".tsv" in file.path.rsplit("/", 1)[-1] else ","):
                if isinstance(item, RejectedLine):
                    yield item
                    continue
                number, fields, text = item
                try:
                    if layout is None:
                        layout = detect(fields, file.name)
                        if layout.header:
                            continue
                    yield _row(fields, layout, source, file.name, number)
                except (RowError, TimeError) as error:
                    yield reject(file.name, number, text, error)


def detect(first: list[str], name: str) -> Layout:
    """The layout of a file, from its first row.

    Raises:
        RowError: the row fits no layout; the next one may.
        SourceError: it is a header without an id or a span.
    """
    lower = [field.strip().lower() for field in first]
    if any(name in _ID for name in lower):
        return _from_header(first, lower, name)
    if len(first) == 4:
        return CURATION
    if len(first) == 3:
        return PLAIN
    raise RowError(f"{len(first)} columns; ACAV rows have 3 (id,start,end) or 4 (SHARD_NAME,FILENAME,YOUTUBE_ID,span)")


def _from_header(names: list[str], lower: list[str], file: str) -> Layout:
    def find(candidates: tuple[str, ...]) -> int | None:
        return next((lower.index(c) for c in candidates if c in lower), None)

    video, start, end, span = find(_ID), find(_START), find(_END), find(_SPAN)
    if video is None or ((start is None or end is None) and span is None):
        raise SourceError(
            f"{file}: the header {','.join(names)} names no start and end; use format: table with `columns` to say what is what"
        )
    return Layout(
        tuple(names),
        id=video,
        start=start,
        end=end,
        span=None if start is not None and end is not None else span,
        clip_id=find(("filename", "clip_id")),
        url=find(("url", "videoloc", "contenturl")),
        title=find(("title",)),
        header=True,
    )


def _row(fields: list[str], layout: Layout, source: Source, name: str, number: int) -> SourceRow:
    if len(fields) != len(layout.names):
        raise RowError(f"{len(fields)} columns where {len(layout.names)} are expected ({','.join(layout.names)})")
    if layout.header and tuple(fields) == layout.names:
        raise RowError("the header again")

    def field(index: int | None) -> str | None:
        return None if index is None else clean_text(fields[index])

    video_id = clean_id(fields[layout.id])
    if video_id is None:
        raise RowError("no id")
    clip_id = field(layout.clip_id)
    if layout.span is not None:
        spans = parse_spans(fields[layout.span], source.time_unit, clip_id)
    else:
        start, end = fields[layout.start or 0], fields[layout.end or 0]
        missing = is_missing(start) and is_missing(end)
        spans = [] if missing else [(clip_id, parse_time(start, source.time_unit), parse_time(end, source.time_unit))]
    extra = others(dict(zip(layout.names, fields, strict=True)), layout.used)
    said = words([], None, extra)
    return SourceRow(
        video_id,
        video_url(video_id, field(layout.url), source.url_template, source.url_prefix),
        name,
        number,
        title=field(layout.title),
        spans=spans,
        words=[said] if said and len(spans) == 1 else [],
        extra=extra,
    )
