"""The selected tracks as TrackVerse's pipeline leaves them: two files a video, in folders by the first two characters of its id.

    tracks_meta/<first two>/<YID>-meta.jsonl.gzip    the records of its tracks, a line each
    tracks_meta/<first two>/<YID>-progress.json      segments_complete: seconds of each clip that was looked at; num_tracks

Its scripts append to the first while they work and read the second to see where they were; here both are written once, with `yid` and `dataset` in the
second beside what TrackVerse has there.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from curation_assets.publish.cutting.clip_plan import SampleKeys
from curation_assets.recipes import Recipe
from curation_assets.rules.columns import select_clips
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

FOLDER = "tracks_meta"
META, PROGRESS = "-meta.jsonl.gzip", "-progress.json"
Segments = Mapping[tuple[str, str], Sequence[tuple[float, float]]]
"""(dataset, video) -> seconds of the clips in which tracks were looked for."""


def segments_of(store: TableStore, shards: Mapping[str, str], recipes: Mapping[str, Recipe]) -> Segments:
    """The clips of the shards that pass their recipe's `tracks.where`, in order of time.

    Args:
        shards: shard -> dataset.
    """
    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for shard, dataset in shards.items():
        recipe = recipes[dataset]
        looked_at = select_clips(recipe.tracks.where, recipe, partial(_table, store, shard))
        for clip in store.read("clips", shard, ["video_id", "clip_id", "start_ms", "end_ms"]).to_pylist():
            if clip["clip_id"] in looked_at:
                found[dataset, clip["video_id"]].append((clip["start_ms"] / 1000, clip["end_ms"] / 1000))
    return {key: sorted(spans) for key, spans in found.items()}


def _table(store: TableStore, shard: str, asset: str) -> pa.Table:
    return store.read(asset, shard)


@dataclass(frozen=True)
class TrackFolders:
    """Writes the two files of each video.

    Attributes:
        folder: of the version.
        keys: names the files as samples are named: an id that no file name holds gets `_` for what it may not have, and a hash.
    """

    storage: Storage
    folder: str
    keys: SampleKeys
    segments: Segments

    def write(self, dataset: str, video: str, lines: Iterable[bytes]) -> None:
        """Writes the files of a video with its records, a line each."""
        records = list(lines)
        name = self.keys(dataset, video)
        path = f"{self.folder}/{FOLDER}/{SampleKeys()(dataset, video)[:2]}/{name}"
        said = {
            "segments_complete": [list(s) for s in self.segments.get((dataset, video), ())],
            "num_tracks": len(records),
            "yid": video,
            "dataset": dataset,
        }
        self.storage.write(path + META, gzip.compress(b"".join(records), mtime=0))
        self.storage.write(path + PROGRESS, json.dumps(said, ensure_ascii=False).encode())
