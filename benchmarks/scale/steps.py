"""The steps of the benchmark. A step is a generator of lines in a file of its own; a new one is a line here."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.scale.curating import curate
from benchmarks.scale.indexing import index
from benchmarks.scale.rows import Step

STEPS: Mapping[str, Step] = {
    "index": index,
    "curate": curate,
}
