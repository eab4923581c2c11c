"""Exported clips as FFmpeg's releases read them: every picture at its time and for its duration, from 0 on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation_assets_tests.decode.coded_video import write_video
from curation_assets_tests.frame_numbers import number_in
from curation_assets_tests.publish.cutting.test_clip_cutting import cut, make
from curation_assets_tests.publish.cutting.test_sound_copy import RATE, with_noise
from curation_assets_tests.publish.cutting.test_sound_copy import heard as sound_of
from curation_assets_tests.readers import blocks, chromium
from curation_assets_tests.readers.clips import Expected, every_kind
from curation_assets_tests.readers.environments import read_in
from curation_assets_tests.readers.pyav import facts

KINDS = (
    "exact", "of one picture", "scaled", "other rate", "searched for faces", "copied", "track", "exact from mkv", "copied from mkv",
    "exact from ts", "copied from ts", "copied HEVC", "copied AV1", "variable", "smart", "smart from mkv", "smart from ts", "smart of 8 bits",
    "smart of 10 bits", "smart HEVC of 8 bits", "smart HEVC of 10 bits", "smart, variable", "smart of slides",
)  # fmt: skip


SMART = tuple(k for k in KINDS if k.startswith("smart"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Expected]:
    made = every_kind(tmp_path_factory.mktemp("clips"))
    assert made.keys() == set(KINDS)
    return made


def check(expected: Expected, found: dict[str, Any], slack: float = 1e-4) -> None:
    """`slack`: seconds by which times may be rounded in the file."""
    assert found["start"] == 0
    shown = expected.shown
    assert [t for t, _ in found["packets"]] == pytest.approx([t for t, _ in shown], abs=slack)
    assert [d for _, d in found["packets"]] == pytest.approx([d for _, d in shown], abs=2 * slack)
    assert [t for t, _ in found["frames"]] == pytest.approx([t for t, _ in shown], abs=slack)
    if expected.numbers is not None:
        assert [n for _, n in found["frames"]] == expected.numbers
    assert found["stream_end"] == pytest.approx(float(expected.end), abs=2 * slack)
    assert found["rate"] == pytest.approx(len(shown) / float(expected.end), rel=2 * slack)
    assert ("sound" in found) == expected.sound
    if expected.sound:
        assert found["sound"][0] == pytest.approx(0, abs=0.025)
        assert found["sound"][1] == pytest.approx(float(expected.end), abs=0.03)


def slack_of(kind: str) -> float:
    """Copies keep the source's times, which Matroska rounds to milliseconds."""
    return 1.1e-3 if kind == "copied from mkv" else 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_clips_are_read_by_the_ffmpeg_of_today(clips: dict[str, Expected], kind: str) -> None:
    check(clips[kind], facts(str(clips[kind].path)), slack_of(kind))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_clips_are_read_by_ffmpeg_6(clips: dict[str, Expected]) -> None:
    found = read_in("ffmpeg6", "pyav", *(c.path for c in clips.values()))
    for kind, expected in clips.items():
        check(expected, found[str(expected.path)], slack_of(kind))


@pytest.mark.parametrize("kind", SMART)
def test_clips_of_copied_and_encoded_pictures_are_read_by_opencv(clips: dict[str, Expected], kind: str) -> None:
    assert blocks.numbers("opencv", str(clips[kind].path)) == clips[kind].numbers


def test_clips_of_copied_and_encoded_pictures_are_read_by_the_machines_ffmpeg(clips: dict[str, Expected]) -> None:
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("there is no ffmpeg on PATH")
    for kind in SMART:
        how = [
            "-v",
            "error",
            "-i",
            str(clips[kind].path),
            "-vsync",
            "passthrough",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "gray",
            "-",
        ]
        done = subprocess.run([program, *how], capture_output=True, timeout=240, check=True)
        assert not [line for line in done.stderr.decode().splitlines() if line.startswith(("[h264", "[hevc", "[mov"))]
        shown = np.frombuffer(done.stdout, np.uint8).reshape(-1, 180, 320)
        assert [number_in(p) for p in shown] == clips[kind].numbers, kind


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("name", "which"), [("torchcodec", "torchcodec"), ("decord2", "tables")])
def test_clips_of_copied_and_encoded_pictures_are_read_by_decoders(
    clips: dict[str, Expected], name: str, which: str
) -> None:
    wanted = {str(clips[k].path): clips[k].numbers for k in SMART}
    assert read_in(which, "blocks", "pictures", name, *wanted) == wanted


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_clips_of_copied_and_encoded_pictures_are_shown_by_chromium(clips: dict[str, Expected]) -> None:
    from curation_assets_tests.browser import NoBrowser, browser_page

    try:
        with browser_page("http://127.0.0.1") as page:
            for kind in ("smart", "smart from mkv", "smart of 10 bits", "smart, variable", "smart of slides"):
                times = [(t, t + duration / 2) for t, duration in clips[kind].shown]
                duration, numbers = chromium.shown(page, clips[kind].path.read_bytes(), times)
                assert numbers == clips[kind].numbers, kind
                assert duration == pytest.approx(float(clips[kind].end), abs=0.002)
    except NoBrowser as missing:
        pytest.skip(str(missing))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_copied_sound_begins_to_the_sample_in_chromium(tmp_path: Path) -> None:
    from curation_assets_tests.browser import NoBrowser, browser_page

    silent = write_video(tmp_path / "silent.mp4", [120], g="20", bf="2")
    try:
        with browser_page("http://127.0.0.1") as page:
            for codec, channels, bits in (("aac", 2, 128_000), ("libmp3lame", 2, 128_000), ("libmp3lame", 1, 64_000)):
                path = with_noise(silent, tmp_path / f"{codec}{bits}.mp4", codec=codec, channels=channels, bits=bits)
                begins, source = sound_of(path)
                for start, end in ((0, 1160), (400, 2440), (1000, 3920)):
                    one = cut("s", start, end, start // 40, end // 40)
                    clip = make(path, [one], tmp_path / "out", cut="smart")["s"]
                    assert clip.cut == "smart", clip.encoded_because
                    _, samples = chromium.heard(page, Path(clip.path or "").read_bytes(), RATE)
                    first = start * RATE // 1000 - begins
                    assert samples == pytest.approx(source[0, first : first + len(samples)], abs=1e-5)
    except NoBrowser as missing:
        pytest.skip(str(missing))
