"""Records of the index: the normal form of a source row, and how several rows of one video become one record.

What rows that are clips say stays with their spans: a span is `[clip_id, start_ms, end_ms]`, with a fourth entry where the source says
something of it (`captions`, `licence`, `extra`). Of the video itself such rows say only what all of them say alike. Rows about the
whole video are read in order: the first says what it says, later ones fill gaps and add captions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from curation_assets.ingest.sources import SourceRow
from curation_assets.ingest.sources.rows import RowError, Words, canonical_json
from curation_resources.urls import public_text, public_url

WORDS = ("caption", "licence", "extra")
"""Entries of a record that a row which is a clip has of its span."""
Contradict = Callable[[str], Any]
"""Takes the name of a column in which two rows of a video contradict each other."""


def record_of(row: SourceRow) -> str:
    """The normal form of a row: canonical JSON, nulls and empty values left out, URLs public.

    Raises:
        RowError: a value that JSON cannot hold.
    """
    record: dict[str, Any] = {"url": public_url(row.url) if row.url else row.url}
    if row.title is not None:
        record["title"] = public_text(row.title)
    if row.caption is not None:
        record["caption"] = public_text(row.caption)
    if row.captions:
        record["captions"] = [public_text(c) for c in row.captions]
    if row.licence is not None:
        record["licence"] = row.licence
    if row.words:
        spans = [[*s, _public(w)] if w else list(s) for s, w in zip(row.spans, row.words, strict=True)]
        record["spans"] = distinct_spans(spans)
    elif row.spans:
        record["spans"] = row.spans if len(row.spans) == 1 else distinct_spans(row.spans)
    if row.extra:
        record["extra"] = row.extra if row.location is not None else _public(row.extra)
    return canonical_json(record)


LEVELS = 64
"""Of lists and objects within each other in what a source says of a video."""


def _public(value: Any, levels: int = LEVELS) -> Any:
    """`value` with all URLs in its texts as `public_url` has them.

    Raises:
        RowError: it is nested deeper than `levels`.
    """
    if isinstance(value, str):
        return public_text(value)
    if not isinstance(value, dict | list | tuple):
        return value
    if not levels:
        raise RowError(f"lists or objects nested deeper than {LEVELS} levels; leave that column out of the list")
    if isinstance(value, dict):
        return {k: _public(v, levels - 1) for k, v in value.items()}
    return [_public(v, levels - 1) for v in value]


def distinct_spans(spans: Iterable[Sequence[Any]], contradict: Contradict = lambda column: None) -> list[list[Any]]:
    """Spans, those with the same times once: a later one fills gaps of the first and adds its captions."""
    by_times: dict[tuple[int, int], list[Any]] = {}
    for clip_id, start, end, *said in spans:
        kept = by_times.get((start, end))
        if kept is None:
            by_times[start, end] = [clip_id, start, end, *said]
            continue
        if kept[0] is None:
            kept[0] = clip_id
        elif clip_id not in (None, kept[0]):
            contradict("clip_id")
        words = _merged_words([*kept[3:], *said], contradict)
        kept[3:] = [words] if words else []
    return list(by_times.values())


def _merged_words(several: Iterable[Words], contradict: Contradict) -> Words:
    merged: Words = {}
    for words in several:
        captions = [*merged.get("captions", []), *words.get("captions", [])]
        if captions:
            merged["captions"] = list(dict.fromkeys(captions))
        _fill(merged, {k: v for k, v in words.items() if k == "licence"}, contradict)
        if "extra" in words:
            merged["extra"] = dict(merged.get("extra", {}))
            _fill(merged["extra"], words["extra"], contradict)
    return merged


def _fill(kept: dict[str, Any], more: dict[str, Any], contradict: Contradict) -> None:
    for name, value in more.items():
        if name not in kept:
            kept[name] = value
        elif kept[name] != value:
            contradict(name)


def merge_records(records: Iterable[str], contradictions: Counter[str] | None = None) -> str:
    """One record of several of the same video, in source order.

    Args:
        records: of `record_of`.
        contradictions: counts, for each column in which two rows contradict each other, this video once. What stays with spans
            contradicts nothing, unless two rows say it of the same span.
    """
    found: set[str] = set()
    merged: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    captions: list[str] = []
    spans: list[Any] = []
    of_clips: list[dict[str, Any]] = []
    for text in records:
        record = orjson.loads(text)
        own = record.pop("spans", [])
        spans += own
        if _is_clip(record, own):
            of_clips.append({name: record.pop(name) for name in WORDS if name in record})
            path = record.pop("path", None)
            extra |= {} if path is None else {"path": path}
        said = record.pop("caption", None)
        captions += record.pop("captions", [said] if said is not None else [])
        _fill(extra, record.pop("extra", {}), found.add)
        _fill(merged, record, found.add)
    if of_clips:
        common = dict(of_clips[0])
        for words in of_clips[1:]:
            common = {k: v for k, v in common.items() if k != "extra" and words.get(k) == v} | _common_extra(
                common, words
            )
        extra = extra | {k: v for k, v in common.pop("extra", {}).items() if k not in extra}
        merged = common | merged
    if captions:
        captions = list(dict.fromkeys(captions))
        merged |= {"caption": captions[0]} | ({"captions": captions} if len(captions) > 1 else {})
    if spans:
        merged["spans"] = distinct_spans(spans, found.add)
    if extra:
        merged["extra"] = extra
    if contradictions is not None:
        contradictions.update(found)
    return canonical_json(merged)


def _is_clip(record: dict[str, Any], spans: Sequence[Sequence[Any]]) -> bool:
    """Whether a record is of a row that is a clip: of its one span it says what it says at all. Its place in storage is put apart."""
    if len(spans) != 1:
        return False
    words: Words = spans[0][3] if len(spans[0]) > 3 else {}
    extra = dict(record.get("extra", {}))
    path = extra.pop("path", None) if "path" not in words.get("extra", {}) else None
    if (record.get("caption"), record.get("licence"), extra) != (
        next(iter(words.get("captions", [])), None),
        words.get("licence"),
        words.get("extra", {}),
    ):
        return False
    if path is not None:
        record["path"], record["extra"] = path, extra
    return True


def _common_extra(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    ours, theirs = a.get("extra", {}), b.get("extra", {})
    common = {k: v for k, v in ours.items() if k in theirs and theirs[k] == v}
    return {"extra": common} if common else {}
