"""Files of records, whatever they hold: csv, tsv, JSON lines, JSON documents and Parquet as mappings from column to cell.

A JSON document is a list of objects, an object keyed by id (ActivityNet Captions), or one that holds either under a name (`database`
of ActivityNet and YouCook2, `videos` of MSR-VTT). It is read whole; everything else is streamed.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.ingest.sources.file_reading import csv_records, lines, reject, unpacked
from curation_assets.ingest.sources.files import SourceFile, base_name
from curation_assets.ingest.sources.rows import RejectedLine, RowError, SourceError, parse_object
from curation_assets.ingest.sources.times import is_missing
from curation_resources import sealed_parquet

DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
OTHER_DELIMITERS = (",", ";", "\t", "|")
"""Delimiters that a file may have in spite of its ending: the first with which its header has the columns that are asked for."""
JSON_LINES = (".jsonl", ".ndjson", ".json")
PARQUET = (".parquet", ".pq")
LIST_ENDINGS = (*DELIMITERS, *JSON_LINES, *PARQUET)
BATCH_ROWS = 4096
DOCUMENT_BYTES = 1 << 30
"""Largest JSON document that is read; it takes several times as much memory."""
HEADER_BYTES = 1 << 16
HOLDERS = ("database", "videos", "data", "clips", "items", "annotations", "results")
"""Names under which a JSON document holds its records, in order of preference."""
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


@dataclass(frozen=True)
class Record:
    """A record of a file.

    Attributes:
        number: its line, row or place in the file, counted from 1.
        cells: column -> value.
        text: what was read, for messages.
    """

    number: int
    cells: dict[str, Any]
    text: str | bytes = field(repr=False)


@dataclass(frozen=True)
class Asked:
    """What is asked of a file.

    Attributes:
        columns: key of the recipe -> column that it names. A table that lacks one cannot be used.
        key: column that the ids of a document keyed by id are put into, where its objects have none of that name.
        holder: name under which a JSON document holds its records; None is the first of `HOLDERS`.
    """

    columns: Mapping[str, str]
    key: str
    holder: str | None = None

    def require(self, available: Collection[str], file: str) -> None:
        """Raises SourceError if a column is not among `available`."""
        for key, column in self.columns.items():
            if column not in available:
                raise SourceError(f"{file}: no column {column!r} ({key}); it has {', '.join(available)}")


def read_records(file: SourceFile, asked: Asked) -> Iterator[Record | RejectedLine]:
    """The records of a file in order.

    Raises:
        SourceError: a file of another kind, without a column that is asked for, or damaged.
    """
    name = base_name(file.path).lower()
    if name.endswith(PARQUET):
        yield from _parquet(file, asked)
    elif name.endswith(JSON_LINES):
        yield from _json(file, asked)
    elif delimiter := next((d for ending, d in DELIMITERS.items() if name.endswith(ending)), None):
        yield from _csv(file, asked, delimiter)
    else:
        raise SourceError(f"{file.name}: not a table that can be read; there are {', '.join(LIST_ENDINGS)}")


def _csv(file: SourceFile, asked: Asked, delimiter: str) -> Iterator[Record | RejectedLine]:
    header: list[str] | None = None
    with unpacked(file) as stream:
        delimiter = _delimiter(stream, asked, delimiter)
        for item in csv_records(stream, file.name, delimiter):
            if isinstance(item, RejectedLine):
                yield item
                continue
            number, fields, text = item
            if header is None:
                header = _distinct([field.strip() for field in fields])
                asked.require(header, file.name)
                first = fields
                continue
            try:
                if len(fields) != len(header):
                    raise RowError(f"{len(fields)} columns where the header has {len(header)}")
                if fields == first:
                    raise RowError("the header again")
                yield Record(number, dict(zip(header, fields, strict=True)), text)
            except RowError as error:
                yield reject(file.name, number, text, error)


def _delimiter(stream: BinaryIO, asked: Asked, usual: str) -> str:
    """The delimiter with which the header has all columns that are asked for; the usual one if none does."""
    peek = cast(Any, stream).peek(HEADER_BYTES)[:HEADER_BYTES]
    header = peek.removeprefix(b"\xef\xbb\xbf").split(b"\n")[0].decode("utf-8", "replace")
    for delimiter in (usual, *OTHER_DELIMITERS):
        names = {name.strip().strip('"') for name in header.split(delimiter)}
        if asked.columns and names.issuperset(asked.columns.values()):
            return delimiter
    return usual


def _distinct(names: list[str]) -> list[str]:
    """Column names, where the second `url` becomes `url.1`, as pandas does."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        count = seen.get(name, 0)
        seen[name] = count + 1
        result.append(f"{name}.{count}" if count else name)
    return result


def _json(file: SourceFile, asked: Asked) -> Iterator[Record | RejectedLine]:
    with unpacked(file) as stream:
        start = cast(Any, stream).peek(HEADER_BYTES)[:HEADER_BYTES]
        if base_name(file.path).lower().endswith(".json") and _is_document(start, asked):
            yield from _document(stream, file.name, asked)
            return
        for item in lines(stream, file.name):
            if isinstance(item, RejectedLine):
                yield item
                continue
            number, line = item
            try:
                yield Record(number, parse_object(line), line)
            except RowError as error:
                yield reject(file.name, number, line, error)


def _is_document(start: bytes, asked: Asked) -> bool:
    """Whether a JSON file is one document rather than an object per line, from its beginning.

    A document begins with a list, or its first line is no whole object, or that object holds objects instead of columns.
    """
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"["):
        return True
    line, ended, behind = text.partition(b"\n")
    if not text.startswith(b"{"):
        return False
    if not ended and len(start) >= HEADER_BYTES:  # a long first line: what its first key holds tells
        return re.match(rb'\{\s*"[^"]*"\s*:\s*[{\[]', text) is not None and not any(
            f'"{column}"'.encode() in text[:200] for column in asked.columns.values()
        )
    try:
        first = json.loads(line)
    except (ValueError, RecursionError):
        # broken lines of a file of lines end with a brace, or another line begins with one
        return not line.rstrip().endswith(b"}") and not behind.lstrip().startswith(b"{")
    return bool(first) and not set(first) & set(asked.columns.values()) and _holds_records(first)


def _holds_records(value: dict[str, Any]) -> bool:
    return any(isinstance(value.get(name), dict | list) for name in HOLDERS) or all(
        isinstance(inner, dict | list) for inner in value.values()
    )


def _document(stream: BinaryIO, name: str, asked: Asked) -> Iterator[Record | RejectedLine]:
    data = stream.read(DOCUMENT_BYTES + 1)
    if len(data) > DOCUMENT_BYTES:
        raise SourceError(f"{name}: a JSON document above {DOCUMENT_BYTES >> 20} MiB; write it as JSON lines")
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_constant=lambda _: None)
    except UnicodeDecodeError as error:
        raise SourceError(f"{name}: not UTF-8 at byte {error.start + 1}; convert it") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{name}: not JSON: {error}; get the file again") from error
    held = _held(value, name, asked)
    pairs: Sequence[tuple[str | None, Any]] = (
        list(held.items()) if isinstance(held, dict) else [(None, item) for item in held]
    )
    for number, (key, item) in enumerate(pairs, start=1):
        cells = item if isinstance(item, dict) else None
        if cells is None and key is not None:
            cells = {column: item for column in asked.columns.values() if column != asked.key}
            cells = cells if len(cells) == 1 else None
        if cells is None:
            yield RejectedLine(name, number, str(item)[:300], f"a JSON {type(item).__name__}, not an object")
            continue
        if key is not None:
            cells = {asked.key: key} | cells
        yield Record(number, cells, json.dumps(cells, ensure_ascii=False)[:600] if len(cells) < 50 else str(key))


def _held(value: Any, name: str, asked: Asked) -> dict[str, Any] | list[Any]:
    """The part of a document that holds the records.

    Raises:
        SourceError: it holds none.
    """
    if isinstance(value, dict) and asked.holder is not None:
        if asked.holder not in value:
            raise SourceError(f"{name}: nothing is called {asked.holder!r} there; it has {', '.join(list(value)[:20])}")
        value = value[asked.holder]
    elif isinstance(value, dict):
        found = [h for h in HOLDERS if isinstance(value.get(h), dict | list)]
        if found:
            value = value[found[0]]
    if not isinstance(value, dict | list):
        raise SourceError(f"{name}: a JSON {type(value).__name__}, not a list of objects or an object keyed by id")
    return value


def _parquet(file: SourceFile, asked: Asked) -> Iterator[Record | RejectedLine]:
    with file.open() as stream:
        try:
            parquet = pq.ParquetFile(stream, pre_buffer=False)
            columns = [c for c in parquet.schema_arrow.names if not _PANDAS_INDEX.fullmatch(c)]
            asked.require(columns, file.name)
            number = 0
            for batch in sealed_parquet.row_batches(parquet, BATCH_ROWS, columns, use_threads=False):
                for record in batch.to_pylist():
                    number += 1
                    cells = cast("dict[str, Any]", _plain(record))
                    yield Record(number, cells, str(cells))
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{file.name}: not a Parquet file, or damaged: {error}") from error


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
