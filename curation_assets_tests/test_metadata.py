"""What the UI shows: column schemas and lineage from the registry, histograms, tables and contact sheets that a browser shows well."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
from dagster import AssetKey, TableColumnDep
from PIL import Image

from curation_assets.orchestration.metadata import column_lineage, column_schema, shown_metadata
from curation_assets.schemas import SCHEMAS
from curation_assets.showing.columns import type_name
from curation_assets.showing.figures import distributions, histogram, histograms, markdown_table
from curation_assets.showing.sheets import SHEET_BYTES, THUMBNAIL_BYTES, contact_sheet, thumbnail, together
from curation_resources.markdown import Markdown

TAKEN = [(t.asset, c) for t in SCHEMAS.values() for c in t.columns if c.taken]


@pytest.mark.parametrize(("asset", "column"), TAKEN, ids=lambda v: v if isinstance(v, str) else v.name)
def test_columns_taken_from_other_tables_exist_there_with_their_type(asset: str, column) -> None:
    source, name = column.taken.split(".")
    assert SCHEMAS[source].column(name).type == column.type
    assert list(SCHEMAS).index(source) < list(SCHEMAS).index(asset)


def test_lineage_names_only_parents_and_takes_ids_from_the_first_that_has_them() -> None:
    deps = column_lineage("curated_clips", ["raw_shards", "clips", "motion_scores"]).deps_by_column
    assert deps["motion"] == [TableColumnDep(AssetKey("motion_scores"), "motion")]
    assert deps["video_id"] == [TableColumnDep(AssetKey("raw_shards"), "video_id")]
    assert deps["clip_id"] == [TableColumnDep(AssetKey("clips"), "clip_id")]
    assert not {"sharpness", "selected", "drop_reason"} & set(deps)


def test_columns_that_are_taken_over_say_what_they_are_and_where_from() -> None:
    shown = {c.name: c.description for c in column_schema("curated_clips").columns}
    assert shown["motion"] == "Mean motion magnitude, frame diagonals per second. From motion_scores.motion."
    assert shown["start_ms"] == "Start of the clip. From clips.start_ms."


def test_nested_types_are_short_enough_for_the_column_table() -> None:
    longest = max(len(type_name(c.type)) for t in SCHEMAS.values() for c in t.columns)
    assert longest <= len("map<string, float>")
    assert type_name(SCHEMAS["clips"].column("cut_list").type) == "list<struct>"


def test_histograms_keep_their_empty_bins_in_html() -> None:
    bars = histogram(np.array([0.0, 1.0]), bins=10)
    assert len(bars) == 10
    assert " " not in bars, "HTML merges spaces"


def test_distributions_leave_out_what_is_unknown_and_count_it() -> None:
    shown = distributions({"motion": [0.5, None, 1.5, float("nan"), 4.0], "match": [None]})
    assert shown is not None
    (row,) = shown.splitlines()[2:]
    assert [cell.strip() for cell in row.split("|")][3:7] == ["0.5", "1.5", "4", "2"]
    assert "match" not in shown


def test_tables_without_rows_show_nothing() -> None:
    assert histograms(pa.table({"x": pa.array([], pa.float32())}), ["x"]) is None
    assert markdown_table(("a", "b"), []) is None


def test_text_in_a_table_cannot_break_it() -> None:
    shown = markdown_table(("clip", "caption"), [("a", "one | two\nthree")])
    assert shown is not None
    assert shown.splitlines()[2:] == ["| a | one \\| two three |"]


def _noise() -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (288, 512, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def test_contact_sheets_and_thumbnails_of_noise_stay_within_their_bytes() -> None:
    sheet = contact_sheet([(_noise(), "noise")] * 24 + [(b"not a picture", "torn")])
    assert sheet is not None
    assert len(sheet.jpeg) <= SHEET_BYTES
    assert Image.open(io.BytesIO(sheet.jpeg)).format == "JPEG"
    small = thumbnail(sheet.jpeg)
    assert len(small) <= THUMBNAIL_BYTES
    assert Image.open(io.BytesIO(small)).width >= 48
    assert contact_sheet([(b"not a picture", "torn")]) is None


def test_of_several_sheets_one_picture_is_made_and_one_thumbnail_is_shown() -> None:
    one = contact_sheet([(_noise(), "a")])
    two = contact_sheet([(_noise(), "b")] * 3)
    assert one is not None
    assert two is not None
    assert together({"one": one}) == one.jpeg
    whole = Image.open(io.BytesIO(together({"one": one, "two": two})))
    heights = [Image.open(io.BytesIO(s.jpeg)).height for s in (one, two)]
    assert whole.height > sum(heights)
    shown = shown_metadata({"one": one, "two": two.saying(Markdown("**two**")), "none": None, "n": 1}, "http://here/x")
    assert list(shown) == ["one", "two", "n"]
    texts = [shown[n].value for n in ("one", "two")]
    assert [t.count("data:image/jpeg;base64,") for t in texts] == [1, 0]
    assert all(t.endswith("[open the pictures](http://here/x)") for t in texts)
    assert texts[1].startswith("**two**")
    assert sum(map(len, texts)) < 6_000
