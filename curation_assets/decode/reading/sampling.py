"""Sampled frames: JPEGs made while the video is decoded, chosen when the clips are known.

Samples lie on a grid of the recipe's rate over the whole video, so that a clip of more than about `min_per_clip / fps` seconds finds its
own among them. A shorter clip also needs the frames at about 10, 50 and 90 percent of its length, but its bounds are known only when
the video has ended. So decoded frames of the last seconds are held (not copied, not encoded), and wherever a boundary may be, those
which a short clip that ends there would need are encoded too. What a clip still misses is fetched afterwards by seeking; that happens
for clips whose bounds are neither jumps of the picture nor known beforehand.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from curation_assets.decode.frames import Frames
from curation_assets.decode.reading.media import Display, OpenVideo, Source
from curation_assets.decode.reading.reader import then_none
from curation_assets.decode.reading.reference_frames import reference_test
from curation_assets.decode.reading.shown_frames import Decoding, ShownFrame
from curation_assets.decode.reading.timeline import milliseconds
from curation_resources.model_input import ModelInput

FIRST, LAST = 0.1, 0.9
"""Where in a clip the first and last of its `min_per_clip` samples lie."""
TOLERANCE = 0.15
"""How far from its place in the clip a sample may lie, as a share of the clip's length."""
HELD_BYTES = 64_000_000
"""Decoded frames held for clips that may turn out to be short."""
HELD_SPACING_MS = 240
MAX_BOUNDARIES = 64
SEEK_MS = 4000
"""Targets further ahead than this are sought instead of decoded up to."""


@dataclass(frozen=True)
class EncodedFrame:
    """A frame that was encoded.

    Attributes:
        frame: index in display order.
        time_ms: presentation time.
        offset, size: where its JPEG lies in the spool file.
        width, height: of the JPEG.
        inputs: sizes of the pictures for models, which lie behind the JPEG in the order in which the writer knows them.
    """

    frame: int
    time_ms: int
    offset: int
    size: int
    width: int
    height: int
    inputs: tuple[int, ...] = ()


class JpegWriter:
    """Encodes frames as they are displayed and appends them to a file.

    Args:
        params: size and quality.
        file: open for reading and writing.
        inputs: pictures for models that are made of each frame besides, from the decoded picture and not from the JPEG.
    """

    def __init__(self, params: Frames, file: BinaryIO, inputs: Sequence[ModelInput] = ()) -> None:
        self._short_side = params.short_side
        self._options = [cv2.IMWRITE_JPEG_QUALITY, params.quality]
        self._file, self.inputs = file, tuple(inputs)
        # Scaling within the format and converting afterwards takes a fifth of the time of both at once.
        self._scale, self._convert, self._whole = VideoReformatter(), VideoReformatter(), VideoReformatter()

    def add(self, frame: VideoFrame, display: Display, index: int, time_ms: int) -> EncodedFrame:
        """Encodes one frame at the file's end."""
        size = display.fit(short_side=self._short_side)
        planar = frame.format.name.startswith(("yuv", "gray"))
        scaled = frame
        if planar and size != (frame.width, frame.height):
            scaled = self._scale.reformat(frame, *size, frame.format.name, interpolation="AREA", threads=1)
        image = self._shown(self._convert, scaled, size, display)
        _, data = cv2.imencode(".jpg", image, self._options)
        offset = self._file.seek(0, 2)
        self._file.write(data.data)
        made = self._made(frame, display, image if size == display.upright else None)
        for picture in made:
            self._file.write(picture)
        return EncodedFrame(
            index, time_ms, offset, len(data), image.shape[1], image.shape[0], tuple(len(p) for p in made)
        )

    def _made(self, frame: VideoFrame, display: Display, whole: np.ndarray | None) -> list[bytes]:
        """The pictures for models; `whole` is the frame at its full size, in BGR, if that has been made."""
        if not self.inputs:
            return []
        if whole is None:
            whole = self._shown(self._whole, frame, display.upright, display)
        pixels = cv2.cvtColor(whole, cv2.COLOR_BGR2RGB)
        return [i.made(pixels) for i in self.inputs]

    @staticmethod
    def _shown(convert: VideoReformatter, frame: VideoFrame, size: tuple[int, int], display: Display) -> np.ndarray:
        """The frame at a size (width, height before it is turned), as it is displayed, in BGR."""
        image = convert.reformat(frame, *size, "bgr24", interpolation="AREA", threads=1).to_ndarray()
        return np.ascontiguousarray(display.orientation.turn(image))


def places(params: Frames) -> list[float]:
    """The places in a clip, 0 to 1, near which it has samples in any case."""
    if params.min_per_clip == 1:
        return [0.5]
    return np.linspace(FIRST, LAST, params.min_per_clip).tolist()


class FrameSampler:
    """Encodes the samples of one video.

    Args:
        params: rate, size, quality and the least number per clip.
        writer: where the JPEGs go.
        shortest_ms: clips that are shorter will not be asked for.
        planned: spans (start_ms, end_ms) that are known to become clips as they stand.
    """

    def __init__(
        self, params: Frames, writer: JpegWriter, *, shortest_ms: int, planned: Iterable[tuple[int, int]] = ()
    ) -> None:
        self._params, self._writer = params, writer
        self._places = places(params)
        self._grid_ms = 1000 / params.fps
        self._short_ms = self._grid_ms * (params.min_per_clip + 0.5)
        self._shortest_ms = shortest_ms
        self._spacing_ms = min(HELD_SPACING_MS, max(1, shortest_ms // 8))
        self._next_grid = 0
        self._planned = deque(sorted({t for s in planned for t in self._targets(*s)}))
        self._held: deque[ShownFrame] = deque()
        self._sizes: deque[int] = deque()
        self._held_bytes = 0
        self._boundaries: deque[int] = deque(maxlen=MAX_BOUNDARIES)
        self._samples: list[EncodedFrame] = []
        self._encoded: set[int] = set()

    def push(self, shown: ShownFrame) -> None:
        """Takes a frame, in display order; frames that were not decoded faithfully are passed over."""
        if shown.frame is None or not shown.faithful:
            return
        time_ms = shown.time_ms
        if not self._boundaries:
            self._boundaries.append(time_ms)
        due = time_ms >= self._next_grid * self._grid_ms - 0.5
        if due:
            self._next_grid = int((time_ms + 0.5) // self._grid_ms) + 1
        while self._planned and self._planned[0] <= time_ms:
            self._planned.popleft()
            due = True
        if due:
            self._encode(shown.frame, shown.display, shown.index, time_ms)
        if not self._held or time_ms - self._held[-1].time_ms >= self._spacing_ms:
            self._hold(shown)

    def boundary(self, time_ms: int) -> None:
        """A clip may end at `time_ms`: encodes the held frames that it would need."""
        for start_ms in self._boundaries:
            if self._shortest_ms <= time_ms - start_ms < self._short_ms:
                held = [s for s in self._held if start_ms <= s.time_ms < time_ms]
                for target in self._unmet(start_ms, time_ms):
                    if held:
                        near = min(held, key=lambda s: (abs(s.time_ms - target), s.time_ms))
                        self._encode(near.frame, near.display, near.index, near.time_ms)
        if not self._boundaries or time_ms > self._boundaries[-1]:
            self._boundaries.append(time_ms)

    def finish(self, end_ms: int) -> None:
        """The video has ended."""
        self.boundary(end_ms)
        self._held.clear()
        self._sizes.clear()
        self._held_bytes = 0

    def fetch(self, source: Source, found: Decoding, clips: Iterable[tuple[int, int]]) -> int:
        """Encodes, by seeking in `source`, what the `clips` (start_ms, end_ms) still miss; returns how many frames that were."""
        missing = sorted({t for clip in clips for t in self._unmet(*clip)})
        before, timeline = len(self._samples), found.timeline
        if missing and timeline is not None:
            for near in frames_near(source, found, missing):
                index = timeline.frame_from(near.time_ms)
                if index < len(timeline) and timeline.time_of(index) == near.time_ms:
                    self._encode(near.frame, near.display, index, near.time_ms)
        return len(self._samples) - before

    def choose(self, start_frame: int, end_frame: int) -> list[EncodedFrame]:
        """The samples of the clip [start_frame, end_frame)."""
        first, last = (bisect_left(self._samples, f, key=_frame) for f in (start_frame, end_frame))
        return self._samples[first:last]

    def _targets(self, start_ms: int, end_ms: int) -> list[int]:
        return [round(start_ms + place * (end_ms - start_ms)) for place in self._places]

    def _unmet(self, start_ms: int, end_ms: int) -> list[int]:
        """Target times of the clip that no sample within it is near to."""
        first, last = (bisect_left(self._samples, t, key=_time) for t in (start_ms, end_ms))
        times = [s.time_ms for s in self._samples[first:last]]
        slack = TOLERANCE * (end_ms - start_ms)
        return [t for t in self._targets(start_ms, end_ms) if _distance(times, t) > slack]

    def _encode(self, frame: VideoFrame | None, display: Display, index: int, time_ms: int) -> None:
        if frame is not None and index not in self._encoded:
            self._encoded.add(index)
            insort(self._samples, self._writer.add(frame, display, index, time_ms), key=_frame)

    def _hold(self, shown: ShownFrame) -> None:
        self._held.append(shown)
        self._sizes.append(_bytes(shown.frame))
        self._held_bytes += self._sizes[-1]
        while self._held and (
            self._held_bytes > HELD_BYTES or self._held[0].time_ms < shown.time_ms - self._short_ms - self._spacing_ms
        ):
            self._held.popleft()
            self._held_bytes -= self._sizes.popleft()


def _frame(sample: EncodedFrame) -> int:
    return sample.frame


def _time(sample: EncodedFrame) -> int:
    return sample.time_ms


def _bytes(frame: VideoFrame | None) -> int:
    return sum(p.buffer_size for p in frame.planes) if frame is not None else 0


def _distance(times: Sequence[int], target: int) -> float:
    """From `target` to the nearest of the sorted `times`."""
    at = bisect_left(times, target)
    return min((abs(t - target) for t in times[max(0, at - 1) : at + 1]), default=float("inf"))


@dataclass(frozen=True)
class Near:
    """A frame that was sought, its time and how it is shown."""

    frame: VideoFrame
    time_ms: int
    display: Display


def frames_near(source: Source, found: Decoding, targets: Sequence[int]) -> Iterator[Near]:
    """For each of the ascending `targets` (ms) the first frame at or after it, by seeking; a frame may serve several.

    Args:
        found: of the pass over the whole video.
    """
    with OpenVideo(source, deinterlace=found.deinterlace) as video:
        left = deque(targets)
        sought = True
        while left:
            try:
                video.seek(found.zero + int(left[0] / 1000 / video.time_base))
            except av.FFmpegError:
                video.rewind()
                sought = False
            reached = False
            for near in _from_here(video, found.zero, left):
                if left and near.time_ms >= left[0]:
                    reached = True
                    yield near
                    while left and left[0] <= near.time_ms:
                        left.popleft()
                if not left or (sought and left[0] > near.time_ms + SEEK_MS):
                    break
            if not reached and left:
                left.popleft()


def _from_here(video: OpenVideo, zero: int, left: deque[int]) -> Iterator[Near]:
    """The frames from the demuxer's position on, without those that are neither needed nor referenced."""
    is_reference = None if video.reordered else reference_test(video.context)
    for packet in then_none(video.packets()):
        if packet is not None and packet.pts is not None and is_reference is not None and left:
            early = milliseconds(packet.pts - zero, video.time_base) < left[0]
            if early and not is_reference(packet) and not video.interlaced:
                continue
        for frame in video.decode(packet):
            if frame.pts is not None:
                yield Near(frame, milliseconds(frame.pts - zero, video.time_base), video.display(frame))
