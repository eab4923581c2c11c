"""What captions of the web hold that no picture shows, by the names under which a recipe asks for its removal.

The list is that of the text cleaning of DeepFloyd IF, which PixArt, Open-Sora and MindSpore's T2V HQ pipeline took over, without what changes every text:
small letters, one kind of dash and quote, no Chinese characters. The narrator's phrases are those of video captioning models.

What belongs here: removals that a recipe must ask for, since each takes from some captions what is meant. What does not: repairs that every
caption gets (`cleaning.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_FILES = "png|jpe?g|bmp|webp|gif|tiff?|eps|pdf|apk|mp4|mov|avi|mkv|webm|mp3|wav"
_PERSON = re.compile(r"<\s?person\s?>", re.I)
_FILE_NAME = re.compile(rf"(?<![^\s\"'(\[])[^\s\"'()\[\]<>]{{1,200}}\.(?:{_FILES})(?!\w)", re.I)
_SIZE = re.compile(r"(?<![\w.,])\d{1,6}(?:\.\d{1,6})?[x\u0445×]\d{1,6}(?:\.\d{1,6})?(?:\s?(?:px|pixels?))?(?!\w)", re.I)
_PAGE = re.compile(r"\bpages?\s\d{1,6}(?:\s?(?:of|/|-)\s?\d{1,6})?\b", re.I)
_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_IP = re.compile(rf"(?<![\w.]){_OCTET}(?:\.{_OCTET}){{3}}(?::\d{{1,5}})?(?!\w|\.\w)")
_CODE = re.compile(
    r"(?<!\w)(?:#\d{1,18}"
    r"|\d{6,18}"
    r"|[a-z]{1,3}\d{3,15}"
    r"|[a-z]{1,12}\d{1,12}[a-z]{1,12}(?:\d{1,12}[a-z\d]{0,24})?"
    r"|\d{1,12}[a-z]{1,12}\d{1,12}[a-z\d]{0,24})(?!\w)",
    re.I | re.A,
)
_CLOCK_AT_END = re.compile(r"(?<![\w:])\d{1,2}:\d\d\s?$")
_ADVERTISING = re.compile(
    r"\b(?:(?:worldwide\s)?(?:free\s)?shipping|free\sdownloads?|downloads?\sfree"
    rf"|click\s(?:for|on|here)(?:\s\w{{1,40}})?|(?:{_FILES})\simages?)\b",
    re.I,
)
_ORNAMENT = re.compile(r"[*#~|•·®©™§_=]{2,}|[®©™•]|(?<!\w)[*#~|]|[*~|](?!\w)")
_QUOTED = re.compile(r"([\"'“‘«])([^\"“”«»]{1,5000})([\"'”’»])")
_JOINTS = re.compile(r"(?<=\w)[-_](?=\w)")
MANY_JOINTS = 3
"""Hyphens and underscores between letters above which a caption is taken to be an address's words: `this-is-my-cute-cat`."""
_TELLER = (
    r"(?:the|this)\s(?:short\s)?(?:video|clip|footage|scene|sequence|film|shot)(?:\s(?:clip|footage|sequence))?\s"
    r"(?:then\s)?(?:begins|starts|opens|continues|proceeds|progresses|concludes|ends|finishes|closes)"
    r"(?:(?:\s(?:off|up|out))?\s(?:with|on|by\sshowing|to\sreveal|to\sshow|showing)|,)\s"
)
_NARRATION = re.compile(rf"(?:(?<=[.!?]\s)|\A){_TELLER}(?P<first>\w)", re.I)

_GONE = "\0"
"""Stands for what was removed until the marks around it are put right; no caption has it, since repaired encodings have no control characters."""
_GONE_RUN = re.compile(r"\0(?:\s?\0)+")
_GONE_SENTENCE = re.compile(r"(?:\A|(?<=[.!?]\s))\s?\0\s?(?:[,.;:!?]\s?)?")
_GONE_BEFORE_MARK = re.compile(r"(?:[,;:]\s?)?\0\s?(?=[,.;:!?](?:\s|\Z)|\Z)")


def _removing(*patterns: re.Pattern[str]) -> Callable[[str], str]:
    """What takes the patterns from a text, with the comma or the full stop that would be left of them."""

    def remove(text: str) -> str:
        for pattern in patterns:
            text = pattern.sub(_GONE, text)
        if _GONE not in text:
            return text
        text = _GONE_SENTENCE.sub("", _GONE_RUN.sub(_GONE, text))
        return _GONE_BEFORE_MARK.sub("", text).replace(_GONE, " ")

    return remove


def _without_narration(text: str) -> str:
    return _NARRATION.sub(lambda m: m["first"].upper(), text)


def _without_decoration(text: str) -> str:
    text = _ORNAMENT.sub(" ", text).strip()
    quoted = _QUOTED.fullmatch(text)
    return quoted[2] if quoted else text


def _without_joints(text: str) -> str:
    return _JOINTS.sub(" ", text) if len(_JOINTS.findall(text)) > MANY_JOINTS else text


REMOVALS: Mapping[str, Callable[[str], str]] = {
    "person": lambda text: _PERSON.sub("person", text),
    "ip_numbers": _removing(_IP),
    "file_names": _removing(_FILE_NAME),
    "sizes": _removing(_SIZE),
    "page_numbers": _removing(_PAGE),
    "codes": _removing(_CLOCK_AT_END, _CODE),
    "advertising": _removing(_ADVERTISING),
    "decoration": _without_decoration,
    "joined_words": _without_joints,
    "narration": _without_narration,
}
"""Name -> what takes it from a paragraph of single-spaced text, in the order in which they are applied."""
