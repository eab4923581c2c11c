"""A clip is encoded here: its pictures, muxed with their sound into an mp4 file; by an encoder of the CPU with the same bytes every time.

What belongs here: encoding and muxing of one clip. What does not: its sound (`sound_track.py`), which frames a clip has and where they are read
from (`video_cutting.py`), what encoders are told (`curation_resources/encoders.py`), the shape of its pictures (`clip_pictures.py`), what makes an mp4 file read alike everywhere (`clip_container.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import cast

import av
from av.codec.context import Flags
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from curation_assets.decode.reading.clip_sound import ClipSound
from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.cutting.clip_container import MP4, without_picture_edits
from curation_assets.publish.cutting.clip_pictures import Image
from curation_assets.publish.cutting.clip_timing import Timing, UnevenTimes
from curation_assets.publish.cutting.sound_copy import CopiedSound
from curation_assets.publish.cutting.sound_track import SoundTrack
from curation_resources.encoders import ENCODERS

BT709 = 1
"""AVColorSpace of ITU-R BT.709."""


def in_formats(frame: VideoFrame, formats: Collection[str], converter: VideoReformatter) -> VideoFrame:
    """A YUV 4:2:0 frame under a name that an encoder knows: full range is a format of its own to some, `yuvj420p`, and a property of `yuv420p` to others. The samples stay.

    Args:
        formats: that the encoder takes.
    """
    if frame.format.name != "yuvj420p" or frame.format.name in formats:
        return frame
    full = ColorRange.JPEG
    renamed = converter.reformat(frame, format="yuv420p", src_color_range=full, dst_color_range=full)
    renamed.color_range, renamed.colorspace = full, frame.colorspace
    renamed.color_primaries, renamed.color_trc = frame.color_primaries, frame.color_trc
    return renamed


class ClipEncoder:
    """One clip on its way into an mp4 file.

    Args:
        path: local file that is written.
        params: encoder, quality and sound options.
        timing: of the ticks that `picture` is given.
        sound: that of the video; None for a silent clip.
        copied: packets of it that are copied; None where it is encoded.
    """

    def __init__(
        self,
        path: Path,
        params: ClipExport,
        timing: Timing,
        sound: ClipSound | None = None,
        copied: CopiedSound | None = None,
    ) -> None:
        self.frames = 0
        self._path, self._timing = path, timing
        self._out = av.open(str(path), "w", format="mp4", options=MP4)
        rate = timing.rate if timing.constant else timing.rate.limit_denominator(100_000)
        self._encoder = ENCODERS[params.encoder]
        self._video = cast(VideoStream, self._out.add_stream(params.encoder, rate=rate))
        self._video.options |= self._encoder.options(params.crf, params.preset, timing.constant)
        context = self._video.codec_context
        if self._encoder.tag is not None:
            context.codec_tag = self._encoder.tag
        context.thread_count = 1
        context.flags |= Flags.bitexact
        self._base = 1 / timing.rate if timing.constant else timing.time_base
        context.time_base = self._video.time_base = self._base
        self._source = sound if copied is None else None
        if sound is not None and copied is not None:
            self._sound: SoundTrack | None = SoundTrack.copied(self._out, sound, copied)
        else:
            self._sound = SoundTrack.of(self._out, params, sound)
        self._last: int | None = None
        self._held: av.Packet | None = None
        """The picture that is written when the next has come: how long the last one is shown is known at the end."""
        self._to_yuv = VideoReformatter()
        self._formats = {f.name for f in context.codec.video_formats or ()}

    def sound(self, start_ms: int, end_ms: int) -> None:
        """Encodes the sound of a span if it is not copied; it is written as the pictures come. Call it before the first picture."""
        if self._sound is not None and self._source is not None:
            self._sound.encode(self._source.frames(start_ms, end_ms, self._sound.channels))

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
        frame = in_formats(frame, self._formats, self._to_yuv)
        if self._last is None:
            context.width, context.height, context.pix_fmt = frame.width, frame.height, frame.format.name
            context.color_range, context.colorspace = frame.color_range, frame.colorspace
            context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
        self._last = ticks
        frame.pts, frame.time_base, frame.pict_type = ticks, self._base, PictureType.NONE
        self.frames += 1
        self._mux(self._encoded(frame))

    def _encoded(self, frame: VideoFrame | None) -> list[av.Packet]:
        with self._encoder.at_work():
            return self._video.encode(frame)

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
        if self._sound is not None and packet.dts is not None:
            self._sound.write((packet.dts, packet.time_base))
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
            self._mux(self._encoded(None))
            if self._held is not None:
                self._held.duration = 1 if self._timing.constant else last  # the encoder says the mean
                self._write(self._held)
            if self._sound is not None:
                self._sound.write()
        finally:
            self._out.close()
        without_picture_edits(self._path)

    def abandon(self) -> None:
        """Gives the file up."""
        if self._last is not None:
            self._out.close()
