"""Publishes the lists of the selected tracks beside `curated_tracks`; what a line says is the business of `track_lists.py`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.curating.selected_rows import SelectedRows, selected_rows
from curation_assets.publish.curating.subset_inputs import Selection
from curation_assets.publish.cutting.clip_plan import SampleKeys
from curation_assets.publish.subsets import Subset
from curation_assets.publish.writing.kept_track_lines import KeptLines, OtherLines, PublishedTracks, chosen_tracks
from curation_assets.publish.writing.track_folders import TrackFolders, segments_of
from curation_assets.publish.writing.track_lists import write_tracks
from curation_assets.recipes import Recipe
from curation_resources.detectors import load_vocabulary
from curation_resources.scratch import scratch_folder
from curation_resources.table_headers import TableHeader
from curation_resources.tables import TableStore


def tracks_path(store: TableStore, recipes: Mapping[str, Recipe], key: str, header: TableHeader) -> str:
    """Where the list of the selected tracks lies that is published last."""
    subset = Selection.over(recipes, key, ()).subset
    return f"{store.folder('curated_tracks', key)}/{_version(header, subset)}/tracks.jsonl.gz"


def published_tracks(
    store: TableStore, recipes: Mapping[str, Recipe], key: str, header: TableHeader
) -> PublishedTracks | None:
    """The list of the table in force, of which `header` is; None if it has none."""
    path = tracks_path(store, recipes, key, header)
    return PublishedTracks(path, chosen_tracks(store, key)) if store.storage.exists(path) else None


def publish_tracks(
    store: TableStore,
    recipes: Mapping[str, Recipe],
    key: str,
    header: TableHeader,
    before: PublishedTracks | None = None,
) -> str:
    """Writes the selected tracks beside the table, once per content: `curated_tracks/<subset>/<version>/tracks.jsonl.gz`, and with `layout: videos`
    two files a video before that, so that where it is there all are.

    Args:
        before: the list of the same candidates under other rules, whose lines are taken over; the file is the same as without.
    """
    path = tracks_path(store, recipes, key, header)
    if store.storage.exists(path):
        return path
    with scratch_folder("tracks-") as scratch:
        local = Path(scratch) / "tracks.jsonl.gz"
        try:
            _write(store, recipes, key, local, path.rpartition("/")[0], before)
        except OtherLines:
            _write(store, recipes, key, local, path.rpartition("/")[0], None)
        store.storage.publish_file(local, path)
    return path


def _write(
    store: TableStore,
    recipes: Mapping[str, Recipe],
    key: str,
    local: Path,
    folder: str,
    before: PublishedTracks | None,
) -> None:
    """Writes the list into a local file, and what there is of each video into the version's folder."""
    selection = Selection.of(store, recipes, key)
    subset, keys = selection.subset, SampleKeys(selection.subset.datasets)
    with scratch_folder("list-") as scratch, ExitStack() as held:
        kept = None
        if before is None:
            rows = selected_rows(store, selection.asset, key)
        else:
            kept = KeptLines(store.storage, before, chosen_tracks(store, key))
            rows = SelectedRows(store, selection.asset, key, kept.new)
            held.callback(rows.remove)
        shards = (
            (rows.of(s), store.read("tracks", s), load_vocabulary(recipes[selection.shards[s]].tracks.vocabulary))
            for s in rows.counts
        )
        of_video = None
        if _by_video(subset):
            segments = segments_of(store, selection.shards, recipes, Path(scratch))
            of_video = TrackFolders(store.storage, folder, keys, segments).write
        name = partial(_track_file, subset.export.clips, keys)
        write_tracks(local, shards, Path(scratch), name, of_video, kept=kept)


def _by_video(subset: Subset) -> bool:
    return subset.export.tracks is not None and subset.export.tracks.layout == "videos"


def _version(header: TableHeader, subset: Subset) -> str:
    """Name of the version: of the content, and of how it is written where that is not the usual way."""
    params = subset.export.clips
    form = []
    if params is not None and params.tracks:
        form.append("tars" if params.format == "webdataset" else "folder")
    if _by_video(subset):
        form.append("videos")
    said = " ".join([header.content_hash, *form])
    return hashlib.sha256(said.encode()).hexdigest()[:12] if form else header.content_hash[:12]


def _track_file(params: ClipExport | None, keys: SampleKeys, row: Mapping[str, Any]) -> str | None:
    """Name of a track's clip in the tars of `clip_dataset`, or its path within the version's folder; None if there is none."""
    if params is None or not params.tracks:
        return None
    name = f"{keys(row['dataset'], row['track_id'])}.mp4"
    return name if params.format == "webdataset" else f"{row['split'] or 'train'}/{name}"
