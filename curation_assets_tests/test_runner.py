"""What `curation run` does not do after a blocking check."""

from __future__ import annotations

from typing import Any, cast

from curation_assets.recipes import parse_recipe
from curation_assets.runner import Progress, _run_subsets


def test_subsets_of_a_blocked_dataset_are_not_made() -> None:
    recipes = {
        name: parse_recipe(
            f"dataset: {name}\nsource: {{format: folder, path: x}}\nsubsets: {{s: {{datasets: {datasets}}}}}", name
        )
        for name, datasets in (("one", []), ("two", ["three", "one"]))
    }
    progress = Progress(blocked={"one": "caption_scores: alignment"})
    nothing = cast(Any, None)  # would fail if anything were run
    _run_subsets(nothing, nothing, recipes, None, {"curated_clips"}, {}, progress)
    assert [f.split(":")[0] for f in progress.failures] == ["one-s", "two-s"]
    assert all("blocking check caption_scores: alignment" in f for f in progress.failures)
