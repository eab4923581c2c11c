"""A caption as a backend gave it -> the caption that a dataset publishes.

Captions come from models and from lists of others, so every step takes time in proportion to the text, whatever it holds.

What belongs here: repairs that leave every script, every letter's case and the meaning alone. The raw caption is kept beside the
cleaned one, so every step here can be undone by changing the recipe.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from curation_assets.captions.removals import REMOVALS
from curation_assets.ingest.entities import unescape

if TYPE_CHECKING:
    from curation_assets.captions.captions import Cleaning

PASSES = 8
"""Removing one thing may uncover another (an entity in an entity, an opener after an opener); passes end when nothing changes."""

_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.S | re.I)
_TAG = re.compile(
    r"</?(?:a|b|i|u|s|p|br|hr|em|strong|small|font|span|div|c|v|h[1-6]|ul|ol|li|table|tr|td|img|script|style)(?:[\s/.][^<>]*)?>",
    re.I,
)
_URL_TAIL = r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]"
_LABEL = r"(?!-)[a-z0-9-]{1,63}+(?<!-)\."
"""One name of a domain with its dot: as long as the domain name system allows, and read once."""
_URL = re.compile(
    rf"(?:https?://|ftp://|(?<![\w@.])www\.){_URL_TAIL}+"
    rf"|(?<![\w@.])(?:{_LABEL}){{1,20}}(?:com|org|net|edu|gov|info|tv|io|me|ly|gl|be)(?:/{_URL_TAIL}*)?(?![\w-])",
    re.I | re.A,
)
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}+(?:\.[A-Za-z0-9-]++)+")
_HANDLE = re.compile(r"(?<![\w@.])@\w(?:[\w.]*\w)?")
_PARAGRAPH = re.compile(r"\n\s*\n")
_EMPTY_BRACKETS = re.compile(r"\(\s*\)|\[\s*\]|（\s*）")
_BEFORE_STOP = re.compile(r"(?<![^\S\n])[^\S\n]++(?=[.,;!?](?:\s|$))")

_MEDIUM = (
    r"(?:(?:short|brief|given|provided|entire|whole|following)\s+)?"
    r"(?:video|clip|footage|image|picture|photo(?:graph)?|frame|scene|screenshot|shot|sequence)s?"
    r"(?:\s+(?:clip|footage|sequence|frame|segment|scene)s?)?"
)
_OPENERS = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        r"(?:sure|certainly|of course|okay|ok)\s*[,!.:]\s*",
        rf"here(?:'s|’s|\s+is|\s+are)\s+(?:a|the|one|my|some)?\s*(?:[\w-]+\s+){{0,3}}?(?:description|caption|summary)s?(?:\s+(?:of|for)\s+(?:the|this)\s+{_MEDIUM})?\s*:\s*",
        r"(?:\*\*)?(?:video\s+|image\s+)?(?:caption|description|summary|answer|assistant|response)(?:\*\*)?\s*:\s*(?:\*\*)?\s*",
        rf"(?:in|throughout|within)\s+(?:this|the)\s+{_MEDIUM}\s*[,:]\s*(?:(?:we|you|one)\s+(?:can\s+)?see\s+)?",
        rf"(?:in|throughout|within)\s+(?:this|the)\s+{_MEDIUM}\s+(?:we|you|one)\s+(?:can\s+)?see\s+",
        r"(?:we|you)\s+(?:can\s+)?see\s+(?:that\s+)?",
        rf"(?:this|the|these|a|an)\s+{_MEDIUM}\s+(?:(?:clearly|mainly|primarily|mostly|also)\s+)?"
        r"(?:shows?|showcases?|depicts?|features?|captures?|displays?|presents?|portrays?|illustrates?|"
        r"(?:is|are)\s+(?:showing|depicting|featuring|displaying|of|about))\s+(?:(?:us|that)\s+)?",
        rf"(?:this|it)\s+is\s+(?:a|an|the)\s+{_MEDIUM}\s+(?:of|showing|depicting|that\s+shows)\s+",
    )
)
_NEGATION = re.compile(
    r"\b(?:no|not|never|none|nobody|nothing|neither|nor|without|cannot|lacks?|absent|[a-z]+n['’]t)\b", re.I
)
_NOT_VISIBLE = re.compile(
    r"(?:(?:\b(?:not|never|cannot)|n['’]t)\s+(?:\w+\s+){0,3}?(?:visible|seen|shown|discernible|discerned|determined|clear|identified|identifiable|specified|mentioned|provided|described|possible\s+to)"
    r"|\b(?:no|none|nobody|nothing|neither)\s+(?:[\w'’-]+\s+){0,5}?(?:visible|seen|shown|discernible|identifiable|in\s+(?:view|sight))"
    r"|\b(?:invisible|unclear|indiscernible|unidentifiable|unspecified|impossible\s+to\s+(?:tell|say|determine)))\b",
    re.I,
)
_SENTENCE_END = re.compile(r"(?:[.!?…][\"'”’)\]]*(?=\s|$))|(?:[。！？｡؟۔।॥]+[」』”’）]*)")
_ABBREVIATION = re.compile(r"(?:\b(?:[Mm]rs?|[Mm]s|[Dd]r|[Ss]t|[Pp]rof|[SJsj]r|vs|approx|e\.g|i\.e)|\b[A-Z])\.$")
ABBREVIATION_CHARS = 8
"""How far before a dot an abbreviation may begin."""
_CLOSERS = "」』”’）"

MOTION_WORDS = ((0.002, "almost still"), (0.02, "slow"), (0.1, "moderate"), (math.inf, "fast"))
"""Upper bounds of `motion_scores.motion` (frame diagonals per second) and what is said below them."""
AESTHETIC_WORDS = ((4.0, "poor"), (5.0, "fair"), (6.0, "good"), (math.inf, "excellent"))
"""Upper bounds of `aesthetic_scores.aesthetic` and what is said below them."""


@cache
def _ftfy_config() -> Any:
    """Repairs of encoding and entities only: width, quotes and ligatures belong to the text."""
    import ftfy

    return ftfy.TextFixerConfig(
        unescape_html=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_latin_ligatures=False,
        normalization="NFC",
        explain=False,
    )


def split_sentences(text: str) -> list[str]:
    """Sentences with their closing marks; text after the last mark is a sentence too. Knows Latin, CJK, Arabic and Devanagari marks."""
    sentences, start = [], 0
    for mark in _SENTENCE_END.finditer(text):
        dot = mark.start()
        if text[dot] == "." and _ABBREVIATION.search(text, max(start, dot - ABBREVIATION_CHARS), dot + 1):
            continue
        sentences.append(text[start : mark.end()].strip())
        start = mark.end()
    sentences.append(text[start:].strip())
    return [s for s in sentences if s]


def clean_caption(text: str | None, params: Cleaning) -> str:
    """The cleaned caption; empty if nothing is left.

    In this order: encoding and entities repaired, markup, reasoning, URLs, mail addresses and handles removed, openers of captioning models
    removed (English; at the start of every paragraph, such as the answers about several windows), what the recipe names removed, unwanted sentences dropped, whitespace reduced to single spaces, cut at the end of a sentence. Cleaning what is
    clean changes nothing.
    """
    text = text or ""
    for _ in range(PASSES):
        cleaned = _clean_once(text, params)
        if cleaned == text:
            break
        text = cleaned
    return text


def _clean_once(text: str, params: Cleaning) -> str:
    import ftfy

    text = ftfy.fix_text(unescape(text), _ftfy_config())
    text = _TAG.sub(" ", _THINKING.sub(" ", text))
    text = _URL.sub(lambda m: _closing_marks(m.group()), text)
    text = _HANDLE.sub("", _EMAIL.sub("", text))
    text = _BEFORE_STOP.sub("", _EMPTY_BRACKETS.sub("", text))
    paragraphs = [" ".join(paragraph.split()) for paragraph in _PARAGRAPH.split(text)]
    if params.boilerplate:
        paragraphs = [_without_openers(paragraph) for paragraph in paragraphs]
    for removal in (REMOVALS[name] for name in REMOVALS if name in params.remove):
        paragraphs = [" ".join(removal(paragraph).split()) for paragraph in paragraphs]
    text = " ".join(paragraph for paragraph in paragraphs if paragraph)
    if params.remove:
        text = _BEFORE_STOP.sub("", _EMPTY_BRACKETS.sub("", text))
    if params.drop_sentences:
        text = _join(s for s in split_sentences(text) if not _unwanted(s, params.drop_sentences))
    if not any(unicodedata.category(c)[0] in "LNS" for c in text):
        return ""
    return shorten(text, params.max_chars) if params.max_chars else text


def _closing_marks(url: str) -> str:
    """The punctuation at the end of a matched URL that belongs to the sentence around it."""
    end, unopened = len(url), url.count(")") - url.count("(")
    while end and (url[end - 1] in ".,;:!?'" or (url[end - 1] == ")" and unopened > 0)):
        end -= 1
        unopened -= url[end] == ")"
    return url[end:]


def _without_openers(text: str) -> str:
    at, found = 0, True
    while found:
        found = False
        for opener in _OPENERS:
            match = opener.match(text, at)
            if match and match.end() < len(text):
                at, found = match.end(), True
    return text[at].upper() + text[at + 1 :] if at else text


def _unwanted(sentence: str, kinds: Sequence[str]) -> bool:
    return ("negations" in kinds and bool(_NEGATION.search(sentence))) or (
        "not_visible" in kinds and bool(_NOT_VISIBLE.search(sentence))
    )


def _join(sentences: Any) -> str:
    """Sentences as one text: with a space, except after marks of scripts that are written without."""
    parts: list[str] = []
    unspaced = True
    for sentence in sentences:
        parts += [sentence] if unspaced else [" ", sentence]
        if last := sentence.rstrip(_CLOSERS)[-1:]:
            unspaced = last in "。！？｡"
        elif len(parts) == 1:
            unspaced = False
    return "".join(parts)


def shorten(text: str, max_chars: int) -> str:
    """At most `max_chars` characters: whole sentences if one fits, else whole words, else whole characters with their marks."""
    if len(text) <= max_chars:
        return text
    kept = ""
    for sentence in split_sentences(text):
        longer = _join([kept, sentence]) if kept else sentence
        if len(longer) > max_chars:
            break
        kept = longer
    if kept:
        return kept
    end = max_chars
    if not text[end].isspace():
        space = text.rfind(" ", 0, end)
        if space > 0:
            return text[:space].rstrip()
        while end > 0 and (unicodedata.category(text[end])[0] == "M" or "\u200d" in text[end - 1 : end + 1]):
            end -= 1
    return text[: end or max_chars].rstrip()


def detect_language(text: str) -> str | None:
    """ISO 639-1 code (639-3 where there is none) of the caption's language; None where it is too short to tell.

    By py3langid; its naive Bayes model is overconfident, hence the high threshold.
    """
    if sum(c.isalpha() for c in text) < 3:
        return None
    from py3langid.langid import rank

    ranked = rank(text)
    best = ranked[0][1]
    share = 1 / sum(math.exp(score - best) for _, score in ranked)
    return str(ranked[0][0]) if share >= 0.95 else None


def score_suffix(kinds: Sequence[str], motion: float | None, aesthetic: float | None) -> str:
    """Scores in words, to be appended to a caption, as Open-Sora conditions on scores; unknown scores say nothing."""
    values = {
        "motion": (motion, MOTION_WORDS, "Motion"),
        "aesthetic": (aesthetic, AESTHETIC_WORDS, "Aesthetic quality"),
    }
    said = []
    for kind in kinds:
        value, words, name = values[kind]
        if value is not None and not math.isnan(value):
            said.append(f"{name}: {next(word for bound, word in words if value < bound)}.")
    return " ".join(said)
