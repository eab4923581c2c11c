"""What the UI shows: column schemas and lineage from the registry, histograms, tables and contact sheets that a browser shows well."""

from __future__ import annotations

import base64
import io

import numpy as np
import pyarrow as pa
import pytest
from dagster import AssetKey, TableColumnDep
from PIL import Image

from curation_assets.orchestration.metadata import column_lineage, column_schema
from curation_assets.schemas import SCHEMAS
from curation_assets.showing.columns import type_name
from curation_assets.showing.figures import distributions, histogram, histograms, markdown_table
from curation_assets.showing.sheets import CELL_BYTES, SHEET_BYTES, contact_sheet, inline_picture

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


def test_contact_sheets_of_noise_stay_within_their_bytes() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (288, 512, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", quality=90)
    cell = inline_picture(buffer.getvalue())
    assert cell is not None
    assert len(base64.b64decode(cell.split("base64,")[1].rstrip(")"))) <= CELL_BYTES
    assert inline_picture(b"not a picture") is None
    shown = contact_sheet([(buffer.getvalue(), "noise")] * 24 + [(b"not a picture", "torn")])
    assert shown is not None
    sheet = base64.b64decode(shown.split("base64,")[1].rstrip(")"))
    assert len(sheet) <= SHEET_BYTES
    assert Image.open(io.BytesIO(sheet)).format == "JPEG"
