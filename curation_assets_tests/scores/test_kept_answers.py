"""A pre-filter that is made stricter and taken back: models are asked for nothing anew, and all tables are as if they had been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from curation_assets_tests.sample_video import sample_video
from curation_assets_tests.site import Site
from curation_assets_tests.tiny_clip import write_tiny_clip
from curation_resources.storage import Storage
from curation_resources.table_headers import KEPT_FILE

RECIPE = """
dataset: toy
source: {format: folder, path: ROOT/videos}
clips: {from: whole, min_s: 0.2}
dedup: {frames: 3}
embeddings: {model: "local-dir:ROOT/model", precision: fp32, where: [WHERE]}
text: {words: WORDS, where: [WHERE]}
tracks: {detector: faces, fps: 4, where: [WHERE]}
"""
ASKED = {"frame_embeddings": "frames", "text_scores": "clips_read", "tracks": "clips_looked_at"}
"""Table -> what its stats call the number of what the model was asked about."""
SHARD = "toy-00000"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Three videos of 1, 2 and 3 s; what models say is made for all of them."""
    (tmp_path / "videos").mkdir()
    for n in (1, 2, 3):
        (tmp_path / f"videos/v{n}.mp4").write_bytes(sample_video(float(n), seed=n, audio=False))
    write_tiny_clip(tmp_path / "model", 32)
    return Site(tmp_path)


def bring(site: Site, where: str, words: str = "false") -> dict[str, int]:
    """Brings all up to date with a pre-filter; table -> how many things its model was asked about, 0 if it was not made."""
    before = {a: h.tag if (h := site.store.header(a, SHARD)) else None for a in ASKED}
    text = RECIPE.replace("ROOT", str(site.root)).replace("WHERE", where).replace("WORDS", words)
    site.declare(text)
    site.index()
    site.settle()
    assert site.failed == []
    asked = {}
    for asset, name in ASKED.items():
        header = site.store.header(asset, SHARD)
        assert header is not None
        asked[asset] = header.stats[name] if header.tag != before[asset] else 0
    return asked


def said(site: Site) -> dict[str, Any]:
    """Rows of each table but for what it took."""
    tables = {a: site.store.read(a, SHARD) for a in ASKED}
    return {a: t.drop_columns([c for c in ("cpu_ms",) if c in t.column_names]).to_pylist() for a, t in tables.items()}


def clips_of(site: Site, asset: str) -> set[str]:
    table = site.store.read(asset, SHARD)
    if "samples" in table.column_names:
        table = table.filter(pc.greater(table["samples"], 0))
    return {c.split("_")[0] for c in table["clip_id"].to_pylist()}


def test_a_stricter_rule_that_is_taken_back_asks_for_nothing(site: Site) -> None:
    first = bring(site, "")
    assert first["text_scores"] == first["tracks"] == 3
    assert first["frame_embeddings"] >= 9
    whole = said(site)
    assert not site.store.storage.exists(f"text_scores/{SHARD}/{KEPT_FILE}")

    assert bring(site, "duration_s >= 1.5") == dict.fromkeys(ASKED, 0)
    assert clips_of(site, "frame_embeddings") == clips_of(site, "text_scores") == {"v2", "v3"}
    assert bring(site, "duration_s >= 2.5") == dict.fromkeys(ASKED, 0)
    assert clips_of(site, "frame_embeddings") == {"v3"}
    assert bring(site, "duration_s < 2.5") == dict.fromkeys(ASKED, 0), "others pass, all were asked about once"
    assert clips_of(site, "frame_embeddings") == clips_of(site, "text_scores") == {"v1", "v2"}

    (site.root / "videos/v4.mp4").write_bytes(sample_video(2.0, seed=9, audio=False))
    new = bring(site, "duration_s < 2.5")
    assert new["text_scores"] == new["tracks"] == 1, "a new video alone"
    assert bring(site, "")["text_scores"] == 0
    assert bring(site, "") == dict.fromkeys(ASKED, 0)
    now = said(site)
    assert {a: [r for r in rows if r["video_id"] != "v4"] for a, rows in now.items()} == whole


def test_what_is_asked_otherwise_is_asked_anew(site: Site) -> None:
    bring(site, "")
    bring(site, "duration_s >= 1.5")
    asked = bring(site, "duration_s >= 1.5", words="true")
    assert asked["text_scores"] == 2
    assert asked["frame_embeddings"] == 0
    assert bring(site, "", words="true")["text_scores"] == 1, "of the third there is an answer to another question only"
    (site.root / "videos/v3.mp4").write_bytes(sample_video(3.0, seed=33, audio=False))
    assert bring(site, "duration_s >= 1.5", words="true")["text_scores"] == 1, "other pictures"


def test_what_is_damaged_or_gone_is_asked_for_again(site: Site) -> None:
    bring(site, "")
    bring(site, "duration_s >= 1.5")
    storage: Storage = site.store.storage
    storage.write(f"text_scores/{SHARD}/{KEPT_FILE}", b"PAR1 no more")
    storage.remove(f"tracks/{SHARD}/{KEPT_FILE}")
    asked = bring(site, "")
    assert asked["text_scores"] == asked["tracks"] == 3, "which of the table were asked about stood there too"
    assert asked["frame_embeddings"] == 0
