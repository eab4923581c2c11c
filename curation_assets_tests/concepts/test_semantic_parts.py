"""Semantic duplicates of many shards come out the same however many clips fit into memory, at once or shard by shard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from benchmarks.semantic import generate, recipe
from curation_assets.concepts import semantic_maker, semantic_search
from curation_assets.concepts.semantic_maker import compare_concepts
from curation_assets.engine.slices import slice_hashes
from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings
from curation_resources.replace import ANY
from curation_resources.storage import Storage
from curation_resources.table_headers import TableHeader
from curation_resources.tables import TableStore

CLIPS = 150
"""Of a shard."""


def compared(root: Path, survivor: str = "farthest") -> TableHeader:
    store, made = TableStore(Storage(str(root)), SCHEMAS), recipe()
    made = made.model_copy(update={"semantic_dedup": made.semantic_dedup.model_copy(update={"survivor": survivor})})
    base = store.usable_header("semantic_duplicates") or ANY
    settings = Settings(storage=str(root), search_memory_mb=64)
    return compare_concepts(store, {"bench": made}, settings, base, shown=False)[0]


def rows(root: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = TableStore(Storage(str(root)), SCHEMAS).read("semantic_duplicates").to_pylist()
    return found


def judged(root: Path) -> list[dict[str, Any]]:
    """The rows without the cosines, which products of other shapes may round elsewhere in the fifth decimal."""
    return [{k: v for k, v in r.items() if k != "semantic_similarity"} for r in rows(root)]


@pytest.mark.parametrize("survivor", ["farthest", "nearest"])
def test_in_parts_and_in_turn_as_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survivor: str) -> None:
    monkeypatch.setattr("benchmarks.semantic.PER_CONCEPT", 25)
    whole, parts, turns = (tmp_path / name for name in ("whole", "parts", "turns"))
    for root in (whole, parts, turns):
        generate(str(root), 0, 5, CLIPS, 0.5)
    header = compared(whole, survivor)
    monkeypatch.setattr(semantic_search.SemanticSearch, "_files", lambda self: 4)
    monkeypatch.setattr(semantic_search, "MOST_FILES", 3)  # ranges of shards
    assert compared(parts, survivor).content_hash == header.content_hash
    assert rows(parts) == rows(whole)
    slices = [slice_hashes(TableStore(Storage(str(r)), SCHEMAS), "semantic_duplicates") for r in (whole, parts)]
    assert dict(slices[0]) == dict(slices[1])
    assert len(slices[0]) == 5
    store = TableStore(Storage(str(turns)), SCHEMAS)
    shards = store.partitions("clip_concepts")
    late = {s: store.read_with_hash("clip_concepts", s)[0] for s in shards[2:]}
    heads = {s: store.header("clip_concepts", s) for s in late}
    for shard in late:
        store.storage.remove(store.path("clip_concepts", shard))
    compared(turns, survivor)
    for shard, table in late.items():
        known = heads[shard]
        assert known is not None
        store.commit("clip_concepts", shard, table, known.provenance)
        compared(turns, survivor)
    assert judged(turns) == judged(whole)
    store.storage.remove(store.path("clip_concepts", shards[0]))  # a shard that goes takes its clips along
    compared(turns, survivor)
    assert shards[0] not in {r["shard"] for r in rows(turns)}
    alone = tmp_path / "alone"
    generate(str(alone), 1, 4, CLIPS, 0.5)
    compared(alone, survivor)
    assert judged(turns) == judged(alone) != []


def test_each_group_keeps_one_and_only_those_that_agree_are_dropped(tmp_path: Path) -> None:
    generate(str(tmp_path), 0, 3, CLIPS, 0.6)
    header = compared(tmp_path)
    table = TableStore(Storage(str(tmp_path)), SCHEMAS).read("semantic_duplicates")
    dropped = table.filter(pc.invert(table["semantic_keep"]))
    assert header.stats["dropped"] == len(dropped) > 30
    assert header.stats["groups"] == len(table) - len(dropped) == len(pc.unique(table["semantic_cluster_id"]))
    assert pc.min(dropped["semantic_similarity"]).as_py() > 0.95
    assert header.asset == semantic_maker.ASSET
