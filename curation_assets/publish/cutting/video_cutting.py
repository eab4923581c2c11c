"""Cuts the clips of one video in a worker process: one decode for all of them, exact to the frame.

A video is read in runs of clips that overlap or lie close together; every decoded frame goes to each clip that it belongs to, so
overlapping spans cost one decode. What belongs here: which frames go to which clip. What does not: how frames are decoded
(`decode/reading/clip_frames.py`), what becomes of them in a clip (`exact_clip.py`), copying (`smart_clip.py`, and without decoding at all `clip_copy.py`).
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

import av
from fsspec.implementations.local import LocalFileSystem

from curation_assets.decode.reading.clip_frames import JOIN_MS, ROUNDING_MS, ClipFrame, ClipReader
from curation_assets.decode.reading.clip_sound import ClipSound
from curation_assets.decode.reading.media import MediaError, OpenVideo
from curation_assets.decode.reading.media import reason as said
from curation_assets.publish.cutting.clip_copy import copy_clip
from curation_assets.publish.cutting.clip_plan import ClipToCut
from curation_assets.publish.cutting.exact_clip import ExactClip
from curation_assets.publish.cutting.seams import NotCopied
from curation_assets.publish.cutting.smart_clip import smart_clip
from curation_assets.publish.cutting.sound_file import write_sound
from curation_assets.publish.cutting.video_task import CutClip, VideoCuts
from curation_resources.faults import WatchedStream, fault_of

log = logging.getLogger(__name__)
ALL_MS = 1 << 52
"""An end that no video reaches."""


def cut_video(task: VideoCuts) -> list[CutClip]:
    """Cuts the clips of one video, in the order of `task.cuts`; runs in a worker process.

    Raises nothing: whatever goes wrong is the `error` of the clips that it hits.
    """
    import cv2

    cv2.setNumThreads(1)
    try:
        with ExitStack() as stack:
            open_media = _Opener(task, stack)
            cut = CUTTERS[task.params.way](open_media, task, stack)
            done = {c.key: c for c in _with_sound_beside(cut, open_media, task, stack)}
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
    sound = stack.enter_context(ClipSound(open_media(), reader.zero_ticks * base)) if task.params.sound_within else None
    again: list[ClipToCut] = []
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


def _smart(open_media: Callable[[], BinaryIO], task: VideoCuts, stack: ExitStack) -> Iterator[CutClip]:
    """Copies the pictures of clips as far as it can; those of which it cannot, or is not sure, are cut exactly."""
    reasons: dict[str, str] = {}
    try:
        video = stack.enter_context(OpenVideo(open_media(), deinterlace=False))
    except MediaError as error:
        reasons = dict.fromkeys((c.key for c in task.cuts), f"the video {error}")
    else:
        zero_s = video.zero_ticks * video.time_base
        sound = stack.enter_context(ClipSound(open_media(), zero_s)) if task.params.sound_within else None
        for cut in sorted(task.cuts, key=lambda c: (c.start_ms, c.end_ms, c.key)):
            try:
                yield smart_clip(video, sound, cut, task.params, _path(task, cut))
            except NotCopied as reason:
                reasons[cut.key] = str(reason)
            except Exception as problem:
                if fault_of(problem) is not None:
                    raise
                log.exception("%s is encoded whole", cut.clip_id)
                reasons[cut.key] = f"{type(problem).__name__}: {problem}"
    rest = replace(task, cuts=tuple(c for c in task.cuts if c.key in reasons))
    for clip in _exact(open_media, rest, stack) if rest.cuts else ():
        yield replace(clip, encoded_because=reasons[clip.key])


def _with_sound_beside(
    clips: Iterable[CutClip], open_media: Callable[[], BinaryIO], task: VideoCuts, stack: ExitStack
) -> Iterator[CutClip]:
    """The clips, with the sound of their actual spans in files of their own where the recipe wants that; one whose sound cannot be written fails."""
    ending = task.params.sound_beside
    sound = stack.enter_context(ClipSound.of(open_media())) if ending else None
    for clip in clips:
        if sound is None or clip.path is None or clip.start_ms is None or clip.end_ms is None:
            yield clip
            continue
        path = Path(clip.path).with_suffix(f".{ending}")
        try:
            heard = write_sound(sound, (clip.start_ms, clip.end_ms), path, task.params.audio_rate)
            yield replace(clip, sound=str(path) if heard else None)
        except Exception as problem:  # noqa: BLE001 - recorded in the clip's row; the other clips go on
            for made in (path, Path(clip.path)):
                made.unlink(missing_ok=True)
            reason = f"its sound cannot be written as {ending} ({type(problem).__name__}: {problem})"
            yield CutClip(clip.key, f"{clip.key}: {reason}", fault=fault_of(problem))


def _path(task: VideoCuts, cut: ClipToCut) -> Path:
    """Where the file of a clip goes."""
    return Path(task.folder) / f"{hashlib.sha256(cut.key.encode()).hexdigest()[:24]}.mp4"


def runs(cuts: Iterable[ClipToCut]) -> list[list[ClipToCut]]:
    """The cuts in order of time, those together that overlap or are at most `JOIN_MS` apart."""
    joined: list[list[ClipToCut]] = []
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
    run: Sequence[ClipToCut],
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
    active: list[ExactClip] = []
    done: dict[str, CutClip] = {}

    def begun(cut: ClipToCut, frame: ClipFrame, number: int) -> bool:
        return number >= (cut.start_frame or 0) if by_number else frame.time_ms >= cut.start_ms - ROUNDING_MS

    def over(cut: ClipToCut, frame: ClipFrame, number: int) -> bool:
        return number >= (cut.end_frame or 0) if by_number else frame.time_ms >= cut.end_ms - ROUNDING_MS

    span = (0, ALL_MS) if by_number else (run[0].start_ms, max(c.end_ms for c in run))
    try:
        for number, frame in enumerate(reader.frames(*span)):
            while waiting and begun(waiting[0], frame, number):
                active.append(ExactClip(waiting.popleft(), reader, sound, task, constant))
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


def _copy(open_media: Callable[[], BinaryIO], task: VideoCuts, stack: ExitStack) -> Iterator[CutClip]:
    """Copies the packets from the last key frame at or before the start, without decoding."""
    sound = stack.enter_context(ClipSound.of(open_media())) if task.params.sound_within else None
    for cut in sorted(task.cuts, key=lambda c: (c.start_ms, c.end_ms, c.key)):
        path = _path(task, cut)
        try:
            with open_media() as stream, OpenVideo(stream, deinterlace=False) as video:
                made = copy_clip(video, sound, (cut.start_ms, cut.end_ms), path)
            facts = (made.start_ms, made.end_ms, made.frames, made.width, made.height, made.fps)
            yield CutClip(cut.key, None, str(path), *facts, cut="copy", encoded_frames=0)
        except Exception as problem:  # noqa: BLE001 - recorded in the clip's row; the other clips go on
            path.unlink(missing_ok=True)
            reason = str(problem)
            if isinstance(problem, av.FFmpegError | ValueError):
                reason = f"cannot be copied into mp4 ({said(problem)}); use cut: exact"
            yield CutClip(cut.key, f"{cut.clip_id}: {reason}", fault=fault_of(problem))


CUTTERS: Mapping[str, Callable[[Callable[[], BinaryIO], VideoCuts, ExitStack], Iterator[CutClip]]] = {
    "smart": _smart,
    "exact": _exact,
    "copy": _copy,
}
