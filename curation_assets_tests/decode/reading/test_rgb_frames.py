"""Frames by torchcodec and by PyAV: the same ones at the same times, whatever is awkward about the file."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from curation_assets.decode.reading import rgb_frames
from curation_assets.decode.reading.clip_frames import ClipUnreadable, Image
from curation_assets.decode.reading.rgb_frames import Decoder, NoDevice, check_decoder, open_rgb
from curation_assets_tests.decode.coded_video import write_video
from curation_assets_tests.frame_numbers import number_in
from curation_resources import extras
from curation_resources.extras import MissingExtra

needs_torchcodec = pytest.mark.skipif(find_spec("torchcodec") is None, reason="torchcodec is not installed")


def _times(count: int) -> list[int]:
    steps = np.random.default_rng(0).integers(10, 90, count - 1)
    return [0, *np.cumsum(steps).tolist()]


def _made(kind: str, folder: Path) -> Path:
    if kind == "reordered":
        return write_video(folder / "v.mkv", [60], bf="3", g="20")
    if kind == "variable":
        return write_video(folder / "v.mp4", [60], times=_times(60), time_base=Fraction(1, 1000))
    if kind.startswith("turned"):
        return write_video(folder / "v.mp4", [20], rotation=int(kind[6:]))
    if kind == "10 bits":
        return write_video(folder / "v.mp4", [30], pix_fmt="yuv420p10le")
    if kind == "begins later":
        return write_video(folder / "v.mp4", [40], times=[50 + 4 * n for n in range(40)], time_base=Fraction(1, 100))
    if kind == "vp9":
        return write_video(folder / "v.webm", [20], codec="libvpx-vp9")
    if kind == "oblong":
        return write_video(folder / "v.mp4", [20], **{"x264-params": "sar=16/11"})
    if kind == "transport stream":
        return write_video(folder / "v.ts", [50], container="mpegts")
    whole = write_video(folder / "whole.mp4", [30, 30])
    command = ["ffmpeg", "-v", "error", "-ss", "1.1", "-i", str(whole), "-c", "copy", str(folder / "edited.mp4")]
    subprocess.run(command, check=True)
    return folder / "edited.mp4"


def _frames(path: Path, decoder: Decoder, *span: int, fps: float | None = None) -> list[tuple[int, Image]]:
    with open(path, "rb") as file, open_rgb(file, decoder) as frames:
        return list(frames.frames(*(span or (0, 1 << 40)), fps))


KINDS = ("reordered", "variable", "turned90", "turned180", "turned270", "10 bits", "begins later", "vp9", "edited", "oblong", "transport stream")  # fmt: skip
APART = {"10 bits": (16, 0.5), "oblong": (32, 1.5)}
"""Levels, at most and in the mean, by which samples may differ: of 10 bits two releases of FFmpeg dither differently, and oblong pixels are stretched before and after they
are made RGB."""


@needs_torchcodec
@pytest.mark.parametrize("kind", KINDS)
def test_torchcodec_gives_the_frames_of_pyav(kind: str, tmp_path: Path) -> None:
    path = _made(kind, tmp_path)
    wanted, found = _frames(path, "pyav"), _frames(path, "torchcodec")
    assert [t for t, _ in found] == [t for t, _ in wanted]
    most, mean = APART.get(kind, (0, 0.0))
    for (_, a), (_, b) in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        away = np.abs(a.astype(np.int16) - b)
        assert away.max() <= most
        assert away.mean() <= mean
    times = [t for t, _ in wanted]
    span = times[7], times[15]
    for fps in (None, 8.0):
        inside = _frames(path, "torchcodec", *span, fps=fps)
        assert [t for t, _ in inside] == [t for t, _ in _frames(path, "pyav", *span, fps=fps)]


@needs_torchcodec
def test_torchcodec_numbers_the_frames_of_a_span(tmp_path: Path) -> None:
    path = _made("variable", tmp_path)
    times = _times(60)
    found = _frames(path, "torchcodec", times[20], times[40])
    assert [t for t, _ in found] == times[20:40]
    assert [number_in(image[:, :, 0]) for _, image in found] == list(range(20, 40))


@needs_torchcodec
def test_an_empty_span_says_so(tmp_path: Path) -> None:
    path = _made("variable", tmp_path)
    with pytest.raises(ClipUnreadable, match="no frame between 90000 and 91000 ms"):
        _frames(path, "torchcodec", 90_000, 91_000)


@needs_torchcodec
def test_nvdec_without_a_gpu_is_one_sentence(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(NoDevice, match=r"decoder nvdec needs a GPU that torch can use, and torch .* finds none here"):
        check_decoder("nvdec")


@needs_torchcodec
def test_nvdec_gives_the_frames_of_pyav(tmp_path: Path) -> None:
    """Where there is a GPU: the same frames at the same times, samples within what two conversions to RGB differ by."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("torch finds no GPU")
    path = _made("reordered", tmp_path)
    wanted, found = _frames(path, "pyav"), _frames(path, "nvdec")
    assert [t for t, _ in found] == [t for t, _ in wanted]
    assert [number_in(image[:, :, 0]) for _, image in found] == list(range(60))
    assert max(np.abs(a.astype(np.int16) - b).mean() for (_, a), (_, b) in zip(found, wanted, strict=True)) <= 2


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "installed", lambda name: name != "torchcodec")
    with pytest.raises(
        MissingExtra,
        match=r"decoder torchcodec needs torchcodec, which is not installed: pip install 'curation-assets\[torchcodec\]'",
    ):
        rgb_frames.check_decoder("torchcodec")
