"""HD-VILA-100M: a JSON object per line with `video_id`, `url` and `clip: [{clip_id, span: [start, end]}]`.

The published zip is read as it is, member by member. Spans are clocks (`00:00:17.759`) or numbers in the recipe's unit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from curation_assets.ingest.dataset_index import Source
from curation_assets.ingest.sources.file_reading import lines, reject, text_files
from curation_assets.ingest.sources.files import find_files
from curation_assets.ingest.sources.rows import (
    RejectedLine,
    RowError,
    SourceRow,
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

ENDINGS = (".jsonl", ".json", ".zip")
_USED = frozenset({"video_id", "url", "clip", "title", "caption", "licence", "license"})


def read(source: Source, storage: Storage | None = None) -> Iterator[SourceRow | RejectedLine]:
    """The rows of the files that `source.path` names."""
    for file in find_files(source.path, ENDINGS, storage):
        for name, stream in text_files(file, ".jsonl"):
            for item in lines(stream, name):
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
