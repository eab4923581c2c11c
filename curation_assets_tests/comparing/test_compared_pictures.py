"""The sheet of what differs most: each change has its place on it, and what is said of a clip is not cut off."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curation_assets.comparing.pictures import largest
from curation_assets.comparing.row_differences import ColumnChanges, Differences, ValueChange
from curation_assets.showing.sheets import contact_sheet, wrapped


def column(*changes: tuple[str, float, float], measured: bool = True) -> ColumnChanges:
    made = tuple(ValueChange(clip, a, b, abs(a - b), clip) for clip, a, b in changes)
    return ColumnChanges(9, len(made), len(made), len(made) if measured else 0, 0.1, made)


def test_each_column_has_its_place_and_a_clip_is_shown_once() -> None:
    found = {
        "clips": Differences(
            9, 9, 2, 1, 0, ("- v v_0_1", "- v v_1_2", "+ v v_0_2"), ("v_0_1", "v_1_2", "v_0_2"), {}
        ),
        "motion_scores": Differences(
            9, 9, 1, 0, 2, ("- v v_0_1",), ("v_0_1",), {"motion": column(("v_5_6", 0.1, 0.9), ("v_6_7", 0.1, 0.2))}
        ),
        "quality_scores": Differences(
            9, 9, 0, 0, 1, (), (), {"blank": column(("v_5_6", 0.0, 1.0)), "version": column(("v_8_9", 0.0, 1.0), measured=False)}
        ),
    }  # fmt: skip
    said = largest(found)
    assert [clip for clip, _ in said] == ["v_0_1", "v_0_2", "v_5_6", "v_1_2", "v_6_7", "v_8_9"]
    words = dict(said)
    assert words["v_0_1"].splitlines() == ["v_0_1", "only A: clips, motion_scores"]
    assert words["v_5_6"].splitlines() == ["v_5_6", "motion 0.1 > 0.9", "blank 0 > 1"]


@given(st.text("ab_ \n", max_size=60), st.integers(3, 12), st.integers(1, 6))
def test_a_caption_that_fits_loses_no_letter_and_one_that_does_not_says_so(text: str, width: int, lines: int) -> None:
    made = wrapped(text, width, lines, len)
    assert 1 <= len(made) <= lines
    assert all(len(line) <= width for line in made)
    whole = "".join(wrapped(text, width, 10_000, len)).replace(" ", "")
    assert whole == "".join(text.split())
    if len(wrapped(text, width, 10_000, len)) <= lines:
        assert "".join(made).replace(" ", "") == whole
    else:
        assert made[-1].endswith("...")


@pytest.mark.parametrize("lines", [1, 4])
def test_a_sheet_is_as_high_as_its_captions(lines: int) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (320, 180), "red").save(buffer, "JPEG")
    caption = "clip_0_1000\nmotion 0.1 > 0.9\nblank 0 > 1\nsharpness 3 > 4"
    sheet = contact_sheet([(buffer.getvalue(), caption)] * 3, columns=2, width=320, lines=lines, text=13)
    assert sheet is not None
    picture = Image.open(io.BytesIO(sheet.jpeg)).convert("L")
    assert picture.size == (640, 2 * (179 + 2 + lines * 15))
    last = picture.crop((0, picture.height - 15, 320, picture.height))
    assert min(last.get_flattened_data()) < 100, "its last line has letters"
