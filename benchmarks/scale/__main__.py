"""What the seeds' own sizes take: `python -m benchmarks.scale [--share 0.02] [--folder FOLDER] [--steps index curate ...]`.

Generates lists and tables of the real shape (HD-VILA: 20 to 40 spans a row; ACAV: one span a row; scores of clips) at a share of the seeds' sizes, runs
the steps in processes of their own, and prints what was measured beside what that makes at full size, in proportion to the number of rows. A
share of 1 is the full size; then nothing is extrapolated. HD-VILA's list has 7.8 GB then, and as much again is spooled. The search for near-duplicates has a benchmark of its
own (`benchmarks.dedup`).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.scale.rows import HEAD
from benchmarks.scale.steps import PARTS, STEPS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.02, help="of the seeds' sizes")
    parser.add_argument("--steps", nargs="+", choices=[*STEPS, *PARTS], default=list(STEPS))
    parser.add_argument("--folder", help="where the temporary files go")
    options = parser.parse_args()
    print(HEAD)
    for step in options.steps:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            for line in {**STEPS, **PARTS}[step](Path(name), options.share):
                print(line.line(), flush=True)


if __name__ == "__main__":
    main()
