"""One clip's page: its pictures and times, its video, its copies, each rule with what it has there, and everything that `curation explain` knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow.dataset as ds

from curation_assets.decode.clips import TABLE as CLIPS
from curation_assets.explain import UnknownId, explain
from curation_assets.look.copies import copies_of
from curation_assets.look.funnel import Asked
from curation_assets.look.media import Media, NoMedia
from curation_assets.look.views import CollectionView, Plain
from curation_assets.recipes import Recipe
from curation_assets.tracks.tracks import TABLE as TRACKS
from curation_resources.tables import MissingTable, TableStore

MOST_TRACKS = 100
"""Tracks of a clip that are drawn."""
FILE = ("container", "video_codec", "audio_codec", "width", "height", "fps", "duration_ms", "size", "error")


def clip_page(
    store: TableStore,
    recipes: Mapping[str, Recipe],
    view: CollectionView,
    asked: tuple[str, str],
    rules: Sequence[Asked],
) -> Plain:
    """Everything about a clip.

    Args:
        asked: its shard, and its id; of a track, the track's id.
        rules: those in force on the page.

    Raises:
        NoMedia: the collection has no such candidate.
    """
    shard, candidate = asked
    row = view.row_of(shard, candidate)
    if row is None:
        raise NoMedia(f"{view.candidates.collection.key} has no candidate {candidate} in {shard}")
    names = ["dataset", "video_id", "clip_id", "start_ms", "end_ms"]
    place = view.candidates.places(np.array([row])).select(names).to_pylist()[0]
    media = Media(store)
    try:
        file: Plain = {n: v for n, v in media.download(shard, place["video_id"]).items() if n in FILE}
    except NoMedia as error:
        file = {"error": str(error)}
    frames = media.frames(shard, place["clip_id"])
    try:
        told = list(explain(store, recipes, place["clip_id"]))
    except UnknownId as error:
        told = [("not in the tables any more", [("why", str(error))])]
    return {
        **place,
        "id": candidate,
        "shard": shard,
        "row": row,
        "file": file,
        "times": [time for time, _ in frames],
        "rules": view.verdicts(row, rules),
        "size": _size(store, shard, place["clip_id"]),
        "tracks": _tracks(store, shard, place["clip_id"]),
        "copies": copies_of(store, place["dataset"], shard, place["clip_id"]),
        "sections": told,
    }


def _size(store: TableStore, shard: str, clip: str) -> Plain:
    """Displayed width and height of a clip, in which the boxes of its tracks are."""
    rows = _of_clip(store, CLIPS.asset, shard, clip, ["width", "height"])
    return rows[0] if rows else {"width": None, "height": None}


def _tracks(store: TableStore, shard: str, clip: str) -> list[Plain]:
    """The tracks of a clip: for each its label, and a box (x, y, width, height) at each of its times, milliseconds of the video."""
    found = _of_clip(store, TRACKS.asset, shard, clip, ["track_id", "label", "frame_ms", "boxes"])
    return [row for row in found if row["boxes"]][:MOST_TRACKS]


def _of_clip(store: TableStore, asset: str, shard: str, clip: str, columns: Sequence[str]) -> list[Plain]:
    try:
        rows: list[Plain] = store.read(asset, shard, columns, ds.field("clip_id") == clip).to_pylist()
    except MissingTable:
        return []
    return rows
