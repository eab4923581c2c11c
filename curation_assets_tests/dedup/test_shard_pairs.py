"""The duplicates of a shard as its event shows them."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pyarrow as pa
from PIL import Image

from curation_assets.dedup.shard_pairs import shard_pairs
from curation_assets.engine.shard import Shard
from curation_assets.settings import Settings
from curation_assets.showing.sheets import Sheet
from curation_assets.stores import table_store
from curation_assets_tests.look.small_root import SHARDS, fill, picture, recipes


def test_each_dropped_clip_stands_beside_its_copy_and_the_least_alike_first(tmp_path: Path) -> None:
    settings = Settings(storage=str(tmp_path))
    store = table_store(settings)
    fill(store)
    shard = Shard(SHARDS[0], recipes()["toy"], store, settings, logging.getLogger())
    table = store.read("dedup", SHARDS[0])
    rows = {r["clip_id"]: r for r in table.to_pylist()}
    rows["v1_0_500"] |= {"keep": False, "duplicate_of": "v2_0_500", "duplicate_dataset": "toy", "relation": "flipped"}
    rows["v1_0_500"] |= {"similarity": 0.8}
    shown = shard_pairs(shard, pa.Table.from_pylist(list(rows.values()), schema=table.schema))
    assert isinstance(shown, Sheet)
    lines = str(shown.said).splitlines()[2:]
    assert [line.split(" | ")[:3] for line in lines] == [
        ["| 1", "v1_0_500", "v2_0_500"],
        ["| 2", "v0_1500_2000", "v0_0_500"],
    ]
    sheet = Image.open(io.BytesIO(shown.jpeg)).convert("RGB")
    assert sheet.width == 4 * 160, "two pairs in a row, of which one has its copy in another shard"

    def colour(number: int) -> tuple[int, ...]:
        return Image.open(io.BytesIO(picture(number))).convert("RGB").getpixel((30, 20))  # type: ignore[return-value]

    for column, number in ((0, 4), (2, 3), (3, 0)):
        seen = sheet.getpixel((column * 160 + 80, 20))
        assert max(abs(a - b) for a, b in zip(seen, colour(number), strict=True)) < 12
    assert min(sheet.getpixel((160 + 80, 20))) > 240, "nothing is shown of it"
    kept = table.filter(table["keep"])
    assert shard_pairs(shard, kept) is None
