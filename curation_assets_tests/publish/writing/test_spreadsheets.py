from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.publish.writing import spreadsheets


@pytest.mark.parametrize(
    "text",
    ["=1+1", "=HYPERLINK(A1)", "+1+cmd|' /C calc'!A0", "-2+3", "- a dog runs", "@SUM(1)", "\t=1", "\r=1", "＝1", "'=1"],
)
def test_what_a_spreadsheet_would_run_has_an_apostrophe_in_front(text: str) -> None:
    assert spreadsheets.cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-dQw4w9WgXc", "-1.5", "+49", "a=b", "", "{}", "'quoted'", None, 3, -1.5])
def test_ids_numbers_and_other_texts_stay(text: object) -> None:
    assert spreadsheets.cell(text) == text


@given(st.lists(st.text(st.sampled_from("=+-@\t'a1,\"\n＝"), max_size=6), min_size=1))
def test_everything_is_had_back(texts: list[str]) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([f"c{i}" for i in range(len(texts))])
    writer.writerow([spreadsheets.cell(t) for t in texts])
    assert [list(r.values()) for r in spreadsheets.rows(out.getvalue())] in ([texts], [] if texts == [""] else [texts])
