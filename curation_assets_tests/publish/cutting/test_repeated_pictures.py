"""Pictures that repeat the one before are written without an encoder, and every decoder gives the picture before again."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.cutting import seam_encoding
from curation_assets.publish.cutting.clip_timing import Timing
from curation_assets.publish.cutting.coded_units import CODINGS, H264
from curation_assets.publish.cutting.repeated_pictures import Repeating, repeats
from curation_assets_tests.publish.cutting.test_clip_cutting import cut, make
from curation_assets_tests.publish.cutting.test_smart_clips import is_right, pictures, span

SLIDES = (0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 3, 4, 5, 5, 5, 5, 0, 0, 6, 6)
"""What each picture shows, over and over."""


def slide(number: int, pix_fmt: str = "yuv420p") -> VideoFrame:
    """A picture of rectangles and noise, one of its own for every number, of a size that is no multiple of 16."""
    return VideoFrame.from_ndarray(samples_of(number, pix_fmt), format=pix_fmt)


@cache
def samples_of(number: int, pix_fmt: str) -> NDArray[Any]:
    """Its samples, made once: libswscale does not give the same ones of ten bits every time."""
    size = (322, 182)
    random = np.random.default_rng(number)
    image = np.repeat(np.repeat(random.integers(0, 255, (13, 23, 3)), 14, 0), 14, 1)[: size[1], : size[0]]
    image = image + random.integers(0, 9 * (number % 3) + 1, image.shape)
    frame = VideoFrame.from_ndarray(np.clip(image, 0, 255).astype(np.uint8), format="rgb24")
    return frame.reformat(format=pix_fmt).to_ndarray()


def slides(path: Path, shown: Sequence[int], pix_fmt: str = "yuv420p", **options: Any) -> Path:
    """A video in which a picture that repeats the one before is that sample by sample."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 322, 182, pix_fmt
        # A constant quantiser of much and nothing but whole pictures beside the first: a repeated one gets no bits at all.
        stream.options = {
            "qp": "12",
            "bf": "0",
            "g": "40",
            "x264-params": "scenecut=0:keyint=40:min-keyint=40",
            **options,
        }
        for number in shown:
            for packet in stream.encode(slide(number, pix_fmt=pix_fmt)):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
    return path


def test_pictures_are_told_apart_by_a_single_sample() -> None:
    one, other, third = slide(3), slide(3), slide(4)
    assert repeats(one, other)
    assert not repeats(one, third)
    for place in ((0, 0), (1, 321), (6, 319), (8, 100), (181, 0), (200, 7), (-1, -1)):
        samples = other.to_ndarray()
        samples[place] += 1
        assert not repeats(one, VideoFrame.from_ndarray(samples, format="yuv420p")), place
    assert not repeats(one, slide(3, pix_fmt="yuv420p10le"))


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("preset", ["veryfast", "ultrafast"])
def test_the_encoders_pictures_are_what_they_are_without_those_between(pix_fmt: str, preset: str) -> None:
    shown = [slide(n, pix_fmt=pix_fmt) for n in (*SLIDES, *([7] * 40), *SLIDES, 8)]
    timing = Timing(Fraction(1, 25), Fraction(25), True)
    made = seam_encoding.encode(iter(shown), "h264", ClipExport(preset=preset), timing, [(7, 0), (8, 0), (8, 3)])
    again = [n > 0 and repeats(a, shown[n - 1]) for n, a in enumerate(shown)]
    assert [units is None for units in made.alone] == again
    assert sum(again) > 50
    # Both streams in a decoder: the one that has all pictures, and the one that the encoder gave.
    context = av.CodecContext.create("h264", "r")
    context.extradata = b"".join(b"\0\0\0\1" + s for s in made.sets)
    frames = []
    for units in made.pictures:
        frames += context.decode(av.Packet(b"".join(b"\0\0\0\1" + u for u in units)))
    frames += context.decode(None)
    assert len(frames) == len(shown)
    assert not any(f.is_corrupt for f in frames)
    for frame, wanted in zip(frames, made.decoded("h264", 1000), strict=True):
        assert np.array_equal(frame.to_ndarray(), wanted.to_ndarray())
    assert len({CODINGS["h264"].set_key(s) for s in made.sets} - {(7, 0), (8, 0), (8, 3)}) == len(made.sets)
    assert sum(len(u[0]) for u, one in zip(made.pictures, made.alone, strict=True) if one is None) < 20 * sum(again)


def test_a_clip_of_slides_is_put_together(tmp_path: Path) -> None:
    path = slides(tmp_path / "v.mp4", SLIDES * 4)
    source = pictures(path)
    again = [n > 0 and np.array_equal(source[n][1], source[n - 1][1]) for n in range(len(source))]
    assert sum(again) > 20
    for first, end in ((3, 75), (17, 78), (35, 80)):
        clip = make(path, [cut("s", *span(source, first, end))], tmp_path / "out", cut="smart")["s"]
        assert (clip.cut, clip.encoded_frames) == ("smart", -first % 40), clip.encoded_because
        is_right(clip, source, first, end, numbered=False)
        made = pictures(clip.path or "")
        for n in range(1, end - first):
            assert np.array_equal(made[n][1], made[n - 1][1]) or not again[first + n]


def test_what_encoders_say_of_their_order_decides(tmp_path: Path) -> None:
    coding = CODINGS["h264"]
    assert isinstance(coding, H264)
    for options, possible in (({"bf": "0"}, True), ({"bf": "2"}, False), ({"bf": "0", "refs": "3"}, False)):
        context = av.CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt, context.time_base = 320, 176, "yuv420p", Fraction(1, 25)
        context.options, context.flags = {"preset": "superfast", **options}, context.flags | 1 << 22
        context.open()
        sets = [u for u in (context.extradata or b"").split(b"\0\0\0\1") if u and u[0] & 31 in coding.sets]
        made = Repeating.of(sets, [1])
        assert (made is not None) == possible
        if made is not None:
            assert coding.sequence(made.sps).macroblocks == 20 * 11
            assert coding.set_key(made.picture_set) == (8, 2)
            assert Repeating.of(sets, range(32)) is None
