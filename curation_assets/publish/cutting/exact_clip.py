"""One clip that is being cut exactly: its frames are pushed, get their shape, faces covered and times, and go to the encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import cast

from av.video.frame import VideoFrame

from curation_assets.decode.reading.clip_frames import ROUNDING_MS, ClipFrame, ClipReader
from curation_assets.decode.reading.clip_sound import ClipSound
from curation_assets.publish.cutting.clip_encoding import ClipEncoder
from curation_assets.publish.cutting.clip_pictures import ClipPictures, Image
from curation_assets.publish.cutting.clip_plan import ClipToCut
from curation_assets.publish.cutting.clip_timing import SteadyRate, Timing, UnevenTimes
from curation_assets.publish.cutting.cover_blurring import PushedBlurring
from curation_assets.publish.cutting.seam_check import SeamFault
from curation_assets.publish.cutting.sound_copy import CopiedSound, copied_sound
from curation_assets.publish.cutting.track_pictures import TrackPictures
from curation_assets.publish.cutting.video_task import CutClip, VideoCuts
from curation_resources.faults import Fault, fault_of


class ExactClip:
    """A clip that is being cut: frames are pushed, then it is finished. Errors are kept for its row.

    Args:
        cut: the clip.
        reader: of the video's pictures; says how they are shown and how fast they come.
        sound: of the same video; None for a silent clip.
        task: of the video; has the options and the folder for the file.
        constant: whether pictures are taken to come at a constant rate if the file looks like that, and with `cut: smart` sound is copied where it can be.
    """

    def __init__(
        self, cut: ClipToCut, reader: ClipReader, sound: ClipSound | None, task: VideoCuts, constant: bool
    ) -> None:
        self.cut, self._reader, self._sound, self._params = cut, reader, sound, task.params
        self._constant, self._uneven = constant, False
        self._path = Path(task.folder) / f"{hashlib.sha256(cut.key.encode()).hexdigest()[:24]}.mp4"
        self._error: str | None = None
        self._fault: Fault | None = None
        self._taken = 0
        self._first_ticks: int | None = None
        self._last: tuple[int, int] = (0, 0)
        """Place and duration of the last frame, as the source has them."""
        self._writer: ClipEncoder | None = None
        self._copied: CopiedSound | None = None
        self._make: Callable[[ClipFrame], VideoFrame | Image] | None = None
        self._size = (0, 0)
        self._steady: SteadyRate | None = None
        self._blur: PushedBlurring | None = None
        self._colorspace = 0

    def push(self, frame: ClipFrame, ticks: int) -> None:
        """Takes the next frame of the clip, shown at `ticks` of the video's time base. Nothing more is taken after an error."""
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
        self._uneven = self._uneven or isinstance(problem, UnevenTimes | SeamFault)
        self.fail(f"{type(problem).__name__}: {problem}", problem)

    def fail(self, error: str, problem: Exception | None = None) -> None:
        """Notes why there will be no clip; the first reason stays."""
        if self._error is None:
            self._error, self._fault = error, fault_of(problem) if problem is not None else None

    def _begin(self, frame: ClipFrame) -> None:
        params = self._params
        self._colorspace = int(frame.frame.colorspace)
        self._make, self._size = self._shape(frame)
        timing = self._timing()
        if self._sound is not None and self._constant and params.way == "smart":
            self._copied = copied_sound(self._sound, self.cut, params)
        self._writer = ClipEncoder(self._path, params, timing, self._sound, self._copied)
        self._writer.sound(self.cut.start_ms, self._end_ms())
        if params.fps is not None:
            self._steady = SteadyRate(self._encode, timing.rate)
        if params.covers:
            self._blur = PushedBlurring(params.covers, self._give)

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
        pictures = ClipPictures(frame.frame, display_of, params, self.cut.crop, bool(params.covers))
        if params.covers:
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
                if self._copied is not None:
                    self._copied.check(self._path)
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
        facts = (cut.start_ms, end_ms, frames, self._size[0], self._size[1], fps)
        encoder = self._params.encoder
        made = CutClip(cut.key, None, str(self._path), *facts, cut="exact", encoded_frames=frames, encoder=encoder)
        if self._blur is None:
            return made
        covered = self._blur.covered
        return replace(made, covered=covered, **{f"blurred_{t}s": table.num_rows for t, table in covered.items()})
