"""Subtitle files as cues: WebVTT and SubRip are read, and the repeats of rolling captions removed.

Automatic captions roll: each cue shows the line before again above the new one, and a short cue of the finished line follows. Read
naively every line appears three times. Here a line is kept once, from the moment it begins to the moment the next one does.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from curation_assets.ingest.entities import unescape

_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_TIMING = re.compile(rf"^\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?$")
_CLASSES = r"(?:\.[^<>\s.]+)*"
_ATTRIBUTES = r"""(?:\s+[\w-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'|[^\s<>"']+))*"""
_TAG = re.compile(
    rf"</?(?:b|i|u|s|c|rb|rt|rp|ruby|br|em|strong|sub|sup|small|big|tt|center|strike){_CLASSES}\s*/?>"
    rf"|</?(?:font|span|p|div|a|img){_ATTRIBUTES}\s*/?>"
    r"|</?(?:v|lang)>|<\d{1,4}:\d{2}(?::\d{2})?[.,]\d{1,3}>|\{\\[^{}]*\}",
    re.IGNORECASE,
)
"""Markup of SubRip and WebVTT, and nothing else in angle brackets: in `a < b and c > d` and `<sighs>` they are what is said."""
_VTT_TAG = re.compile(rf"<(?:v|lang){_CLASSES}\s[^<>]*>|<c{_CLASSES}\s[^<>]*>", re.IGNORECASE)
"""Voices and languages, whose tags have words of their own; only WebVTT has them."""
_READING = re.compile(r"<(rt|rp)\b[^<>]*>.*?(?:</\1>|(?=<(?:rt|rp|rb)\b|</ruby>)|$)", re.IGNORECASE)
"""How the characters before it are read, in ruby text: not said besides them."""
_SPACE = re.compile(r"[\s\u200b\u200e\u200f\ufeff]+")

ROLLING_SHARE = 0.5
"""Share of neighbouring cues in which the first line repeats the last one from which on a track counts as rolling."""
GROWING_SHARE = 0.25
"""Share in which the line that is repeated also has another below it. Somebody who says "No." over and over does not roll."""
GAP_MS = 200
"""Cues that are further apart than this do not continue each other."""


@dataclass(frozen=True)
class Cue:
    """A text with its time: [start_ms, end_ms) in the video."""

    start_ms: int
    end_ms: int
    text: str


@dataclass(frozen=True)
class _Shown:
    """What stands on the screen over a time, line by line."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


def _milliseconds(hours: str | None, minutes: str, seconds: str, fraction: str) -> int:
    return ((int(hours or 0) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(fraction.ljust(3, "0"))


def _plain(line: str, vtt: bool) -> str:
    """A line without markup, readings of ruby text, entities and surplus space."""
    line = _TAG.sub("", _READING.sub("", line))
    return _SPACE.sub(" ", unescape(_VTT_TAG.sub("", line) if vtt else line)).strip()


def _read(text: str) -> list[_Shown]:
    """The cues of a WebVTT or SubRip file as they stand; what is no cue is skipped. An empty line ends a cue, one of spaces does not."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    vtt = lines[0].startswith("WEBVTT")
    shown: list[_Shown] = []
    at = 0
    while at < len(lines):
        timing = _TIMING.match(lines[at])
        at += 1
        if not timing:
            continue
        begin = at
        while at < len(lines) and lines[at] and not _TIMING.match(lines[at]):
            at += 1
        end = at
        if at < len(lines) and lines[at] and lines[at - 1].strip().isdigit():
            end = at - 1  # the number of the next cue, where the empty line before it is missing
        parts = timing.groups()
        start_ms, end_ms = _milliseconds(*parts[:4]), _milliseconds(*parts[4:])
        if end_ms > start_ms:
            shown.append(_Shown(start_ms, end_ms, tuple(p for line in lines[begin:end] if (p := _plain(line, vtt)))))
    return sorted(shown, key=lambda s: (s.start_ms, s.end_ms))


def _follows(before: _Shown, after: _Shown) -> bool:
    return -GAP_MS <= after.start_ms - before.end_ms <= GAP_MS


def _is_rolling(shown: Sequence[_Shown]) -> bool:
    filled = [s for s in shown if s.lines]
    repeats = [b for a, b in itertools.pairwise(filled) if _follows(a, b) and a.lines[-1] == b.lines[0]]
    growing = sum(len(shown.lines) > 1 for shown in repeats)
    steps = len(filled) - 1
    return steps > 1 and len(repeats) >= ROLLING_SHARE * steps and growing >= GROWING_SHARE * steps


def _unroll(shown: Sequence[_Shown]) -> list[Cue]:
    """One cue per new line of a rolling track."""
    cues: list[Cue] = []
    before: _Shown | None = None
    for now in shown:
        carried = 0
        if before is not None and _follows(before, now):
            for count in range(min(len(before.lines), len(now.lines)), 0, -1):
                if before.lines[-count:] == now.lines[:count]:
                    carried = count
                    break
        fresh = now.lines[carried:]
        if fresh:
            cues.append(Cue(now.start_ms, now.end_ms, " ".join(fresh)))
        elif now.lines and cues:
            cues[-1] = replace(cues[-1], end_ms=max(cues[-1].end_ms, now.end_ms))
        before = now
    return [
        replace(cue, end_ms=min(cue.end_ms, following.start_ms)) if following.start_ms > cue.start_ms else cue
        for cue, following in zip(cues, [*cues[1:], Cue(1 << 62, 1 << 62, "")], strict=True)
    ]


def parse_subtitles(text: str) -> list[Cue]:
    """Reads a WebVTT or SubRip file.

    Args:
        text: the file; which of the two it is shows in its times.

    Returns:
        Cues in order of time with plain text, lines joined by a space, empty ones left out. Malformed cues are skipped.
    """
    shown = _read(text.removeprefix("\ufeff"))
    if _is_rolling(shown):
        return _unroll(shown)
    return [Cue(s.start_ms, s.end_ms, " ".join(s.lines)) for s in shown if s.lines]
