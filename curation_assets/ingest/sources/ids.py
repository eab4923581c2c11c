"""A list of ids, one per line: YouTube's, unless the recipe's `url_template` says otherwise. URLs of YouTube videos count as their ids."""

from __future__ import annotations

from collections.abc import Iterator

from curation_assets.ingest.dataset_index import Source
from curation_assets.ingest.sources.file_reading import lines, reject, unpacked
from curation_assets.ingest.sources.files import find_files
from curation_assets.ingest.sources.rows import RejectedLine, RowError, SourceRow, clean_id, video_url, youtube_id
from curation_resources.storage import Storage

LIST_ENDINGS = (".txt", ".csv", ".ids", ".list")


def read(source: Source, storage: Storage | None = None) -> Iterator[SourceRow | RejectedLine]:
    """The rows of the files that `source.path` names."""
    for file in find_files(source.path, LIST_ENDINGS, storage):
        with unpacked(file) as stream:
            for item in lines(stream, file.name):
                if isinstance(item, RejectedLine):
                    yield item
                    continue
                number, line = item
                try:
                    video_id = _id(line)
                    yield SourceRow(video_id, video_url(video_id, None, source.url_template, None), file.name, number)
                except RowError as error:
                    yield reject(file.name, number, line, error)


def _id(line: bytes) -> str:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RowError(f"not UTF-8 at byte {error.start + 1}") from None
    if "://" in text:
        found = youtube_id(text)
        if found is None:
            raise RowError("a URL, not an id; use format: table for lists of URLs")
        return found
    video_id = clean_id(text)
    if video_id is None or any(c in video_id for c in " ,;/\\\"'"):
        raise RowError("not an id; there must be one id per line")
    return video_id
