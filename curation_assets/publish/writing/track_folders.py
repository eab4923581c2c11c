"""The selected tracks as TrackVerse's pipeline leaves them: two files a video, in folders by the first two characters of its id.

    tracks_meta/<first two>/<YID>-meta.jsonl.gzip    the records of its tracks, a line each
    tracks_meta/<first two>/<YID>-progress.json      segments_complete: seconds of each clip that was looked at; num_tracks

Its scripts append to the first while they work and read the second to see where they were; here both are written once, with `yid` and `dataset` in the
second beside what TrackVerse has there.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from tempfile import mkdtemp

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.publish.curating.ordered_rows import OrderedRows
from curation_assets.publish.cutting.clip_plan import SampleKeys
from curation_assets.recipes import Recipe
from curation_assets.rules.columns import select_clips
from curation_assets.schemas import schema
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

FOLDER = "tracks_meta"
META, PROGRESS = "-meta.jsonl.gzip", "-progress.json"
SPAN = ("dataset", "video_id", "start_ms", "end_ms")


class Segments:
    """The clips in which tracks were looked for, video after video.

    Args:
        spans: rows of `SPAN`, in that order.
    """

    def __init__(self, spans: Iterable[pa.Table]) -> None:
        rows = (tuple(row.values()) for part in spans for row in part.select(SPAN).to_pylist())
        self._videos = groupby(rows, key=lambda row: row[:2])
        self._next = next(self._videos, None)

    def of(self, dataset: str, video: str) -> list[list[float]]:
        """Seconds of the clips of a video, in order of time; videos are asked for in order."""
        while self._next is not None and self._next[0] < (dataset, video):
            self._next = next(self._videos, None)
        if self._next is None or self._next[0] != (dataset, video):
            return []
        return [[start / 1000, end / 1000] for *_, start, end in self._next[1]]


def segments_of(store: TableStore, shards: Mapping[str, str], recipes: Mapping[str, Recipe], scratch: Path) -> Segments:
    """The clips of the shards that pass their recipe's `tracks.where`.

    Args:
        shards: shard -> dataset.
        scratch: a local folder, in which they are put in order.
    """
    form = pa.schema([schema("clips").arrow.field(name) for name in SPAN])
    spans = OrderedRows(Path(mkdtemp(prefix="segments-", dir=scratch)), form, SPAN, 2)
    for shard, dataset in shards.items():
        recipe = recipes[dataset]
        looked_at = pa.array(
            sorted(select_clips(recipe.tracks.where, recipe, partial(_table, store, shard))), pa.string()
        )
        clips = store.read("clips", shard, ["clip_id", *SPAN])
        spans.add(
            pa.table(clips.filter(pc.is_in(clips["clip_id"], value_set=looked_at)).select(SPAN).columns, schema=form)
        )
    return Segments(spans)


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
        """Writes the files of a video with its records, a line each; videos come in order."""
        records = list(lines)
        name = self.keys(dataset, video)
        path = f"{self.folder}/{FOLDER}/{SampleKeys()(dataset, video)[:2]}/{name}"
        said = {
            "segments_complete": self.segments.of(dataset, video),
            "num_tracks": len(records),
            "yid": video,
            "dataset": dataset,
        }
        self.storage.write(path + META, gzip.compress(b"".join(records), mtime=0))
        self.storage.write(path + PROGRESS, json.dumps(said, ensure_ascii=False).encode())
