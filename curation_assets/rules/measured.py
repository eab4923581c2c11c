"""Names of rules that are worked out from the columns of one table, where the table has what they say in another form.

What belongs here: what is the same for every recipe and follows from a row. What is worked out from the bounds and sizes of a clip alone, and so from
rows of any table that has them, is `DERIVED` of the rule language.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Measured:
    """A number that a rule may name.

    Attributes:
        asset: the table that it is worked out from.
        needs: the columns of it.
        of: table with these columns -> a number for each row, null where it is unknown.
        about: what it is, with its unit.
        maximum: inclusive; none is below 0.
        whole: whether it is an integer.
    """

    asset: str
    needs: tuple[str, ...]
    of: Callable[[pa.Table], pa.Array | pa.ChunkedArray]
    about: str
    maximum: float | None = None
    whole: bool = False


def _bit_rate(videos: pa.Table) -> pa.Array | pa.ChunkedArray:
    length = videos["duration_ms"]
    known = pc.if_else(pc.greater(length, 0), length, pa.scalar(None, length.type))
    return pc.divide(pc.multiply(videos["size"].cast(pa.float64()), 8000.0), known.cast(pa.float64()))


def _boxes(clips: pa.Table) -> tuple[pa.Array, np.ndarray, pa.Array]:
    """The lists of boxes, for each box the row that it is of, and all boxes."""
    lists = clips["text_boxes"].combine_chunks()
    return lists, pc.list_parent_indices(lists).to_numpy(), lists.flatten()


def _text_box_count(clips: pa.Table) -> pa.Array | pa.ChunkedArray:
    lists, rows, boxes = _boxes(clips)
    pairs, counts = np.unique(
        np.stack([rows, pc.struct_field(boxes, "time_ms").to_numpy()]), axis=1, return_counts=True
    )
    most = np.zeros(len(lists), np.int64)
    np.maximum.at(most, pairs[0].astype(np.int64), counts)
    return pa.array(most, mask=pc.is_null(lists).to_numpy(zero_copy_only=False))


def _text_box_area(clips: pa.Table) -> pa.Array | pa.ChunkedArray:
    lists, rows, boxes = _boxes(clips)
    corners = pc.struct_field(boxes, "polygon").flatten().to_numpy(zero_copy_only=False).reshape(-1, 4, 2)
    x, y = corners[..., 0].astype(np.float64), corners[..., 1].astype(np.float64)
    areas = np.abs((x * np.roll(y, -1, 1) - np.roll(x, -1, 1) * y).sum(1)) / 2
    largest = np.zeros(len(lists))
    np.maximum.at(largest, rows, areas)
    return pa.array(largest.astype(np.float32), mask=pc.is_null(lists).to_numpy(zero_copy_only=False))


MEASURED: Mapping[str, Measured] = {
    "frame_count": Measured(
        "clips",
        ("start_frame", "end_frame"),
        lambda t: pc.subtract(t["end_frame"], t["start_frame"]),
        "frames of the clip",
        whole=True,
    ),
    "shot_count": Measured(
        "clips",
        ("shots",),
        lambda t: pc.list_value_length(t["shots"]).cast(pa.int64()),
        "shots of the clip, where column `shots` names them",
        whole=True,
    ),
    "text_box_count": Measured(
        "text_scores",
        ("text_boxes",),
        _text_box_count,
        "lines of text in the sampled frame that has most",
        whole=True,
    ),
    "text_box_area": Measured(
        "text_scores",
        ("text_boxes",),
        _text_box_area,
        "area of the largest line of text, share of the frame",
        1,
    ),
    "file_size": Measured(
        "raw_shards", ("size",), lambda t: t["size"], "bytes of the video's file, as it was fetched", whole=True
    ),
    "bit_rate": Measured(
        "raw_shards",
        ("size", "duration_ms"),
        _bit_rate,
        "bits per second of that file, sound included",
    ),
}
"""By the name that rules use."""
