"""What is looked at in exported clips once they are published: their files, boundaries of shots in them, and what covering left to be seen.

What belongs here: checks of `clip_dataset`. What does not: the table and the section that says how clips are cut (`clip_dataset.py`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import partial
from typing import Any

import pyarrow as pa

from curation_assets.contracts.checks import Check, Finding, media_check, media_sample
from curation_resources.extras import MissingExtra
from curation_resources.media import MediaRef
from curation_resources.storage import Storage
from curation_resources.storage_errors import StorageError
from curation_resources.words import plural

LEAKS = {"face": "leaks", "plate": "plate_leaks"}
"""What is covered -> where the table's stats hold what a second detector found of it."""
MAX_OVER_COVERS = 0.2
"""Share of covered faces that a second detector may take for faces. YuNet takes up to 7 % of ellipses in one colour for faces, by the
heads around them, and nearly all faces that are not covered."""


def _single_shots(table: pa.Table, stats: Mapping[str, Any], storage: Storage) -> Finding:
    from curation_assets.publish.cutting.shot_check import boundaries_ms

    if stats.get("several_shots"):
        return Finding("single_shots", True, "clips of several shots were asked for", False)
    rows = media_sample(table)
    cut: list[str] = []
    for row in rows:
        try:
            found = boundaries_ms(io.BytesIO(storage.read_media(MediaRef(row["tar"], row["offset"], row["size"]))))
        except MissingExtra as error:
            return Finding("single_shots", True, f"not looked at: {error}", False)
        except (StorageError, ValueError) as error:
            return Finding("single_shots", False, f"{row['sample_key']} cannot be looked at: {error}", False)
        if found:
            cut.append(f"{row['sample_key']} at {found[0]} ms")
    said = f"no boundary in {plural(len(rows), 'clip')} that were looked at"
    if cut:
        said = f"{len(cut)} of {plural(len(rows), 'clip')} that were looked at have a shot boundary: {', '.join(cut)}"
    return Finding("single_shots", not cut, said, False, {"clips": len(rows), "with_boundary": len(cut)})


def _no_leaks(thing: str, key: str, table: pa.Table, stats: Mapping[str, Any], storage: Storage) -> Finding:
    name, things = LEAKS[thing], f"{thing}s"
    found = stats.get(name)
    if not found:
        blurred = name in stats
        said = f"no second {thing} detector; {key} names one" if blurred else f"{things} are not blurred"
        return Finding(f"{thing}_leaks", True, said, False)
    over = found["over_covers"] / max(1, found["covers"])
    said = (
        f"{found['detector']} finds {found[things]} {things} in {plural(found['frames'], 'frame')} of {plural(found['clips'], 'blurred clip')}"
        f" and takes {found['over_covers']} of {found['covers']} covers for one"
    )
    if found["where"]:
        said += f"; the first {thing} is in {found['where'][0]}"
    return Finding(f"{thing}_leaks", not found[things] and over <= MAX_OVER_COVERS, said, False, dict(found))


CHECKS = (
    media_check("clip_id"),
    Check(
        "single_shots",
        "A sample of the exported clips has no shot boundary.",
        False,
        _single_shots,
        ("sample_key", "tar", "offset", "size"),
        sampled=True,
    ),
    Check(
        "face_leaks",
        "A second detector finds no face in a sample of blurred clips.",
        False,
        partial(_no_leaks, "face", "export.clips.leak_model"),
        (),
    ),
    Check(
        "plate_leaks",
        "A second detector finds no licence plate in a sample of blurred clips.",
        False,
        partial(_no_leaks, "plate", "export.clips.blur_plates.leak"),
        (),
    ),
)
