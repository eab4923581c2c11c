"""Tables: csv, tsv, jsonl and parquet, with the recipe's mapping of columns. What is not mapped goes to `extra`."""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Iterator
from decimal import Decimal
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.recipes import Source
from curation_assets.stages.sources.files import SourceFile, base_name, csv_records, find_files, lines, reject, unpacked
from curation_assets.stages.sources.rows import (
    RejectedLine,
    RowError,
    SourceError,
    SourceRow,
    clean_id,
    clean_text,
    others,
    parse_object,
    video_url,
)
from curation_assets.stages.sources.times import Span, TimeError, is_missing, parse_spans, parse_time
from resources.storage import Storage

DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
JSON_LINES = (".jsonl", ".ndjson", ".json")
PARQUET = (".parquet", ".pq")
ENDINGS = (*DELIMITERS, *JSON_LINES, *PARQUET)
BATCH_ROWS = 4096
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


def read(source: Source, storage: Storage | None = None) -> Iterator[SourceRow | RejectedLine]:
    """The rows of the files that `source.path` names.

    Raises:
        SourceError: a file of another kind, without a mapped column, or damaged.
    """
    if source.columns.url is None and source.columns.id is None:
        raise SourceError("format: table needs `source.columns.url` or `source.columns.id`")
    mapping = ColumnMapping(source)
    for file in find_files(source.path, ENDINGS, storage):
        name = base_name(file.path)
        if name.endswith(PARQUET):
            yield from _parquet(file, mapping)
        elif name.endswith(JSON_LINES):
            yield from _json_lines(file, mapping)
        elif delimiter := next((d for ending, d in DELIMITERS.items() if name.endswith(ending)), None):
            yield from _csv(file, mapping, delimiter)
        else:
            raise SourceError(f"{file.name}: not a table that can be read; there are {', '.join(ENDINGS)}")


class ColumnMapping:
    """The recipe's column mapping, ready to turn records into rows."""

    def __init__(self, source: Source) -> None:
        self._source, self._columns = source, source.columns
        self.used = frozenset(c for c in source.columns.model_dump().values() if c is not None)

    def require(self, available: Collection[str], file: str) -> None:
        """Raises SourceError if a mapped column is not among `available`."""
        for key, column in self._columns.model_dump().items():
            if column is not None and column not in available:
                raise SourceError(f"{file}: no column {column!r} (source.columns.{key}); it has {', '.join(available)}")

    def row(self, record: dict[str, Any], name: str, number: int) -> SourceRow:
        """The row of a record.

        Raises:
            RowError, TimeError: what is wrong with it.
        """
        columns, source = self._columns, self._source

        def cell(column: str | None) -> Any:
            return None if column is None else record.get(column)

        video_id = clean_id(cell(columns.id))
        url = None if is_missing(cell(columns.url)) else clean_text(cell(columns.url))
        if columns.url is not None and url is None and source.url_template is None:
            raise RowError(f"no URL in column {columns.url!r}")
        return SourceRow(
            video_id,
            video_url(video_id, url, source.url_template, source.url_prefix),
            name,
            number,
            title=clean_text(cell(columns.title)),
            caption=clean_text(cell(columns.caption)),
            licence=clean_text(cell(columns.licence)),
            spans=self._spans(cell(columns.clips), cell(columns.start), cell(columns.end), cell(columns.clip_id)),
            extra=others(record, self.used),
        )

    def _spans(self, clips: Any, start: Any, end: Any, clip_id: Any) -> list[Span]:
        unit = self._source.time_unit
        if self._columns.clips is not None:
            return parse_spans(clips, unit, clip_id)
        if is_missing(start) and is_missing(end):
            return []
        if is_missing(start) or is_missing(end):
            raise RowError("a span with only one end")
        own = None if is_missing(clip_id) else str(clip_id)
        return [(own, parse_time(start, unit), parse_time(end, unit))]


def _csv(file: SourceFile, mapping: ColumnMapping, delimiter: str) -> Iterator[SourceRow | RejectedLine]:
    header: list[str] | None = None
    with unpacked(file) as stream:
        for item in csv_records(stream, file.name, delimiter):
            if isinstance(item, RejectedLine):
                yield item
                continue
            number, fields, text = item
            if header is None:
                header = _distinct([field.strip() for field in fields])
                mapping.require(header, file.name)
                first = fields
                continue
            try:
                if len(fields) != len(header):
                    raise RowError(f"{len(fields)} columns where the header has {len(header)}")
                if fields == first:
                    raise RowError("the header again")
                yield mapping.row(dict(zip(header, fields, strict=True)), file.name, number)
            except (RowError, TimeError) as error:
                yield reject(file.name, number, text, error)


def _distinct(names: list[str]) -> list[str]:
    """Column names, where the second `url` becomes `url.1`, as pandas does."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        count = seen.get(name, 0)
        seen[name] = count + 1
        result.append(f"{name}.{count}" if count else name)
    return result


def _json_lines(file: SourceFile, mapping: ColumnMapping) -> Iterator[SourceRow | RejectedLine]:
    with unpacked(file) as stream:
        for item in lines(stream, file.name):
            if isinstance(item, RejectedLine):
                yield item
                continue
            number, line = item
            try:
                yield mapping.row(parse_object(line), file.name, number)
            except (RowError, TimeError) as error:
                yield reject(file.name, number, line, error)


def _parquet(file: SourceFile, mapping: ColumnMapping) -> Iterator[SourceRow | RejectedLine]:
    with file.open() as stream:
        try:
            yield from _parquet_rows(stream, file.name, mapping)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{file.name}: not a Parquet file, or damaged: {error}") from error


def _parquet_rows(stream: BinaryIO, name: str, mapping: ColumnMapping) -> Iterator[SourceRow | RejectedLine]:
    parquet = pq.ParquetFile(stream, pre_buffer=False)
    columns = [c for c in parquet.schema_arrow.names if not _PANDAS_INDEX.fullmatch(c)]
    mapping.require(columns, name)
    number = 0
    for batch in parquet.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
        for record in batch.to_pylist():
            number += 1
            plain = cast("dict[str, Any]", _plain(record))
            try:
                yield mapping.row(plain, name, number)
            except (RowError, TimeError) as error:
                yield reject(name, number, str(plain), error)


def _plain(value: Any) -> Any:
    """A Parquet value as JSON has it: times as ISO text, decimals as numbers, bytes as text, NaN as null."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return None if is_missing(value) else value
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)
