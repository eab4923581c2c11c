"""Object tracks of a shard's clips: decode, detect, follow, one row per track.

Each clip is decoded once, straight from its source video, and only if it passed the recipe's rules. Threads work on different videos
with one detector, which is in memory once. Finished clips go to a journal, so a killed run is continued without losing or doubling a
track.

What belongs here: a shard's table and its account. What does not: the threads and the walk over a video (`shard_search.py`), which detector
(`object_detector.py`), association (`tracking.py`), what a row says (`track_rows.py`), pictures with drawn tracks (`drawn_tracks.py`), thresholds on
tracks, which are the subset's.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection
from concurrent.futures import as_completed
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.schemas import schema
from curation_assets.tracks.shard_search import TrackingLine, TrackStats
from curation_assets.tracks.track_rows import Row
from curation_assets.tracks.tracks import Tracks
from curation_resources.detectors import Detector
from curation_resources.journal import Journal
from curation_resources.progress import told
from curation_resources.storage import Storage


@dataclass(frozen=True)
class TrackInputs:
    """What the tracks of a shard are made from.

    Attributes:
        clips: rows of `clips`; those that are not `ok` are no clips.
        raw: rows of `raw_shards` of the same videos.
        keep: ids of the clips that passed the recipe's rules; None is all of them.
        key: of the shard, under which a line may have begun with it.
    """

    clips: pa.Table
    raw: pa.Table
    keep: Collection[str] | None = None
    key: str = ""

    def wanted(self) -> list[Row]:
        """Rows of the clips to be looked at."""
        real = [c for c in self.clips.to_pylist() if c["status"] == "ok"]
        return [c for c in real if self.keep is None or c["clip_id"] in self.keep]

    def videos(self) -> dict[str, Row]:
        """Rows of the videos that were fetched, by video id."""
        return {r["video_id"]: r for r in self.raw.to_pylist() if r["status"] == "ok"}


def track_shard(
    inputs: TrackInputs,
    params: Tracks,
    storage: Storage,
    detector: Detector,
    *,
    workers: int = 1,
    journal: Journal | None = None,
    line: TrackingLine | None = None,
) -> tuple[pa.Table, TrackStats]:
    """The object tracks of a shard.

    Args:
        inputs: clips and their videos.
        params: the recipe's `tracks` section.
        storage: where the videos lie.
        detector: from `open_detector`.
        workers: videos that are worked on at the same time.
        journal: finished clips are recorded there, and those found there are not looked at again.
        line: has the same detector for other shards too, and may have begun with this one.

    Returns:
        The table `tracks`, and the account of every clip. A clip without tracks has no row.

    Raises:
        ValueError: the recipe asks for appearance and the detector has none.
    """
    if params.appearance and not detector.has_features:
        raise ValueError(
            f"tracks.appearance is set, but the detector {params.detector} has no appearance features; use owlv2 or grounding-dino"
        )
    started = time.perf_counter()
    real, wanted = pc.sum(pc.equal(inputs.clips["status"], "ok")).as_py() or 0, inputs.wanted()
    done = {c["clip_id"]: journal.items[c["clip_id"]] for c in wanted if journal and c["clip_id"] in journal.items}
    stats = TrackStats(clips=real, skipped=real - len(wanted), resumed=len(done))
    rows: list[Row] = [row for finished in done.values() for row in finished["rows"]]
    videos = inputs.videos()
    own = line or TrackingLine(params, storage, detector, workers)
    search = own.search(inputs.key, [c for c in wanted if c["clip_id"] not in done], videos, journal)
    try:
        for future in told(as_completed(search.futures), len(search.futures), "videos"):
            rows += future.result()
    except BaseException:
        search.stop()
        own.stop()
        raise
    finally:
        if line is None:
            own.close()
    stats.add(search.work.stats)
    stats.looked_at = len(wanted) - len(stats.failed)
    stats.tracks, stats.labels = len(rows), Counter(r["label"] for r in rows)
    stats.wall_s = time.perf_counter() - started
    rows.sort(key=lambda r: (r["video_id"], r["clip_id"], r["track_id"]))
    return pa.Table.from_pylist(rows, schema=schema("tracks").arrow), stats
