"""The words that a rule is made of: a text is cut into them here, and put together in `language.py`."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?(?![\w.]))
      | (?P<quoted>[A-Za-z_][A-Za-z0-9_]*\.(?:"[^"]+"|'[^']+')(?:\.[A-Za-z_]+)?)
      | (?P<string>"[^"]*"|'[^']*')
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_-]+)*)
      | (?P<op><=|>=|!=|==|=|<|>)
      | (?P<sign>[-+*/])
      | (?P<mark>[\[\](),])
    )""",
    re.VERBOSE,
)
_KEYWORDS = {"and", "or", "not", "between", "in", "is", "null", "true", "false"}
Token = tuple[str, str]
"""Kind and text: number, string (with its quotes), word, keyword, op (a comparison), sign (of arithmetic), mark, or unreadable (the rest of the text)."""


def tokens_of(text: str) -> list[Token]:
    """The tokens of a rule, in order."""
    return [(kind, value) for kind, value, _, _ in placed(text)]


def placed(text: str) -> Iterator[tuple[str, str, int, int]]:
    """The tokens of a rule, in order, each with where it begins and ends in the text."""
    at = 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            yield "unreadable", text[at:].strip(), at, len(text)
            return
        kind = match.lastgroup or ""
        value = match.group(kind)
        start, at = match.start(kind), match.end()
        if kind == "quoted":
            first, _, rest = value.partition(".")
            kind, value = "word", f"{first}.{''.join(rest[1:].rsplit(rest[0], 1))}"
        if kind == "word" and value.lower() in _KEYWORDS:
            kind, value = "keyword", value.lower()
        yield kind, value, start, at


def closing(tokens: list[Token]) -> dict[int, int]:
    """Place of each opening parenthesis that is closed -> place of what closes it."""
    found: dict[int, int] = {}
    open_ones: list[int] = []
    for at, (kind, value) in enumerate(tokens):
        if kind == "mark" and value == "(":
            open_ones.append(at)
        elif kind == "mark" and value == ")" and open_ones:
            found[open_ones.pop()] = at
    return found
