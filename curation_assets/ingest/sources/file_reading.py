"""Lists are read here: unpacked, line by line or record by record, with damage and what is too long said in one sentence."""

from __future__ import annotations

import csv
import io
import lzma
import zipfile
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import pyarrow as pa

from curation_assets.ingest.sources.files import COMPRESSIONS, DECOMPRESSORS, SourceFile, sentence_of
from curation_assets.ingest.sources.rows import RejectedLine, RowError, SourceError, excerpt
from curation_assets.ingest.text_encodings import as_utf8

MAX_LINE_BYTES = 32 << 20
"""Longest line that is read; a longer one is rejected without being held in memory."""
MAX_RECORD_LINES = 1000
"""Most lines that one quoted CSV record may span; beyond that its quote counts as never closed."""
BUFFER_BYTES = 1 << 20
_UNPACK_ERRORS = (EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowInvalid)


class _Guarded(io.RawIOBase):
    """A stream whose errors become a `SourceError` that names the file.

    With one around the file and one around the decompressor, a failed read is not taken for damaged data.
    """

    def __init__(self, inner: Any, errors: tuple[type[Exception], ...], said: str, advice: str) -> None:
        self._inner, self._errors, self._said, self._advice = inner, errors, said, advice

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._inner.read(len(buffer))
        except self._errors as error:
            raise SourceError(f"{self._said}: {sentence_of(error)}{self._advice}") from error
        buffer[: len(data)] = data
        return len(data)


def _damage_guard(stream: Any, name: str) -> BinaryIO:
    guarded = _Guarded(stream, _UNPACK_ERRORS, f"{name}: damaged or cut off", "; get the file again")
    return cast(BinaryIO, io.BufferedReader(guarded, BUFFER_BYTES))


@contextmanager
def unpacked(file: SourceFile) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed by the ending of its name; text in UTF-16 with a mark comes as UTF-8.

    Raises:
        SourceError: it cannot be opened, or, while it is read, is damaged or cannot be read.
    """
    with file.open() as inner:
        raw = io.BufferedReader(_Guarded(inner, (OSError,), f"{file.name}: cannot be read", ""), BUFFER_BYTES)
        ending = next((c for c in COMPRESSIONS if file.path.endswith(c)), None)
        plain = _damage_guard(DECOMPRESSORS[ending](raw), file.name) if ending else cast(BinaryIO, raw)
        yield as_utf8(plain, file.name, SourceError)


def raw_lines(stream: BinaryIO, source: str, first: int = 1) -> Iterator[tuple[int, bytes] | RejectedLine]:
    """(number, bytes with the line's end) of each line, a leading byte order mark taken off; `first` is the number of the stream's first line."""
    number = first - 1
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if len(line) <= MAX_LINE_BYTES:
            yield number, line
            continue
        rejected = RejectedLine(source, number, excerpt(line), f"longer than {MAX_LINE_BYTES >> 20} MiB")
        while line and not line.endswith(b"\n"):
            line = stream.readline(MAX_LINE_BYTES)
        yield rejected


def lines(stream: BinaryIO, source: str, first: int = 1) -> Iterator[tuple[int, bytes] | RejectedLine]:
    """(number, bytes without the line's end) of each line that is not blank; numbers as `raw_lines`."""
    for item in raw_lines(stream, source, first):
        if isinstance(item, RejectedLine):
            yield item
        elif line := item[1].strip():
            yield item[0], line


def text_files(file: SourceFile, ending: str) -> Iterator[tuple[str, BinaryIO]]:
    """(name, bytes) of a file, or of each member of a zip whose name ends with `ending`, in sorted order.

    Raises:
        SourceError: the file or zip is damaged, or the zip has no such member.
    """
    if not file.path.endswith(".zip"):
        with unpacked(file) as stream:
            yield file.name, stream
        return
    with file.open() as inner:
        try:
            with zipfile.ZipFile(inner) as archive:
                members = sorted(n for n in archive.namelist() if n.endswith(ending) and not n.startswith("__MACOSX/"))
                if not members:
                    raise SourceError(f"{file.name}: the zip holds no {ending} file")
                for member in members:
                    with archive.open(member) as stream:
                        name = f"{file.name}::{member}"
                        yield name, as_utf8(_damage_guard(stream, name), name, SourceError)
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise SourceError(f"{file.name}: damaged or cut off: {sentence_of(error)}; get the file again") from error


class UnclosedQuote(Exception):
    """A quoted field that goes on for too many lines."""


class LineFeed:
    """The lines that a CSV reader is fed, remembering those of the record that it is in."""

    def __init__(self, source: Iterator[tuple[int, bytes] | RejectedLine]) -> None:
        self._source = source
        self._again: deque[tuple[int, bytes]] = deque()
        self.rejected: list[RejectedLine] = []
        self.start()

    def start(self) -> None:
        """Forgets the lines of the last record."""
        self.taken: list[tuple[int, bytes]] = []
        self.ended = False
        self.bad_byte: int | None = None

    def retry(self) -> None:
        """Gives back all lines of the record but the first."""
        self._again.extendleft(reversed(self.taken[1:]))

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self.taken) == MAX_RECORD_LINES:
            raise UnclosedQuote
        try:
            item = self._again.popleft() if self._again else next(self._source)
            while isinstance(item, RejectedLine):
                self.rejected.append(item)
                item = next(self._source)
        except StopIteration:
            self.ended = True
            raise
        self.taken.append(item)
        try:
            return item[1].decode("utf-8")
        except UnicodeDecodeError as error:
            self.bad_byte = error.start + 1
            return item[1].decode("utf-8", "replace")


def csv_records(stream: BinaryIO, source: str, delimiter: str) -> Iterator[tuple[int, list[str], bytes] | RejectedLine]:
    """(number of its first line from 1, fields, text) of each record that is not blank.

    Quoted fields may hold delimiters and line ends. A quote that is never closed costs its own line only: text right behind the
    quote that seems to close it shows that it opens another field.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
    feed = LineFeed(raw_lines(stream, source))
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while True:
        feed.start()
        problem, fields = None, None
        try:
            fields = next(reader)
        except StopIteration:
            yield from feed.rejected
            return
        except UnclosedQuote:
            problem = "a quote is never closed"
        except csv.Error as error:
            if len(feed.taken) > 1 or feed.ended:
                problem = "a quote is never closed"
            else:
                problem, fields = _lenient(feed.taken[0][1], delimiter, error)
                reader = csv.reader(feed, delimiter=delimiter, strict=True)
        yield from feed.rejected
        feed.rejected.clear()
        number, text = feed.taken[0]
        if problem:
            yield RejectedLine(source, number, excerpt(text), problem)
            feed.retry()
            reader = csv.reader(feed, delimiter=delimiter, strict=True)
        elif feed.bad_byte is not None:
            yield RejectedLine(source, number, excerpt(text), f"not UTF-8 at byte {feed.bad_byte} of a line")
        elif fields and (len(fields) > 1 or fields[0].strip()):
            yield number, fields, text if len(feed.taken) == 1 else b"".join(line for _, line in feed.taken)


def _lenient(line: bytes, delimiter: str, error: csv.Error) -> tuple[str | None, list[str] | None]:
    """(problem, fields) of a line with text behind a closing quote, which is taken as it stands; `error` if that fails too."""
    try:
        return None, next(csv.reader([line.decode("utf-8", "replace")], delimiter=delimiter))
    except csv.Error:
        lone = b"\r" in line.rstrip(b"\r\n")
        return "a carriage return alone in a line; lines must end with a line feed" if lone else str(error), None


def reject(source: str, line: int, text: str | bytes, error: RowError | ValueError) -> RejectedLine:
    """The rejected row of an error."""
    return RejectedLine(source, line, excerpt(text), str(error))
