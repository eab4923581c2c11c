"""Bytes of lists and of the files beside videos, as text: UTF-8, UTF-16 and UTF-32 with a mark, or an older encoding that is told from the text.

Older encodings are told by two witnesses that must agree: `charset-normalizer`, by how orderly the decoded text looks, and py3langid, by
whether the text is in a language for which the encoding was made. What is still doubtful is refused: a wrong guess is fluent nonsense
that nobody finds again.
"""

from __future__ import annotations

import codecs
import io
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks, longer ones first where one begins another."""
LANGUAGES: Mapping[str, frozenset[str]] = {
    name: frozenset(languages.split())
    for name, languages in {
        "cp1252": "fr de es pt it en nl sv da nb nn no fi is ca gl eu ga fo af oc br id ms sq",
        "cp1250": "pl cs sk hu sl hr bs ro",
        "cp1251": "ru uk bg sr be mk",
        "koi8_r": "ru uk bg",
        "cp1253": "el",
        "gb18030": "zh yue wuu",
        "big5": "zh yue wuu",
        "cp932": "ja",
        "euc_jp": "ja",
        "cp949": "ko",
    }.items()
}
"""Encodings that are told apart, and the languages that each was made for (ISO 639)."""
LEAST_BYTES = 24
"""Bytes beyond ASCII from which on a text that is mostly not in Latin letters can be told."""
SURE = 0.9
"""Least probability of the languages of an encoding, by py3langid."""
NEAR = 0.02
"""Encodings whose disorder (`charset-normalizer`'s `chaos`) differs by less are equally likely."""
SAMPLE_BYTES = 1 << 16
CHUNK = 1 << 16
_NOISE = re.compile(
    rb"^[^\n]*-->[^\n]*|<[^<>\n]*>|\{[^{}\n]*\}|^(?P<blank>(?:[^\S\n]*+\n)*+)(?P<number>[^\S\n]*+\d++\s*$)|^(?P<lines>(?:[^\S\n]*+\n)++)",
    re.MULTILINE,
)
"""Times, tags and numbers of cues, these with the blank lines around them. Blank lines before anything else (`lines`) are read once."""


class EncodingError(ValueError):
    """Text that cannot be read; the message names the file."""


@dataclass(frozen=True)
class DecodedText:
    """A text, and the encoding that was assumed for it: None where the bytes themselves say, or are UTF-8."""

    text: str
    assumed: str | None = None


def text_of(data: bytes, name: str) -> DecodedText:
    """The text of a file beside a video.

    Args:
        data: all of the file.
        name: what it is called in messages.

    Raises:
        EncodingError: its encoding cannot be told for certain, or the bytes break the one that they announce.
    """
    mark, encoding = next((m for m in MARKS if data.startswith(m[0])), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        if mark:
            raise EncodingError(
                f"{name}: not {encoding.upper()}, as its first bytes say, at byte {error.start + 1}; convert it to UTF-8"
            ) from None
        at = error.start + 1
    else:
        if "\0" not in text:
            return DecodedText(text)
        at = data.index(b"\0") + 1
    assumed = None if b"\0" in data else told(data)
    if assumed is None:
        raise EncodingError(f"{name}: not UTF-8 at byte {at}, and no other encoding is certain; convert it to UTF-8")
    return DecodedText(data.decode(assumed), assumed)


def told(data: bytes) -> str | None:
    """The encoding of a text that is not UTF-8, one of `LANGUAGES`; None where it is not certain."""
    from charset_normalizer import from_bytes

    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    words = _NOISE.sub(lambda m: m["lines"] or b"", data)
    beyond = sum(byte > 127 for byte in words)
    if not beyond:
        return None
    sample = words[:SAMPLE_BYTES].rsplit(b"\n", 1)[0] if len(words) > SAMPLE_BYTES else words
    found: list[tuple[float, str, str]] = []
    for match in from_bytes(sample, cp_isolation=list(LANGUAGES)):
        named = [name for name in LANGUAGES if name in {match.encoding, *match.could_be_from_charset}]
        text = sample.decode(match.encoding)
        chances = _chances(text)
        for name in named:
            if sum(chances.get(language, 0.0) for language in LANGUAGES[name]) >= SURE and _decodes(data, name):
                found.append((match.chaos, name, text))
                break
    found.sort()
    if not found:
        return None
    chaos, best, text = found[0]
    rivals = [f for f in found[1:] if f[2] != text and f[0] < chaos + NEAR]
    if rivals:
        japanese = [f for f in (found[0], *rivals) if _is_kana(f[2])]
        if len(japanese) != 1:
            return None
        (_, best, text) = japanese[0]
    latin = sum("LATIN" in unicodedata.name(c, "") for c in text if c.isalpha())
    if beyond < LEAST_BYTES and 2 * latin < sum(c.isalpha() for c in text):
        return None
    return best


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _chances(text: str) -> dict[str, float]:
    """Language -> probability, by py3langid."""
    from py3langid.langid import rank

    ranked = rank(text)
    weights = {language: math.exp(score - ranked[0][1]) for language, score in ranked}
    total = sum(weights.values())
    return {language: weight / total for language, weight in weights.items()}


def _is_kana(text: str) -> bool:
    """Whether a fifth of what is beyond ASCII is Hiragana or full-width Katakana, and nothing is half-width: no other text decodes so."""
    beyond = [c for c in text if ord(c) > 127]
    kana = sum(0x3041 <= ord(c) <= 0x30FF for c in beyond)
    return 5 * kana >= len(beyond) and not any(0xFF61 <= ord(c) <= 0xFF9F for c in beyond)


class _Transcoded(io.RawIOBase):
    """A stream in another Unicode encoding as UTF-8."""

    def __init__(self, inner: BinaryIO, encoding: str, name: str, fail: Callable[[str], Exception]) -> None:
        self._inner, self._name, self._encoding, self._fail = inner, name, encoding, fail
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._held = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._held:
            data = self._inner.read(CHUNK)
            try:
                self._held = self._decoder.decode(data, final=not data).encode()
            except (UnicodeDecodeError, UnicodeEncodeError) as error:
                raise self._fail(
                    f"{self._name}: not {self._encoding.upper()}, as its first bytes say: {error.reason}; convert it to UTF-8"
                ) from None
            if not data:
                break
        count = min(len(buffer), len(self._held))
        buffer[:count], self._held = self._held[:count], self._held[count:]
        return count


def as_utf8(stream: BinaryIO, name: str, fail: Callable[[str], Exception] = EncodingError) -> BinaryIO:
    """A stream of text as UTF-8 without a mark, whichever Unicode encoding its byte order mark announces.

    Args:
        stream: buffered, at its start; without a mark it is given back as it is.
        name: of the file, for messages.
        fail: makes the error that is raised, while it is read, where the bytes break the encoding that they announce.
    """
    start = cast(Any, stream).peek(4)[:4]
    mark, encoding = next((m for m in MARKS if start.startswith(m[0])), (b"", "utf-8"))
    if encoding == "utf-8":
        return stream
    stream.read(len(mark))
    return cast(BinaryIO, io.BufferedReader(_Transcoded(stream, encoding, name, fail), CHUNK))
