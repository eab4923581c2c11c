"""The videos of a shard, analysed in worker processes; their rows as the five tables of the decode group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation_assets.decode.analysis import analyse_video, failed_rows
from curation_assets.decode.analysis_results import TABLES, AnalysisParams, VideoAnalysis, VideoFacts, VideoStats
from curation_assets.decode.clip_spans import SubtitleCue
from curation_assets.decode.reading.workers import Task, TaskOutcome, run_tasks
from curation_assets.ingest.subtitle_tracks import Track, best_track
from curation_assets.schemas import schema
from curation_resources.faults import RESOURCE, Fault, fault_of, reading
from curation_resources.media import MediaRef
from curation_resources.model_input import EXTENSIONS
from curation_resources.scratch import scratch_folder
from curation_resources.storage import Storage
from curation_resources.tars import TarWriter, sample_key

LIMIT_S, LIMIT_PER_SECOND, LIMIT_BYTES_PER_S = 120.0, 10.0, 50_000
"""A video may take so long, and so many times its duration; an unknown duration is taken from its size at that rate."""


@dataclass(frozen=True)
class VideoTask:
    """One video to analyse, in a form that goes to a worker process."""

    storage: Storage
    media: MediaRef
    facts: VideoFacts
    params: AnalysisParams
    wanted: tuple[str, ...]
    spool: str


@dataclass
class ShardAnalysis:
    """What a pass over a shard gave.

    Attributes:
        tables: for each wanted table its rows, in the registry's schema, sorted by key.
        stats: one entry per video that was decoded, by video id.
        errors: video id to what went wrong, for videos without clips.
        faults: those of them that may come out otherwise when tried again.
    """

    tables: dict[str, pa.Table]
    stats: list[VideoStats] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)

    @property
    def seconds_per_cpu_s(self) -> float | None:
        """Seconds of video per second of processor time; None if nothing was decoded."""
        cpu_s = sum(s.cpu_s for s in self.stats)
        return sum(s.seconds for s in self.stats) / cpu_s if cpu_s else None

    def slowest(self, count: int = 5) -> list[VideoStats]:
        """The videos that took the most processor time."""
        return sorted(self.stats, key=lambda s: (-s.cpu_s, s.video_id))[:count]


def analyse_task(task: VideoTask) -> VideoAnalysis:
    """Analyses one video in this process; whatever goes wrong is in its row."""
    import cv2

    cv2.setNumThreads(1)
    try:
        with reading(task.storage, task.media) as stream, open(task.spool, "w+b") as spool:
            return analyse_video(stream, task.params, task.facts, task.wanted, spool)
    except Exception as problem:  # noqa: BLE001 - whatever happens to a video is recorded in its row
        fault = fault_of(problem)
        reason = fault.reason if fault is not None else f"{type(problem).__name__}: {problem}"
        return _without_rows(task, reason, fault)


def _without_rows(task: VideoTask, reason: str, fault: Fault | None) -> VideoAnalysis:
    error = f"{task.facts.video_id}: {reason}"
    return VideoAnalysis(failed_rows(task.facts, task.wanted, error), VideoStats(task.facts.video_id), error, fault)


def analyse_shard(
    raw: pa.Table,
    metadata: pa.Table,
    params: AnalysisParams,
    storage: Storage,
    writer: TarWriter,
    *,
    workers: int,
    wanted: Iterable[str] = TABLES,
) -> ShardAnalysis:
    """Decodes every video of a shard once and makes the `wanted` tables.

    Long videos go first, so that none is left alone at the end. The tables and the order of the JPEGs in the tars depend only on the
    videos and the parameters, not on the number of workers. A video that cannot be decoded has a row of `clips` with status `failed`; so
    has one whose bytes could not be read or whose worker died or took too long, which is named in `faults` too.

    Args:
        raw: rows of `raw_shards`; those whose status is not ok are left out.
        metadata: rows of `video_metadata` of the same videos, for the given spans.
        params: sections of the recipe.
        storage: where the videos lie.
        writer: takes the JPEGs; the caller closes it.
        workers: processes; 0 decodes in this one.
        wanted: names out of `TABLES`.
    """
    names = tuple(t for t in TABLES if t in frozenset(wanted))
    with scratch_folder("decode-") as folder:
        tasks = _tasks(raw, metadata, params, storage, names, Path(folder))
        order = sorted(tasks)
        by_length = sorted(tasks.values(), key=lambda t: (-t.limit_s, t.key))
        finished: dict[str, VideoAnalysis] = {}
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        result = ShardAnalysis({})
        written = 0
        for outcome in run_tasks(analyse_task, by_length, min(workers, len(tasks))):
            finished[outcome.key] = _analysis(outcome, tasks[outcome.key].argument)
            while written < len(order) and order[written] in finished:
                task = tasks[order[written]].argument
                _keep(finished.pop(order[written]), task, writer, rows, result)
                written += 1
    result.tables = {name: _table(name, rows[name]) for name in names}
    return result


def _tasks(
    raw: pa.Table, metadata: pa.Table, params: AnalysisParams, storage: Storage, names: tuple[str, ...], folder: Path
) -> dict[str, Task[VideoTask]]:
    spans = dict(zip(metadata["video_id"].to_pylist(), metadata["spans"].to_pylist(), strict=True))
    tasks = {}
    for number, row in enumerate(r for r in raw.to_pylist() if r["status"] == "ok"):
        video_id = row["video_id"]
        facts = VideoFacts(
            row["dataset"], video_id, row["sha256"], spans.get(video_id) or [], _cues(row["subtitles"] or [], params)
        )
        media = MediaRef(row["tar"], row["offset"], row["size"], row["etag"])
        task = VideoTask(storage, media, facts, params, names, str(folder / f"{number:06d}"))
        tasks[video_id] = Task(video_id, task, _limit(row))
    return tasks


def _cues(tracks: Sequence[Track], params: AnalysisParams) -> list[SubtitleCue]:
    """The cues by which clips are cut: of the track that captions take, where they prefer languages; else of the first, which is the one that was asked for first."""
    track = best_track(tracks, params.languages) if params.languages else next(iter(tracks), None)
    return list(track["cues"] or []) if track is not None else []


def _limit(row: Mapping[str, Any]) -> float:
    seconds = row["duration_ms"] / 1000 if row["duration_ms"] else (row["size"] or 0) / LIMIT_BYTES_PER_S
    return LIMIT_S + LIMIT_PER_SECOND * seconds


def _analysis(outcome: TaskOutcome[VideoAnalysis], task: VideoTask) -> VideoAnalysis:
    if outcome.result is not None:
        return outcome.result
    return _without_rows(task, str(outcome.error), Fault(RESOURCE, f"its analysis {outcome.error}"))


def _keep(
    analysis: VideoAnalysis,
    task: VideoTask,
    writer: TarWriter,
    rows: dict[str, list[dict[str, Any]]],
    result: ShardAnalysis,
) -> None:
    """Moves a video's samples into the tars and its rows into `rows`."""
    spool = Path(task.spool)
    if analysis.rows.get("frames"):
        with open(spool, "rb") as file:
            analysis.rows["frames"] = list(_written(analysis.rows["frames"], task.facts.video_id, file, writer))
    spool.unlink(missing_ok=True)
    for name, new in analysis.rows.items():
        rows[name].extend(new)
    result.stats.append(analysis.stats)
    if analysis.error is not None:
        result.errors[task.facts.video_id] = analysis.error
    if analysis.fault is not None:
        result.faults[task.facts.video_id] = analysis.fault


def _written(frames: list[dict[str, Any]], video_id: str, spool: Any, writer: TarWriter) -> Iterator[dict[str, Any]]:
    """The rows of `frames` with their place in the tars; a sample of two clips is written once."""
    members: dict[int, dict[str, Any]] = {}
    for row in frames:
        if row["frame"] not in members:
            members[row["frame"]] = _sample(row, video_id, spool, writer)
        yield {**row, **members[row["frame"]]}


def _sample(row: Mapping[str, Any], video_id: str, spool: Any, writer: TarWriter) -> dict[str, Any]:
    """Writes a frame and the pictures for models behind it, as one sample; where they lie."""
    content = {}
    inputs = row["inputs"] or []
    for name, at, size in [
        ("jpg", 0, row["size"]),
        *((input_name(n, i), i["offset"], i["size"]) for n, i in enumerate(inputs)),
    ]:
        spool.seek(row["offset"] + at)
        content[name] = spool.read(size)
    written = writer.add(sample_key(f"{video_id}_{row['frame']}"), content)
    frame = written["jpg"]
    moved = [{**i, "offset": written[input_name(n, i)].offset - frame.offset} for n, i in enumerate(inputs)]
    return {
        "tar": frame.tar,
        "offset": frame.offset,
        "size": frame.size,
        "sha256": frame.sha256,
        "inputs": moved or None,
    }


def input_name(number: int, stored: Mapping[str, Any]) -> str:
    """The extension in a tar of the `number`th picture for a model that a frame has."""
    return f"input{number}.{EXTENSIONS[stored['format']]}"


def _table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    contract = schema(name)
    table = pa.Table.from_pylist(rows, schema=contract.arrow)
    return table.sort_by([(column, "ascending") for column in contract.key])
