"""Existing webdataset tars, video2dataset's output included: the members of one key are a sample (mp4, m4a, json, txt, ...).

Tars are indexed by their headers, seeking over the payload; only small `txt` and `json` members are read. Nothing is unpacked:
rows refer to the members by offset and size.
"""

from __future__ import annotations

import json
import sqlite3
import tarfile
import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from fsspec.implementations.local import LocalFileSystem

from curation_assets.ingest.dataset_index import Source
from curation_assets.ingest.sources.files import SourceFile, find_files
from curation_assets.ingest.sources.media import (
    CAPTION,
    INFO,
    SIDECAR_BYTES,
    Reference,
    StoredFiles,
    reference,
    stored_row,
)
from curation_assets.ingest.sources.rows import RejectedLine, RowError, SourceRow, parse_object
from curation_assets.ingest.sources.settling import Settling, Unsettled
from curation_assets.ingest.sources.video2dataset import failure_of
from curation_assets.ingest.text_encodings import EncodingError
from curation_resources.storage import Storage

LIST_ENDINGS = (".tar",)
AUDIO = frozenset({"m4a", "mp3", "aac", "wav", "flac", "ogg", "opus"})
HEADER_READ_BYTES = 64 << 10
"""How much is fetched around each header of a remote tar."""


@dataclass
class TarSample:
    """Members of a tar with the same key."""

    key: str
    members: dict[str, Reference] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)


def read(
    source: Source, storage: Storage | None = None, settling: Settling | None = None
) -> Iterator[SourceRow | RejectedLine | Unsettled]:
    """The samples of the tars that `source.path` names; `line` counts the samples of a tar from 1.

    A sample without a video, and a tar that is damaged, are rejected rows. With `settling`, a tar that may still be being written is not opened.
    """
    extensions = [e.lower().lstrip(".") for e in source.extensions]
    files = find_files(source.path, LIST_ENDINGS, storage)
    for file in files:
        if settling and not settling.settled(file.modified):
            yield Unsettled(file.name)
            continue
        for number, item in enumerate(samples(file, frozenset(extensions)), start=1):
            if not isinstance(item, TarSample):
                yield RejectedLine(file.name, number, "", item)
                continue
            try:
                yield _row(item, number, file, extensions)
            except EncodingError as error:
                yield RejectedLine(file.name, number, item.key, str(error))


def _row(sample: TarSample, number: int, file: SourceFile, extensions: list[str]) -> SourceRow | RejectedLine:
    members = dict(sample.members)
    endings = [*(e for e in extensions if e in members), *(m for m in members if m.rpartition(".")[2] in extensions)]
    video = members.pop(endings[0]) if endings else None
    if video is None:
        return RejectedLine(file.name, number, sample.key, _why_no_video(sample))
    audio = next((members.pop(e) for e in sorted(AUDIO) if e in members), None)
    location = f"{file.relative}#{sample.key}"
    names = {ending: f"{file.name}#{sample.key}.{ending}" for ending in sample.contents}
    files = StoredFiles(video, audio, dict(sorted(members.items())), sample.contents, names)
    return stored_row(sample.key.rsplit("/", 1)[-1], location, file.name, number, files)


def _why_no_video(sample: TarSample) -> str:
    try:
        why = failure_of(parse_object(sample.contents.get(INFO, b"")))
    except RowError:
        why = None
    return f"no video among {', '.join(sample.members)}{f': {why}' if why else ''}"


def samples(file: SourceFile, extensions: Collection[str]) -> Iterator[TarSample | str]:
    """The samples of a tar in the order in which they begin; at the end a sentence if the tar is damaged, which no longer belongs to a sample.

    A sample whose members lie apart, as where all videos come before all texts, is put together.
    """
    if file.path.endswith((".gz", ".zst", ".bz2", ".xz")):
        yield "a compressed tar cannot be read by byte range; unpack it"
        return
    with _Pieces(extensions) as pieces:
        damage = None
        for piece in _pieces(file):
            if isinstance(piece, TarSample):
                pieces.add(piece)
            else:
                damage = piece
        yield from pieces
    if damage is not None:
        yield damage


def _pieces(file: SourceFile) -> Iterator[TarSample | str]:
    """Each run of adjacent members of one key, a sample or a part of one; at the end a sentence if the tar is damaged."""
    options = {} if isinstance(file.fs, LocalFileSystem) else {"block_size": HEADER_READ_BYTES}
    with file.open(**options) as stream:
        current: TarSample | None = None
        try:
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                while (member := tar.next()) is not None:
                    cast(Any, tar).members.clear()  # it would remember every header
                    key, ending = _split(member.name)
                    if not member.isreg() or not key or not ending:
                        continue
                    if current is None or key != current.key or ending in current.members:
                        if current is not None:
                            yield current
                        current = TarSample(key)
                    if member.offset_data + member.size > file.size:
                        current = None
                        break
                    _add(current, ending, member, stream, file)
                end = tar.offset
        except tarfile.TarError as error:
            yield from () if current is None else [current]
            yield f"not a tar, or cut off: {error}"
            return
        yield from () if current is None else [current]
        stream.seek(min(end, file.size))
        if end > file.size or stream.read(512).strip(b"\0"):
            yield f"cut off or damaged near byte {min(end, file.size)}; the samples before it can be used"


class _Pieces:
    """Samples put together of pieces that may lie apart. They are kept on disk, so that memory does not grow with the tar."""

    def __init__(self, extensions: Collection[str]) -> None:
        self._extensions = extensions
        self._folder = tempfile.TemporaryDirectory(prefix="samples-")
        self._database = sqlite3.connect(Path(self._folder.name) / "samples.db", isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("CREATE TABLE samples (number INTEGER PRIMARY KEY, key BLOB, members TEXT)")
        self._database.execute("CREATE TABLE contents (number INTEGER, ending TEXT, data BLOB)")
        self._database.execute("CREATE INDEX by_key ON samples (key)")
        self._database.execute("BEGIN")

    def __enter__(self) -> _Pieces:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
        self._folder.cleanup()

    def add(self, piece: TarSample) -> None:
        """Joins a piece to the last sample of its key, unless both have a video or a member of one ending: then it is another of that key."""
        key = piece.key.encode("utf-8", "surrogateescape")
        query = "SELECT number, members FROM samples WHERE key = ? ORDER BY number DESC LIMIT 1"
        number, members = self._database.execute(query, (key,)).fetchone() or (None, "{}")
        before = json.loads(members)
        if (
            number is None
            or before.keys() & piece.members.keys()
            or (self._has_video(before) and self._has_video(piece.members))
        ):
            number = self._database.execute(
                "INSERT INTO samples (key, members) VALUES (?, ?)", (key, json.dumps(piece.members))
            ).lastrowid
        else:
            together = json.dumps(before | piece.members)
            self._database.execute("UPDATE samples SET members = ? WHERE number = ?", (together, number))
        rows = [(number, ending, data) for ending, data in piece.contents.items()]
        self._database.executemany("INSERT INTO contents VALUES (?, ?, ?)", rows)

    def _has_video(self, members: Iterable[str]) -> bool:
        return any(ending.rpartition(".")[2] in self._extensions for ending in members)

    def __iter__(self) -> Iterator[TarSample]:
        self._database.execute("CREATE INDEX by_number ON contents (number)")
        for number, key, members in self._database.execute("SELECT number, key, members FROM samples ORDER BY number"):
            found = self._database.execute("SELECT ending, data FROM contents WHERE number = ?", (number,))
            yield TarSample(key.decode("utf-8", "surrogateescape"), json.loads(members), dict(found))


def _add(sample: TarSample, ending: str, member: tarfile.TarInfo, stream: BinaryIO, file: SourceFile) -> None:
    sample.members[ending] = reference(file, member.offset_data, member.size)
    if ending in (CAPTION, INFO) and member.size <= SIDECAR_BYTES:
        at = stream.tell()
        stream.seek(member.offset_data)
        sample.contents[ending] = stream.read(member.size)
        stream.seek(at)


def _split(name: str) -> tuple[str, str]:
    """Key and ending of a member: the key ends at the first dot of the file's name."""
    folder, _, base = name.removeprefix("./").rpartition("/")
    stem, _, ending = base.partition(".")
    return (f"{folder}/{stem}" if folder and stem else stem), ending.lower()
