"""What the stages get right on kinds of footage, beside their peers: `python -m benchmarks.truth [FOLDER] [--areas shots] [--kinds WORD]`.

FOLDER has videos and labels as the modules of the areas describe them; without one, everything is generated. Halves are by source video
(a hash of its name, or the seed): constants may be chosen on the first, the second is only reported. An area is a module of this package with
`measure(Options)`, which yields its rows.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

import cv2

from benchmarks.truth.options import Options
from benchmarks.truth.rows import table

AREAS = ("duplicates", "quality", "reuploads", "shots", "text", "tracking")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--areas", default=",".join(AREAS), help="names, separated by commas")
    parser.add_argument("--kinds", help="only kinds of footage whose name contains this")
    parser.add_argument("--halves", default="first,second")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="fewer and shorter pieces; the default without a folder")
    parser.add_argument("--json", type=Path, help="also write the rows to this file, one JSON object a line")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    halves = tuple(args.halves.split(","))
    options = Options(args.folder, args.kinds or "", halves, args.seed, args.small or args.folder is None)
    rows = []
    for area in args.areas.split(","):
        if area not in AREAS:
            parser.error(f"there is no area {area}; there are {', '.join(AREAS)}")
        for row in importlib.import_module(f"benchmarks.truth.{area}").measure(options):
            print(f"{row.kind}, {row.half}: {dict(row.found)} of {row.truth}", file=sys.stderr)
            rows.append(row)
    print(table(rows))
    if args.json is not None:
        args.json.write_text("".join(json.dumps(row.as_json()) + "\n" for row in rows))


if __name__ == "__main__":
    main()
