"""Step `curate`: all clips of a subset judged and published, published again under another threshold, and the funnel of a third."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

from benchmarks.curate import RULES, generate, recipe
from benchmarks.ingest import measured
from benchmarks.scale.rows import Line, Row
from curation_assets.engine.run import Run
from curation_assets.recipes import Recipe
from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

CLIPS = 100_000_000
PER_VIDEO = 31
"""As HD-VILA has them."""
OTHER = [*RULES[:3], "motion between 0.05 and 0.98", RULES[4]]


def with_rules(rules: Sequence[str]) -> Recipe:
    """The recipe of `benchmarks.curate` with other rules, and the sections by which the subset's table has the columns of all its tables."""
    made = recipe("random")
    subset = made.subsets["s"].model_copy(update={"where": list(rules)})
    asked = {"text": {}, "aesthetic": {"head": "head.pt"}, "captions": {"backend": "source"}}
    return Recipe.model_validate(
        {"dataset": "bench", "source": {"format": "ids", "path": "x"}, "subsets": {"s": subset.model_dump()}, **asked}
    )


def publish(root: str, rules: Sequence[str], kept: bool) -> None:
    """`curated_clips`, as a run brings it up to date; whether all its inputs are complete is not looked at.

    Raises:
        SystemExit: it was judged from something else than it should be.
    """
    from curation_assets.publish.curated_maker import CuratedMaker

    said: list[str] = []

    class Log:
        def info(self, text: str) -> None:
            said.append(text)

        warning = error = info

    run = Run(TableStore(Storage(root), SCHEMAS), {"bench": with_rules(rules)}, Settings(storage=root), Log())
    with patch("curation_assets.publish.curated_maker.lacks", lambda *_: []):
        (outcome,) = CuratedMaker("clips").bring(run, "bench-s", ["curated_clips"])
    if any("that the table in force keeps" in text for text in said) is not kept or outcome.made is None:
        raise SystemExit(f"judged otherwise than was to be measured: {said}")


def funnel(root: str) -> None:
    """Another threshold, from the columns that the curated table keeps."""
    from curation_assets.publish.curating.what_if import what_if

    made = with_rules(OTHER)
    found = what_if(TableStore(Storage(root), SCHEMAS), {"bench": made}, made, "s", ["motion >= 0.1"])
    assert found.kept


def curate(folder: Path, share: float) -> Iterator[Line]:
    """Judging all clips, and again for another threshold."""
    clips, root = int(CLIPS * share) // 10_000 * 10_000, f"{folder}/scores"
    measured(generate, root, clips, False, PER_VIDEO)
    os.environ["DAGSTER_HOME"] = f"{folder}/home"  # where a run finds the heads of tables that one before it has read
    steps = {
        "curated_clips": (publish, root, RULES, False),
        "curated_clips again, another threshold": (publish, root, OTHER, True),
        "report --what-if, kept columns": (funnel, root),
    }
    for what, (step, *arguments) in steps.items():
        yield Row(what, clips, CLIPS, measured(step, *arguments))
