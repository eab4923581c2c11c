"""Subtitle files as cues, on a real rolling track with its text, and on what is wrong with others."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.ingest.subtitles import Cue, parse_subtitles
from curation_assets_tests.shared_data import shared


def test_rolling_captions_give_each_line_once_at_its_time() -> None:
    """The .srt of the same track holds each line once; a few of its cues end earlier, where nothing was said any more."""
    rolling = parse_subtitles(shared("videos/manifesto.vtt").read_text(encoding="utf-8"))
    truth = parse_subtitles(shared("videos/manifesto.srt").read_text(encoding="utf-8"))
    assert [(c.start_ms, c.text) for c in rolling] == [(c.start_ms, c.text) for c in truth]
    assert all(0 <= a.end_ms - b.end_ms <= 500 for a, b in zip(rolling, truth, strict=True))
    assert sum(a.end_ms == b.end_ms for a, b in zip(rolling, truth, strict=True)) >= 35


def test_rolling_captions_have_as_many_words_as_were_spoken() -> None:
    spoken = [w["word"] for cue in json.loads(shared("videos/manifesto.json").read_text()) for w in cue["words"]]
    words = " ".join(
        c.text for c in parse_subtitles(shared("videos/manifesto.vtt").read_text(encoding="utf-8"))
    ).split()
    assert len(set(words) & set(spoken)) > 0.8 * len(set(words))
    assert abs(len(words) - len(spoken)) < 0.1 * len(spoken)


def test_webvtt_with_settings_markup_notes_and_entities() -> None:
    text = (
        "\ufeffWEBVTT - a title\r\n\r\nSTYLE\r\n::cue { color: red }\r\n\r\nNOTE a comment\r\nover two lines\r\n\r\n"
        "id 1\r\n00:01.000 --> 00:02.500 line:90% align:center\r\n<v Ann>Salt &amp; <i>pepper</i></v>\r\nsecond&nbsp;line\r\n\r\n"
        "01:00:03.25 --> 01:00:04.000\r\n{\\an8}top\r\n"
    )
    assert parse_subtitles(text) == [Cue(1000, 2500, "Salt & pepper second line"), Cue(3_603_250, 3_604_000, "top")]


def test_srt_that_is_not_quite_right() -> None:
    text = (
        "1\n00:00:01,000 --> 00:00:02,000\nfirst\n2\n00:00:03,000 --> 00:00:04,000\nno empty line before\n\n"
        "3\n00:00:06,000 --> 00:00:05,000\nends before it begins\n\n4\n00:0x:06,000 --> 00:00:07,000\nno time\n\n"
        "5\n00:00:05,000 --> 00:00:05,500\n\n\n"
    )
    assert parse_subtitles(text) == [Cue(1000, 2000, "first"), Cue(3000, 4000, "no empty line before")]


def test_a_manual_track_keeps_lines_that_are_said_twice() -> None:
    text = "WEBVTT\n\n00:01.000 --> 00:02.000\nNo.\n\n00:02.000 --> 00:03.000\nNo.\n\n00:03.000 --> 00:04.000\nWhy?\n\n00:04.000 --> 00:05.000\nSo.\n"
    assert [c.text for c in parse_subtitles(text)] == ["No.", "No.", "Why?", "So."]


@given(
    st.lists(
        st.text("abc déf", min_size=1, max_size=12).map(str.strip).filter(bool), min_size=3, max_size=12, unique=True
    )
)
def test_rolling_is_undone_for_any_lines(lines: list[str]) -> None:
    """What YouTube writes: the line before above the new one, then the finished line alone for 10 ms."""

    def clock(ms: int) -> str:
        return f"00:00:{ms // 1000:02d}.{ms % 1000:03d}"

    lines = [" ".join(line.split()) for line in lines]
    blocks = []
    for number, line in enumerate(lines):
        above = lines[number - 1] if number else " "
        blocks.append(f"{clock(1000 * number)} --> {clock(1000 * number + 990)} align:start\n{above}\n<c>{line}</c>\n")
        blocks.append(f"{clock(1000 * number + 990)} --> {clock(1000 * number + 1000)}\n{line}\n \n")
    cues = parse_subtitles("WEBVTT\nKind: captions\n\n" + "\n".join(blocks))
    assert cues == [Cue(1000 * n, 1000 * n + 1000, line) for n, line in enumerate(lines)]


@pytest.mark.parametrize(
    "text", ["", "WEBVTT", "<html>no</html>", "00:00:01.000 --> 00:00:02.000", "\0\0\0", '{"events": []}']
)
def test_what_holds_no_cue_gives_none(text: str) -> None:
    assert parse_subtitles(text) == []


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    cues = parse_subtitles("WEBVTT\n\n00:01.000 --> 00:02.000\n" + text)
    assert all(c.text and c.start_ms < c.end_ms for c in cues)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("if a < b and c > d then", "if a < b and c > d then"),
        ("if a<b and c>d then", "if a<b and c>d then"),
        ("for u <v and w> x", "for u <v and w> x"),
        ("I <3 you, <sighs> x->y, 5 <= 6", "I <3 you, <sighs> x->y, 5 <= 6"),
        ("<i>Come</i> <b>here</b><br/> <FONT color=\"#ff0\" face='x'>now</font>", "Come here now"),
        ("{\\an8}<u>up</u> there", "up there"),
        ("<ruby>漢<rt>かん</rt>字<rp>(</rp><rt>じ</rt><rp>)</rp></ruby>を読む", "漢字を読む"),
        ("&lt;b&gt; is bold", "<b> is bold"),
    ],
)
def test_what_is_said_in_angle_brackets_is_kept_and_markup_is_not(line: str, said: str) -> None:
    (cue,) = parse_subtitles(f"1\n00:00:01,000 --> 00:00:02,000\n{line}\n")
    assert cue.text == said


def test_voices_and_ruby_of_webvtt_leave_their_words() -> None:
    text = "WEBVTT\n\n00:01.000 --> 00:02.000\n<v.loud Mary Ann>Hello <c.yellow.bg_blue>you</c> <00:01.500><lang en>there</lang></v>\n"
    text += "\n00:03.000 --> 00:04.000\n<ruby>東<rt>とう<rb>京<rt>きょう</ruby>へ\n"
    assert [cue.text for cue in parse_subtitles(text)] == ["Hello you there", "東京へ"]


def test_somebody_who_repeats_a_word_is_no_rolling_caption() -> None:
    cues = "".join(
        f"{n}\n00:00:0{n},000 --> 00:00:0{n + 1},000\n{word}\n\n"
        for n, word in enumerate(["No.", "No.", "No.", "Yes.", "Yes."])
    )
    assert [cue.text for cue in parse_subtitles(cues)] == ["No.", "No.", "No.", "Yes.", "Yes."]
