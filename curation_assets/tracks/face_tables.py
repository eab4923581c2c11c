"""Tables of where faces were found and covered: of one clip, and of the clips of an export."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

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
ORDER = ("sample_key", "frame_ms", "x", "y")


def clip_faces(sample_key: str, video_id: str, clip_id: str, faces: pa.Table) -> pa.Table:
    """The faces of one clip, schema `FACES`, as rows of `CLIP_FACES`."""
    ids = [pa.array([value] * faces.num_rows, pa.string()) for value in (sample_key, video_id, clip_id)]
    return pa.table([*ids, *(faces[name] for name in FACES.names)], schema=CLIP_FACES)


def joined(tables: Iterable[pa.Table]) -> pa.Table:
    """Tables of `CLIP_FACES` as one, in its order."""
    return pa.concat_tables([CLIP_FACES.empty_table(), *tables]).sort_by([(name, "ascending") for name in ORDER])
