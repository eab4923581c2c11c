"""Tables: csv, tsv, JSON and Parquet, with the recipe's mapping of columns. What is not mapped goes to `extra`.

Rows are videos or clips: with `start` and `end`, or a `clip_name` that holds them, a row says everything of its span; with `clips`
it says of each span what stands at its place in the row's lists. Captions may come from a second file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from curation_assets.ingest.dataset_index import Source
from curation_assets.ingest.sources.caption_files import JoinedCaptions
from curation_assets.ingest.sources.file_reading import reject
from curation_assets.ingest.sources.files import find_files
from curation_assets.ingest.sources.list_paths import ListPaths
from curation_assets.ingest.sources.records import LIST_ENDINGS, Asked, Record, read_records
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
from curation_assets.ingest.sources.times import Span, TimeError, is_missing, parse_spans, parse_time
from curation_assets.ingest.sources.words import as_list, each, parse_list, texts, words
from curation_resources.storage import Storage

__all__ = ["LIST_ENDINGS", "ColumnMapping", "read"]
_CLIP_NAME = re.compile(r"(?P<id>.+?)_(?P<start>\d+(?:\.\d+)?)_(?P<end>\d+(?:\.\d+)?)(?:\.\w{2,4})?")
PATH = "path"
"""Entry of `extra` with the path, relative to the list or `source.root`, of a video that a list names by its path."""


def read(source: Source, storage: Storage | None = None) -> Iterator[SourceRow | RejectedLine]:
    """The rows of the files that `source.path` names.

    Raises:
        SourceError: a file of another kind, without a mapped column, or damaged.
    """
    named = source.columns
    if named.url is None and named.id is None and named.clip_name is None:
        raise SourceError(
            "format: table needs `source.columns.url` or `source.columns.id`, or `source.columns.clip_name`"
        )
    with ExitStack() as stack:
        joined = None
        if source.captions is not None:
            joined = stack.enter_context(JoinedCaptions(source.captions, storage))
        mapping = ColumnMapping(source, joined)
        for file in find_files(source.path, LIST_ENDINGS, storage):
            paths = ListPaths(file, source.root, storage)
            for record in read_records(file, mapping.asked):
                if isinstance(record, RejectedLine):
                    yield record
                    continue
                try:
                    yield mapping.row(record, file.name, paths)
                except (RowError, TimeError) as error:
                    yield reject(file.name, record.number, record.text, error)


class ColumnMapping:
    """The recipe's column mapping, ready to turn records into rows."""

    def __init__(self, source: Source, joined: JoinedCaptions | None = None) -> None:
        self._source, self._columns, self._joined = source, source.columns, joined
        named = {k: c for k, c in source.columns.model_dump().items() if isinstance(c, str)}
        named |= {f"parallel.{n}": column for n, column in enumerate(source.columns.parallel)}
        self.used = frozenset(named.values())
        self.asked = Asked(
            {f"source.columns.{k}": c for k, c in named.items()}, source.columns.id or "id", source.records
        )

    def row(self, record: Record, name: str, paths: ListPaths) -> SourceRow:
        """The row of a record.

        Raises:
            RowError, TimeError: what is wrong with it.
        """
        columns, source, cells = self._columns, self._source, record.cells

        def cell(column: str | None) -> Any:
            return None if column is None else cells.get(column)

        video_id = clean_id(cell(columns.id))
        clip = self._named_clip(cell(columns.clip_name))
        if columns.id is None and columns.url is None and clip is not None:
            video_id = clip[0]
        url = None if is_missing(cell(columns.url)) else clean_text(cell(columns.url))
        if columns.url is not None and url is None and source.url_template is None:
            raise RowError(f"no URL in column {columns.url!r}")
        extra = others(cells, self.used)
        location = None
        if url is not None and source.url_prefix is None:
            url, location = paths.resolved(url)
            if video_id is not None:
                location = None
        row = SourceRow(
            video_id,
            video_url(video_id, url, source.url_template, source.url_prefix),
            name,
            record.number,
            title=clean_text(cell(columns.title)),
            licence=clean_text(cell(columns.licence)),
            extra=extra,
        )
        self._say(row, cells, clip)
        if location is not None:
            row.video_id, row.location = paths.stem(location), location
            row.extra = {(f"{k}.1" if k == PATH else k): v for k, v in extra.items()} | {PATH: location}
        return row

    def _say(self, row: SourceRow, cells: dict[str, Any], clip: tuple[str, Span] | None) -> None:
        """Fills in captions, spans, and what is said of each span."""
        columns = self._columns
        caption = cells.get(columns.caption) if columns.caption is not None else None
        listed = None if columns.clips is None else cells.get(columns.clips)
        starts = None if columns.start is None else as_list(cells.get(columns.start))
        if starts is not None and columns.clips is None:
            listed = list(
                zip(starts, each(cells.get(columns.end or ""), len(starts), columns.end or "end"), strict=True)
            )
        if not is_missing(listed) and not (_is_single(listed) and (as_list(caption) is None or _is_pair(listed))):
            self._say_each(row, cells, listed, caption)
            return
        row.captions = texts(caption)
        row.spans = self._span(cells, listed, clip)
        own = [s[0] for s in row.spans if s[0] is not None]
        if self._joined is not None:
            found = [c for key in (*own, row.video_id) if key for c in self._joined.of(key)]
            row.captions += [c for c in dict.fromkeys(found) if c not in row.captions]
        row.caption = row.captions[0] if row.captions else None
        if row.spans:
            said = words(row.captions, row.licence, row.extra)
            row.words = [said] if said else []
            row.captions = []
        elif len(row.captions) < 2:
            row.captions = []

    def _say_each(self, row: SourceRow, cells: dict[str, Any], listed: Any, caption: Any) -> None:
        """A row per video with lists: what stands at each span's place is said of it, the rest of the video."""
        columns = self._columns
        spans, said = parse_list(listed, self._source.time_unit, columns.caption)
        ids = None if columns.clip_id is None else cells.get(columns.clip_id)
        if not is_missing(ids):
            spans = parse_spans([[s, e] for _, s, e in spans], "ms", ids)
        count = len(spans)
        captions: list[list[str]] = [[] for _ in spans]
        if as_list(caption) is not None:
            captions = [texts(c) for c in each(caption, count, f"column {columns.caption!r}")]
        else:
            row.captions = texts(caption)
        licences: list[Any] = [None] * count
        if columns.licence is not None and as_list(cells.get(columns.licence)) is not None:
            licences = each(cells.get(columns.licence), count, f"column {columns.licence!r}")
            row.licence = None
        extras: list[dict[str, Any]] = [{} for _ in spans]
        for name in [*columns.parallel, *row.extra]:
            if name in columns.parallel:
                entries: list[Any] | None = each(cells.get(name), count, f"column {name!r}")
            else:
                entries = as_list(row.extra[name])
            if entries is not None and len(entries) == count:
                for extra, entry in zip(extras, entries, strict=True):
                    if entry is not None:
                        extra[name] = entry
        if self._joined is not None:
            for found, (clip_id, *_) in zip(captions, spans, strict=True):
                found += self._joined.of(clip_id) if clip_id else []
            by_video = self._joined.lists_of(row.video_id) if row.video_id else []
            if by_video and len(by_video) == count:
                captions = [[*c, *more] for c, more in zip(captions, by_video, strict=True)]
            elif by_video:
                raise RowError(
                    f"{len(by_video)} captions in {self._source.captions.path if self._source.captions else ''} for {count} spans"
                )
        together = zip(said, captions, licences, extras, strict=True)
        merged = [
            words(
                [*w.get("captions", []), *c], clean_text(licence) or w.get("licence"), {**w.get("extra", {}), **extra}
            )
            for w, c, licence, extra in together
        ]
        row.spans, row.words = spans, merged if any(merged) else []
        row.caption = row.captions[0] if row.captions else None
        row.captions = row.captions if len(row.captions) > 1 else []

    def _span(self, cells: dict[str, Any], listed: Any, clip: tuple[str, Span] | None) -> list[Span]:
        """The one span that a row is about, or none."""
        columns, unit = self._columns, self._source.time_unit
        clip_id = None if columns.clip_id is None else cells.get(columns.clip_id)
        own = None if is_missing(clip_id) else str(clip_id)
        if columns.clips is not None:
            return parse_spans(listed, unit, own)
        start, end = (None if c is None else cells.get(c) for c in (columns.start, columns.end))
        if is_missing(start) and is_missing(end):
            return [] if clip is None else [(own or clip[1][0], *clip[1][1:])]
        if is_missing(start) or is_missing(end):
            raise RowError("a span with only one end")
        return [(own, parse_time(start, unit), parse_time(end, unit))]

    def _named_clip(self, name: Any) -> tuple[str, Span] | None:
        """(video id, span) of a clip's name."""
        if self._columns.clip_name is None:
            return None
        if is_missing(name):
            raise RowError(f"no clip name in column {self._columns.clip_name!r}")
        found = _CLIP_NAME.fullmatch(str(name).strip())
        if found is None:
            raise RowError(f"{str(name)[:60]!r} is no clip name; one looks like G9zN5TTuGO4_000179_000189")
        unit = self._source.time_unit
        return found["id"], (str(name).strip(), parse_time(found["start"], unit), parse_time(found["end"], unit))


def _is_single(cell: Any) -> bool:
    """Whether a cell holds one span, alone or as the only one of a list, and nothing about it."""
    items = as_list(cell)
    return items is not None and (_is_pair(items) or (len(items) == 1 and _is_pair(items[0])))


def _is_pair(cell: Any) -> bool:
    """Whether a cell holds one span and not a list of them."""
    items = as_list(cell)
    return items is not None and len(items) == 2 and not any(isinstance(i, list | tuple | dict) for i in items)
