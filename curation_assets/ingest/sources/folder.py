"""A folder or prefix of video files, read recursively, with the files of the same name beside them.

Beside `name.mp4` may lie `name.txt` (caption), `name.json` (title, caption, licence), `name.vtt`, `name.srt`, and subtitles with
a language, `name.en.vtt`. One folder's listing is held in memory at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from curation_assets.ingest.dataset_index import Source
from curation_assets.ingest.sources.files import (
    SourceFile,
    correct_path,
    entries,
    expand_user,
    filesystem,
    fixed_part,
    glob_entries,
    is_glob,
    source_file,
)
from curation_assets.ingest.sources.media import (
    CAPTION,
    INFO,
    SIDECAR_BYTES,
    SIDECARS,
    StoredFiles,
    reference,
    stored_row,
)
from curation_assets.ingest.sources.rows import RejectedLine, SourceError, SourceRow
from curation_assets.ingest.sources.settling import Settling, Unsettled
from curation_assets.ingest.text_encodings import EncodingError
from curation_resources.storage import Storage
from curation_resources.storage_errors import READ_ERRORS
from curation_resources.urls import redact


def read(
    source: Source, storage: Storage | None = None, settling: Settling | None = None
) -> Iterator[SourceRow | RejectedLine | Unsettled]:
    """The videos below the folders that `source.path` names, each folder's files first, in sorted order.

    `source` of a row is its file and `line` is 1. Among several folders, a video's location begins with its folder's name.
    With `settling`, a video that may still be being written, or a file beside it, is not opened.

    Raises:
        SourceError: a folder is missing, or nothing below the folders is a video.
    """
    extensions = frozenset(e.lower().lstrip(".") for e in source.extensions)
    roots = sorted(set(source.path))
    found = False
    for given in roots:
        for file, beside in _groups(expand_user(given), storage, extensions, len(roots) > 1):
            found = True
            if settling and not all(settling.settled(f.modified) for f in (file, *beside.values())):
                yield Unsettled(file.name, file.relative)
                continue
            try:
                yield _row(file, beside)
            except EncodingError as error:
                yield RejectedLine(file.name, 1, "", str(error))
    if not found:
        raise SourceError(
            f"{', '.join(redact(r) for r in roots)}: no video there; looked for files ending in {', '.join(sorted(extensions))}"
        )


def _groups(
    given: str, storage: Storage | None, extensions: frozenset[str], several: bool
) -> Iterator[tuple[SourceFile, dict[str, SourceFile]]]:
    """Each video that `given` names or that lies below it, with its sidecar files by ending."""
    fs, path = filesystem(given, storage)
    matches, root = _matches(fs, path.rstrip("/"), given)
    for entry in matches:
        if entry["type"] == "directory":
            for files in _walk(fs, entry["name"].rstrip("/"), given):
                yield from _pair([source_file(fs, e, given, root, several) for e in files], extensions)
    wanted = {str(e["name"]) for e in matches if e["type"] == "file"}
    for parent in sorted({fs._parent(name) for name in wanted}):
        listing = [source_file(fs, e, given, root, several) for e in _files(fs, parent, given)[0]]
        yield from ((video, beside) for video, beside in _pair(listing, extensions) if video.path in wanted)


def _matches(fs: AbstractFileSystem, path: str, given: str) -> tuple[list[dict[str, Any]], str]:
    """Listing entries of the files and folders that a path or glob names, sorted, and the folder that locations are relative to."""
    try:
        fs.invalidate_cache()
        if fs.isdir(path):
            return [{"name": path, "type": "directory"}], path
        if fs.isfile(path):
            return [fs.info(path)], fs._parent(path)
        found = glob_entries(fs, path) if is_glob(path) else []
    except READ_ERRORS as error:
        raise SourceError(f"{redact(given)}: cannot be read: {error}") from error
    if not found:
        raise SourceError(f"{redact(given)}: no such file or folder; {correct_path(given)}")
    return found, fixed_part(path)


def extension(path: str) -> str:
    """The lower-case ending of a file's name, without the dot."""
    name = path.rsplit("/", 1)[-1]
    return name.rpartition(".")[2].lower() if "." in name.lstrip(".") else ""


def _files(fs: AbstractFileSystem, folder: str, given: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Files (listing entries) and folders (paths) directly in `folder`, sorted, hidden ones left out."""
    try:
        listing = sorted(entries(fs, folder), key=lambda e: str(e["name"]))
    except READ_ERRORS as error:
        raise SourceError(f"{redact(given)}: {folder} cannot be listed: {error}") from error
    visible = [
        e
        for e in listing
        if not os.path.basename(str(e["name"]).rstrip("/")).startswith(".") and e["name"].rstrip("/") != folder
    ]
    return [e for e in visible if e["type"] == "file"], [
        e["name"].rstrip("/") for e in visible if e["type"] == "directory"
    ]


def _walk(fs: AbstractFileSystem, top: str, given: str) -> Iterator[list[dict[str, Any]]]:
    """Listing entries of the files of each folder from `top` down; links to folders are followed, but no folder is entered within itself."""
    pending = [(top, frozenset[str]())]
    while pending:
        folder, above = pending.pop()
        real = os.path.realpath(folder) if isinstance(fs, LocalFileSystem) else folder
        if real in above:
            continue
        files, folders = _files(fs, folder, given)
        yield files
        pending.extend((inner, above | {real}) for inner in reversed(folders))


def _pair(files: list[SourceFile], extensions: frozenset[str]) -> Iterator[tuple[SourceFile, dict[str, SourceFile]]]:
    videos = [f for f in files if extension(f.path) in extensions]
    beside: dict[str, dict[str, SourceFile]] = {_stem(f.path): {} for f in videos}
    for file in files:
        if extension(file.path) in SIDECARS:
            stem, ending = _stem(file.path), extension(file.path)
            if stem not in beside and "." in stem:
                stem, _, language = stem.rpartition(".")
                ending = f"{language}.{ending}"
            if stem in beside:
                beside[stem][ending] = file
    for video in videos:
        yield video, beside[_stem(video.path)]


def _stem(path: str) -> str:
    return path.rsplit("/", 1)[-1].rpartition(".")[0]


def _row(file: SourceFile, beside: dict[str, SourceFile]) -> SourceRow:
    contents = {}
    for ending in (CAPTION, INFO):
        if ending in beside and beside[ending].size <= SIDECAR_BYTES:
            with beside[ending].open() as stream:
                contents[ending] = stream.read()
    return stored_row(
        _stem(file.path),
        file.relative,
        file.name,
        1,
        StoredFiles(
            media=reference(file),
            audio=None,
            sidecars={ending: reference(f) for ending, f in sorted(beside.items())},
            contents=contents,
            names={ending: f.name for ending, f in beside.items()},
        ),
    )
