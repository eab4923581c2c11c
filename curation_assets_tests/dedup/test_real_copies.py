"""Families of real copies, and copies made of real videos, through the decoding pass and the index."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks.copies import COPIES, SLIGHT, compare_copies, fingerprint
from curation_assets.dedup.clusters import build_clusters
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.index import ShardInput
from curation_assets.schemas import schema
from curation_assets_tests.shared_data import shared
from curation_resources.storage import Storage

CERTAIN = [
    *(kind for kind in COPIES if not kind.startswith(("10 % crop", "5 % faster", "mirrored", "logo, 1/6"))),
    *SLIGHT,
]
"""Kinds of which every copy is to be found."""


def test_families_of_real_copies(tmp_path: Path) -> None:
    labels = json.loads(shared("labels/dedup.json").read_text())
    names = [*labels["families"]["pattern"], *labels["distinct"]]
    others = ["panda/1r2eNjJ__mE.20.mp4", "panda/bpA7IQ_g9IQ.36.mp4", "videos/vid1.mp4"]
    files = {name: shared(f"dedup/{name}") for name in names} | {name: shared(name) for name in others}
    rows = [row for name, path in files.items() for row in fingerprint(path, name, Dedup())]
    table = pa.Table.from_pylist(rows, schema("clip_fingerprints").arrow)
    clusters = build_clusters(
        Storage(str(tmp_path)), "index", [ShardInput("d-0", "1", lambda: table)], Dedup()
    ).clusters
    fate = dict(zip(clusters["video_id"].to_pylist(), clusters["survivor"].to_pylist(), strict=True))
    assert set(fate) == set(labels["families"]["pattern"])
    assert len(set(fate.values())) == 1
    assert fate["pattern-hd-no-bar.mp4"].startswith("pattern-longer"), "of one height, the longer survives"


def test_copies_of_two_videos() -> None:
    videos = [shared("panda/1r2eNjJ__mE.20.mp4"), shared("panda/JGmMJ5pZl4Y.21.mp4")]
    judgement = compare_copies(videos, Dedup(flipped=True), 3.0)
    assert judgement.false == []
    assert {kind: judgement.recall(kind) for kind in COPIES} == dict.fromkeys(COPIES, 1.0)


@pytest.mark.slow
def test_copies_of_many_videos() -> None:
    videos = sorted(shared("panda").glob("*.mp4"))
    judgement = compare_copies(videos, Dedup(), 6.0, CERTAIN)
    assert judgement.false == []
    assert judgement.missed == {}
