"""Values as people read them in lines of text."""

from __future__ import annotations

import json
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
