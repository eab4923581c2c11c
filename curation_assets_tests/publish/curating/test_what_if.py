"""The funnel of a subset under other rules is what publishing it under them gives, from the columns that are kept or from all tables."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from curation_assets.commands.state import _what_if
from curation_assets.engine.plan import PlanStep
from curation_assets.publish.curating import what_if as module
from curation_assets.publish.curating.what_if import WhatIf, what_if, with_rules
from curation_assets_tests.sample_video import sample_video
from curation_assets_tests.site import Site

RECIPE = """
dataset: d
source: {{format: folder, path: {videos}}}
shard: {{videos: 2}}
clips: {{detector: content}}
subsets: {{all: {{where: {where}}}}}
"""


def published(site: Site) -> list[Any]:
    site.run(PlanStep("subsets", ("curated_clips",), ("d-all",)))
    header = site.store.header("curated_clips", "d-all")
    assert header is not None
    return [tuple(step) for step in header.stats["funnel"][:-1]]


def rounded(found: WhatIf) -> list[Any]:
    """As the table's numbers are kept."""
    return [(s.rule, s.rows, round(s.hours, 5)) for s in found.steps]


def test_a_rule_takes_the_place_of_one_about_the_same_columns() -> None:
    where = ["motion >= 0.1", "duration_s >= 2 and sharpness > 1"]
    assert with_rules(where, ["motion < 0.5"]) == ["motion < 0.5", where[1]]
    assert with_rules(where, ["sharpness > 2"]) == [*where, "sharpness > 2"]
    assert with_rules(where, ["sharpness > 2 and duration_s > 1"]) == [where[0], "sharpness > 2 and duration_s > 1"]


def test_what_if_is_what_would_be_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for n in range(5):
        (videos / f"v{n}.mp4").write_bytes(sample_video(4.0, seed=n))
    site = Site(tmp_path)
    site.declare(RECIPE.format(videos=videos, where='["duration_s >= 0.1", "sharpness > 0"]'))
    site.index()
    assets = ("video_metadata", "raw_shards", "clips", "motion_scores", "quality_scores")
    keys = tuple(f"d-{n:05d}" for n in range(3))
    site.run(PlanStep("shards", assets, keys))
    monkeypatch.setattr("curation_assets.publish.curated_maker.lacks", lambda *_: [])
    before = published(site)
    assert before[0][1] > 0
    middle = sorted(site.store.read("curated_clips", "d-all")["sharpness"].to_pylist())[before[0][1] // 2]
    other = f"sharpness > {middle}"
    recipe = site.recipes["d"]
    kept = what_if(site.store, site.recipes, recipe, "all", [other, "aspect > 0.5"])
    assert kept.kept
    assert published(site) == before, "nothing is published"
    with monkeypatch.context() as all_tables:
        all_tables.setattr(module.KeptCandidates, "of", lambda *_: None)
        whole = what_if(site.store, site.recipes, recipe, "all", [other, "aspect > 0.5"])
    assert not whole.kept
    with_percentile = what_if(site.store, site.recipes, recipe, "all", ["motion >= p0"])
    assert with_percentile.kept
    for rules in (
        ["pixels > 100"],
        ["motion * 2 + sharpness >= p50"],
        ["width * height > p0", "sharpness / aspect > 0"],
    ):
        of_kept = what_if(site.store, site.recipes, recipe, "all", rules)
        with monkeypatch.context() as all_tables:
            all_tables.setattr(module.KeptCandidates, "of", lambda *_: None)
            of_tables = what_if(site.store, site.recipes, recipe, "all", rules)
        assert (of_kept.kept, of_tables.kept) == (True, False)
        assert of_kept.steps == of_tables.steps
    answer = partial(_what_if, store=site.store, recipes=site.recipes, chosen=["d"])
    for rule in ("moton > 1", "motion >"):
        assert answer(argparse.Namespace(json=False, what_if=[rule])) == 2
        assert capsys.readouterr().err.startswith("curation: subset d-all, --what-if: ")
    assert answer(argparse.Namespace(json=False, what_if=["aesthetic > 5"])) == 1, "no shard has that table"
    assert "3 shards are left out, d-00000 since " in capsys.readouterr().err
    twice = argparse.Namespace(json=False, what_if=[other])
    assert _what_if(twice, site.store, site.recipes, ["d", "d"]) == 0
    tables = capsys.readouterr().out.rstrip().split("\n\n")
    assert [t.splitlines()[0].split(" if ")[0] for t in tables] == ["subset d-all"] * 2, "an empty line between"
    site.declare(RECIPE.format(videos=videos, where=f'["duration_s >= 0.1", "{other}", "aspect > 0.5"]'))
    site.run(PlanStep("subsets", ("curated_clips",), ("d-all",)), force=True)
    after = published(site)
    assert rounded(kept) == after
    assert rounded(whole) == after
    assert after[-1][1] < before[-1][1]
