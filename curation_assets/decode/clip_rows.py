"""The rows of `clips` of one video: where its clips lie, how they are shown, and what is irregular about them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from curation_assets.decode.clip_spans import ClipSpan, RejectedSpan
from curation_assets.decode.clips import CUT
from curation_assets.decode.reading.shown_frames import Decoding
from curation_assets.decode.shots import CutList


def clip_rows(
    spans: Sequence[ClipSpan | RejectedSpan],
    keys: Sequence[Mapping[str, Any]],
    found: Decoding,
    cuts: CutList | None,
) -> list[dict[str, Any]]:
    """Rows of `clips`, one per span, sorted by id, the first of them with the list of cuts.

    Args:
        spans: at least one.
        keys: dataset, video and clip id of each.
        found: of the pass over the video.
        cuts: shot boundaries; None if none were looked for.
    """
    rows: list[dict[str, Any]] = []
    for span, key in zip(spans, keys, strict=True):
        display = found.display_at(span.start_frame if isinstance(span, ClipSpan) else 0)
        row = {
            **key,
            "requested_start_ms": span.requested_start_ms,
            "requested_end_ms": span.requested_end_ms,
            "width": display.size[0],
            "height": display.size[1],
            "hdr": display.hdr,
            "mirrored": display.orientation.mirrored,
            "detector": cuts.detector if cuts is not None else None,
            "source_clip_id": span.source_clip_id,
            "source_span": span.request if span.text is None else None,
            "text": span.text,
        }
        if isinstance(span, RejectedSpan):
            row.update(status="rejected", error=span.reason)
        else:
            row.update(
                status="ok",
                start_ms=span.start_ms,
                end_ms=span.end_ms,
                start_frame=span.start_frame,
                end_frame=span.end_frame,
                fps=1000 * (span.end_frame - span.start_frame) / (span.end_ms - span.start_ms),
                origin=span.origin,
                **_irregularities(span, found),
            )
            if span.origin == "whole" and cuts is not None:
                row["shots"] = _shots(span, cuts)
            elif span.shots is not None:
                row["shots"] = [{"start_frame": start, "end_frame": end} for start, end in span.shots]
        rows.append(row)
    rows.sort(key=lambda r: str(r["clip_id"]))
    if rows and cuts is not None:
        rows[0]["cut_list"] = [{name: getattr(cut, name) for name in CUT.names} for cut in cuts]
    return rows


def _shots(span: ClipSpan, cuts: CutList) -> list[dict[str, int]]:
    """The shots that a clip consists of."""
    within = [c.frame for c in cuts.accepted if span.start_frame < c.frame < span.end_frame]
    return [
        {"start_frame": start, "end_frame": end} for start, end in pairwise([span.start_frame, *within, span.end_frame])
    ]


def _irregularities(span: ClipSpan, found: Decoding) -> dict[str, Any]:
    """What a clip has that steady video of one size has not."""
    timeline, start, end = found.timeline, span.start_frame, span.end_frame
    assert timeline is not None
    shown_ms = np.diff(np.append(timeline.times_ms[start:end], span.end_ms))
    first, last = (bisect_left(found.interlaced, f) for f in (start, end))
    return {
        "frames_lost": found.losses.between(start, end),
        "longest_gap_ms": int(shown_ms.max()),
        "size_changes": found.size_changes(start, end),
        "interlaced": last > first,
    }
