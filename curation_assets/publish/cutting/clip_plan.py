"""Which clips an export cuts, from which frames, under which names; and the fingerprint that says whether one must be cut again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.decode.reading.clip_frames import ROUNDING_MS
from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.curating.subset_inputs import cut_weights
from curation_assets.publish.curating.versions import CUT_VERSION, SMART_VERSION, SOUND_VERSION
from curation_assets.publish.cutting.clip_pictures import Crop
from curation_assets.publish.cutting.track_pictures import TrackBoxes
from curation_resources.provenance import canonical_json
from curation_resources.tars import sample_key

LAYOUT = ("format", "options", "tar_bytes", "leak_model", "metadata", "columns")
"""Options that do not change the bytes of a clip."""


@dataclass(frozen=True)
class ClipToCut:
    """One clip that an export cuts, before it is cut.

    Attributes:
        dataset, video_id, clip_id, track_id: whose; `track_id` is None for whole pictures.
        key: sample key.
        split: train, val or test.
        start_ms, end_ms: span in the source, as in `clips`.
        start_frame, end_frame: the same as frame numbers; None where the span is all that is known (tracks).
        crop: the part of the picture that is kept.
        track: boxes to follow; None for whole pictures.
        fingerprint: hash of source, span and options.
        as_good: likewise, of a clip that is taken over as it is; empty for none.
    """

    dataset: str
    video_id: str
    clip_id: str
    track_id: str | None
    key: str
    split: str
    start_ms: int
    end_ms: int
    start_frame: int | None
    end_frame: int | None
    crop: Crop | None
    track: TrackBoxes | None
    fingerprint: str = ""
    as_good: str = ""


def clip_fingerprint(cut: ClipToCut, source: Mapping[str, Any], params: ClipExport) -> str:
    """32 hexadecimal digits over all that decides the bytes of a clip.

    Args:
        cut: the clip; its own `fingerprint` does not count.
        source: the video's row of `raw_shards`.
        params: options; those of `LAYOUT` do not count.
    """
    options = params.decided(*LAYOUT)
    if params.blur_plates is not None:
        options["blur_plates"].pop("leak", None)
    span = [cut.start_ms, cut.end_ms, cut.start_frame, cut.end_frame, cut.crop]
    boxes = None if cut.track is None else [list(cut.track.times_ms), [list(b) for b in cut.track.boxes]]
    decided = [CUT_VERSION, source["sha256"] or source["etag"], span, boxes, options]
    if weights := cut_weights(params):
        decided.append(weights)
    if params.way == "smart":
        decided.append({"smart": SMART_VERSION})
    if params.sound_beside:
        decided.append({"sound": SOUND_VERSION})
    text = canonical_json(decided)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class SampleKeys:
    """Sample keys of a subset: the id, with its dataset before it where the subset draws from several."""

    datasets: Sequence[str] = field(default=())

    def __call__(self, dataset: str, identifier: str) -> str:
        return sample_key(identifier if len(set(self.datasets)) < 2 else f"{dataset}-{identifier}")


def plan_cuts(
    selected: pa.Table,
    read: Callable[[str], pa.Table],
    params: ClipExport,
    keys: SampleKeys,
) -> list[ClipToCut]:
    """The cuts of one shard, sorted by sample key.

    Args:
        selected: the shard's selected rows of `curated_clips` or `curated_tracks`.
        read: asset -> its table for the shard.
        params: options; with `tracks` a cut per track, else one per clip.
        keys: names the samples.
    """
    crops = (
        {r["clip_id"]: r["crop"] for r in read("quality_scores").select(["clip_id", "crop"]).to_pylist()}
        if params.crop_border
        else {}
    )
    raw = {r["video_id"]: r for r in read("raw_shards").select(["video_id", "sha256", "etag"]).to_pylist()}
    of_tracks = "track_id" in selected.column_names
    tracks = {r["track_id"]: r for r in _boxes(read("tracks"), selected)} if of_tracks and params.tracks else {}
    spans = {r["clip_id"]: r for r in read("clips").to_pylist()} if of_tracks and not params.tracks else {}
    cuts: dict[str, ClipToCut] = {}
    for row in selected.to_pylist():
        track_id = row["track_id"] if tracks or (of_tracks and params.tracks) else None
        key = keys(row["dataset"], track_id or row["clip_id"])
        span = spans.get(row["clip_id"], row)
        start_ms, end_ms, boxes = span["start_ms"], span["end_ms"], None
        if track_id is not None:
            track = tracks[track_id]
            boxes = TrackBoxes(track["frame_ms"], track["boxes"])
            # The frame of the last box is part of the clip.
            end_ms = min(track["end_ms"] + 1 + ROUNDING_MS, start_ms + round(params.track_max_s * 1000))
        crop = crops.get(row["clip_id"])
        cut = ClipToCut(
            row["dataset"],
            row["video_id"],
            row["clip_id"],
            track_id,
            key,
            row["split"] or "train",
            start_ms,
            end_ms,
            span.get("start_frame") if boxes is None else None,
            span.get("end_frame") if boxes is None else None,
            None if crop is None or boxes is not None else (crop["x"], crop["y"], crop["w"], crop["h"]),
            boxes,
        )
        source = raw.get(row["video_id"], {"sha256": None, "etag": None})
        as_good = clip_fingerprint(cut, source, params.as_exact) if params.as_exact is not None else ""
        cuts[key] = replace(cut, fingerprint=clip_fingerprint(cut, source, params), as_good=as_good)
    return [cuts[k] for k in sorted(cuts)]


def _boxes(tracks: pa.Table, selected: pa.Table) -> list[dict[str, Any]]:
    wanted = tracks.filter(pc.is_in(tracks["track_id"], value_set=selected["track_id"].combine_chunks()))
    return wanted.select(["track_id", "start_ms", "end_ms", "frame_ms", "boxes"]).to_pylist()
