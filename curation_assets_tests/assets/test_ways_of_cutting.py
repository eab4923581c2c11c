"""Exports whose way of cutting changes: nothing is made again that is as good as it was, and nothing is taken for what it is not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from unittest.mock import patch

import pyarrow.parquet as pq

from curation_assets.engine.plan import PlanStep
from curation_assets.engine.run import Run
from curation_assets.engine.staleness import STALE, shard_states
from curation_assets.engine.steps import StepFailed, carry_out
from curation_assets.makers import MAKERS
from curation_assets.recipes import parse_recipe
from curation_assets_tests.assets.test_export import Installation, clip_rows
from curation_resources import sealed_parquet

RECIPE = """
dataset: toy
source: {format: folder, path: nowhere}
captions: {backend: source}
subsets:
  cut: {export: {clips: {preset: ultrafast%s}}}
  objects: {of: tracks, export: {clips: {tracks: true, preset: ultrafast}}}
"""


def export(made: Installation, force: bool = False) -> None:
    """Brings the export up to date in this process. The inputs are laid by hand: what keeps exports from being made is for test_publishing."""
    settings = made.settings.model_copy(update={"workers": 0})
    run = Run(made.store, made.recipes, settings, force=force)
    with patch("curation_assets.engine.completeness.left_out", lambda *_: []):
        events = list(carry_out([PlanStep("subsets", ("clip_dataset",), ("toy-cut",))], run, MAKERS))
    assert not [e for e in events if isinstance(e, StepFailed)]


def say(made: Installation, way: str | None) -> None:
    """Changes the recipe."""
    made.recipes = {"toy": parse_recipe(RECIPE % (f", cut: {way}" if way else ""), "toy.yaml")}


def is_stale(made: Installation) -> bool:
    """What `curation stale` says of the export. Its inputs, which are laid by hand, it may wait for."""
    states = shard_states(made.store, made.recipes, made.settings, remember=False, media=True)
    return next(s.state for s in states if (s.asset, s.partition) == ("clip_dataset", "toy-cut")) == STALE


def ways(made: Installation) -> Counter[str]:
    return Counter(r["cut"] for r in made.rows("clip_dataset", "cut"))


def test_a_version_that_was_cut_exactly_stays_and_no_other_is_taken_for_one(tmp_path: Path) -> None:
    made = Installation(tmp_path, RECIPE % ", cut: exact")
    export(made)
    first, before = made.version("clip_dataset", "cut"), made.store.header("clip_dataset", "toy-cut")
    assert ways(made) == {"exact": 7}

    say(made, None)
    assert not is_stale(made)
    export(made)
    assert made.store.header("clip_dataset", "toy-cut") == before, "nothing is made again"

    made.caption("another caption")
    assert is_stale(made)
    export(made)
    assert made.version("clip_dataset", "cut") != first
    assert ways(made) == {"exact": 7}, "clips are taken over"
    assert not is_stale(made)

    export(made, force=True)
    assert ways(made) == {"smart": 4, "exact": 3}, "no key frame comes in the second clips of the videos"
    assert not is_stale(made)

    say(made, "exact")
    assert is_stale(made), "who asks for encoded clips does not get copied ones"
    export(made)
    assert ways(made) == {"exact": 7}
    assert not is_stale(made)


def test_a_version_that_was_cut_exactly_and_is_damaged_is_made_as_it_is_asked_for_now(tmp_path: Path) -> None:
    made = Installation(tmp_path, RECIPE % ", cut: exact")
    export(made)
    lost = next(made.version("clip_dataset", "cut").rglob("*.tar"))
    lost.unlink()
    say(made, None)
    assert is_stale(made)
    export(made)
    assert ways(made)["smart"] > 0
    assert not is_stale(made)
    say(made, "exact")
    assert is_stale(made)


def test_an_encoder_that_nothing_was_encoded_by_makes_no_version(tmp_path: Path) -> None:
    made = Installation(tmp_path, RECIPE % "")
    first = [{**c, "selected": c["start_ms"] == 0} for c in clip_rows()]
    made.commit("curated_clips", "toy-cut", first)
    export(made)
    assert ways(made) == {"smart": 4}
    before = made.store.header("clip_dataset", "toy-cut")
    for encoder in ("libx265", "libx265, crf: 30"):
        made.recipes = {"toy": parse_recipe(RECIPE % f", encoder: {encoder}", "toy.yaml")}
        assert is_stale(made) == ("crf" in encoder), (
            "pictures beside seams are encoded at the quality that is asked for"
        )
    made.recipes = {"toy": parse_recipe(RECIPE % ", encoder: libx265", "toy.yaml")}
    export(made)
    assert made.store.header("clip_dataset", "toy-cut") == before, "a version of the same bytes is not published"

    made.commit("curated_clips", "toy-cut", clip_rows())
    assert is_stale(made)
    export(made)
    whole = [r["encoder"] for r in made.rows("clip_dataset", "cut") if r["cut"] == "exact"]
    assert whole == ["libx265"] * 3
    made.recipes = {"toy": parse_recipe(RECIPE % "", "toy.yaml")}
    assert is_stale(made), "three of its clips are encoded whole, and now otherwise"


def test_a_table_from_before_ways_were_noted_says_of_no_encoder_that_it_was_not_used(tmp_path: Path) -> None:
    made = Installation(tmp_path, RECIPE % ", cut: exact")
    export(made)
    path = next(tmp_path.rglob("clip_dataset/toy-cut.parquet"))
    table = pq.read_table(path).drop_columns(["cut", "encoder", "encoded_frames", "encoded_because"])
    with path.open("w+b") as file:
        sealed_parquet.write_table(table, file)
    made.recipes = {"toy": parse_recipe(RECIPE % ", encoder: libx265", "toy.yaml")}
    assert is_stale(made)
