"""What a source says of spans: which cells of a record are about the video, and which about one of its spans.

A row per clip (`start` and `end`) says everything of its span. A row per video has lists: of spans and, one entry for each, of
captions, licences, scores. Lists come as lists, as JSON, or as the text of a Python literal, which is parsed and never evaluated.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from curation_assets.ingest.sources.rows import RowError, Words, clean_text
from curation_assets.ingest.sources.times import PAIRS, Span, TimeError, Unit, is_missing, parse_literal, parse_span

CAPTIONS = ("caption", "sentence", "captions", "sentences", "text")
"""Names that a mapping about a span has for its captions."""
_OF_SPAN = frozenset({"clip_id", "start", "end", "licence", "license", *PAIRS})


def words(captions: Collection[str], licence: str | None = None, extra: Mapping[str, Any] | None = None) -> Words:
    """What is said of a span, without what is empty."""
    said: Words = {}
    if captions:
        said["captions"] = list(dict.fromkeys(captions))
    if licence is not None:
        said["licence"] = licence
    if extra:
        said["extra"] = dict(extra)
    return said


def as_list(cell: Any) -> list[Any] | None:
    """The list that a cell holds, or is the text of; None if it is neither."""
    if isinstance(cell, list | tuple):
        return list(cell)
    if isinstance(cell, str) and cell.lstrip()[:1] in ("[", "(") and cell.rstrip()[-1:] in ("]", ")"):
        try:
            value = parse_literal(cell)
        except TimeError:
            return None
        return list(value) if isinstance(value, list | tuple) else None
    return None


def texts(cell: Any) -> list[str]:
    """The captions that a cell holds: one text, or those of a list of texts."""
    if not isinstance(cell, str) or cell.lstrip()[:1] == "[":
        items = as_list(cell)
        if items is not None and all(isinstance(item, str) for item in items):
            return [text for item in items if (text := clean_text(item))]
    text = clean_text(cell)
    return [] if text is None or is_missing(text) else [text]


def span_words(item: Any, caption: str | None = None) -> Words:
    """What a mapping about a span says of it besides its times; `caption` is the recipe's name for captions."""
    if not isinstance(item, dict):
        return {}
    name = next((n for n in (caption, *CAPTIONS) if n is not None and n in item), None)
    licence = clean_text(item.get("licence", item.get("license")))
    extra = {k: v for k, v in item.items() if k not in _OF_SPAN and k != name and v is not None and v != ""}
    return words(texts(item[name]) if name else [], licence, extra)


def each(cell: Any, count: int, what: str) -> list[Any]:
    """The entry for each of `count` spans of a cell that must hold a list of them.

    Raises:
        RowError: it holds another number, or no list.
    """
    items = as_list(cell)
    if items is None:
        raise RowError(f"{what} is no list, where the row has {count} spans")
    if len(items) != count:
        raise RowError(f"{len(items)} entries in {what} for {count} spans; there must be one for each")
    return items


def parse_list(cell: Any, unit: Unit, caption: str | None = None) -> tuple[list[Span], list[Words]]:
    """The spans of a list of them, and what its entries say.

    Raises:
        TimeError: an entry is no span.
    """
    items = [cell] if isinstance(cell, dict) else as_list(cell)
    if items is None and isinstance(cell, str):
        value = parse_literal(cell)
        items = [value] if isinstance(value, dict) else [] if value is None else None
    if items is None:
        raise TimeError(f"{str(cell)[:60]!r} is no list of spans; one looks like [[start, end], [start, end]]")
    return [parse_span(item, unit) for item in items], [span_words(item, caption) for item in items]
