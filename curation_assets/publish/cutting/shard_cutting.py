"""Cuts the selected clips of a shard, video by video in worker processes, and keeps them as a piece until the export is published.

What belongs here: which clips are cut, taken over or tried again, and the rows that say so. What does not: cutting one video
(`video_cutting.py`), where pieces lie (`pieces.py`), the published layouts (`writing/samples.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.decode.reading.workers import Task, run_tasks
from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.cutting.clip_plan import ClipToCut
from curation_assets.publish.cutting.pieces import Pieces
from curation_assets.publish.cutting.video_cutting import cut_video
from curation_assets.publish.cutting.video_task import CutClip, VideoCuts
from curation_assets.schemas import schema
from curation_assets.tracks.face_tables import clip_covers, joined
from curation_resources.faults import DISK, RESOURCE, Fault, ReadFault, stop_if_full
from curation_resources.media import MediaRef
from curation_resources.scratch import scratch_folder
from curation_resources.storage import Storage
from curation_resources.tars import Member, TarWriter, new_token
from curation_resources.words import plural

HOW = ("cut", "encoded_frames", "encoder", "encoded_because")
"""Columns that say how a clip was made."""
SOUND = ("audio_format", "audio_tar", "audio_offset", "audio_size", "audio_sha256")
"""Columns that say where the sound of a clip lies, if that is not in its mp4."""
LIMIT_S, LIMIT_PER_SECOND, LIMIT_BLUR = 120.0, 20.0, 200.0
"""A video's clips may take so long, and so many times their duration, with and without looking for what is covered."""


@dataclass
class ShardCut:
    """What came of a shard: rows of `clip_dataset` that point into pieces or tars of earlier versions.

    Attributes:
        table: fits `schema("clip_dataset")`.
        cut, reused, failed: clips.
    """

    table: pa.Table
    cut: int = 0
    reused: int = 0
    failed: int = 0


UNREAD = "could not be read now"
"""Begins the error of a clip that failed for a reason that may pass, in a version that was published all the same."""


@dataclass(frozen=True)
class ShardToCut:
    """What an export cuts of one shard.

    Attributes:
        shard: its key.
        cuts: its clips, from `plan_cuts`.
        raw: `raw_shards` of the shard.
        params: options.
        earlier: rows of an earlier export; those with the same fingerprint are taken over as they are.
        earlier_covers: where its faces and plates were covered.
    """

    shard: str
    cuts: Sequence[ClipToCut]
    raw: pa.Table
    params: ClipExport
    earlier: pa.Table | None = None
    earlier_covers: pa.Table | None = None


def cut_shard(
    wanted: ShardToCut,
    storage: Storage,
    pieces: Pieces,
    *,
    workers: int,
    partial: bool = False,
    max_attempts: int = 3,
) -> ShardCut:
    """Cuts the clips of a shard, unless the piece is there already.

    Args:
        wanted: the clips and what they are cut from.
        storage: where videos and pieces lie.
        pieces: where the piece goes.
        workers: processes; 0 cuts in this one.
        partial: whether the piece is finished without clips that could not be read now.
        max_attempts: after so many runs whose process died or took too long, the clip is taken to be the cause.

    Raises:
        ReadFault: clips could not be read or made for a reason that may pass; those that were cut are kept for the next run.
    """
    shard, cuts = wanted.shard, wanted.cuts
    finished = pieces.get(shard, cuts)
    if finished is not None:
        return ShardCut(finished, reused=finished.num_rows)
    begun, begun_covers, attempts = pieces.begun(shard, cuts)
    kept = _reusable(wanted.earlier, cuts, storage, wanted.params) | _reusable(begun, cuts, storage, wanted.params)
    todo = [c for c in cuts if c.key not in kept]
    result = ShardCut(schema("clip_dataset").empty(), reused=len(kept))
    rows = list(kept.values())
    covers = _covers_of(kept, (wanted.earlier_covers, begun_covers))
    faults: dict[str, Fault] = {}
    media = {r["video_id"]: r for r in wanted.raw.to_pylist()}
    with (
        scratch_folder("cut-") as folder,
        TarWriter(storage, pieces.folder, f"{pieces.name(shard, cuts).rsplit('/', 1)[-1]}-{new_token()}") as writer,
    ):
        tasks = _tasks(todo, media, wanted.params, storage, Path(folder))
        order = sorted(tasks)
        ready: dict[str, list[CutClip]] = {}
        for outcome in run_tasks(cut_video, sorted(tasks.values(), key=lambda t: -t.limit_s), min(workers, len(tasks))):
            task = tasks[outcome.key].argument
            lost = Fault(RESOURCE, f"cutting {outcome.error}")
            ready[outcome.key] = outcome.result or [
                CutClip(c.key, f"{c.clip_id}: {outcome.error}", fault=lost) for c in task.cuts
            ]
            while order and order[0] in ready:
                video = order.pop(0)
                for cut, found in zip(tasks[video].argument.cuts, ready.pop(video), strict=True):
                    attempts[cut.key] = attempts.get(cut.key, 0) + 1
                    again = found.fault is not None and _may_pass(found.fault, attempts[cut.key], max_attempts)
                    if found.fault is not None and again:
                        faults[cut.key] = found.fault
                        found = replace(found, error=f"{UNREAD}: {found.error}")
                    rows.append(_row(cut, found, writer))
                    names = cut.key, cut.video_id, cut.clip_id
                    covers += [clip_covers(*names, thing, table) for thing, table in found.covered.items()]
        rows += [
            _row(c, CutClip(c.key, f"{c.clip_id}: its video is not in raw_shards or has no file"), writer)
            for c in todo
            if c.video_id not in tasks
        ]
    result.table = _table(rows)
    result.failed = sum(r["status"] == "failed" for r in rows)
    result.cut = len(rows) - len(kept) - result.failed
    full = [f for f in faults.values() if f.kind == DISK]
    if full or (faults and not partial):
        good = result.table.filter(pc.equal(result.table["status"], "ok"))
        pieces.put_begun(shard, cuts, good, joined(covers), {k: attempts[k] for k in faults})
        stop_if_full(full)
        first = next(iter(faults.values()))
        raise ReadFault(
            f"{len(faults)} of {plural(len(cuts), 'clip')} of {shard} could not be cut ({first.kind}): {first.reason}; the version in force stays, "
            "and what was cut is kept for the next run"
        )
    pieces.put(shard, cuts, result.table, joined(covers))
    return result


def _may_pass(fault: Fault, attempts: int, max_attempts: int) -> bool:
    return fault.kind != RESOURCE or attempts < max_attempts


def _tasks(
    cuts: Sequence[ClipToCut],
    media: Mapping[str, Mapping[str, Any]],
    params: ClipExport,
    storage: Storage,
    folder: Path,
) -> dict[str, Task[VideoCuts]]:
    by_video: dict[str, list[ClipToCut]] = {}
    for cut in cuts:
        if cut.video_id in media and media[cut.video_id]["tar"]:
            by_video.setdefault(cut.video_id, []).append(cut)
    tasks = {}
    for number, (video, group) in enumerate(by_video.items()):
        row = media[video]
        own = folder / f"{number:06d}"
        own.mkdir()
        ref = MediaRef(row["tar"], row["offset"], row["size"], row["etag"])
        seconds = sum(c.end_ms - c.start_ms for c in group) / 1000
        last = max(c.end_ms for c in group) / 1000  # a clip may have to be looked for from the start
        limit = LIMIT_S + last + seconds * (LIMIT_BLUR if params.covers else LIMIT_PER_SECOND)
        tasks[video] = Task(video, VideoCuts(storage, ref, tuple(group), params, str(own)), limit)
    return tasks


def _reusable(
    earlier: pa.Table | None, cuts: Sequence[ClipToCut], storage: Storage, params: ClipExport
) -> dict[str, dict[str, Any]]:
    """Sample key -> row of an earlier export with the same fingerprint, or one as good, whose bytes are still there, under its present split."""
    if earlier is None or not cuts:
        return {}
    good = {c.key: {c.fingerprint, c.as_good} - {""} for c in cuts}
    wanted = pa.array(sorted(set().union(*good.values())), pa.string())
    known = earlier.filter(pc.is_in(earlier["row_fingerprint"], value_set=wanted))
    rows = {r["sample_key"]: r for r in known.filter(pc.equal(known["status"], "ok")).to_pylist()}
    there = {None: True} | {t: storage.exists(t) for r in rows.values() for t in (r["tar"], r.get("audio_tar")) if t}
    return {
        c.key: {**_said_how(rows[c.key], params), "split": c.split}
        for c in cuts
        if c.key in rows
        and rows[c.key]["row_fingerprint"] in good[c.key]
        and there[rows[c.key]["tar"]]
        and there[rows[c.key].get("audio_tar")]
    }


def _said_how(row: dict[str, Any], params: ClipExport) -> dict[str, Any]:
    """A row that is taken over, with how its clip was made, which tables of before `cut` and `encoder` had columns do not say: the options did, and there was one encoder."""
    if row.get("cut") is None:
        copied = params.way == "copy"  # there was no `smart` then
        row = {**row, "cut": "copy" if copied else "exact", "encoded_frames": 0 if copied else row["frames"]}
    if row["cut"] == "exact" and row.get("encoder") is None:
        row = {**row, "encoder": "libx264"}
    return row


def _covers_of(kept: Iterable[str], tables: Iterable[pa.Table | None]) -> list[pa.Table]:
    """Where faces and plates of clips that are taken over were covered; each clip's from the first table that has it."""
    keys = pa.array(list(kept), pa.string())
    covers: list[pa.Table] = []
    for known in tables:
        if known is not None:
            seen = pa.array(sorted({k for part in covers for k in part["sample_key"].to_pylist()}), pa.string())
            own = known.filter(pc.is_in(known["sample_key"], value_set=keys))
            covers.append(own.filter(pc.invert(pc.is_in(own["sample_key"], value_set=seen))))
    return covers


def _row(cut: ClipToCut, clip: CutClip, writer: TarWriter) -> dict[str, Any]:
    row: dict[str, Any] = {
        "dataset": cut.dataset,
        "video_id": cut.video_id,
        "clip_id": cut.clip_id,
        "track_id": cut.track_id,
        "sample_key": cut.key,
        "split": cut.split,
        "status": "failed",
        "error": clip.error,
        "row_fingerprint": cut.fingerprint,
    }
    if clip.path is None:
        return row
    files = {"mp4": clip.path} | ({Path(clip.sound).suffix[1:]: clip.sound} if clip.sound is not None else {})
    with ExitStack() as stack:
        members = writer.add(cut.key, {e: stack.enter_context(open(f, "rb")) for e, f in files.items()})
    for path in files.values():
        Path(path).unlink()
    member = members.pop("mp4")
    for ending, m in members.items():
        row |= sound_place(ending, m)
    facts = ("start_ms", "end_ms", "frames", "width", "height", "fps", "blurred_faces", "blurred_plates", *HOW)
    where = {"tar": member.tar, "offset": member.offset, "size": member.size, "sha256": member.sha256}
    return {**row, **where, **{name: getattr(clip, name) for name in facts}, "status": "ok"}


def sound_place(ending: str, member: Member) -> dict[str, Any]:
    """Where the sound of a clip lies, as its row of `clip_dataset` says it."""
    said = (ending, member.tar, member.offset, member.size, member.sha256)
    return dict(zip(SOUND, said, strict=True))


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    contract = schema("clip_dataset")
    table = pa.Table.from_pylist(list(rows), schema=contract.arrow)
    return table.sort_by([(k, "ascending") for k in contract.key])
