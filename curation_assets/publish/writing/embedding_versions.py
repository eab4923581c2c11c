"""Publishes a version of `embedding_dataset`; what a triple looks like is the business of `embeddings.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curation_assets.publish.curating.subset_inputs import Selection
from curation_assets.publish.cutting.clip_plan import SampleKeys
from curation_assets.publish.writing.embeddings import EmbeddedShard, EmbeddingWriter
from curation_assets.publish.writing.public_paths import PublicPaths
from curation_assets.publish.writing.sample_columns import source_columns
from curation_assets.publish.writing.version_rows import VersionRows
from curation_assets.publish.writing.versions import (
    Published,
    VersionForm,
    card_facts,
    finish_version,
    public_paths_of,
    rows_if_any,
    span_words,
)
from curation_assets.recipes import Recipe
from curation_resources.provenance import Provenance
from curation_resources.tables import TableStore

SOURCE = ("url", "page_url", "title", "channel", "upload_date", "licence", "sha256")
"""What a triple's JSON says of the video."""


def publish_embeddings(
    store: TableStore, recipes: Mapping[str, Recipe], key: str, provenance: Provenance, scratch: Path
) -> Published:
    """Writes a version of the triples, with those of a shard in memory at a time. Its name is that of the fingerprint: equal inputs give equal bytes.

    Args:
        scratch: a local folder, which holds the table of what was published.

    Raises:
        MissingTable: a shard has no embeddings.
    """
    selection = Selection.of(store, recipes, key)
    params = selection.subset.export.embeddings
    assert params is not None
    version = provenance.fingerprint[:12]
    folder = f"{store.folder('embedding_dataset', key)}/{version}"
    form = VersionForm("embedding_dataset", version, params.layout, ("npy", "txt", "json"))
    facts = card_facts(store, recipes, selection, form, provenance)
    rows = VersionRows("embedding_dataset", version, scratch)
    paths = public_paths_of(selection, recipes)
    with EmbeddingWriter(params, store.storage, folder, SampleKeys(selection.subset.datasets)) as writer:
        for shard, dataset in selection.shards.items():
            clips = _clips_of(store, selection, shard)
            words = {clip: paths.said(said) for clip, said in span_words(store, shard).items()}
            videos = {r["video_id"]: paths.source(r) for r in rows_if_any(store, "raw_shards", shard)}
            captions = {r["clip_id"]: r for r in rows_if_any(store, "captions", shard)}
            said = _said(store, shard, clips, videos, paths)
            embeddings, fps = store.read("frame_embeddings", shard), recipes[dataset].frames.fps
            made = writer.write(EmbeddedShard(clips, embeddings, captions, fps, words, said))
            rows.add(made)
            for clip, row in zip(clips, made, strict=True):
                if row["status"] != "ok":
                    facts.failed += 1
                    continue
                video = videos.get(clip["video_id"], {})
                licence = words.get(clip["clip_id"], {}).get("licence") or video.get("licence")
                facts.count(row["split"], clip["end_ms"] - clip["start_ms"], licence, video.get("channel"))
    facts.files, facts.tar_splits = writer.files, writer.splits
    rows.write()
    return finish_version(store, folder, facts, rows)


def _said(
    store: TableStore,
    shard: str,
    clips: Sequence[Mapping[str, Any]],
    videos: Mapping[str, Mapping[str, Any]],
    paths: PublicPaths,
) -> dict[str, dict[str, Any]]:
    """clip_id -> where its video is from (`source`), and the columns of the list that have no meaning of their own here (`columns`)."""
    of_source = source_columns(store, shard)
    found: dict[str, dict[str, Any]] = {}
    for clip in clips:
        video = videos.get(clip["video_id"], {})
        found[clip["clip_id"]] = {"source": {n: video[n] for n in SOURCE if video.get(n) is not None}}
        if columns := of_source.get(clip["clip_id"]):
            found[clip["clip_id"]]["columns"] = paths.said(columns)
    return found


def _clips_of(store: TableStore, selection: Selection, shard: str) -> list[dict[str, Any]]:
    """The selected clips of a shard, or those of the selected tracks, each once and with its own span."""
    clips: dict[str, dict[str, Any]] = {}
    for row in selection.rows(store, shard).to_pylist():
        clips.setdefault(row["clip_id"], row)
    if selection.subset.of == "tracks":
        for span in store.read("clips", shard, ["clip_id", "start_ms", "end_ms"]).to_pylist():
            clips.get(span["clip_id"], {}).update(span)
    return list(clips.values())
