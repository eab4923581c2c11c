"""What is known of the exported clips of a shard, and the JSON that says it of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.writing.public_paths import PublicPaths
from curation_assets.publish.writing.samples import clip_record
from curation_assets.publish.writing.versions import rows_if_any, span_words
from curation_assets.publish.writing.video2dataset_json import (
    CLIP_COLUMNS,
    ShotsOfVideo,
    ToldOfClip,
    shots_of,
    video2dataset_json,
)
from curation_resources.tables import TableStore

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ShardRecords:
    """What the tables of a shard say of its clips.

    Attributes:
        sources: video_id -> row of `raw_shards`.
        captions, words, columns: clip_id -> row of `captions`; what the source says of its span; what the export's `columns` name.
        tracks: track_id -> row of `tracks`, where clips follow them.
        clips: clip_id -> row of `clips`, and `shots`: video_id -> its shots; None where records are not video2dataset's.
        paths: what is published of local paths.
    """

    sources: Mapping[str, Row]
    captions: Mapping[str, Row]
    tracks: Mapping[str, Row]
    words: Mapping[str, Row]
    columns: Mapping[str, Row]
    paths: PublicPaths
    clips: Mapping[str, Row] | None = None
    shots: Mapping[str, ShotsOfVideo] = field(default_factory=dict)

    @classmethod
    def read(
        cls, store: TableStore, shard: str, params: ClipExport, columns: Mapping[str, Row], paths: PublicPaths
    ) -> ShardRecords:
        """Reads the tables."""
        sources = {r["video_id"]: r for r in rows_if_any(store, "raw_shards", shard)}
        captions = {r["clip_id"]: r for r in rows_if_any(store, "captions", shard)}
        tracks = {r["track_id"]: r for r in rows_if_any(store, "tracks", shard)} if params.tracks else {}
        found = cls(sources, captions, tracks, span_words(store, shard), columns, paths)
        if params.metadata != "video2dataset":
            return found
        clips = store.read("clips", shard, CLIP_COLUMNS)
        by_id = {r["clip_id"]: r for r in clips.to_pylist()}
        return cls(**{**found.__dict__, "clips": by_id, "shots": shots_of(clips, sources)})

    def of(self, row: Row, chosen: Row) -> dict[str, Any]:
        """The JSON of a clip.

        Args:
            row: of `clip_dataset`.
            chosen: of the curated table.
        """
        clip, paths = row["clip_id"], self.paths
        source = self.sources.get(row["video_id"], {})
        record = clip_record(
            row,
            chosen,
            paths.source(source),
            self.captions.get(clip, {}),
            self.tracks.get(row["track_id"] or ""),
            paths.said(self.words.get(clip, {})),
        )
        if self.columns.get(clip):
            record["columns"] = paths.said(dict(self.columns[clip]))
        if self.clips is None:
            return record
        told = ToldOfClip(self.clips.get(clip, {}), source, self.shots.get(row["video_id"]))
        return video2dataset_json(record, told, paths.said)
