"""Publishes the list of the selected tracks beside `curated_tracks`; what a line says is the business of `track_lists.py`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.curating.subset_inputs import Selection
from curation_assets.publish.cutting.clip_plan import SampleKeys
from curation_assets.publish.writing.track_lists import write_tracks
from curation_assets.recipes import Recipe
from curation_resources.detectors import load_vocabulary
from curation_resources.scratch import scratch_folder
from curation_resources.table_headers import TableHeader
from curation_resources.tables import TableStore


def publish_tracks(store: TableStore, recipes: Mapping[str, Recipe], key: str, header: TableHeader) -> str:
    """Writes the selected tracks beside the table, once per content: `curated_tracks/<subset>/<version>/tracks.jsonl.gz`."""
    selection = Selection.of(store, recipes, key)
    params = selection.subset.export.clips
    version = header.content_hash[:12]
    if params is not None and params.tracks:
        form = "tars" if params.format == "webdataset" else "folder"
        version = hashlib.sha256(f"{header.content_hash} {form}".encode()).hexdigest()[:12]
    path = f"{store.folder('curated_tracks', key)}/{version}/tracks.jsonl.gz"
    if not store.storage.exists(path):
        shards = (
            (selection.rows(store, s), store.read("tracks", s), load_vocabulary(recipes[d].tracks.vocabulary))
            for s, d in selection.shards.items()
        )
        with scratch_folder("tracks-") as folder:
            local = Path(folder) / "tracks.jsonl.gz"
            write_tracks(
                local, shards, Path(folder), partial(_track_file, params, SampleKeys(selection.subset.datasets))
            )
            store.storage.publish_file(local, path)
    return path


def _track_file(params: ClipExport | None, keys: SampleKeys, row: Mapping[str, Any]) -> str | None:
    """Name of a track's clip in the tars of `clip_dataset`, or its path within the version's folder; None if there is none."""
    if params is None or not params.tracks:
        return None
    name = f"{keys(row['dataset'], row['track_id'])}.mp4"
    return name if params.format == "webdataset" else f"{row['split'] or 'train'}/{name}"
