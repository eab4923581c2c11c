"""What `curation explain` prints: in order of time, and nothing that says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curation_assets.definitions import table_store
from curation_assets.explain import UnknownId, explain, render
from curation_assets.recipes import parse_recipe
from curation_assets.schemas import schema
from curation_assets.settings import Settings
from curation_resources.provenance import Provenance
from curation_resources.tables import TableStore

STARTS = (0, 2_000, 10_000, 100_000)
CLIPS = [f"v_{s}_{s + 1000}" for s in STARTS]
FILL: Mapping[str, Any] = {
    "dataset": "toy",
    "video_id": "v",
    "shard": "toy-00000",
    "source": "films/v.mp4",
    "line": 1,
    "status": "ok",
    "detector": "d",
    "cluster_id": "k",
    "survivor": CLIPS[3],
    "survivor_dataset": "toy",
    "selected": True,
    "split": "train",
    "label": "cat",
    "score": 0.5,
}


def commit(store: TableStore, asset: str, rows: Sequence[Mapping[str, Any]], key: str | None = "toy-00000") -> None:
    contract = schema(asset)
    full = [{**{n: FILL.get(n) for n in contract.names}, **row} for row in rows]
    table = pa.Table.from_pylist(full, schema=contract.arrow).sort_by([(k, "ascending") for k in contract.key])
    store.commit(asset, key, table, Provenance("1"))


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    """One video of four clips, the last of which is the survivor of all."""
    made = table_store(Settings(storage=str(tmp_path)))
    made.storage.write("frames/toy-00000/x.tar", bytes(9))
    spans = [{"clip_id": c, "start_ms": s, "end_ms": s + 1000} for c, s in zip(CLIPS, STARTS, strict=True)]
    commit(made, "dataset_index", [{"status": "present"}], None)
    cuts = [{"time_ms": t, "frame": t, "kind": "cut", "score": None, "accepted": True} for t in (11_500, 9_500)]
    commit(
        made,
        "clips",
        [
            *({**s, "cut_list": cuts if i == 0 else None} for i, s in enumerate(spans)),
            {"clip_id": "v_rejected_0", "status": "rejected", "error": "too short"},
        ],
    )
    alike = [
        {"clip_id": c, "keep": c == CLIPS[3], "duplicate_of": None if c == CLIPS[3] else CLIPS[3], "relation": "copy"}
        | {"similarity": None if c == CLIPS[3] else 0.9}
        for c in CLIPS
    ]
    commit(made, "duplicate_clusters", alike, None)
    commit(made, "dedup", alike)
    commit(made, "tracks", [{"clip_id": CLIPS[0], "track_id": f"t{n}", "start_ms": 900 - n, "boxes": []} for n in (1, 2)])  # fmt: skip
    commit(
        made,
        "frames",
        [
            {
                "clip_id": CLIPS[0],
                "time_ms": t,
                "frame": t,
                "tar": "frames/toy-00000/x.tar",
                "offset": 0,
                "size": 9,
                "width": 8,
                "height": 8,
            }
            for t in (900, 0, 100)
        ],
    )
    commit(made, "curated_clips", spans, "toy-s")
    commit(
        made,
        "embedding_dataset",
        [{"clip_id": c, "sample_key": c, "status": "failed", "error": "none"} for c in [*CLIPS, "v_1_2"]],
        "toy-s",
    )
    return made


def told(store: TableStore, given: str, source: str = "folder") -> dict[str, list[tuple[str, str]]]:
    recipe = parse_recipe(
        f"dataset: toy\nsource: {{format: {source}, path: films}}\nsubsets: {{s: {{export: {{embeddings: {{}}}}}}}}\n",
        "toy.yaml",
    )
    return dict(explain(store, {"toy": recipe}, given))


def test_everything_is_in_order_of_time(store: TableStore) -> None:
    whole, clip = told(store, "v"), told(store, CLIPS[0])
    assert [name for name, _ in whole["clips"]] == [*CLIPS, "v_rejected_0"], "not of the letters of their ids"
    published = [f"embedding_dataset {c}" for c in [*CLIPS, "v_1_2"]]
    assert [name for name, _ in whole["subset toy-s"]] == [*CLIPS, *published], "a clip that is no more comes last"
    assert [name for name, _ in clip["tracks"]] == ["t2", "t1"]
    assert [name for name, _ in clip["sampled frames"]] == ["at 0 ms", "at 100 ms", "at 900 ms"]
    near = [said for name, said in told(store, CLIPS[2])["clip"] if name.startswith("cut near the start")]
    assert [said.split(" (")[0] for said in near] == ["cut at 9500 ms", "cut at 11500 ms"]
    assert list(clip) == [
        "video v of toy", "clip", "sampled frames", "duplicates", "tracks", "subset toy-s"
    ]  # fmt: skip


def test_what_is_not_there_is_not_said(store: TableStore) -> None:
    cluster = [said for name, said in told(store, CLIPS[0])["duplicates"] if name == "also in the cluster"]
    assert f"toy {CLIPS[3]}: kept" in cluster
    assert f"toy {CLIPS[1]}: copy of {CLIPS[3]}, similarity 0.9" in cluster
    assert "null" not in render(iter(told(store, CLIPS[3]).items()))


@pytest.mark.parametrize(
    ("source", "place"),
    [("folder", "films/v.mp4"), ("webdataset", "films/v.mp4 sample 1"), ("ids", "films/v.mp4 line 1")],
)
def test_a_line_is_named_where_there_are_lines(store: TableStore, source: str, place: str) -> None:
    assert dict(told(store, "v", source)["video v of toy"])["source"] == place


def test_of_datasets_that_share_an_id_that_one_is_told_of_which_has_the_clip(store: TableStore) -> None:
    rows = [{"dataset": d, "shard": f"{d}-00000", "status": "present"} for d in ("film", "toy")]
    commit(store, "dataset_index", rows, None)
    commit(store, "clips", [{"dataset": "film", "clip_id": "v_5_9", "start_ms": 5, "end_ms": 9}], "film-00000")
    assert [s for s in told(store, CLIPS[1]) if s.startswith("video")] == ["video v of toy"]
    assert [s for s in told(store, "v_5_9") if s.startswith("video")] == ["video v of film"]
    assert [s for s in told(store, "v") if s.startswith("video")] == ["video v of film", "video v of toy"]
    with pytest.raises(UnknownId, match="film-00000, toy-00000 has the video, but no such clip"):
        told(store, "v_6_9")
