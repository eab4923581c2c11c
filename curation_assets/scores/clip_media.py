"""Scores that read the videos themselves: each video opened once, its clips in order of time, in a pool of processes.

What belongs here: the walk over a shard's videos and the account of every clip. What does not: what is measured, which is the
business of the function that is handed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from typing import Any, BinaryIO

import av
import pyarrow as pa

from curation_assets.decode.reading.workers import Task, run_tasks
from curation_assets.schemas import schema
from curation_assets.scores.given_columns import misfit
from curation_resources.faults import RESOURCE, Fault, fault_of, reading
from curation_resources.media import MediaRef
from curation_resources.storage import Storage
from curation_resources.words import plural

Row = dict[str, Any]
Score = Callable[[BinaryIO, list[Row]], Iterable[Mapping[str, Any]]]
"""(stream of a video, rows of `clips`) -> the score columns of each of these clips, in the same order."""
LIMIT_S, LIMIT_PER_S = 60.0, 5.0
"""Wall time after which a video is taken to hang: so many seconds, and so many per second of its clips."""
BAD_MEDIA = (av.FFmpegError, RuntimeError, ValueError)
"""What bad media raise: it goes into the rows as it is."""


def score_clips(
    asset: str,
    clips: pa.Table,
    raw: pa.Table,
    storage: Storage,
    score: Score,
    constants: Mapping[str, Any],
    workers: int = 1,
) -> tuple[pa.Table, dict[str, Fault]]:
    """A table with one row per clip, from the bytes of the videos, and which videos could not be read now, by id.

    Args:
        asset: whose table; its schema must have `error`.
        clips: rows of `clips`; those that are no clips (`status` other than ok) are left out.
        raw: rows of `raw_shards` of the same videos.
        storage: where the videos lie.
        score: module-level function or a `partial` of one. Clips after one at which it raises get its message as `error`, and nulls.
        constants: columns that are the same in all rows.
        workers: processes; 0 works in this one.

    Returns:
        The table, and video id -> fault of the videos of which clips have nulls for a reason that may pass.
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
    contract = schema(asset)
    rows: list[Row] = []
    faults: dict[str, Fault] = {}
    for outcome in run_tasks(partial(_score_video, storage, score, contract.arrow), tasks, min(workers, len(tasks))):
        found, error = outcome.result or ([], Fault(RESOURCE, f"the video {outcome.error}"))
        if isinstance(error, Fault):
            faults[outcome.key], error = error, error.reason
        for number, clip in enumerate(by_video[outcome.key]):
            own = found[number] if number < len(found) else {"error": error}
            rows.append({**{k: clip[k] for k in ("dataset", "video_id", "clip_id")}, **own, **constants})
    return pa.Table.from_pylist(rows, contract.arrow).sort_by([(k, "ascending") for k in contract.key]), faults


def _score_video(
    storage: Storage, score: Score, contract: pa.Schema, task: tuple[MediaRef | None, list[Row]]
) -> tuple[list[Mapping[str, Any]], str | Fault]:
    """Runs in a worker: the columns of the clips up to the first that failed, and why that one did; a fault leaves none."""
    media, clips = task
    found: list[Mapping[str, Any]] = []
    if media is None:
        return found, "the video is not in raw_shards any more; materialize clips again"
    try:
        with reading(storage, media) as stream:
            for given in islice(score(stream, clips), len(clips) + 1):  # of more it may tell without end
                wrong = misfit(given, contract)
                if wrong:
                    return found, f"the score's function {wrong}"
                found.append(given)
    except Exception as problem:  # noqa: BLE001 - whatever somebody else's function does, it costs its clips and says so
        fault = fault_of(problem)
        if fault is not None:
            return [], fault
        text = str(problem) or type(problem).__name__
        return found, text if isinstance(
            problem, BAD_MEDIA
        ) else f"the score's function failed ({type(problem).__name__}: {problem})"
    if len(found) == len(clips):
        return found, ""
    asked, fewer = f"the score's function was asked of {plural(len(clips), 'clip')}", len(found) < len(clips)
    return (found, f"{asked} and told of {len(found)}") if fewer else ([], f"{asked} and told of more")
