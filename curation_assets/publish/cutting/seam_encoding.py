"""The pictures beside a seam, encoded so that they go into one track with copied ones: in the video's codec, with parameter sets of other numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import av
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.cutting.clip_timing import Timing
from curation_assets.publish.cutting.coded_units import CODINGS, H265, RENUMBERED, NotUnderstood, SetKey, renumbered
from curation_assets.publish.cutting.repeated_pictures import Repeating, repeats
from curation_assets.publish.cutting.unit_packing import split_stream, stream_of
from curation_resources.x264 import repeatable

X265 = "pools=none:frame-threads=1:wpp=0:bframes=0:info=0:log-level=none"
"""One thread, so that the same pictures give the same bytes; no reordering; no unit that says how it was encoded."""


SEAM_ENCODERS = {"h264": "libx264", "hevc": "libx265"}
"""Codec of a video -> what encodes beside its seams, whichever encoder the recipe names for whole clips."""
FASTEST_ALIKE, WHOLE_PIXELS = "superfast", "subme=0"
"""x264's preset for few pictures, and that motion is looked for in whole pixels. At the same `crf` this gives no worse pictures than slower presets (without their
look-ahead it gives more bits to what follows a picture): of six videos 0.1 to 1.6 dB more than `veryfast`, at 0.5 to 0.7 of its time and 1.2 to 3.4 times its bits."""
FASTER = frozenset({"ultrafast", "superfast"})


@dataclass(frozen=True)
class Encoded:
    """Pictures that were encoded, in the order of decoding, which is that of display.

    Attributes:
        sets: their parameter sets.
        pictures: units of each.
        restarts: places of those at which decoding may begin.
        alone: units of each as the encoder gave them; None for a picture that repeats the one before and that it was not given.
    """

    sets: tuple[bytes, ...]
    pictures: tuple[tuple[bytes, ...], ...]
    restarts: frozenset[int]
    alone: tuple[tuple[bytes, ...] | None, ...]

    @property
    def first_repeated(self) -> int | None:
        """The place of the first picture that repeats the one before."""
        return next((n for n, units in enumerate(self.alone) if units is None), None)

    def decoded(self, codec: str, most: int) -> list[VideoFrame]:
        """What a decoder makes of the first ones, at most so many, as the encoder gave them; with its last again where one repeats it.

        Raises:
            NotUnderstood: not a picture of each.
        """
        shown = self.alone[:most]
        pictures = [units for units in shown if units is not None]
        context = cast(VideoCodecContext, av.CodecContext.create(codec, "r"))
        context.extradata = stream_of(self.sets)
        context.thread_count = 1
        context.flags |= Flags.unaligned
        frames: list[VideoFrame] = []
        for number, units in enumerate(pictures):
            packet = av.Packet(stream_of(units))
            packet.pts = packet.dts = number
            frames += context.decode(packet)
        frames += context.decode(None)
        if len(frames) != len(pictures):
            raise NotUnderstood("what was encoded cannot be decoded")
        given = iter(frames)
        made: list[VideoFrame] = []
        for own in shown:
            made.append(made[-1] if own is None else next(given))
        return made


def encode(
    frames: Iterable[VideoFrame], codec: str, params: ClipExport, timing: Timing, taken: Collection[SetKey]
) -> Encoded:
    """Encodes frames, the first one such that decoding may begin with it.

    Args:
        frames: at least one, as they were decoded.
        codec: `h264` or `hevc`.
        params: quality and preset.
        timing: of the clip; says the rate.
        taken: parameter sets that there are; those made here have other numbers.

    Raises:
        NotUnderstood: there are no numbers left.
        FFmpegError: the encoder refuses the pictures.
    """
    number = _free(codec, taken)
    coding = CODINGS[codec]
    encoder: VideoCodecContext | None = None
    packets: list[av.Packet] = []
    sets: list[bytes] = []
    repeating: Repeating | None = None
    repeated: list[bool] = []
    before: VideoFrame | None = None
    for frame in frames:
        if encoder is None:
            encoder = _encoder(frame, codec, params, timing, number)
            sets = [u for u in split_stream(encoder.extradata or b"") if coding.kind(u) in coding.sets]
            if codec == "h264":
                repeating = Repeating.of(sets, [n for kind, n in taken if kind == coding.sets[1]])
        repeated.append(repeating is not None and before is not None and repeats(frame, before))
        before = frame
        if not repeated[-1]:
            frame.pts, frame.time_base = repeated.count(False) - 1, encoder.time_base
            frame.pict_type = PictureType.NONE
            packets += encoder.encode(frame)
    assert encoder is not None
    packets += encoder.encode(None)
    given = [tuple(u for u in split_stream(bytes(p)) if coding.kind(u) not in coding.sets) for p in packets]
    if isinstance(coding, H265):
        sets = [renumbered(u, number, coding) for u in sets]
        given = [tuple(renumbered(u, number, coding) for u in units) for units in given]
    if len(given) != repeated.count(False):
        raise NotUnderstood("the encoder gave another number of pictures")
    own = iter(given)
    alone = tuple(None if again else next(own) for again in repeated)
    pictures = given
    if repeating is not None and any(repeated):
        sets.append(repeating.picture_set)
        pictures = repeating.among(given, [p.is_keyframe for p in packets], repeated)
    places = [n for n, again in enumerate(repeated) if not again]
    restarts = frozenset(n for n, p in zip(places, packets, strict=True) if p.is_keyframe)
    return Encoded(tuple(sets), tuple(pictures), restarts, alone)


def _free(codec: str, taken: Collection[SetKey]) -> int:
    """A number that none of the parameter sets has which the encoder will number so."""
    kinds = CODINGS[codec].sets
    if codec == "hevc":
        if {(k, RENUMBERED[0]) for k in kinds[:2]} & set(taken):
            raise NotUnderstood("it has the numbers of parameter sets that the encoder would need")
        kinds, numbers = kinds[2:], RENUMBERED
    else:
        numbers = range(32)
    free = next((n for n in numbers if not {(k, n) for k in kinds} & set(taken)), None)
    if free is None:
        raise NotUnderstood("it has the numbers of parameter sets that the encoder would need")
    return free


def _encoder(frame: VideoFrame, codec: str, params: ClipExport, timing: Timing, number: int) -> VideoCodecContext:
    context = cast(VideoCodecContext, av.CodecContext.create(SEAM_ENCODERS[codec], "w"))
    context.width, context.height, context.pix_fmt = frame.width, frame.height, frame.format.name
    context.color_range, context.colorspace = frame.color_range, frame.colorspace
    context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
    rate = timing.rate if timing.constant else timing.rate.limit_denominator(100_000)
    context.framerate, context.time_base = rate, 1 / rate
    context.thread_count = 1
    context.flags |= Flags.global_header | Flags.bitexact
    preset = params.seam_preset
    options: Mapping[str, str] = {"crf": str(params.crf), "preset": preset}
    if codec == "h264":
        faster = preset in FASTER
        own = ":".join([f"sps-id={number}", *([] if faster else [WHOLE_PIXELS]), *repeatable().values()])
        options = {**options, "preset": preset if faster else FASTEST_ALIKE}
        context.options = {**options, "threads": "1", "bf": "0", "x264-params": own}
    else:
        context.options = {**options, "x265-params": X265}
    context.open()
    return context
