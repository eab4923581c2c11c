"""HTML entities in texts of others."""

from __future__ import annotations

import html
import re

_ENDLESS = re.compile(r"&#0*+[0-9]{8,}+;?")
"""A decimal reference beyond all characters. `html.unescape` calls `int` on it, which refuses more than 4,300 digits."""


def unescape(text: str) -> str:
    """`text` with its entities as characters, once; references beyond Unicode become U+FFFD, however long they are."""
    return html.unescape(_ENDLESS.sub("\ufffd", text))
