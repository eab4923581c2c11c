"""Pictures of clips with their tracks drawn in, for the UI."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import av
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation_assets.decode.reading.clip_frames import ClipReader, ClipUnreadable
from curation_assets.decode.reading.media import MediaError
from curation_assets.tracks.track_rows import Row
from curation_resources.media import MediaRef
from curation_resources.storage import Storage
from curation_resources.storage_errors import StorageError

DRAWN_SIDE = 480
"""Long side of a picture with drawn tracks, pixels."""
PALETTE = ((230, 60, 60), (60, 170, 60), (70, 110, 240), (235, 160, 30), (170, 70, 200), (40, 180, 190), (230, 90, 170))


def draw_boxes(image: NDArray[np.uint8], boxes: Sequence[tuple[Sequence[float], str, int]]) -> NDArray[np.uint8]:
    """A copy of an RGB frame with named boxes.

    Args:
        boxes: (x, y, w, h in pixels), name, and a number that picks the colour.
    """
    import cv2

    drawn = image.copy()
    stroke = max(2, round(max(image.shape[:2]) / 240))
    for (x, y, w, h), name, number in boxes:
        colour = PALETTE[number % len(PALETTE)]
        left, top, right, bottom = round(x), round(y), round(x + w), round(y + h)
        cv2.rectangle(drawn, (left, top), (right, bottom), colour, stroke)
        scale = stroke / 3.2
        (text_w, text_h), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, scale, stroke // 2 or 1)
        foot = max(text_h + 2 * stroke, top)
        cv2.rectangle(drawn, (left, foot - text_h - 2 * stroke), (left + text_w, foot), colour, -1)
        cv2.putText(
            drawn,
            name,
            (left, foot - stroke),
            cv2.FONT_HERSHEY_SIMPLEX,
            scale,
            (255, 255, 255),
            stroke // 2 or 1,
            cv2.LINE_AA,
        )
    return drawn


def drawn_clips(tracks: pa.Table, raw: pa.Table, storage: Storage, *, clips: int = 9) -> list[tuple[bytes, str]]:
    """The clips with most tracks, each by the moment that shows most of its tracks, with the boxes of that moment.

    Args:
        tracks: rows of `tracks`.
        raw: rows of `raw_shards` of the same videos.
        clips: how many.

    Returns:
        JPEG and clip id of each; a clip whose frame cannot be had is left out.
    """
    import cv2

    videos = {r["video_id"]: r for r in raw.to_pylist() if r["status"] == "ok"}
    shown = tracks.select(["video_id", "clip_id", "label", "frame_ms", "boxes", "width", "height"]).to_pylist()
    by_clip: dict[str, list[Row]] = {}
    for row in shown:
        by_clip.setdefault(row["clip_id"], []).append(row)
    best = sorted(by_clip.values(), key=lambda rows: (-len(rows), rows[0]["clip_id"]))[:clips]
    pictures = []
    for rows in best:
        tile = _tile(rows, videos.get(rows[0]["video_id"]), storage)
        if tile is not None:
            scale = min(1.0, DRAWN_SIDE / max(tile.shape[:2]))
            small = cv2.resize(tile[:, :, ::-1], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            pictures.append((bytes(cv2.imencode(".jpg", small)[1]), rows[0]["clip_id"]))
    return pictures


def _tile(rows: Sequence[Row], raw: Row | None, storage: Storage) -> NDArray[np.uint8] | None:
    """One frame of a clip with the boxes of that moment; None if the frame cannot be had."""
    if raw is None:
        return None
    moment = Counter(t for row in rows for t in row["frame_ms"]).most_common(1)[0][0]
    boxes = [
        (row["boxes"][row["frame_ms"].index(moment)], row["label"], number)
        for number, row in enumerate(rows)
        if moment in row["frame_ms"]
    ]
    try:
        with (
            storage.open_media(MediaRef(raw["tar"], raw["offset"], raw["size"], raw["etag"])) as stream,
            ClipReader(stream) as reader,
        ):
            frame = next(reader.frames(moment, moment + 1000))
            return draw_boxes(reader.rgb(frame, (rows[0]["width"], rows[0]["height"])), boxes)
    except (ClipUnreadable, MediaError, StorageError, av.FFmpegError):
        return None
