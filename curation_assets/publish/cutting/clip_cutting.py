"""Cuts the selected clips of a shard out of the raw videos: one decode per video for all its clips, exact to the frame.

A video is read in runs of clips that overlap or lie close together; every decoded frame goes to each clip that it belongs to, so
overlapping spans cost one decode. What belongs here: which frames a clip has, and the pieces that a shard's clips are kept in until
they are published. What does not: encoding (`clip_writer.py`), the published layouts (`export_samples.py`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

import av
import pyarrow as pa
import pyarrow.compute as pc
from av.video.frame import VideoFrame
from fsspec.implementations.local import LocalFileSystem

from curation_assets.decode.reading.clip_frames import JOIN_MS, ROUNDING_MS, ClipFrame, ClipReader
from curation_assets.decode.reading.media import OpenVideo
from curation_assets.decode.reading.media import reason as said
from curation_assets.decode.reading.workers import Task, run_tasks
from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.curating.subset_inputs import cut_weights
from curation_assets.publish.curating.versions import CUT_VERSION
from curation_assets.publish.cutting.clip_copy import copy_clip
from curation_assets.publish.cutting.clip_writer import (
    ClipSound,
    ClipWriter,
    Crop,
    Image,
    Pictures,
    SteadyRate,
    Timing,
    TrackBoxes,
    TrackPictures,
    UnevenTimes,
)
from curation_assets.schemas import schema
from curation_assets.tracks.face_tables import clip_faces, joined
from curation_resources import sealed_parquet
from curation_resources.faults import DISK, RESOURCE, Fault, ReadFault, WatchedStream, fault_of, stop_if_full
from curation_resources.journal import sealed_line, unsealed
from curation_resources.scratch import scratch_folder
from curation_resources.storage import MediaRef, Storage
from curation_resources.tables import canonical_json
from curation_resources.tars import TarWriter, new_token

log = logging.getLogger(__name__)
ALL_MS = 1 << 52
LIMIT_S, LIMIT_PER_SECOND, LIMIT_BLUR = 120.0, 20.0, 200.0
"""A video's clips may take so long, and so many times their duration, with and without looking for faces."""
LAYOUT = ("format", "options", "tar_bytes", "leak_model")
"""Options that do not change the bytes of a clip."""


@dataclass(frozen=True)
class Cut:
    """One clip to be cut.

    Attributes:
        dataset, video_id, clip_id, track_id: whose; `track_id` is None for whole pictures.
        key: sample key.
        split: train, val or test.
        start_ms, end_ms: span in the source, as in `clips`.
        start_frame, end_frame: the same as frame numbers; None where the span is all that is known (tracks).
        crop: the part of the picture that is kept.
        track: boxes to follow.
        fingerprint: hash of source, span and options.
    """

    dataset: str
    video_id: str
    clip_id: str
    track_id: str | None
    key: str
    split: str
    start_ms: int
    end_ms: int
    start_frame: int | None
    end_frame: int | None
    crop: Crop | None
    track: TrackBoxes | None
    fingerprint: str = ""


@dataclass(frozen=True)
class VideoCuts:
    """The clips of one video, in a form that goes to a worker process. `folder` is local and receives `<number>.mp4`."""

    storage: Storage
    media: MediaRef
    cuts: tuple[Cut, ...]
    params: ClipExport
    folder: str


@dataclass(frozen=True)
class CutClip:
    """What came of a cut: a local file and its facts, or an error.

    Attributes:
        faces: where faces were covered, schema `faces.FACES`.
        uneven: whether the error is that its pictures do not come at a constant rate.
        fault: set if the error is no property of the clip.
    """

    key: str
    error: str | None = None
    path: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    frames: int | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    blurred_faces: int | None = None
    faces: pa.Table | None = None
    uneven: bool = False
    fault: Fault | None = None


def fingerprint_of(cut: Cut, source: Mapping[str, Any], params: ClipExport) -> str:
    """32 hexadecimal digits over all that decides the bytes of a clip.

    Args:
        source: the video's row of `raw_shards`.
    """
    options = params.model_dump(exclude=set(LAYOUT))
    span = [cut.start_ms, cut.end_ms, cut.start_frame, cut.end_frame, cut.crop]
    boxes = None if cut.track is None else [list(cut.track.times_ms), [list(b) for b in cut.track.boxes]]
    decided = [CUT_VERSION, source["sha256"] or source["etag"], span, boxes, options]
    if weights := cut_weights(params):
        decided.append(weights)
    text = canonical_json(decided)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


# ---- one video


def cut_video(task: VideoCuts) -> list[CutClip]:
    """Cuts the clips of one video; whatever goes wrong is in the clip's row."""
    import cv2

    cv2.setNumThreads(1)
    try:
        with ExitStack() as stack:
            open_media = _Opener(task, stack)
            cutter = _copy if task.params.cut == "copy" else _exact
            done = {c.key: c for c in cutter(open_media, task, stack)}
            open_media.check()
        lost = CutClip("", "no frame can be decoded in its span; the file may be damaged or shorter")
        return [done.get(c.key, CutClip(c.key, lost.error)) for c in task.cuts]
    except Exception as problem:  # noqa: BLE001 - whatever happens to a video is recorded in the rows of its clips
        fault = fault_of(problem)
        return [CutClip(c.key, f"{c.video_id}: {type(problem).__name__}: {problem}", fault=fault) for c in task.cuts]


class _Opener:
    """Opens the video as often as needed; remote media are fetched once."""

    def __init__(self, task: VideoCuts, stack: ExitStack) -> None:
        self._task, self._stack = task, stack
        self._streams: list[WatchedStream] = []
        self._local: Path | None = None
        if not isinstance(task.storage.filesystem(task.media.tar)[0], LocalFileSystem):
            self._local = Path(task.folder) / "source"
            with task.storage.open_media(task.media) as source, open(self._local, "wb") as target:
                shutil.copyfileobj(source, target, 8 << 20)
            stack.callback(self._local.unlink)

    def __call__(self) -> BinaryIO:
        inner = open(self._local, "rb") if self._local else self._task.storage.open_media(self._task.media)
        self._streams.append(self._stack.enter_context(WatchedStream(inner)))
        return cast(BinaryIO, self._streams[-1])

    def check(self) -> None:
        """Raises ReadFault if a read has failed."""
        for stream in self._streams:
            stream.check()


def _exact(open_media: Callable[[], BinaryIO], task: VideoCuts, stack: ExitStack) -> Iterator[CutClip]:
    """Decodes by time; a clip in which this gives another number of frames than `clips` names is cut again by frame number."""
    deinterlace = task.params.interlaced == "deinterlace"
    reader = stack.enter_context(ClipReader(open_media(), deinterlace=deinterlace))
    base = reader.time_base
    sound = stack.enter_context(ClipSound(open_media(), reader.zero_ticks * base)) if task.params.audio else None
    again: list[Cut] = []
    for run in runs(task.cuts):
        found = _cut_run(reader, sound, run, task)
        if uneven := [c for c in run if found[c.key].uneven]:
            found |= _cut_run(reader, sound, uneven, task, constant=False)
        for cut in run:
            clip = found[cut.key]
            if clip.error is None or cut.start_frame is None:
                yield clip
            else:
                again.append(cut)
    if again:
        with ClipReader(open_media(), deinterlace=deinterlace) as whole:
            yield from _cut_run(whole, sound, again, task, by_number=True, constant=False).values()


def runs(cuts: Iterable[Cut]) -> list[list[Cut]]:
    """The cuts in order of time, those together that overlap or are at most `JOIN_MS` apart."""
    joined: list[list[Cut]] = []
    end = 0
    for cut in sorted(cuts, key=lambda c: (c.start_ms, c.end_ms, c.key)):
        if joined and cut.start_ms <= end + JOIN_MS:
            joined[-1].append(cut)
        else:
            joined.append([cut])
        end = max(end, cut.end_ms)
    return joined


def _cut_run(
    reader: ClipReader,
    sound: ClipSound | None,
    run: Sequence[Cut],
    task: VideoCuts,
    *,
    by_number: bool = False,
    constant: bool = True,
) -> dict[str, CutClip]:
    """Cuts clips in one pass over the frames from the first start to the last end.

    Args:
        by_number: whether frame numbers decide which frames a clip has, not times.
        constant: whether pictures are taken to come at a constant rate if the file looks like that.
    """
    waiting = deque(run)
    active: list[_Clip] = []
    done: dict[str, CutClip] = {}

    def begun(cut: Cut, frame: ClipFrame, number: int) -> bool:
        return number >= (cut.start_frame or 0) if by_number else frame.time_ms >= cut.start_ms - ROUNDING_MS

    def over(cut: Cut, frame: ClipFrame, number: int) -> bool:
        return number >= (cut.end_frame or 0) if by_number else frame.time_ms >= cut.end_ms - ROUNDING_MS

    span = (0, ALL_MS) if by_number else (run[0].start_ms, max(c.end_ms for c in run))
    try:
        for number, frame in enumerate(reader.frames(*span)):
            while waiting and begun(waiting[0], frame, number):
                active.append(_Clip(waiting.popleft(), reader, sound, task, constant))
            for clip in [c for c in active if over(c.cut, frame, number)]:
                active.remove(clip)
                done[clip.cut.key] = clip.finish()
            ticks = frame.frame.pts if frame.frame.pts is not None else frame.frame.dts or 0
            for clip in active:
                clip.push(frame, ticks)
            if not waiting and not active:
                break
    except Exception as problem:  # noqa: BLE001 - the clips that it hits have it in their rows
        error = f"{type(problem).__name__}: {problem}"
        for clip in active:
            clip.fail(error, problem)
        done.update({c.key: CutClip(c.key, f"{c.clip_id}: {error}", fault=fault_of(problem)) for c in waiting})
        waiting.clear()
    for clip in active:
        done[clip.cut.key] = clip.finish()
    for cut in waiting:
        done[cut.key] = CutClip(cut.key, f"{cut.clip_id}: the video ends before the clip begins")
    return done


class _Clip:
    """A clip that is being cut: frames are pushed, then it is finished. Errors are kept for its row."""

    def __init__(self, cut: Cut, reader: ClipReader, sound: ClipSound | None, task: VideoCuts, constant: bool) -> None:
        self.cut, self._reader, self._sound, self._params = cut, reader, sound, task.params
        self._constant, self._uneven = constant, False
        self._path = Path(task.folder) / f"{hashlib.sha256(cut.key.encode()).hexdigest()[:24]}.mp4"
        self._error: str | None = None
        self._fault: Fault | None = None
        self._taken = 0
        self._first_ticks: int | None = None
        self._last: tuple[int, int] = (0, 0)
        """Place and duration of the last frame, as the source has them."""
        self._writer: ClipWriter | None = None
        self._make: Callable[[ClipFrame], VideoFrame | Image] | None = None
        self._size = (0, 0)
        self._steady: SteadyRate | None = None
        self._blur: _Blurring | None = None
        self._colorspace = 0

    def push(self, frame: ClipFrame, ticks: int) -> None:
        if self._error is not None:
            return
        try:
            if self._first_ticks is None:
                self._first_ticks = ticks
                self._begin(frame)
            self._taken += 1
            assert self._make is not None
            place = ticks - self._first_ticks
            self._last = (place, frame.frame.duration or 0)
            picture = self._make(frame)
            if self._blur is not None and not isinstance(picture, VideoFrame):
                self._blur.push(frame.time_ms, picture, place)
            else:
                self._give(picture, place)
        except Exception as problem:  # noqa: BLE001 - recorded in the clip's row; the other clips go on
            self._failed(problem)

    def _failed(self, problem: Exception) -> None:
        self._uneven = self._uneven or isinstance(problem, UnevenTimes)
        self.fail(f"{type(problem).__name__}: {problem}", problem)

    def fail(self, error: str, problem: Exception | None = None) -> None:
        if self._error is None:
            self._error, self._fault = error, fault_of(problem) if problem is not None else None

    def _begin(self, frame: ClipFrame) -> None:
        params = self._params
        self._colorspace = int(frame.frame.colorspace)
        self._make, self._size = self._shape(frame)
        timing = self._timing()
        stream = None if self._sound is None else self._sound.stream
        channels = 1 if stream is not None and stream.codec_context.channels == 1 else 2
        sound_rate = (
            None if stream is None or not stream.codec_context.sample_rate else stream.codec_context.sample_rate
        )
        self._writer = ClipWriter(self._path, params, timing, sound_rate, channels)
        if sound_rate is not None and self._sound is not None:
            self._writer.sound(self._sound.frames(self.cut.start_ms, self._end_ms(), channels))
        if params.fps is not None:
            self._steady = SteadyRate(self._encode, timing.rate)
        if params.blur_faces:
            self._blur = _Blurring(params, self._give)

    def _timing(self) -> Timing:
        if self._params.fps is not None:
            rate = Fraction(self._params.fps).limit_denominator(1001)
            return Timing(1 / rate, rate, True)
        steady = self._reader.constant_rate if self._constant else None
        return Timing(self._reader.time_base, steady or self._reader.rate, steady is not None)

    def _shape(self, frame: ClipFrame) -> tuple[Callable[[ClipFrame], VideoFrame | Image], tuple[int, int]]:
        params, display_of = self._params, self._reader.display
        if self.cut.track is not None:
            follow = TrackPictures(frame.frame, display_of, params, self.cut.track)
            return lambda f: follow(f.frame, f.time_ms), follow.size
        pictures = Pictures(frame.frame, display_of, params, self.cut.crop, params.blur_faces)
        if params.blur_faces:
            return lambda f: cast(Image, pictures(f.frame).to_ndarray()), pictures.size
        return lambda f: pictures(f.frame), pictures.size

    def _give(self, picture: VideoFrame | Image, place: int) -> None:
        """Hands a picture to the encoder, by way of the constant rate if one is asked for."""
        if self._steady is not None:
            self._steady.push(picture, place * self._reader.time_base)
        else:
            self._encode(picture, place)

    def _encode(self, picture: VideoFrame | Image, ticks: int) -> None:
        assert self._writer is not None
        if isinstance(picture, VideoFrame):
            self._writer.picture(picture, ticks)
        else:
            self._writer.rgb(picture, ticks, self._colorspace)

    def _last_shown(self) -> int:
        """Ticks for which the last frame is shown: until the end of the span, or as long as the source says."""
        place, duration = self._last
        if self.cut.start_frame is None:
            return duration
        span = Fraction(self.cut.end_ms - self.cut.start_ms, 1000)
        return round(span / self._reader.time_base) - place

    def _end_ms(self) -> int:
        """When the last frame ends. A track's span ends with the time of its last box, whose frame is shown for a while yet."""
        longest = round(self._params.track_max_s * 1000)
        if self.cut.track is None or self.cut.end_ms - self.cut.start_ms >= longest:
            return self.cut.end_ms
        return self.cut.end_ms - 1 - ROUNDING_MS + round(1000 / self._reader.rate)

    def finish(self) -> CutClip:
        """Completes the file and says what it is."""
        cut = self.cut
        try:
            if self._blur is not None:
                self._blur.finish()
            wanted = None if cut.start_frame is None or cut.end_frame is None else cut.end_frame - cut.start_frame
            if self._error is None and wanted is not None and wanted != self._taken:
                self.fail(f"its span has {self._taken} frames where clips names {wanted}; materialize clips again")
            if self._error is None and self._writer is None:
                self.fail("no frame can be decoded in its span")
            if self._error is None and self._writer is not None:
                if self._steady is not None:
                    self._steady.finish(Fraction(self._end_ms() - cut.start_ms, 1000))
                self._writer.close(self._last_shown())
        except Exception as problem:  # noqa: BLE001 - recorded in the clip's row; the other clips go on
            self._failed(problem)
        if self._error is not None:
            if self._writer is not None:
                self._writer.abandon()
            self._path.unlink(missing_ok=True)
            return CutClip(
                cut.key, f"{cut.track_id or cut.clip_id}: {self._error}", uneven=self._uneven, fault=self._fault
            )
        assert self._writer is not None
        end_ms = self._end_ms()
        frames, span = self._writer.frames, max(1, end_ms - cut.start_ms)
        fps = float(self._params.fps) if self._params.fps else round(1000 * frames / span, 6)
        made = CutClip(cut.key, None, str(self._path), cut.start_ms, end_ms, frames, self._size[0], self._size[1], fps)
        if self._blur is None:
            return made
        return replace(made, blurred_faces=self._blur.faces.num_rows, faces=self._blur.faces)


@lru_cache(maxsize=2)
def _face_detector(threshold: float) -> Any:
    """One detector for all clips of a process; loading it costs more than a short clip."""
    from curation_assets.tracks.faces import MAX_SIDE, WEAK
    from curation_resources.detectors.faces import CenterFaceDetector

    return CenterFaceDetector(confidence=threshold * WEAK, max_side=MAX_SIDE)


class _Blurring:
    """Runs a `FaceBlurrer`, which pulls frames, where frames are pushed: in a thread that hands finished ones to `give`."""

    def __init__(self, params: ClipExport, give: Callable[[Image, int], None]) -> None:
        from curation_assets.tracks.faces import FaceBlurrer

        self._blurrer = FaceBlurrer.of(params, _face_detector(params.blur_threshold))
        self._give = give
        self._queue: queue.Queue[tuple[int, Image, int] | None] = queue.Queue(maxsize=2)
        self._places: deque[int] = deque()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def faces(self) -> pa.Table:
        return self._blurrer.faces()

    def push(self, time_ms: int, image: Image, place: int) -> None:
        self._queue.put((time_ms, image, place))
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Waits until the last frame is given on.

        Raises:
            Exception: what went wrong in looking for faces or encoding.
        """
        self._queue.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _frames(self) -> Iterator[tuple[int, Image]]:
        while (item := self._queue.get()) is not None:
            time_ms, image, place = item
            self._places.append(place)
            yield time_ms, image

    def _run(self) -> None:
        frames = self._frames()
        try:
            for _, image in self._blurrer.process(frames):
                self._give(image, self._places.popleft())
        except Exception as problem:  # noqa: BLE001 - raised in the pushing thread
            self._error = problem
            for _ in frames:  # so that whoever pushes is never left waiting
                continue


# ---- stream copy


def _copy(open_media: Callable[[], BinaryIO], task: VideoCuts, stack: ExitStack) -> Iterator[CutClip]:
    """Copies the packets from the last key frame at or before the start, without decoding."""
    sound = stack.enter_context(ClipSound.of(open_media())) if task.params.audio else None
    for cut in sorted(task.cuts, key=lambda c: (c.start_ms, c.end_ms, c.key)):
        path = Path(task.folder) / f"{hashlib.sha256(cut.key.encode()).hexdigest()[:24]}.mp4"
        try:
            with open_media() as stream, OpenVideo(stream, deinterlace=False) as video:
                made = copy_clip(video, sound, (cut.start_ms, cut.end_ms), path)
            size = made.width, made.height
            yield CutClip(cut.key, None, str(path), made.start_ms, made.end_ms, made.frames, *size, made.fps)
        except Exception as problem:  # noqa: BLE001 - recorded in the clip's row; the other clips go on
            path.unlink(missing_ok=True)
            reason = str(problem)
            if isinstance(problem, av.FFmpegError | ValueError):
                reason = f"cannot be copied into mp4 ({said(problem)}); use cut: exact"
            yield CutClip(cut.key, f"{cut.clip_id}: {reason}", fault=fault_of(problem))


# ---- one shard


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


SPENT = ".spent.json"
FACES_SUFFIX = ".faces.parquet"
BEGUN = ".begun"
ATTEMPTS_KEY = b"curation.attempts"
"""Metadata of the table of a piece that was begun: attempts by key at the clips that it lacks."""
UNREAD = "could not be read now"
"""Begins the error of a clip that failed for a reason that may pass, in a version that was published all the same."""


@dataclass(frozen=True)
class Pieces:
    """Cut clips of a subset, shard by shard, kept in storage until the export is committed, so that a killed run is resumed.

    A piece is `<folder>/<shard>-<fingerprint>.parquet` with its tars beside it; the fingerprint is that of its clips. Where its faces were
    covered stands in `<folder>/<shard>-<fingerprint>.faces.parquet`.
    """

    storage: Storage
    folder: str

    def name(self, shard: str, cuts: Sequence[Cut]) -> str:
        digest = hashlib.sha256("\n".join(sorted(f"{c.key} {c.fingerprint}" for c in cuts)).encode()).hexdigest()[:16]
        return f"{self.folder}/{shard}-{digest}"

    def get(self, shard: str, cuts: Sequence[Cut]) -> pa.Table | None:
        """The finished piece of these cuts; None if there is none."""
        return self._read(f"{self.name(shard, cuts)}.parquet") if self.faces(shard, cuts) is not None else None

    def faces(self, shard: str, cuts: Sequence[Cut]) -> pa.Table | None:
        """Where the faces of a finished piece were covered; schema `CLIP_FACES`; None if there is none."""
        return self._read(f"{self.name(shard, cuts)}{FACES_SUFFIX}")

    def _read(self, path: str) -> pa.Table | None:
        """A table of the folder; None if there is none, or its bytes are not those that were written: then its clips are cut again."""
        if not self.storage.exists(path):
            return None
        try:
            return sealed_parquet.read_bytes(self.storage.read(path))
        except sealed_parquet.Damaged as error:
            log.warning("%s is damaged (%s); its clips are cut again", path, error)
            return None

    def put(self, shard: str, cuts: Sequence[Cut], table: pa.Table, faces: pa.Table) -> None:
        self._write(f"{self.name(shard, cuts)}{FACES_SUFFIX}", faces)
        self._write(f"{self.name(shard, cuts)}.parquet", table)

    def _write(self, path: str, table: pa.Table) -> None:
        with self.storage.publish(path) as file:
            sealed_parquet.write_table(table, file)

    def begun(self, shard: str, cuts: Sequence[Cut]) -> tuple[pa.Table | None, pa.Table | None, dict[str, int]]:
        """Of a piece that could not be finished: the clips that were cut, where their faces were covered, attempts at the others by key."""
        name = f"{self.name(shard, cuts)}{BEGUN}"
        table, faces = self._read(f"{name}.parquet"), self._read(f"{name}{FACES_SUFFIX}")
        if table is None or faces is None:
            return None, None, {}
        return table, faces, json.loads((table.schema.metadata or {}).get(ATTEMPTS_KEY, b"{}"))

    def put_begun(
        self, shard: str, cuts: Sequence[Cut], table: pa.Table, faces: pa.Table, attempts: Mapping[str, int]
    ) -> None:
        name = f"{self.name(shard, cuts)}{BEGUN}"
        self._write(f"{name}{FACES_SUFFIX}", faces)
        self._write(f"{name}.parquet", table.replace_schema_metadata({ATTEMPTS_KEY: json.dumps(dict(attempts))}))

    def note_spent(self, shard: str, numbers: Mapping[str, float]) -> None:
        """Keeps what an attempt at the piece of a shard took."""
        self.storage.write(
            f"{self.folder}/{shard}-{new_token()}{SPENT}", sealed_line(json.dumps(dict(numbers)).encode())
        )

    def spent(self) -> Iterator[dict[str, float]]:
        """What was noted, an attempt each."""
        for name in self.storage.list(self.folder):
            if name.endswith(SPENT) and (said := unsealed(self.storage.read(f"{self.folder}/{name}"))) is not None:
                yield json.loads(said)

    def clear(self) -> None:
        """Removes all pieces; the tables first, so that none is left that names what is gone."""
        for name in sorted(
            self.storage.list(self.folder), key=lambda n: (not n.endswith(".parquet"), n.endswith(FACES_SUFFIX), n)
        ):
            self.storage.remove(f"{self.folder}/{name}")


def cut_shard(
    shard: str,
    cuts: Sequence[Cut],
    raw: pa.Table,
    params: ClipExport,
    storage: Storage,
    pieces: Pieces,
    *,
    workers: int,
    earlier: pa.Table | None = None,
    earlier_faces: pa.Table | None = None,
    partial: bool = False,
    max_attempts: int = 3,
) -> ShardCut:
    """Cuts the clips of a shard, unless the piece is there already.

    Args:
        shard: its key.
        cuts: from `plan_cuts`.
        raw: `raw_shards` of the shard.
        params: options.
        storage: where videos and pieces lie.
        pieces: where the piece goes.
        workers: processes; 0 cuts in this one.
        earlier: rows of an earlier export; those with the same fingerprint are taken over as they are.
        earlier_faces: where its faces were covered.
        partial: whether the piece is finished without clips that could not be read now.
        max_attempts: after so many runs whose process died or took too long, the clip is taken to be the cause.

    Raises:
        ReadFault: clips could not be read or made for a reason that may pass; those that were cut are kept for the next run.
    """
    finished = pieces.get(shard, cuts)
    if finished is not None:
        return ShardCut(finished, reused=finished.num_rows)
    begun, begun_faces, attempts = pieces.begun(shard, cuts)
    kept = _reusable(earlier, cuts, storage) | _reusable(begun, cuts, storage)
    todo = [c for c in cuts if c.key not in kept]
    result = ShardCut(schema("clip_dataset").empty(), reused=len(kept))
    rows = list(kept.values())
    faces: list[pa.Table] = []
    for known in (earlier_faces, begun_faces):
        if known is not None:
            seen = pa.array(sorted({k for part in faces for k in part["sample_key"].to_pylist()}), pa.string())
            own = known.filter(pc.is_in(known["sample_key"], value_set=pa.array(kept, pa.string())))
            faces.append(own.filter(pc.invert(pc.is_in(own["sample_key"], value_set=seen))))
    faults: dict[str, Fault] = {}
    media = {r["video_id"]: r for r in raw.to_pylist()}
    with (
        scratch_folder("cut-") as folder,
        TarWriter(storage, pieces.folder, f"{pieces.name(shard, cuts).rsplit('/', 1)[-1]}-{new_token()}") as writer,
    ):
        tasks = _tasks(todo, media, params, storage, Path(folder))
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
                    if found.faces is not None:
                        faces.append(clip_faces(cut.key, cut.video_id, cut.clip_id, found.faces))
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
        pieces.put_begun(shard, cuts, good, joined(faces), {k: attempts[k] for k in faults})
        stop_if_full(full)
        first = next(iter(faults.values()))
        raise ReadFault(
            f"{len(faults)} of {len(cuts)} clips of {shard} could not be cut ({first.kind}): {first.reason}; the version in force stays, "
            "and what was cut is kept for the next run"
        )
    pieces.put(shard, cuts, result.table, joined(faces))
    return result


def _may_pass(fault: Fault, attempts: int, max_attempts: int) -> bool:
    return fault.kind != RESOURCE or attempts < max_attempts


def _tasks(
    cuts: Sequence[Cut], media: Mapping[str, Mapping[str, Any]], params: ClipExport, storage: Storage, folder: Path
) -> dict[str, Task[VideoCuts]]:
    by_video: dict[str, list[Cut]] = {}
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
        limit = LIMIT_S + last + seconds * (LIMIT_BLUR if params.blur_faces else LIMIT_PER_SECOND)
        tasks[video] = Task(video, VideoCuts(storage, ref, tuple(group), params, str(own)), limit)
    return tasks


def _reusable(earlier: pa.Table | None, cuts: Sequence[Cut], storage: Storage) -> dict[str, dict[str, Any]]:
    """Sample key -> row of an earlier export with the same fingerprint whose bytes are still there, under its present split."""
    if earlier is None or not cuts:
        return {}
    known = earlier.filter(pc.is_in(earlier["row_fingerprint"], value_set=pa.array([c.fingerprint for c in cuts])))
    rows = {r["sample_key"]: r for r in known.filter(pc.equal(known["status"], "ok")).to_pylist()}
    there = {tar: storage.exists(tar) for tar in {r["tar"] for r in rows.values()}}
    return {
        c.key: {**rows[c.key], "split": c.split}
        for c in cuts
        if c.key in rows and rows[c.key]["row_fingerprint"] == c.fingerprint and there[rows[c.key]["tar"]]
    }


def _row(cut: Cut, clip: CutClip, writer: TarWriter) -> dict[str, Any]:
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
    with open(clip.path, "rb") as file:
        member = writer.add(cut.key, {"mp4": file})["mp4"]
    Path(clip.path).unlink()
    facts = ("start_ms", "end_ms", "frames", "width", "height", "fps", "blurred_faces")
    where = {"tar": member.tar, "offset": member.offset, "size": member.size, "sha256": member.sha256}
    return {**row, **where, **{name: getattr(clip, name) for name in facts}, "status": "ok"}


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    contract = schema("clip_dataset")
    table = pa.Table.from_pylist(list(rows), schema=contract.arrow)
    return table.sort_by([(k, "ascending") for k in contract.key])


# ---- planning


@dataclass(frozen=True)
class Keys:
    """Sample keys of a subset: the id, with its dataset before it where the subset draws from several."""

    datasets: Sequence[str] = field(default=())

    def __call__(self, dataset: str, identifier: str) -> str:
        from curation_resources.tars import sample_key

        return sample_key(identifier if len(set(self.datasets)) < 2 else f"{dataset}-{identifier}")


def plan_cuts(
    selected: pa.Table,
    read: Callable[[str], pa.Table],
    params: ClipExport,
    keys: Keys,
) -> list[Cut]:
    """The cuts of one shard, sorted by sample key.

    Args:
        selected: the shard's selected rows of `curated_clips` or `curated_tracks`.
        read: asset -> its table for the shard.
        params: options; with `tracks` a cut per track, else one per clip.
        keys: names the samples.
    """
    crops = (
        {r["clip_id"]: r["crop"] for r in read("quality_scores").select(["clip_id", "crop"]).to_pylist()}
        if params.crop_border
        else {}
    )
    raw = {r["video_id"]: r for r in read("raw_shards").select(["video_id", "sha256", "etag"]).to_pylist()}
    of_tracks = "track_id" in selected.column_names
    tracks = {r["track_id"]: r for r in _boxes(read("tracks"), selected)} if of_tracks and params.tracks else {}
    spans = {r["clip_id"]: r for r in read("clips").to_pylist()} if of_tracks and not params.tracks else {}
    cuts: dict[str, Cut] = {}
    for row in selected.to_pylist():
        track_id = row["track_id"] if tracks or (of_tracks and params.tracks) else None
        key = keys(row["dataset"], track_id or row["clip_id"])
        span = spans.get(row["clip_id"], row)
        start_ms, end_ms, boxes = span["start_ms"], span["end_ms"], None
        if track_id is not None:
            track = tracks[track_id]
            boxes = TrackBoxes(track["frame_ms"], track["boxes"])
            # The frame of the last box is part of the clip.
            end_ms = min(track["end_ms"] + 1 + ROUNDING_MS, start_ms + round(params.track_max_s * 1000))
        crop = crops.get(row["clip_id"])
        cut = Cut(
            row["dataset"],
            row["video_id"],
            row["clip_id"],
            track_id,
            key,
            row["split"] or "train",
            start_ms,
            end_ms,
            span.get("start_frame") if boxes is None else None,
            span.get("end_frame") if boxes is None else None,
            None if crop is None or boxes is not None else (crop["x"], crop["y"], crop["w"], crop["h"]),
            boxes,
        )
        source = raw.get(row["video_id"], {"sha256": None, "etag": None})
        cuts[key] = Cut(**{**cut.__dict__, "fingerprint": fingerprint_of(cut, source, params)})
    return [cuts[k] for k in sorted(cuts)]


def _boxes(tracks: pa.Table, selected: pa.Table) -> list[dict[str, Any]]:
    wanted = tracks.filter(pc.is_in(tracks["track_id"], value_set=selected["track_id"].combine_chunks()))
    return wanted.select(["track_id", "start_ms", "end_ms", "frame_ms", "boxes"]).to_pylist()
