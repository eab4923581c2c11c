"""What a list says of itself: its format, and which of its columns mean what, guessed from its first records for whoever writes a recipe of it.

What belongs here: names of columns as published lists have them. What does not: reading a source, which goes by the recipe alone and guesses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from curation_assets.ingest.sources import acav, hdvila
from curation_assets.ingest.sources.file_reading import csv_records, unpacked
from curation_assets.ingest.sources.files import SourceFile, base_name, find_files
from curation_assets.ingest.sources.records import (
    DELIMITERS,
    LIST_ENDINGS,
    OTHER_DELIMITERS,
    Asked,
    Record,
    read_records,
)
from curation_assets.ingest.sources.rows import RowError, SourceError
from curation_assets.ingest.sources.times import TimeError, parse_spans

MEANINGS: Mapping[str, tuple[str, ...]] = {
    "id": ("videoid", "youtubeid", "ytid", "ytbid", "vid", "id"),
    "url": (
        *("url", "videourl", "contenturl", "videoloc", "videolink", "link"),
        *("videopath", "filepath", "path", "filename", "file", "video"),
    ),
    "title": ("title", "videotitle"),
    "caption": ("caption", "captions", "text", "sentence", "description", "prompt", "name"),
    "licence": ("licence", "license", "licencetype", "licensetype", "licencename", "licensename"),
    "clips": ("clips", "timestamps", "timestamp", "spans", "segments", "span", "segment", "clip"),
    "start": ("start", "starttime", "starttimestamp", "startseconds", "startsec", "startms", "begin"),
    "end": ("end", "endtime", "endtimestamp", "endseconds", "endsec", "endms"),
    "clip_id": ("clipid",),
}
"""Key of `source.columns` -> names of columns that mean it, the likeliest first; without case, underscores and the like."""
RECORDS = 20
"""Records that are looked at."""


@dataclass(frozen=True)
class GuessedList:
    """What a list is taken for.

    Attributes:
        format: of the recipe.
        columns: key of `source.columns` -> column; empty where the format needs none, or none could be told.
        names: the columns that it has.
        spans: whether it names spans of its videos.
        time_unit: of its spans.
    """

    format: str
    columns: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    spans: bool = False
    time_unit: str = "s"


def guessed_list(path: str) -> GuessedList:
    """What a list, by its first records, is taken for.

    Args:
        path: of one file, with an ending of a table.

    Raises:
        SourceError: it cannot be read, or holds nothing.
    """
    (file,) = find_files([path], LIST_ENDINGS)
    delimiter = next((d for ending, d in DELIMITERS.items() if ending in base_name(file.path).lower()), None)
    if delimiter is not None:
        header = _header(file, delimiter)
        if not any(header):
            raise SourceError(f"{file.name}: it is empty; name another list")
        if not _meanings(header) or {"url", "id"}.isdisjoint(_meanings(header)):
            return _without_header(header, file.name)
    records = [r.cells for r in islice(_records(file, _asked(file, delimiter)), RECORDS)]
    if not records:
        raise SourceError(f"{file.name}: it has no record that can be read; name another list")
    if _is_hdvila(records, file):
        return GuessedList("hdvila", names=tuple(records[0]), spans=True)
    names = tuple(dict.fromkeys(name for cells in records for name in cells))
    columns = _told_apart(_meanings(names), records)
    spans = bool({"clips", "start"} & columns.keys())
    milliseconds = spans and _plain(columns.get("start", "")).endswith("ms")
    return GuessedList("table", columns, names, spans, "ms" if milliseconds else "s")


def _records(file: SourceFile, asked: Asked) -> Iterable[Record]:
    return (r for r in read_records(file, asked) if isinstance(r, Record))


def _asked(file: SourceFile, delimiter: str | None) -> Asked:
    """What finds the delimiter of a table again: the columns of its header that say which video a row is of."""
    if delimiter is None:
        return Asked({}, "id")
    found = _meanings(_header(file, delimiter))
    return Asked({k: c for k, c in found.items() if k in ("id", "url")}, "id")


def _header(file: SourceFile, usual: str) -> list[str]:
    """The fields of a table's first line, by the delimiter with which most of them are known; the usual one where none is."""
    found: list[list[str]] = []
    for delimiter in dict.fromkeys((usual, *OTHER_DELIMITERS)):
        with unpacked(file) as stream:
            first = next((item[1] for item in csv_records(stream, file.name, delimiter) if isinstance(item, tuple)), [])
        found.append([name.strip().removeprefix("\ufeff") for name in first])
    return max(found, key=lambda names: len(_meanings(names)))


def _without_header(first: list[str], name: str) -> GuessedList:
    """ACAV's rows of an id and a span, which have no header; else a table of which no column is known."""
    try:
        layout = acav.detect(first, name)
        span = [first[layout.start], first[layout.end]] if layout.start is not None and layout.end is not None else None
        parse_spans(first[layout.span] if span is None else [span])  # type: ignore[index]
    except (RowError, SourceError, TimeError):
        return GuessedList("table", names=tuple(first))
    return GuessedList("acav", names=layout.names, spans=True)


def _is_hdvila(records: list[dict[str, Any]], file: SourceFile) -> bool:
    clips = records[0].get("clip")
    named = isinstance(clips, list) and clips and isinstance(clips[0], Mapping) and "span" in clips[0]
    return bool(named) and "video_id" in records[0] and base_name(file.path).lower().endswith(hdvila.LIST_ENDINGS)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _meanings(names: Iterable[str]) -> dict[str, str]:
    """Key of `source.columns` -> column, of those whose names are known; each column has one meaning."""
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(_plain(name), name)
    found: dict[str, str] = {}
    for key, known in MEANINGS.items():
        column = next((plain[k] for k in known if k in plain and plain[k] not in found.values()), None)
        if column is not None:
            found[key] = column
    return found


def _told_apart(found: dict[str, str], records: list[dict[str, Any]]) -> dict[str, str]:
    """Without what the cells contradict: spans that are none, a start without an end, ids that are numbers of rows. In a list of clips without spans, each of which is a file, a clip's id is its video's."""
    kept = dict(found)
    if not {"start", "end"} <= kept.keys():
        kept = {k: c for k, c in kept.items() if k not in ("start", "end")}
    if "start" in kept:
        kept.pop("clips", None)
    elif "clips" in kept and not _are_spans([cells.get(kept["clips"]) for cells in records]):
        del kept["clips"]
    if not {"clips", "start"} & kept.keys():
        clip = kept.pop("clip_id", None)
        if clip is not None and "id" not in kept and _are_ids([cells.get(clip) for cells in records]):
            kept = {"id": clip, **kept}
    if "url" in kept and "id" in kept and _plain(kept["id"]) == "id":
        numbers = [str(cells.get(kept["id"], "")).strip() for cells in records]
        if all(n.isdecimal() and len(n) < 6 for n in numbers):
            del kept["id"]
    return kept


def _are_ids(cells: list[Any]) -> bool:
    """Whether no two rows share one and none is a number, as those of rows are."""
    told = [str(cell).strip() for cell in cells if cell not in (None, "")]
    return len(set(told)) == len(cells) and not any(name.isdecimal() for name in told)


def _are_spans(cells: list[Any]) -> bool:
    try:
        return any(parse_spans(cell) for cell in cells if cell not in (None, ""))
    except TimeError:
        return False
