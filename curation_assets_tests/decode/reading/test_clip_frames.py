"""Frames of a clip are the frames that a decode of the whole video has at those times, in every kind of file."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.decode.reading.clip_frames import ClipReader, ClipUnreadable
from curation_assets.decode.reading.media import OpenVideo
from curation_assets.decode.reading.reader import every_frame
from curation_assets.decode.reading.shown_frames import Decoding
from curation_assets_tests.decode.coded_video import write_video
from curation_assets_tests.frame_numbers import number_in
from curation_assets_tests.moving_objects import CROSSING, HEIGHT, WIDTH, encode, picture
from curation_assets_tests.shared_data import shared

FILES = [
    "videos/bikes.mp4",
    "videos/realshort.mp4",
    "panda/ejFT0e4YP0s.15.mp4",
    "hostile_real/unordered.mov",
    "hostile_real/delayed_start.mp4",
    "hostile_real/no_duration.webm",
    "hostile_real/av1_video.mkv",
    "hostile_real/corrupted.mp4",
    "hostile_real/nasa_13013_hdr.mp4",
]


def seconds_of(kind: str) -> list[float]:
    if kind == "even":
        return [i / 25 for i in range(100)]
    random = np.random.default_rng(3)  # From 8 ms to 300 ms from one frame to the next.
    return [0.0, *np.cumsum(random.uniform(0.008, 0.3, 59)).round(3).tolist()]


@pytest.fixture(scope="module", params=["even", "variable"])
def made(request: pytest.FixtureRequest) -> tuple[bytes, list[int]]:
    """A video and the time of each of its frames."""
    seconds = seconds_of(request.param)
    data = encode((s, picture(CROSSING, s)) for s in seconds)
    return data, [round(1000 * s) for s in seconds]


def digests(reader: ClipReader, start: int, end: int) -> list[tuple[int, str]]:
    return [(f.time_ms, hashlib.md5(f.frame.to_ndarray().tobytes()).hexdigest()) for f in reader.frames(start, end)]


@pytest.mark.parametrize("name", FILES)
def test_any_span_has_the_frames_of_the_whole(name: str) -> None:
    path = str(shared(name))
    with ClipReader(path) as reader:
        whole = digests(reader, 0, 10**9)
    random = np.random.default_rng(0)
    with ClipReader(path) as reader:
        for _ in range(5):
            first = int(random.integers(len(whole)))
            last = min(len(whole) - 1, first + int(random.integers(1, 30)))
            if first < last:
                assert digests(reader, whole[first][0], whole[last][0]) == whole[first:last]


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
def test_going_back_finds_every_frame_whatever_the_container_seeks_to(container: str, tmp_path: Path) -> None:
    path = str(write_video(tmp_path / f"v.{container}", [80], g="20", bf="2"))
    with ClipReader(path) as reader:
        times = [f.time_ms for f in reader.frames(0, 10**9)]
        for first in (79, 60, 59, 39, 20, 1, 0):
            frames = list(reader.frames(times[first], times[first] + 120))
            assert [number_in(f.frame.to_ndarray(format="gray")) for f in frames] == list(range(80))[first : first + 3]


@pytest.mark.parametrize("name", FILES)
def test_times_are_those_of_the_table_clips(name: str) -> None:
    path = str(shared(name))
    with OpenVideo(path) as video:
        wanted = [shown.time_ms for shown in every_frame(video, Decoding(), exact=True)]
    with ClipReader(path) as reader:
        times = [f.time_ms for f in reader.frames(0, 10**9)]
    np.testing.assert_allclose(times, wanted, atol=1)


def test_a_clip_of_a_long_video_costs_its_own_length(made: tuple[bytes, list[int]]) -> None:
    data, times = made
    with ClipReader(io.BytesIO(data)) as reader:
        got = [f.time_ms for f in reader.frames(times[40], times[50])]
        assert got == times[40:50]
        assert (
            reader.frames_decoded <= 10 + 12 + 6
        )  # The clip, one group of pictures, and frames in the decoder's order.


@pytest.mark.parametrize("name", FILES)
def test_clips_that_follow_each_other_are_read_on(name: str) -> None:
    """Gaps, overlaps and steps back among them; the frames are those of a reader that has read nothing before."""
    path = str(shared(name))
    with ClipReader(path) as reader:
        whole = digests(reader, 0, 10**9)
    size = max(1, len(whole) // 8)
    cuts = [t for t, _ in whole[::size]]
    spans = [*pairwise(cuts), *zip(cuts[::2], cuts[1::2], strict=False), (cuts[0], cuts[-1])]
    with ClipReader(path) as reader:
        assert [digests(reader, *span) for span in spans] == [[f for f in whole if a <= f[0] < b] for a, b in spans]


def test_clips_without_a_gap_are_decoded_once(made: tuple[bytes, list[int]]) -> None:
    data, times = made
    with ClipReader(io.BytesIO(data)) as reader:
        for first in range(0, 56, 7):
            got = [f.time_ms for f in reader.frames(times[first], times[first + 7], 8)]
            assert got[0] == times[first]
        assert reader.frames_decoded == 57


def expected_on_screen(times: list[int], start: int, end: int, fps: float) -> list[int]:
    """By definition: the last frame that began by each moment, each once."""
    inside = [t for t in times if start <= t < end]
    moments: Iterator[float] = (start + k * 1000 / fps for k in range(10_000))
    shown = []
    for moment in moments:
        if moment >= end:
            break
        shown.append(max(t for t in inside if t <= moment + 1))
    return sorted(set(shown))


@settings(max_examples=25)
@given(first=st.integers(0, 40), length=st.integers(1, 19), fps=st.sampled_from([0.7, 1, 5, 7.3, 8, 12, 16, 25, 50]))
@pytest.mark.parametrize("kind", ["even", "variable"])
def test_sampling_by_time_is_exact(kind: str, first: int, length: int, fps: float) -> None:
    data, times = _videos(kind)
    start, end = times[first], times[first + length]
    with ClipReader(io.BytesIO(data)) as reader:
        got = [f.time_ms for f in reader.frames(start, end, fps)]
    assert got == expected_on_screen(times, start, end, fps)


_made: dict[str, tuple[bytes, list[int]]] = {}


def _videos(kind: str) -> tuple[bytes, list[int]]:
    if kind not in _made:
        seconds = seconds_of(kind)
        _made[kind] = encode((s, picture(CROSSING, s)) for s in seconds), [round(1000 * s) for s in seconds]
    return _made[kind]


@pytest.mark.parametrize("name", ["video_90.mov", "video_180.mov", "video_270.mov"])
def test_frames_are_turned_as_ffmpeg_turns_them(name: str) -> None:
    path = str(shared(f"hostile_real/{name}"))
    with ClipReader(path) as reader:
        image = reader.rgb(next(reader.frames(0, 1000)))
    wanted = next(iter(_ffmpeg_frames(path, image.shape)))
    np.testing.assert_allclose(image.astype(int), wanted, atol=2)


def _ffmpeg_frames(path: str, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    frames = imageio_ffmpeg.read_frames(path, pix_fmt="rgb24")
    next(frames)
    for data in frames:
        yield np.frombuffer(data, np.uint8).reshape(shape)


def test_the_sample_aspect_is_applied_and_a_size_is_kept() -> None:
    with ClipReader(str(shared("videos/issue-195-aspect-ratio.mp4"))) as reader:
        frame = next(reader.frames(5000, 6000))
        assert reader.rgb(frame).shape == (576, 1024, 3)
        assert reader.rgb(frame, (512, 288)).shape == (288, 512, 3)
    with ClipReader(str(shared("hostile_real/video_90.mov"))) as reader:
        assert reader.rgb(next(reader.frames(0, 1000)), (160, 284)).shape == (284, 160, 3)


def test_a_span_past_the_end_is_one_sentence(made: tuple[bytes, list[int]]) -> None:
    with ClipReader(io.BytesIO(made[0])) as reader, pytest.raises(ClipUnreadable, match="between 900000 and 901000 ms"):
        list(reader.frames(900_000, 901_000))
    with pytest.raises(ClipUnreadable, match="cannot be opened as media"):
        ClipReader(io.BytesIO(b"<html>gone</html>" * 100))


def test_the_picture_is_the_one_that_was_encoded(made: tuple[bytes, list[int]]) -> None:
    data, times = made
    with ClipReader(io.BytesIO(data)) as reader:
        image = reader.rgb(next(reader.frames(times[30], times[31])))
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(image.astype(int) - picture(CROSSING, times[30] / 1000)).mean() < 6
