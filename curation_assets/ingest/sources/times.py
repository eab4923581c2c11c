"""Times and spans as sources write them, in one place.

A time is a number in the source's unit, or a clock `[HH:]MM:SS[.ffffff]` with zero to six fraction digits after a dot or a comma.
A span is a pair of times; spans come as lists, as JSON, or as the text of a Python literal. Spans are kept as the source gives
them, negative, empty or inverted: what can be cut is decided where the video's length is known.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

import orjson

Unit = Literal["s", "ms", "us"]
Span = tuple[str | None, int, int]
"""(the source's own clip id or None, start in milliseconds, end in milliseconds)"""

MS_PER_UNIT: Mapping[str, float] = {"s": 1000, "ms": 1, "us": 0.001}
PAIRS = ("span", "segment", "timestamp")
"""Names that a mapping has for a pair of times."""
LONGEST_MS = 2**53
"""Beyond this a time in milliseconds is no exact float any more, and surely no position in a video."""

_CLOCK = re.compile(r"(?P<sign>[+-]?)(?:(?P<h>\d{1,6}):)?(?P<m>\d{1,6}):(?P<s>\d{2})(?:[.,](?P<f>\d{0,6}))?", re.ASCII)
_WITH_UNIT = re.compile(
    r"(?P<number>[+-]?(?:\d++\.?\d*+|\.\d+))\s*(?P<unit>ms|us|s|sec|secs|seconds?)", re.ASCII | re.IGNORECASE
)
_MISSING = frozenset({"", "nan", "none", "null", "<na>", "nat"})


class TimeError(ValueError):
    """A time or span that cannot be read; the message shows it."""


def is_missing(value: Any) -> bool:
    """Whether a cell holds no value: null, NaN, or text that other tools write for it (`nan`, `None`, empty)."""
    if value is None:
        return True
    if isinstance(value, str):
        return len(value) <= 8 and value.strip().lower() in _MISSING
    return isinstance(value, float) and math.isnan(value)


def shown(value: Any) -> str:
    """`value` for an error message, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def parse_clock(text: str) -> int:
    """Milliseconds of `[HH:]MM:SS[.ffffff]`, half a millisecond rounded up.

    Raises:
        TimeError: it is no such time, or minutes or seconds exceed 59.
    """
    if len(text) == 12 and text[8] in ".," and text[9:].isdigit() and text.isascii():
        return _whole_clock(text[:8]) + int(text[9:])
    return _any_clock(text)


@lru_cache(maxsize=1 << 17)
def _whole_clock(text: str) -> int:
    return _any_clock(text)


def _any_clock(text: str) -> int:
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise TimeError(f"{shown(text)} is no time; one looks like 00:01:02.345")
    hours, minutes, seconds = int(match["h"] or 0), int(match["m"]), int(match["s"])
    if seconds > 59 or (match["h"] is not None and minutes > 59):
        raise TimeError(f"{shown(text)} is no time: minutes and seconds end at 59")
    micros = int((match["f"] or "").ljust(6, "0"))
    total = (hours * 3600 + minutes * 60 + seconds) * 1000 + (micros + 500) // 1000
    return -total if match["sign"] == "-" else total


def parse_time(value: Any, unit: Unit = "s") -> int:
    """Milliseconds of a time that is a number in `unit`, the text of one, a number with its own unit (`12.5s`, `900 ms`), or a clock.

    Raises:
        TimeError: it is none of these, or not finite.
    """
    if isinstance(value, str):
        if ":" in value:
            return parse_clock(value.strip())
        text = value.strip()
        if text[-1:] in ("s", "S") and (own := _WITH_UNIT.fullmatch(text)):
            named = own["unit"].lower()
            text, unit = own["number"], named if named in ("ms", "us") else "s"  # type: ignore[assignment]
        try:
            value = int(text)
        except ValueError:
            try:
                value = float(text.replace(",", ".", 1))
            except ValueError:
                raise TimeError(f"{shown(value)} is no time; use a number in {unit} or HH:MM:SS.mmm") from None
    if isinstance(value, bool) or not (isinstance(value, int | float | Decimal) and math.isfinite(value)):
        raise TimeError(f"{shown(value)} is no time; use a number in {unit} or HH:MM:SS.mmm")
    number = value if isinstance(value, int) else float(value)
    if isinstance(number, int):
        milliseconds = (number + 500) // 1000 if unit == "us" else number * int(MS_PER_UNIT[unit])
    else:
        milliseconds = math.floor(number * MS_PER_UNIT[unit] + 0.5) if abs(number) <= LONGEST_MS else LONGEST_MS + 1
    if abs(milliseconds) > LONGEST_MS:
        raise TimeError(f"{shown(value)} is too large for a time")
    return milliseconds


def parse_literal(text: str) -> Any:
    """What a JSON text or a Python literal stands for. Nothing is evaluated.

    Raises:
        TimeError: it is neither.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise TimeError(f"{shown(text)} is neither JSON nor a Python literal") from None


def parse_span(value: Any, unit: Unit = "s") -> Span:
    """A span from a pair of times, or from a mapping with `start` and `end` (or one of `PAIRS`) and perhaps `clip_id`."""
    clip_id: Any = None
    pair = value
    if isinstance(value, dict):
        clip_id = value.get("clip_id")
        pair = next((value[name] for name in PAIRS if name in value), (value.get("start"), value.get("end")))
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise TimeError(f"{shown(value)} is no span; one looks like [start, end]")
    return (None if is_missing(clip_id) else str(clip_id), parse_time(pair[0], unit), parse_time(pair[1], unit))


def parse_spans(value: Any, unit: Unit = "s", clip_ids: Any = None) -> list[Span]:
    """Spans in the source's order.

    Args:
        value: a list of spans, one span, the text of either, or nothing.
        unit: unit of numeric times.
        clip_ids: the source's own ids: one, or as many as there are spans; None for none.

    Raises:
        TimeError: a span cannot be read, or the ids do not match in number.
    """
    if is_missing(value):
        return []
    if isinstance(value, str):
        value = parse_literal(value)
        if value is None:
            return []
    if isinstance(value, dict) or _is_pair(value):
        spans = [parse_span(value, unit)]
    elif isinstance(value, list | tuple):
        spans = [parse_span(item, unit) for item in value]
    else:
        raise TimeError(f"{shown(value)} is no list of spans; one looks like [[start, end], [start, end]]")
    return _with_ids(spans, clip_ids)


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(item, str | int | float | Decimal) for item in value)
    )


def _with_ids(spans: list[Span], clip_ids: Any) -> list[Span]:
    if is_missing(clip_ids):
        return spans
    if isinstance(clip_ids, str) and clip_ids.lstrip()[:1] == "[":
        clip_ids = parse_literal(clip_ids)
    ids = clip_ids if isinstance(clip_ids, list | tuple) else [clip_ids]
    if len(ids) != len(spans):
        raise TimeError(f"{len(ids)} clip ids for {len(spans)} spans")
    return [(None if is_missing(i) else str(i), start, end) for i, (_, start, end) in zip(ids, spans, strict=True)]
