"""What the three seeds would take by the figures that were measured: `python -m benchmarks.estimates [--selected 0.5]`.

Estimates the shipped recipes of HD-VILA-100M, ACAV100M and TrackVerse at their own sizes in an empty folder, as `curation plan RECIPE --videos ... --hours-per-video ...
--clips-per-video ... --selected ...` does, and prints a table for each. Nothing is run. The sizes: HD-VILA's paper (3.3 million videos, 371,500 hours, 103 million clips), ACAV's
(a span of ten seconds each), TrackVerse over HD-VILA's list.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from curation_assets.estimate import estimate
from curation_assets.estimate_size import Size
from curation_assets.estimate_text import render
from curation_assets.recipes import parse_recipe
from curation_assets.settings import Settings
from curation_assets.stores import table_store

EXAMPLES = Path(__file__).resolve().parents[1] / "recipes" / "examples"
HDVILA = (3_300_000, 371_500 / 3_300_000, 31.0)
SEEDS = {"hdvila": HDVILA, "acav100m": (60_000_000, 10 / 3600, 1.0), "trackverse": HDVILA}
"""Recipe -> videos, hours of a video, clips of a video."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--selected", type=float, default=0.5, help="share of the clips that subsets take")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, (videos, hours, clips) in SEEDS.items():
            settings = Settings(storage=f"{folder}/{name}")
            recipe = parse_recipe((EXAMPLES / f"{name}.yaml").read_text(), name)
            size = Size(videos, hours, clips, options.selected)
            lines = list(estimate(table_store(settings), {recipe.dataset: recipe}, settings, size))
            print(
                f"== {name}: {videos:,} videos of {hours:.4g} h and {clips:g} clips\n\n{render(lines, settings)}\n",
                flush=True,
            )


if __name__ == "__main__":
    main()
