"""Scores that read the videos themselves: each video opened once, its clips in order of time, in a pool of processes.

What belongs here: the walk over a shard's videos and the account of every clip. What does not: what is measured, which is the
business of the function that is handed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, BinaryIO

import av
import pyarrow as pa

from curation_assets.schemas import schema
from curation_assets.stages.decode.workers import Task, run_tasks
from resources.storage import MediaRef, Storage

Row = dict[str, Any]
Score = Callable[[BinaryIO, list[Row]], Iterable[Mapping[str, Any]]]
"""(stream of a video, rows of `clips`) -> the score columns of each of these clips, in the same order."""
LIMIT_S, LIMIT_PER_S = 60.0, 5.0
"""Wall time after which a video is taken to hang: so many seconds, and so many per second of its clips."""
BAD_MEDIA = (av.FFmpegError, RuntimeError, ValueError, LookupError)
"""What bad media raise, or media that are gone: it goes into the rows. Anything else, a network that is down among it, fails the shard."""


def score_clips(
    asset: str,
    clips: pa.Table,
    raw: pa.Table,
    storage: Storage,
    score: Score,
    constants: Mapping[str, Any],
    workers: int = 1,
) -> pa.Table:
    """A table with one row per clip, from the bytes of the videos.

    Args:
        asset: whose table; its schema must have `error`.
        clips: rows of `clips`; those that are no clips (`status` other than ok) are left out.
        raw: rows of `raw_shards` of the same videos.
        storage: where the videos lie.
        score: module-level function or a `partial` of one. Clips after one at which it raises get its message as `error`, and nulls.
        constants: columns that are the same in all rows.
        workers: processes; 0 works in this one.

    Raises:
        OSError: storage cannot be reached; the shard can be tried again.
    """
    media = {
        r["video_id"]: MediaRef(r["tar"], r["offset"], r["size"], r["etag"])
        for r in raw.to_pylist()
        if r["status"] == "ok"
    }
    by_video: dict[str, list[Row]] = {}
    for clip in sorted(clips.to_pylist(), key=lambda c: (c["start_ms"] or 0, c["clip_id"] or "")):
        if clip["status"] == "ok":
            by_video.setdefault(clip["video_id"], []).append(clip)
    seconds = {v: sum(c["end_ms"] - c["start_ms"] for c in group) / 1000 for v, group in by_video.items()}
    tasks = [
        Task(v, (media.get(v), by_video[v]), LIMIT_S + LIMIT_PER_S * seconds[v])
        for v in sorted(by_video, key=lambda v: (-seconds[v], v))
    ]
    rows: list[Row] = []
    for outcome in run_tasks(partial(_score_video, storage, score), tasks, min(workers, len(tasks))):
        found, error = outcome.result if outcome.result is not None else ([], f"the video {outcome.error}")
        if isinstance(error, OSError):
            raise error
        for number, clip in enumerate(by_video[outcome.key]):
            own = found[number] if number < len(found) else {"error": error}
            rows.append({**{k: clip[k] for k in ("dataset", "video_id", "clip_id")}, **own, **constants})
    contract = schema(asset)
    return pa.Table.from_pylist(rows, contract.arrow).sort_by([(k, "ascending") for k in contract.key])


def _score_video(
    storage: Storage, score: Score, task: tuple[MediaRef | None, list[Row]]
) -> tuple[list[Mapping[str, Any]], str | OSError]:
    """Runs in a worker: the columns of the clips up to the first that failed, and why that one did."""
    media, clips = task
    found: list[Mapping[str, Any]] = []
    if media is None:
        return found, "the video is not in raw_shards any more; materialize clips again"
    try:
        with storage.open_media(media) as stream:
            found.extend(score(stream, clips))
    except BAD_MEDIA as problem:
        return found, str(problem) or type(problem).__name__
    except OSError as problem:
        return found, OSError(f"{type(problem).__name__}: {problem}")
    return found, ""
