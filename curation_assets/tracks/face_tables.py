"""Tables of where faces, and licence plates, were found and covered: of one clip, and of the clips of an export."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

FACES = pa.schema(
    [
        pa.field("frame_ms", pa.int64(), False, {"description": "Presentation time of the frame."}),
        pa.field(
            "x", pa.float32(), False, {"description": "Left side of the face, displayed pixels; it may lie outside."}
        ),
        pa.field("y", pa.float32(), False, {"description": "Top side of the face."}),
        pa.field("w", pa.float32(), False, {"description": "Width of the face."}),
        pa.field("h", pa.float32(), False, {"description": "Height of the face."}),
        pa.field(
            "score",
            pa.float32(),
            True,
            {"description": "Detection score; null where it was inferred from other frames."},
        ),
    ]
)
"""What `FaceBlurrer` knows of one clip."""
CLIP_FACES = pa.schema(
    [
        pa.field("sample_key", pa.string(), False, {"description": "The exported clip."}),
        pa.field("video_id", pa.string(), False, {"description": "Its source video."}),
        pa.field("clip_id", pa.string(), False, {"description": "Its clip."}),
        *FACES,
    ]
)
"""The table beside an export with covered faces: times are those of the source video, pixels those of the exported clip."""
COVERS = pa.schema([*CLIP_FACES, pa.field("thing", pa.string(), False)])
"""The same while an export is made, of all that is covered: `thing` is face or plate. What was kept before there were plates lacks it."""
ORDER = ("sample_key", "frame_ms", "x", "y")


def clip_covers(sample_key: str, video_id: str, clip_id: str, thing: str, faces: pa.Table) -> pa.Table:
    """Where a thing was covered in one clip, schema `FACES`, as rows of `COVERS`."""
    before = [pa.array([value] * faces.num_rows, pa.string()) for value in (sample_key, video_id, clip_id)]
    things = pa.array([thing] * faces.num_rows, pa.string())
    return pa.table([*before, *(faces[name] for name in FACES.names), things], schema=COVERS)


def joined(tables: Iterable[pa.Table]) -> pa.Table:
    """Tables of `COVERS`, or of `CLIP_FACES`, as one of `COVERS`, in its order."""
    known = [t if "thing" in t.column_names else with_thing(t, "face") for t in tables]
    return pa.concat_tables([COVERS.empty_table(), *known]).sort_by([(name, "ascending") for name in ORDER])


def with_thing(table: pa.Table, thing: str) -> pa.Table:
    """Rows of `CLIP_FACES`, which are all of one thing, as rows of `COVERS`."""
    things = pa.array([thing] * table.num_rows, pa.string())
    return table.append_column(COVERS.field("thing"), things).cast(COVERS)


def of_thing(covers: pa.Table, thing: str) -> pa.Table:
    """The rows of a thing, schema `CLIP_FACES`."""
    return covers.filter(pc.equal(covers["thing"], thing)).drop_columns(["thing"])
