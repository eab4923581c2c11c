"""Texts of others in Markdown that is rendered as a page: a dataset's card, Dagster's metadata."""

from __future__ import annotations

import re

_MARKS = re.compile(r"([\\`*\[\]|~])")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_SPACE = re.compile(r"\s+")
_BLOCK = re.compile(r"^(?=#{1,6}(?: |$)|[-+=>])")
_NUMBER = re.compile(r"^(\d{1,9})(?=[.)](?: |$))")


class Markdown(str):
    """A text that is Markdown already, made here, with nothing of others in it that is not escaped."""

    __slots__ = ()


def escape(text: str) -> str:
    """`text` on one line, such that a renderer shows it as it is: no HTML, link, picture, table cell, heading, list or code begins in it.

    `_` stays, since ids are full of them and nothing but slanted letters comes of it, and so do bare addresses, which a renderer may make
    links of: they lead where they say.
    """
    line = _MARKS.sub(r"\\\1", _SPACE.sub(" ", text).strip())
    line = _TAG.sub("&lt;", _ENTITY.sub("&amp;", line))
    return _NUMBER.sub(r"\1\\", _BLOCK.sub(r"\\", line))
