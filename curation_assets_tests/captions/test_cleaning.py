from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.captions.captions import COMPONENT, Cleaning
from curation_assets.captions.cleaning import (
    clean_caption,
    detect_language,
    score_suffix,
    shorten,
    split_sentences,
)
from curation_assets.captions.removals import REMOVALS
from curation_assets.recipes import parse_recipe

PLAIN = Cleaning()


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("The video shows a dog running.", "A dog running."),
        ("In this video, we can see a man who cooks.", "A man who cooks."),
        ("In the video, the image shows that two men talk.", "Two men talk."),
        ("Sure! Here is a detailed description of the video: A cat sleeps.", "A cat sleeps."),
        ("Here's a short caption:\n\n**Caption:** a red car", "A red car"),
        ("The video shows a dog.\n\nIn the video, we see\na cat.", "A dog. A cat."),
        ("A cat.\n\nIn the video, the image shows that two men talk.", "A cat. Two men talk."),
        ("He says\nthe video shows a cat.", "He says the video shows a cat."),
        ("This is a video of the Eiffel Tower.", "The Eiffel Tower."),
        ("Assistant: iPhones on a table", "IPhones on a table"),
        ("The video shows", "The video shows"),
        ("The video camera stands on a tripod.", "The video camera stands on a tripod."),
        ("A video game shows on the screen.", "A video game shows on the screen."),
        ("Video: how to tie a knot", "Video: how to tie a knot"),
        ("Caf&eacute; &amp;amp; bar", "Café & bar"),
        ("schÃ¶n und groÃŸ", "schön und groß"),
        ("<b>Big</b><br/>news <i class='x'>now</i>", "Big news now"),
        ("temperature <5 and >3, a<b", "temperature <5 and >3, a<b"),
        ("Watch https://youtu.be/abc?x=1&y=(2). Then rest.", "Watch. Then rest."),
        ("see www.example.org/a for more, or example.com", "see for more, or"),
        ("動画はhttps://example.com/あります", "動画はあります"),
        ("by @some.user_1 and a@b.co.uk at 5 pm @ home", "by and at 5 pm @ home"),
        ("Mr.Smith's 3.5 m wall ( ) is   tall !", "Mr.Smith's 3.5 m wall is tall!"),
        ("  \u200b \n\t ", ""),
        ("...", ""),
        ("❤️", "❤️"),
        ("", ""),
    ],
)
def test_cleaning(raw: str, clean: str) -> None:
    assert clean_caption(raw, PLAIN) == clean


@pytest.mark.parametrize(
    "text",
    [
        "犬が野原を走っている。「ＡＢＣ」と言う！",
        "كلب يجري في الحقل، والأطفال يضحكون؟",
        "Собака бежит по лугу, а дети смеются… Ёлка!",
        "कुत्ता मैदान में दौड़ता है।",
        "می‌خواهم بروم",
        "İstanbul'da ÇİÇEK ve ığdır",
        "“Curly” ‘quotes’ — naïve ﬁancée, № 5 ½",
        "iPhone vs. eBay: McDonald's NASA",
        "สุนัขวิ่งในทุ่งหญ้า",
        "👩‍👩‍👧‍👦 family, 🇫🇷 flag",
        "한국어 자막입니다.",
    ],
)
def test_other_scripts_case_and_typography_pass_unharmed(text: str) -> None:
    assert clean_caption(text, PLAIN) == text


def test_unwanted_sentences_are_dropped_whole() -> None:
    text = "A dog runs. There are no people. The sky isn't visible. It's unclear where. 猫がいる。A Notre-Dame noodle shop."
    negations = Cleaning(drop_sentences=["negations"])
    assert clean_caption(text, negations) == "A dog runs. It's unclear where. 猫がいる。A Notre-Dame noodle shop."
    not_visible = Cleaning(drop_sentences=["not_visible"])
    assert clean_caption(text, not_visible) == "A dog runs. There are no people. 猫がいる。A Notre-Dame noodle shop."
    assert clean_caption("No people.", negations) == ""
    hidden = "A dog runs. No other animals are visible. Nobody is in sight. No entry, says a sign. He has no time to be seen."
    assert clean_caption(hidden, not_visible) == "A dog runs. No entry, says a sign."


def test_openers_can_be_kept() -> None:
    assert clean_caption("The video shows a dog.", Cleaning(boilerplate=False)) == "The video shows a dog."


@pytest.mark.parametrize(
    ("name", "raw", "clean"),
    [
        ("person", "<person> waves to <PERSON> in a <b>big</b> hall", "person waves to person in a big hall"),
        ("file_names", "A dog, IMG_0001.JPG, and (my.cat.mp4) asleep.", "A dog, and asleep."),
        ("file_names", "See fig.3 and mp4 players; end.png2 stays", "See fig.3 and mp4 players; end.png2 stays"),
        ("sizes", "Wallpaper 1920x1080 px of a 2.5×3 m room, 4x4wheel", "Wallpaper of a m room, 4x4wheel"),
        ("page_numbers", "A book, page 3 of 10. Pages 4-5. A page 12th", "A book. A page 12th"),
        (
            "ip_numbers",
            "Camera 192.168.0.1:8080, 10.0.0.256, 1.2.3.4.5 and 8.8.8.8.",
            "Camera, 10.0.0.256, 1.2.3.4.5 and.",
        ),
        (
            "codes",
            "Chair #123 jc6640 jc6640vc 6640vc231 12345678 of 2024, 4K and MP3 1:23",
            "Chair of 2024, 4K and MP3",
        ),
        ("advertising", "Red shoes, worldwide free shipping. Click here now", "Red shoes."),
        ("decoration", '"*** SALE *** a C# book, 5*3 | tea™"', "SALE a C# book, 5*3 tea"),
        ("joined_words", "this-is-my-cute-cat", "this is my cute cat"),
        ("joined_words", "a well-known, state-of-the-art room", "a well known, state of the art room"),
        ("joined_words", "a well-known man", "a well-known man"),
        ("narration", "The video begins with a dog. The scene then opens to reveal a park.", "A dog. A park."),
        ("narration", "The scene opens on a beach. He opens with a key.", "A beach. He opens with a key."),
        ("narration", "The video starts slowly. The video ends by showing cats.", "The video starts slowly. Cats."),
    ],
)
def test_what_is_named_is_removed_and_else_it_stays(name: Any, raw: str, clean: str) -> None:
    assert clean_caption(raw, Cleaning(remove=[name])) == clean


def test_no_removal_is_slow_or_undoes_another() -> None:
    every = Cleaning(remove=list(REMOVALS))  # type: ignore[arg-type]
    for piece in ("1.", "a1", "#", "page 1", "a-", "x.jpg", "The video begins with ", "1x", '"', "a.", "<person"):
        for name, removal in REMOVALS.items():
            assert len(removal(piece * 4_000)) <= 4_000 * len(piece), name
    text = "The scene opens with <person> at 10.0.0.1, page 3, my-own-cat-and-dog.jpg 640x480."
    assert clean_caption(text, every) == "Person at."


def test_captions_made_before_removals_could_be_named_stay() -> None:
    text = "dataset: d\nsource: {format: folder, path: .}\n"
    plain = COMPONENT.params(parse_recipe(text, "r"))
    assert "remove" not in plain["clean"]
    assert plain["clean"].keys() == Cleaning().model_dump().keys() - {"remove"}
    named = COMPONENT.params(parse_recipe(text + "captions: {clean: {remove: [sizes]}}", "r"))
    assert named["clean"]["remove"] == ["sizes"]


def test_sentences() -> None:
    assert split_sentences('Dr. Who left at 3.5 s. "Why?" he asked... Then 犬。猫！') == [
        "Dr. Who left at 3.5 s.", '"Why?"', "he asked...", "Then 犬。", "猫！",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "limit", "short"),
    [
        ("One two. Three four. Five.", 20, "One two. Three four."),
        ("One two. Three four. Five.", 19, "One two."),
        ("a sentence without any end that fits", 15, "a sentence"),
        ("犬が走る。猫が寝る。鳥。", 10, "犬が走る。猫が寝る。"),
        ("犬が野原を走っている", 4, "犬が野原"),
        ("e\u0301e\u0301e\u0301", 3, "e\u0301"),
        ("ok 👩‍👩‍👧", 4, "ok"),
        ("é👩‍👩‍👧", 3, "é"),
        ("👩‍👩‍👧", 3, "👩‍👩"),
    ],
)
def test_shortening_ends_at_a_sentence_a_word_or_a_whole_character(text: str, limit: int, short: str) -> None:
    assert shorten(text, limit) == short


@settings(max_examples=300)
@given(st.text(max_size=200), st.integers(1, 50), st.sampled_from([[], ["negations"], ["negations", "not_visible"]]))
def test_cleaning_is_final_bounded_and_free_of_surplus_space(text: str, limit: int, drop: list[str]) -> None:
    params = Cleaning(max_chars=limit, drop_sentences=drop, remove=list(REMOVALS) if limit % 2 else [])
    cleaned = clean_caption(text, params)
    assert clean_caption(cleaned, params) == cleaned
    assert len(cleaned) <= limit
    assert cleaned == " ".join(cleaned.split())


SCRIPTS = (
    (0x41, 0x5A),
    (0x61, 0x7A),
    (0x391, 0x3C9),
    (0x410, 0x44F),
    (0x5D0, 0x5EA),
    (0x627, 0x64A),
    (0x905, 0x939),
    (0xE01, 0xE30),
    (0x3041, 0x30FA),
    (0x4E00, 0x9FA5),
    (0xAC00, 0xD7A3),
    (0xFF21, 0xFF3A),
)


@settings(max_examples=200)
@given(
    st.lists(
        st.text(
            st.one_of(
                [st.characters(categories=["Ll", "Lu", "Lo"], min_codepoint=a, max_codepoint=b) for a, b in SCRIPTS]
            ),
            min_size=1,
            max_size=8,
        ),
        min_size=1,
        max_size=8,
    )
)
def test_letters_are_never_lost_or_changed_in_case(words: list[str]) -> None:
    import unicodedata

    text = unicodedata.normalize("NFC", " ".join(words))
    assert clean_caption(text, Cleaning(boilerplate=False)) == " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("A woman in a red dress is walking down the street.", "en"),
        ("犬が野原を走っている。", "ja"),
        ("كلب يجري في الحقل مع الأطفال", "ar"),
        ("Собака бежит по лугу, а дети смеются.", "ru"),
        ("Un perro corre por el campo", "es"),
        ("dog", None),
        ("42!", None),
        ("", None),
    ],
)
def test_language(text: str, language: str | None) -> None:
    assert detect_language(text) == language


def test_scores_in_words() -> None:
    assert score_suffix(["motion", "aesthetic"], 0.5, 5.5) == "Motion: fast. Aesthetic quality: good."
    assert score_suffix(["aesthetic", "motion"], 0.0, None) == "Motion: almost still."
    assert score_suffix(["motion"], float("nan"), 9.0) == ""


def test_a_reference_of_thousands_of_digits_is_no_character_and_no_error() -> None:
    assert clean_caption(f"A dog &#{'9' * 5000}; runs &amp; jumps.", Cleaning()) == "A dog \ufffd runs & jumps."
