from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from curation_assets.ingest.indexing import plan_index
from curation_assets.ingest.normal_form import video_metadata_table
from curation_assets.recipes import Recipe
from curation_assets.schemas import schema


def test_a_row_for_every_row_of_the_index(tmp_path: Path) -> None:
    listing = tmp_path / "t.csv"
    recipe = Recipe.model_validate(
        {
            "dataset": "d",
            "source": {
                "format": "table",
                "path": str(listing),
                "columns": {
                    "id": "id",
                    "url": "url",
                    "clips": "clips",
                    "clip_id": "clip",
                    "caption": "text",
                    "licence": "licence",
                },
            },
        }
    )
    header = "id,url,clips,clip,text,licence,views\n"
    kept = '-a,https://x.test/a,"[[1, 2.5]]",c1,"Ein ""Fuß""",CC0,7\n'
    listing.write_text(header + kept + "b,https://x.test/b,,,,,\nc,https://x.test/c,[[1],c,,,\n")
    plan_index(recipe, None, tmp_path / "first.parquet")
    listing.write_text(header + kept + "c,https://x.test/c,[[1],c,,,\n")
    plan_index(recipe, tmp_path / "first.parquet", tmp_path / "second.parquet")

    table = video_metadata_table(pq.read_table(tmp_path / "second.parquet"))
    assert table.schema.equals(schema("video_metadata").arrow)
    first, removed, rejected = table.to_pylist()
    assert first == {
        "dataset": "d",
        "video_id": "-a",
        "url": "https://x.test/a",
        "title": None,
        "caption": 'Ein "Fuß"',
        "captions": None,
        "spans": [
            {
                "clip_id": "c1",
                "start_ms": 1000,
                "end_ms": 2500,
                "caption": 'Ein "Fuß"',
                "captions": None,
                "licence": "CC0",
                "extra": '{"views":"7"}',
            }
        ],
        "licence": "CC0",
        "status": "ok",
        "error": None,
        "extra": '{"views":"7"}',
        "source": str(listing),
        "line": 2,
    }
    assert (removed["video_id"], removed["status"], removed["url"], removed["spans"]) == (
        "b",
        "removed",
        "https://x.test/b",
        None,
    )
    assert removed["error"] == "no longer in the source"
    assert (rejected["status"], rejected["line"], rejected["url"]) == ("rejected", 3, None)
    assert "'[[1]'" in rejected["error"]
    assert json.loads(rejected["extra"])["text"] == "c,https://x.test/c,[[1],c,,,"


def test_an_empty_slice() -> None:
    assert video_metadata_table(schema("dataset_index").empty()).equals(schema("video_metadata").empty())
