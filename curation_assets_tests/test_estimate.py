"""What a run would make and take, from what the shards took that are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.engine.plan import PlanStep
from curation_assets.estimate import SHIPPED, Size, estimate, render, total
from curation_assets_tests.sample_video import sample_video
from curation_assets_tests.site import Site

RECIPE = """
dataset: d
source: {{format: folder, path: {videos}}}
shard: {{videos: 2}}
clips: {{detector: content}}
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "videos").mkdir()
    for n in range(8):
        (tmp_path / f"videos/v{n}.mp4").write_bytes(sample_video(1.0, seed=n))
    found = Site(tmp_path)
    found.declare(RECIPE.format(videos=tmp_path / "videos"))
    return found


def test_shards_that_are_made_say_what_the_others_take(site: Site) -> None:
    site.index()
    site.run(PlanStep("shards", ("video_metadata", "raw_shards"), ("d-00000", "d-00001")))
    lines = {line.asset: line for line in estimate(site.store, site.recipes, site.settings)}
    raw = site.store.headers("raw_shards")
    assert lines["raw_shards"].shards == lines["video_metadata"].shards == 2
    assert lines["clips"].shards == 4
    found = lines["raw_shards"].cpu_s
    assert found is not None
    assert found.mean == pytest.approx(sum(h.stats["cpu_s"] for h in raw.values()))
    assert found.low <= found.mean <= found.high
    stored = lines["raw_shards"].bytes
    assert stored is not None
    assert stored.mean > 0
    whole = total(list(lines.values()), site.settings)
    assert whole.unknown
    assert all(lines[asset].cpu_s is None for asset in whole.unknown)
    assert whole.dollars.low <= whole.dollars.mean <= whole.dollars.high
    said = render(list(lines.values()), site.settings)
    assert "2 shards of your own" in said
    assert "no figure: run a few shards first" in said


def test_before_anything_is_indexed_the_size_is_given(site: Site) -> None:
    assert list(estimate(site.store, site.recipes, site.settings)) == []
    lines = {x.asset: x for x in estimate(site.store, site.recipes, site.settings, Size(3_300_000, 0.1125))}
    assert lines["clips"].shards == 1_650_000
    cpu = lines["clips"].cpu_s
    assert cpu is not None
    assert (cpu.low, cpu.high) == pytest.approx(tuple(s * 3_300_000 * 0.1125 for s in SHIPPED["clips"]))
    assert lines["frames"].source == "with clips, in one decode"
