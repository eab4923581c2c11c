"""What others wrote is shown as they wrote it, whatever a renderer would make of it: held against one (`markdown-it`, with HTML and tables)."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from curation_assets.showing.figures import markdown_table
from curation_resources.markdown import escape

RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![](https://tracker.example/p.gif)",
    "[click](javascript:alert(1))",
    "<javascript:alert(1)>",
    "a | b\n\n# heading\n- item",
    "```\ncode",
    "`code`",
    "**bold** ~~gone~~",
    "&lt;b&gt; &amp; &#60;",
    "\\<b> \\| \\[a](b)",
    "1. one",
    "> quoted",
    "+ item",
    "--- ",
    "[a]: https://example.org",
    "<!-- comment",
    "motion < 0.5 and match >= 0.2",
    "=HYPERLINK(1)",
]


@pytest.mark.parametrize("text", HOSTILE)
@given(other=st.text("<>&[]()!`*~|#-+=.1\\/a :\n\t\"'", max_size=40))
@example(other="")
def test_texts_are_shown_as_they_are(text: str, other: str) -> None:
    for given_text in (text, other, f"{other} {text}"):
        wanted = " ".join(given_text.split())
        shown = markdown_table(("a",), [(given_text,)])
        assert shown is not None
        cell = RENDERER.render(str(shown))
        found = re.search(r"<tbody>\s*<tr>\s*<td>(.*?)</td>\s*</tr>\s*</tbody>", cell, re.DOTALL)
        if wanted:
            assert found is not None
            assert "<" not in found[1], found[1]
            assert html.unescape(found[1]) == wanted
        line = RENDERER.render(escape(given_text)).strip()
        assert (html.unescape(line) == f"<p>{wanted}</p>" and line.count("<") == 2) or not wanted
