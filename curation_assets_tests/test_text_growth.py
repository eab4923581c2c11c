"""Texts of others cost time in proportion to their length, whatever they hold: each pattern that reads them, with what is worst for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from curation_assets.captions import cleaning as caption_cleaning
from curation_assets.captions.captions import Cleaning
from curation_assets.ingest import subtitles, text_encodings
from curation_assets.ingest.sources import records, table, times
from curation_resources import download_errors, http_transfer, tars, urls, video_info

SHORT = 3_000
"""Characters of the shorter text; the longer one has eight times as many."""
MOST = 24.0
"""Of the ratio of their CPU times: 8 is linear, 64 quadratic."""
TRIES = 4
"""One of which must be linear, since others may use the processor's caches meanwhile."""

Shape = Callable[[int], str]


def _shape(unit: str, before: str = "", after: str = "") -> Shape:
    """Texts of about n characters: `unit` over and over."""
    return lambda n: before + unit * (n // len(unit)) + after


def _nested(n: int) -> str:
    """A URL in a parameter of a URL, over and over; each is encoded once more than the one around it."""
    url, mark = "", ""
    while len(url) < n:
        url += f"http:{mark or ''}%2F%2Fh%{mark}3Fx%{mark}3D" if mark else "http://h/?x="
        mark += "25"
    return url


CLEANING = Cleaning(boilerplate=True, drop_sentences=["negations", "not_visible"])


def _clean(text: str) -> Any:
    return caption_cleaning.clean_caption(text, CLEANING)


def _patterns(module: Any, name: str) -> Callable[[str], Any]:
    pattern = getattr(module, name)
    return lambda text: pattern.sub("", text)


URLS = [
    _shape("a"),
    _shape("a", after="://u:p@h"),
    _shape("a://"),
    _shape("a:", "s3://"),
    _shape("a@", "http://"),
    _shape("a", "http://h/"),
    _shape("a=", "http://h/?"),
    _shape("a&", "http://h/?"),
    _shape("?v=", "http://h/"),
    _shape("token", "http://h/?", "%0Ax=1"),
    _shape("cookie: "),
    _shape("\n", "cookie:"),
    _shape("${A}", "s3://"),
    _nested,
]
CAPTIONS = [
    _shape("a"),
    _shape("a-"),
    _shape("a."),
    _shape("a.a-"),
    _shape("a.com-"),
    _shape("a@"),
    _shape("a", after="@"),
    _shape("a", "a@"),
    _shape("a", "b" * 64 + "@"),
    _shape("@a."),
    _shape(" ", after="x"),
    _shape(" .", after="x"),
    _shape("\n ", after="x"),
    _shape("(", "http://a"),
    _shape(")", "http://a"),
    _shape("().", "http://a"),
    _shape("Mr. "),
    _shape("Sure, "),
    _shape("here is a a "),
    _shape("not a a "),
    _shape("n't "),
    _shape("nothing x x x x x "),
    _shape("n"),
    _shape("。」"),
    _shape("」", "。", "x"),
    _shape("“."),
    _shape("<think>"),
    _shape("<b "),
    _shape("<"),
    _shape("&amp;"),
    _shape("&#9"),
    _shape("9", "&#"),
    _shape("&"),
]
SUBTITLES = [
    _shape("<font a="),
    _shape(' a="<font" '),
    _shape(" a=b", "<font"),
    _shape(""" a="' <font b='" c="' d='\""""),
    _shape("<b.a"),
    _shape(".a", "<b"),
    _shape(" ", "<b"),
    _shape("<rt>"),
    _shape("<rt"),
    _shape("<v "),
    _shape("{\\"),
    _shape("<1:"),
    _shape("9", "&#"),
    _shape("\u200b "),
]


def _bytes(text: str) -> Any:
    return text_encodings._NOISE.sub(lambda m: m["lines"] or b"", text.encode())


def _cases() -> list[Any]:
    readers: list[tuple[str, Callable[[str], Any], list[Shape]]] = [
        ("redact", urls.redact, URLS),
        ("public_url", urls.public_url, URLS),
        ("public_text", urls.public_text, URLS),
        ("public_settings", urls.public_settings, URLS),
        ("redact_text", lambda text: urls.redact_text(text, len(text)), URLS),
        (
            "is_secret_parameter",
            urls.is_secret_parameter,
            [_shape("token", after="\nx"), _shape("a"), _shape("x-amz-")],
        ),
        ("is_secret_key", urls.is_secret_key, [_shape("token", after="\nx"), _shape("a")]),
        ("host_of", urls.host_of, URLS),
        ("clean_caption", _clean, CAPTIONS),
        ("split_sentences", caption_cleaning.split_sentences, CAPTIONS),
        ("line_of_subtitles", lambda text: subtitles._plain(text, True), SUBTITLES),
        ("timing", subtitles._TIMING.match, [_shape(" "), _shape(" ", "00:01.0", "x"), _shape("1")]),
        (
            "noise_of_subtitles",
            _bytes,
            [
                _shape(u)
                for u in (
                    "a",
                    "\n",
                    " \n",
                    "1\n",
                    "1",
                    "<",
                    "{",
                    "-->",
                    "--",
                    "a\n\n",
                    "\n\n1\n",
                    "1 ",
                    " ",
                    "1\n\n\nx\n",
                )
            ],
        ),
        ("clip_name", table._CLIP_NAME.fullmatch, [_shape("_1"), _shape("1", "a_"), _shape("_1.1"), _shape("_")]),
        ("number_with_unit", times._WITH_UNIT.fullmatch, [_shape("1"), _shape("1", after=" x"), _shape(" ", "1")]),
        (
            "message_of_an_extractor",
            lambda text: (download_errors.classify_message(text), download_errors.shorten_message(text)),
            [
                _shape(u)
                for u in (
                    "fragment ",
                    "account ",
                    "video ",
                    "unable to extract ",
                    "; ",
                    "\x1b[0",
                    "[a",
                    "see ",
                    "Error: ",
                )
            ],
        ),
        ("key_of_info", video_info._DROPPED.match, [_shape("headers"), _shape("a"), _shape("_preference", after="x")]),
        ("content_type", http_transfer._PAGE_TYPE.match, [_shape("application/"), _shape("vnd.", "application/")]),
        ("member_name", tars.sample_key, [_shape("a"), _shape("/")]),
        (
            "clip_document",
            lambda text: records._is_document(text.encode(), records.Asked({}, "id")),
            [_shape(" ", "{"), _shape('"', "{")],
        ),
    ]
    return [
        pytest.param(read, shape, id=f"{name}-{k}") for name, read, shapes in readers for k, shape in enumerate(shapes)
    ]


def _seconds(read: Callable[[str], Any], text: str, times: int) -> float:
    """Least CPU time of some readings."""
    best = float("inf")
    for _ in range(times):
        began = time.process_time()
        read(text)
        best = min(best, time.process_time() - began)
    return best


@pytest.mark.parametrize(("read", "shape"), _cases())
def test_time_grows_with_the_text_and_no_faster(read: Callable[[str], Any], shape: Shape) -> None:
    read(shape(100))
    ratios = (_seconds(read, shape(8 * SHORT), 1) / max(_seconds(read, shape(SHORT), 3), 1e-4) for _ in range(TRIES))
    assert any(ratio < MOST for ratio in ratios)
