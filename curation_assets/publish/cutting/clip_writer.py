"""An exported clip as an mp4 file: pictures in the shape that the recipe asks for, sound cut to the sample, the same bytes every time.

What belongs here: geometry, encoding and muxing of one clip. What does not: which frames a clip has and where they are read from
(`export_clips.py`), what makes an mp4 file read alike everywhere (`clip_container.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import av
import av.filter
import cv2
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from curation_assets.decode.reading.clip_frames import ClipReader
from curation_assets.decode.reading.media import Display
from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.cutting.clip_container import MP4, without_picture_edits

T = TypeVar("T")
Image = NDArray[np.uint8]
Crop = tuple[float, float, float, float]
"""x, y, w, h as fractions of the displayed frame."""

AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
AAC_BITS_PER_CHANNEL = 64_000
WARM_UP_S = Fraction(1, 5)
"""Sound that is decoded before a clip, so that codecs that lean on earlier packets are right when it begins."""
EARLIER_S = (Fraction(0), Fraction(10))
JITTER_S = Fraction(1, 50)
"""Sound whose time is off by less follows the sound before without a gap: containers round times, some to milliseconds."""
SMOOTHING_S = 0.66
ASPECTS = (2 / 3, 3 / 2)
"""TrackVerse's extract_tracks.py: deviation of the Gaussian over a track's boxes, and the bounds of the mean aspect ratio."""
BT709 = 1
"""AVColorSpace of ITU-R BT.709."""


@dataclass(frozen=True)
class TrackBoxes:
    """The boxes of a track, which its clip follows.

    Attributes:
        times_ms: (n,) presentation times, ascending.
        boxes: (n, 4): x, y, w, h in displayed pixels.
    """

    times_ms: Sequence[int]
    boxes: Sequence[Sequence[float]]

    def windows(self, width: int, height: int) -> tuple[NDArray[np.float64], tuple[int, int]]:
        """The boxes smoothed, brought to one aspect ratio and kept inside the frame; and the even size of the clip, their mean.

        As TrackVerse does it: a Gaussian of 0.66 s, the mean aspect ratio clamped to 2/3..3/2, each box enlarged to that ratio.
        """
        boxes = np.asarray(self.boxes, np.float64).reshape(-1, 4)
        step_s = float(np.diff(self.times_ms).mean()) / 1000 if len(boxes) > 1 else 0.0
        if step_s > 0 and (sigma := int(SMOOTHING_S / step_s)):
            boxes = gaussian_filter1d(boxes, sigma, axis=0)
        boxes[:, 2:] = np.maximum(boxes[:, 2:], 2.0)
        centres = boxes[:, :2] + boxes[:, 2:] / 2
        w, h = boxes[:, 2].copy(), boxes[:, 3].copy()
        aspect = float(np.clip((w / h).mean(), *ASPECTS))
        h = np.maximum(h, w / aspect)
        w = h * aspect
        shrink = np.minimum(1.0, np.minimum(height / h, width / w))
        sizes = np.stack([w * shrink, h * shrink], axis=1)
        corners = np.clip(centres - sizes / 2, 0, np.array([width, height]) - sizes)
        mean = sizes.mean(axis=0)
        return np.concatenate([corners, sizes], axis=1), (even(mean[0]), even(mean[1]))


def even(length: float) -> int:
    """The largest even number up to `length`, at least 2."""
    return max(2, int(length) // 2 * 2)


class Pictures:
    """Turns the decoded frames of one video into the pictures of an exported clip, in YUV or, if `rgb`, as arrays.

    Args:
        frame: the first frame, which decides the size; frames of other sizes are scaled to it.
        display_of: how a frame is shown.
        params: size options.
        crop: the part that is kept; None is all.
        rgb: whether arrays are wanted.
        full: whether the whole picture is wanted in its own size, for tracks.
    """

    def __init__(
        self,
        frame: VideoFrame,
        display_of: Callable[[VideoFrame], Display],
        params: ClipExport,
        crop: Crop | None,
        rgb: bool,
        full: bool = False,
    ) -> None:
        self._display_of, self._rgb = display_of, rgb
        self._crop = None if full else crop
        display = display_of(frame)
        stored, (*_, w, h) = self._kept(frame, display)
        shown = (w * display.size[0] / stored[0], h * display.size[1] / stored[1])
        shrink = 1.0 if full or params.short_side is None else min(1.0, params.short_side / min(shown))
        if full:
            self.size = display.size
        else:
            self.size = (even(round(shown[0] * shrink)), even(round(shown[1] * shrink)))
        self._trimmed = not full and shrink == 1.0 and display.aspect == 1
        self._first = stored
        self._steps: list[str] = []
        self._made_for: tuple[int, int, str] | None = None
        self._graph: av.filter.Graph | None = None

    def _kept(self, frame: VideoFrame, display: Display) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
        """The stored size of a frame once it is turned, and the part of it that is kept."""
        stored = (frame.height, frame.width) if display.orientation.sideways else (frame.width, frame.height)
        if min(stored) < 2:
            raise ValueError(f"pictures of {stored[0]}x{stored[1]} pixels are too small to be encoded")
        return stored, (0, 0, *stored) if self._crop is None else _pixels(self._crop, stored)

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """The picture of a frame; the frame itself where nothing is to be changed."""
        shape = (frame.width, frame.height, frame.format.name)
        if shape != self._made_for:
            self._steps, self._graph, self._made_for = self._plan(frame), None, shape
        if not self._steps:
            return frame
        if self._graph is None:
            self._graph = self._build(frame)
        self._graph.vpush(frame)
        return cast(VideoFrame, self._graph.vpull())

    def _plan(self, frame: VideoFrame) -> list[str]:
        """The filters for frames like this one."""
        display = self._display_of(frame)
        stored, (x, y, w, h) = self._kept(frame, display)
        if self._trimmed and stored == self._first:
            w, h = self.size  # an odd row or column is cut off rather than the whole picture scaled
        steps = display.orientation.filters
        if (w, h) != stored:
            steps.append(f"crop={w}:{h}:{x}:{y}:exact=1")
        if (w, h) != self.size:
            steps.append(f"scale={self.size[0]}:{self.size[1]}:flags=bicubic+accurate_rnd+full_chroma_int")
        if self._rgb:
            steps.append("format=rgb24")
        elif steps or frame.format.name not in ("yuv420p", "yuvj420p"):
            steps.append("format=yuv420p")
        return [*steps, "setsar=1"] if steps else []

    def _build(self, frame: VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        graph.threads = 1
        source = (
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1000:pixel_aspect=1/1"
            f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}"
        )
        nodes = [graph.add("buffer", source)]
        for step in self._steps:
            name, _, arguments = step.partition("=")
            nodes.append(graph.add(name, arguments or None))
        nodes.append(graph.add("buffersink"))
        graph.link_nodes(*nodes).configure()
        return graph


def _pixels(crop: Crop, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The rectangle in whole, even pixels, inside the frame."""
    x, y = even(crop[0] * size[0] + 1) if crop[0] > 0 else 0, even(crop[1] * size[1] + 1) if crop[1] > 0 else 0
    x, y = min(x, size[0] - 2), min(y, size[1] - 2)
    right, bottom = round((crop[0] + crop[2]) * size[0]), round((crop[1] + crop[3]) * size[1])
    return x, y, even(min(right, size[0]) - x), even(min(bottom, size[1]) - y)


class TrackPictures:
    """RGB pictures that follow a track. `size` is that of the clip; a short side that the recipe asks for is never enlarged to."""

    def __init__(
        self,
        frame: VideoFrame,
        display_of: Callable[[VideoFrame], Display],
        params: ClipExport,
        track: TrackBoxes,
    ) -> None:
        self._whole = Pictures(frame, display_of, params, None, rgb=True, full=True)
        self._times = np.asarray(track.times_ms, np.float64)
        self._windows, size = track.windows(*self._whole.size)
        shrink = 1.0 if params.short_side is None else min(1.0, params.short_side / min(size))
        self.size = (even(size[0] * shrink), even(size[1] * shrink))

    def __call__(self, frame: VideoFrame, time_ms: int) -> Image:
        """uint8 (h, w, 3) RGB of the window at that time, on the line between the boxes before and after."""
        x, y, w, h = (int(np.interp(time_ms, self._times, column)) for column in self._windows.T)
        window = self._whole(frame).to_ndarray()[y : y + max(1, h), x : x + max(1, w)]
        shrinking = window.shape[1] > self.size[0]
        return cast(
            Image, cv2.resize(window, self.size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
        )


class ClipSound:
    """The sound of one video. A context manager.

    Args:
        source: a seekable stream of its own, not shared with the reader of the pictures.
        zero_s: container time at which the video's times begin.
    """

    def __init__(self, source: BinaryIO | str, zero_s: Fraction) -> None:
        self._source, self._zero_s = source, zero_s
        self._open()

    def _open(self) -> None:
        if not isinstance(self._source, str):
            self._source.seek(0)
        self._container = av.open(self._source, metadata_errors="replace")
        best = self._container.streams.best("audio")
        self.stream = best if isinstance(best, AudioStream) and best.codec_context is not None else None

    @classmethod
    def of(cls, source: BinaryIO) -> ClipSound:
        """The sound of a video whose pictures nobody else is reading.

        Raises:
            ClipUnreadable: not a video that can be opened.
        """
        with ClipReader(source) as reader:
            zero_s = reader.zero_ticks * reader.time_base
        source.seek(0)
        return cls(source, zero_s)

    @property
    def channels(self) -> int:
        """Channels that `frames` gives unless told otherwise: those of the track, at most two."""
        return min(2, self.stream.codec_context.channels) if self.stream is not None else 0

    @property
    def layout(self) -> str:
        """The track's channels as FFmpeg names them; six or eight unnamed ones are taken to be 5.1 or 7.1 in the order of WAVE files."""
        assert self.stream is not None
        name = self.stream.codec_context.layout.name
        return {"6 channels": "5.1", "8 channels": "7.1"}.get(name, name)

    def __enter__(self) -> ClipSound:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def frames(self, start_ms: int, end_ms: int, channels: int | None = None) -> Iterator[AudioFrame]:
        """The samples within [start_ms, end_ms) as planar float frames of one or two channels, whose `pts` counts samples from `start_ms`.

        Gaps in the sound are silence. Sound that cannot be decoded ends where it breaks off.
        """
        layout = "mono" if (channels or self.channels) == 1 else "stereo"
        assert self.stream is not None
        for samples, place in self._placed(start_ms, end_ms, layout):
            yield _sound(samples, place, layout, self.stream.codec_context.sample_rate)

    def samples(self, start_ms: int, end_ms: int) -> Iterator[NDArray[np.float32]]:
        """The samples of all channels, in the order of `layout`, one piece after the other: float32 (channels, n)."""
        for samples, _ in self._placed(start_ms, end_ms, self.layout):
            yield samples

    def _placed(self, start_ms: int, end_ms: int, layout: str) -> Iterator[tuple[NDArray[np.float32], int]]:
        """Samples (channels, n) in `layout` and the place of the first, counted from `start_ms`."""
        assert self.stream is not None
        rate = self.stream.codec_context.sample_rate
        start, length = Fraction(start_ms, 1000), round(Fraction(end_ms - start_ms, 1000) * rate)
        channels = av.AudioLayout(layout).nb_channels
        at: int | None = None
        resampler: AudioResampler | None = None
        shape: tuple[str, int, str] | None = None
        for time_s, frame in self._from(start, self._decode):
            if frame.sample_rate != rate:
                continue
            if shape != (frame.format.name, frame.sample_rate, frame.layout.name):
                shape = (frame.format.name, frame.sample_rate, frame.layout.name)
                unnamed = frame.layout.name.endswith(" channels") and frame.layout.nb_channels == channels > 2
                resampler = AudioResampler("flt", frame.layout if unnamed else layout, rate)
            frame.pts = None
            assert resampler is not None
            # PyAV cannot read eight planes or more; samples of all channels in one plane it can.
            samples = np.concatenate(
                [f.to_ndarray().reshape(-1, channels).T for f in resampler.resample(frame)], axis=1
            )
            place = round((time_s - start) * rate)
            if at is not None:
                if abs(place - at) <= JITTER_S * rate:
                    place = at
                elif place > at:
                    yield from _silence(at, min(place, length), channels, rate)
            skipped = max(0, (at if at is not None else 0) - place)
            samples, place = samples[:, skipped:], place + skipped
            samples = samples[:, : max(0, length - place)]
            if samples.shape[1]:
                yield samples, place
                at = place + samples.shape[1]
            if place >= length or (at is not None and at >= length):
                return

    def packets(self, start_s: Fraction, end_s: Fraction) -> Iterator[tuple[Fraction, av.Packet]]:
        """The packets that begin within [start_s, end_s), with their times."""
        for time_s, packet in self._from(start_s, self._demux):
            if time_s >= end_s:
                return
            if time_s >= start_s:
                yield time_s, packet

    def _from(self, start: Fraction, read: Callable[[], Iterator[tuple[Fraction, T]]]) -> Iterator[tuple[Fraction, T]]:
        """What `read` gives, with its times, from a little before `start` on."""
        for earlier in EARLIER_S:
            target = start - WARM_UP_S - earlier
            if target <= 0:
                break
            try:
                self._seek(target)
            except av.FFmpegError:
                break
            found = read()
            head = next(found, None)
            if head is not None and head[0] <= start:
                yield head
                yield from found
                return
        self._container.close()
        self._open()
        yield from read()

    def _seek(self, time_s: Fraction) -> None:
        assert self.stream is not None
        base = self.stream.time_base or Fraction(1, 1000)
        self._container.seek(int((time_s + self._zero_s) / base), stream=self.stream, backward=True)

    def _demux(self) -> Iterator[tuple[Fraction, av.Packet]]:
        try:
            for packet in self._container.demux(self.stream):
                if packet.size and packet.pts is not None:
                    yield Fraction(packet.pts) * packet.time_base - self._zero_s, packet
        except (av.FFmpegError, OSError):
            return

    def _decode(self) -> Iterator[tuple[Fraction, AudioFrame]]:
        try:
            for packet in self._container.demux(self.stream):
                try:
                    frames = cast("list[AudioFrame]", packet.decode())
                except av.error.InvalidDataError:
                    continue
                for frame in frames:
                    if frame.pts is not None and frame.time_base:
                        yield Fraction(frame.pts) * frame.time_base - self._zero_s, frame
        except (av.FFmpegError, OSError):
            return


def _sound(samples: NDArray[np.float32], place: int, layout: str, rate: int) -> AudioFrame:
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, place, Fraction(1, rate)
    return frame


def _silence(at: int, until: int, channels: int, rate: int) -> Iterator[tuple[NDArray[np.float32], int]]:
    for place in range(at, until, rate):
        yield np.zeros((channels, min(rate, until - place)), np.float32), place


class UnevenTimes(ValueError):
    """Pictures that should come at a constant rate do not."""


@dataclass(frozen=True)
class Timing:
    """When the pictures of a clip are shown.

    FFmpeg 5 and 6 take the duration of a picture in mp4 from the encoder's tick where the file's order is not that of display, and
    from the time of the next picture elsewhere. So pictures at a constant rate have B-frames and a tick of one picture, and those
    at others have no B-frames.

    Attributes:
        time_base: of the ticks in which times are given.
        rate: pictures per second, about if not `constant`.
        constant: whether every picture is shown at a multiple of 1 / rate, as far as `time_base` can say.
    """

    time_base: Fraction
    rate: Fraction
    constant: bool


class ClipWriter:
    """One clip on its way into an mp4 file.

    Args:
        path: local file that is written.
        params: quality and sound options.
        timing: of the ticks that `picture` is given.
        sound_rate, channels: of the sound that will come; None for none.
    """

    def __init__(
        self,
        path: Path,
        params: ClipExport,
        timing: Timing,
        sound_rate: int | None = None,
        channels: int = 2,
    ) -> None:
        self.frames = 0
        self._path, self._timing = path, timing
        self._out = av.open(str(path), "w", format="mp4", options=MP4)
        rate = timing.rate if timing.constant else timing.rate.limit_denominator(100_000)
        self._video = cast(VideoStream, self._out.add_stream("libx264", rate=rate))
        self._video.options = {"crf": str(params.crf), "preset": params.preset, "threads": "1"}
        self._video.options |= _repeatable()
        if not timing.constant:
            self._video.options |= {"bf": "0"}
        context = self._video.codec_context
        context.thread_count = 1
        context.flags |= Flags.bitexact
        self._base = 1 / timing.rate if timing.constant else timing.time_base
        context.time_base = self._video.time_base = self._base
        self._audio: AudioStream | None = None
        self._sound: deque[av.Packet] = deque()
        self._last: int | None = None
        self._held: av.Packet | None = None
        """The picture that is written when the next has come: how long the last one is shown is known at the end."""
        self._to_yuv = VideoReformatter()
        if sound_rate is not None:
            wanted = params.audio_rate or sound_rate
            aac = min(AAC_RATES, key=lambda r: (abs(r - wanted), r))
            self._audio = cast(
                AudioStream, self._out.add_stream("aac", rate=aac, layout="mono" if channels == 1 else "stereo")
            )
            self._audio.codec_context.flags |= Flags.bitexact
            self._audio.codec_context.bit_rate = AAC_BITS_PER_CHANNEL * channels

    def sound(self, frames: Iterator[AudioFrame]) -> None:
        """Encodes the sound; it is written as the pictures come. Call it before the first picture."""
        if self._audio is None:
            return
        for frame in frames:
            self._sound.extend(self._audio.encode(frame))
        self._sound.extend(self._audio.encode(None))

    def picture(self, frame: VideoFrame, ticks: int) -> None:
        """Encodes a YUV frame shown at `ticks`, counted from the clip's start; ticks that do not grow are moved up by one.

        Raises:
            UnevenTimes: not at the constant rate.
        """
        if self._timing.constant:
            ticks = self._numbered(ticks)
        elif self._last is not None:
            ticks = max(ticks, self._last + 1)
        context = self._video.codec_context
        if self._last is None:
            context.width, context.height, context.pix_fmt = frame.width, frame.height, frame.format.name
            context.color_range, context.colorspace = frame.color_range, frame.colorspace
            context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
        self._last = ticks
        frame.pts, frame.time_base, frame.pict_type = ticks, self._base, PictureType.NONE
        self.frames += 1
        self._mux(self._video.encode(frame))

    def _numbered(self, ticks: int) -> int:
        """The number of the picture at `ticks`. Two roundings, of the clip's start and of the picture's time, make up to a tick."""
        away = abs(ticks * self._timing.time_base - self.frames / self._timing.rate)
        if away > self._timing.time_base or 2 * away * self._timing.rate >= 1:
            raise UnevenTimes(
                f"picture {self.frames} is {float(away):.3f} s away from {self._timing.rate} pictures a second"
            )
        return self.frames

    def rgb(self, image: Image, ticks: int, colorspace: int) -> None:
        """Encodes an RGB array, as studio-range YUV in BT.709 where the source is, else BT.601."""
        target = Colorspace.ITU709 if colorspace == BT709 else Colorspace.ITU601
        frame = self._to_yuv.reformat(
            VideoFrame.from_ndarray(image, format="rgb24"),
            format="yuv420p",
            dst_colorspace=target,
            dst_color_range=ColorRange.MPEG,
        )
        self.picture(frame, ticks)

    def _mux(self, packets: Sequence[av.Packet]) -> None:
        for packet in packets:
            if self._held is not None:
                self._write(self._held)
            self._held = packet

    def _write(self, packet: av.Packet) -> None:
        while self._sound and packet.dts is not None and _time(self._sound[0]) <= _time(packet):
            self._out.mux(self._sound.popleft())
        self._out.mux(packet)

    def close(self, last: int = 0) -> None:
        """Finishes the file.

        Args:
            last: how long the last picture is shown, in ticks; at a constant rate it is shown for one period.

        Raises:
            ValueError: no picture was given.
        """
        try:
            if self._last is None:
                raise ValueError("no frame can be decoded in its span")
            self._mux(self._video.encode(None))
            if self._held is not None:
                self._held.duration = 1 if self._timing.constant else last  # the encoder says the mean
                self._write(self._held)
            while self._sound:
                self._out.mux(self._sound.popleft())
        finally:
            self._sound.clear()
            self._out.close()
        without_picture_edits(self._path)

    def abandon(self) -> None:
        """Gives the file up."""
        self._sound.clear()
        if self._last is not None:
            self._out.close()


@lru_cache(maxsize=1)
def _repeatable() -> dict[str, str]:
    """Options with which x264 gives the same bytes every time.

    Its macroblock tree in AVX-512 does not (in PyAV 18.1's wheels: up to nine results in twelve runs), so AVX2 is used where the
    processor has both, as it is elsewhere.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    return {"x264-params": "asm=AVX2"} if "avx512f" in flags else {}


def _time(packet: av.Packet) -> Fraction:
    ticks = packet.dts if packet.dts is not None else packet.pts or 0
    return ticks * (packet.time_base or Fraction(1, 1000))


class SteadyRate:
    """Passes pictures on at a constant rate: at each tick of the new rate the picture that is on screen.

    Args:
        give: takes a picture and the number of its tick.
        fps: ticks per second.
    """

    def __init__(self, give: Callable[[Any, int], None], fps: Fraction) -> None:
        self._give, self._fps, self._tick = give, fps, 0
        self._showing: Any = None

    def push(self, picture: Any, time_s: Fraction) -> None:
        self._until(time_s)
        self._showing = picture

    def _until(self, time_s: Fraction) -> None:
        while self._showing is not None and self._tick / self._fps < time_s:
            self._give(self._showing, self._tick)
            self._tick += 1

    def finish(self, end_s: Fraction) -> None:
        """Shows the last picture until the end."""
        self._until(end_s)
