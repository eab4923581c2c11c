"""The steps of the benchmark. A step is a generator of lines in a file of its own; a new one is a line here."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.scale.curating import curate
from benchmarks.scale.exporting import export
from benchmarks.scale.indexing import index, index_acav
from benchmarks.scale.judging_tracks import tracks
from benchmarks.scale.publishing import published
from benchmarks.scale.requests import requests
from benchmarks.scale.rows import Step
from benchmarks.scale.standing import standing

STEPS: Mapping[str, Step] = {
    "index": index,
    "curate": curate,
    "tracks": tracks,
    "export": export,
    "publish": published,
    "requests": requests,
    "stale": standing,
}
PARTS: Mapping[str, Step] = {"acav": index_acav}
"""Parts of a step, for those who want one alone."""
