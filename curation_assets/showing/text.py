"""Values as people read them in lines of text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

LONG = 160
"""Characters of a text that are shown."""


def as_text(value: Any) -> str:
    """A value on one line: unknown for null, four digits of a number, the beginning of a long text."""
    if value is None:
        return "unknown"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= LONG else text[: LONG - 3] + "..."


NAMES = 40
"""Names that are listed in a sentence at most."""


def listed(given: str, names: Iterable[str]) -> str:
    """For a name that there is not: the one that was meant, as far as that can be guessed, and those that there are."""
    known = list(names)
    near = get_close_matches(given, known, 1)
    more = f" and {len(known) - NAMES} more" if len(known) > NAMES else ""
    meant = f"did you mean {near[0]}? " if near else ""
    return f"{meant}there are {', '.join(known[:NAMES]) or 'none'}{more}"


def nearest(given: str, names: Iterable[str], otherwise: str) -> str:
    """For a name that there is not: the one that was meant, as far as that can be guessed; else, after `otherwise`, all."""
    known = list(names)
    near = get_close_matches(given, known, 1)
    return f"did you mean {near[0]}?" if near else f"{otherwise} {', '.join(known) or 'none'}"
