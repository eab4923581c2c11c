"""Video that is valid and odd: what comes out of it is what ffmpeg and players show, frame by frame."""

from __future__ import annotations

import dataclasses
import io
import random
import tempfile
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from curation_assets.decode.analysis import analyse_video
from curation_assets.decode.analysis_results import TABLES, AnalysisParams, VideoAnalysis, VideoFacts
from curation_assets.decode.clips import Clips
from curation_assets.decode.frames import Frames
from curation_assets.decode.reading.clip_frames import ClipReader
from curation_assets.decode.reading.losses import Losses
from curation_assets.decode.reading.timeline import Timeline
from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.cutting.clip_plan import ClipToCut
from curation_assets.publish.cutting.video_cutting import cut_video
from curation_assets.publish.cutting.video_task import CutClip, VideoCuts
from curation_assets_tests.decode.coded_video import picture, write_video
from curation_assets_tests.frame_numbers import number_in
from curation_resources.media import MediaRef
from curation_resources.probe import probe
from curation_resources.storage import Storage

TURNS: dict[str, tuple[tuple[int, int, int, int], Callable[[NDArray[Any]], NDArray[Any]]]] = {
    "mirrored": ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
    "upside down, mirrored": ((1, 0, 0, -1), lambda p: p[::-1]),
    "half turn": ((-1, 0, 0, -1), lambda p: p[::-1, ::-1]),
    "clockwise": ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
    "counterclockwise": ((0, -1, 1, 0), lambda p: np.rot90(p)),
    "transposed": ((0, 1, 1, 0), lambda p: np.swapaxes(p, 0, 1)),
    "transposed the other way": ((0, -1, -1, 0), lambda p: np.swapaxes(p[::-1, ::-1], 0, 1)),
}
"""The matrix a, b, c, d of x' = ax + cy, y' = bx + dy, and what it does to a picture."""


def analyse(
    path: Path, origin: str = "whole", **clips: Any
) -> tuple[VideoAnalysis, list[tuple[int, NDArray[np.uint8]]]]:
    """The rows, and each sample's frame number and picture."""
    params = AnalysisParams(clips=Clips(**{"from": origin, "min_s": 0.2, **clips}), frames=Frames(fps=4))
    with tempfile.TemporaryFile() as spool:
        found = analyse_video(str(path), params, VideoFacts("d", "v"), TABLES, spool)
        samples = []
        for row in found.rows["frames"]:
            spool.seek(row["offset"])
            samples.append((row["frame"], cv2.imdecode(np.frombuffer(spool.read(row["size"]), np.uint8), 1)[..., ::-1]))
    return found, samples


def cut(path: Path, spans: list[tuple[int, ...]], folder: Path, **options: Any) -> list[CutClip]:
    """Clips of (start_ms, end_ms[, start_frame, end_frame])."""
    folder.mkdir(exist_ok=True)
    cuts = tuple(
        ClipToCut("d", "v", f"k{n}", None, f"k{n}", "train", *span, *((None,) * (4 - len(span))), None, None)  # type: ignore[arg-type]
        for n, span in enumerate(spans)
    )
    params = ClipExport(**{"preset": "ultrafast", "crf": 12, **options})
    return cut_video(VideoCuts(Storage(str(folder)), MediaRef(str(path)), cuts, params, str(folder)))


def shown(clip: CutClip) -> list[NDArray[np.uint8]]:
    """The pictures of an exported clip, as stored."""
    assert clip.error is None, clip.error
    with av.open(clip.path or "") as media:
        return [f.to_ndarray(format="rgb24") for f in media.decode(video=0)]


def numbers(clip: CutClip) -> list[int]:
    return [number_in(image[..., 1]) for image in shown(clip)]


def alike(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    return a.shape == b.shape and float(np.abs(a.astype(int) - b).mean()) < 6


@pytest.mark.parametrize("name", TURNS)
def test_all_ways_of_the_display_matrix(name: str, tmp_path: Path) -> None:
    (a, b, c, d), turn = TURNS[name]
    path = write_video(tmp_path / "v.mp4", [30], crf="10", rotation=90)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 16
    for place, value in zip((0, 4, 12, 16), (a, b, c, d), strict=True):
        data[at + place : at + place + 4] = (value << 16).to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    wanted = [turn(picture(n, 0)) for n in range(30)]
    found, samples = analyse(path)
    (row,) = found.rows["clips"]
    assert (row["height"], row["width"]) == wanted[0].shape[:2]
    assert row["mirrored"] == ((a * d - b * c) < 0)
    assert samples
    assert all(alike(image, wanted[n]) for n, image in samples)
    for number, image in enumerate(shown(cut(path, [(0, 1200, 0, 30)], tmp_path / "exact")[0])):
        assert alike(image, wanted[number])
    if name == "transposed":
        covered = shown(cut(path, [(0, 1200, 0, 30)], tmp_path / "blurred", blur_faces=True, blur_threshold=1.0)[0])
        assert alike(covered[7], wanted[7])
    with ClipReader(str(path)) as reader:
        assert all(alike(reader.rgb(f), w) for f, w in zip(reader.frames(0, 1200), wanted, strict=True))
    (copied,) = cut(path, [(0, 1200)], tmp_path / "copied", cut="copy")
    with ClipReader(copied.path or "") as reader:
        assert alike(reader.rgb(next(reader.frames(0, 1200))), wanted[0]), "the copy carries the matrix"
    thumbnail = cv2.imdecode(np.frombuffer(probe(path, thumbnail=True).thumbnail, np.uint8), 1)[..., ::-1]
    small = cv2.resize(wanted[0], thumbnail.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - thumbnail).mean() < 12


def joined(folder: Path, sizes: list[tuple[int, int]], frames: int = 30) -> Path:
    """MPEG-TS whose picture changes its size every `frames` frames, numbered throughout."""
    whole = io.BytesIO()
    for part, size in enumerate(sizes):
        path = folder / f"part{part}.ts"
        with av.open(str(path), "w", options={"muxdelay": "0"}) as output:
            stream = output.add_stream("libx264", rate=25, options={"preset": "ultrafast", "g": "12"})
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            for n in range(frames):
                number = part * frames + n
                frame = av.VideoFrame.from_ndarray(picture(number, part, size), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        whole.write(path.read_bytes())
    (folder / "joined.ts").write_bytes(whole.getvalue())
    return folder / "joined.ts"


@pytest.mark.parametrize(
    "sizes", [[(320, 180), (480, 270)], [(480, 270), (320, 180)], [(320, 180), (480, 270), (240, 180), (320, 180)]]
)
def test_pictures_that_change_their_size_are_shown_whole(sizes: list[tuple[int, int]], tmp_path: Path) -> None:
    path = joined(tmp_path, sizes)
    found, samples = analyse(path)
    (row,) = found.rows["clips"]
    assert (row["width"], row["height"], row["size_changes"]) == (*sizes[0], len(sizes) - 1)
    assert all(number_in(image[..., 1]) == n for n, image in samples)
    assert {image.shape[1::-1] for _, image in samples} == set(sizes)
    (whole,) = cut(path, [(row["start_ms"], row["end_ms"], 0, row["end_frame"])], tmp_path / "whole")
    assert numbers(whole) == list(range(30 * len(sizes)))
    assert {image.shape[1::-1] for image in shown(whole)} == {sizes[0]}
    parts, _ = analyse(path, "fixed", max_s=1.2)
    assert [
        (r["width"], r["height"], r["size_changes"]) for r in sorted(parts.rows["clips"], key=lambda r: r["start_ms"])
    ] == [(*size, 0) for size in sizes]


@pytest.mark.parametrize(
    ("container", "start_s"),
    [*((c, s) for c in ("mkv", "mp4", "mov", "ts", "avi", "flv") for s in (0, 7)), ("webm", 7)],
)
def test_containers_with_any_start(container: str, start_s: int, tmp_path: Path) -> None:
    coded = {
        "webm": {"codec": "libvpx", "g": "20", "deadline": "realtime", "cpu-used": "8", "b": "1M"},
        "avi": {"g": "20", "bf": "0"},
    }.get(container, {"g": "20", "bf": "2"})
    times = [n + 25 * start_s for n in range(60)]
    path = write_video(tmp_path / f"v.{container}", [60], times=times, **coded)
    assert abs((probe(path).duration_ms or 0) - 2400) <= 80 or container in ("mp4", "mov", "flv", "avi")
    found, samples = analyse(path, "fixed", max_s=0.8)
    rows = sorted(found.rows["clips"], key=lambda r: r["start_ms"])
    # AVI has no start: it shows its first picture until the second is due.
    assert [r["status"] for r in rows] == ["ok"] * (5 if container == "avi" and start_s else 3), rows
    assert rows[-1]["end_frame"] == 60
    assert all(number_in(image[..., 1]) == n for n, image in samples)
    spans = [(r["start_ms"], r["end_ms"], r["start_frame"], r["end_frame"]) for r in rows]
    for row, clip in zip(rows, cut(path, spans, tmp_path / "out"), strict=True):
        assert numbers(clip) == list(range(row["start_frame"], row["end_frame"]))


def test_flv_without_an_index_is_read_from_its_start_again(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.flv", [100], codec="flv", g="20", container="flv")
    assert probe(path).duration_ms in range(3900, 4100)
    spans = [(2000, 2400), (400, 800), (3200, 4000)]
    for (start, end), clip in zip(spans, cut(path, list(spans), tmp_path / "out"), strict=True):
        assert numbers(clip) == list(range(start // 40, end // 40))


def test_avi_with_b_frames_begins_at_its_first_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.avi", [60], g="20", bf="2")
    found, samples = analyse(path)
    (row,) = found.rows["clips"]
    assert (row["start_ms"], row["end_ms"], row["end_frame"], row["longest_gap_ms"]) == (0, 2400, 60, 40)
    assert all(number_in(image[..., 1]) == n for n, image in samples)
    assert numbers(cut(path, [(400, 1200, 10, 30)], tmp_path / "exact")[0]) == list(range(10, 30))
    assert "in which order" in (cut(path, [(400, 1200)], tmp_path / "copied", cut="copy")[0].error or "")


@pytest.mark.parametrize("b_frames", ["0", "2"])
def test_avi_shows_a_picture_on_where_it_has_an_empty_one(b_frames: str, tmp_path: Path) -> None:
    times = [n + 5 * (n >= 20) for n in range(60)]
    path = write_video(tmp_path / "v.avi", [60], times=times, codec="mpeg4", g="20", bf=b_frames)
    (row,) = analyse(path)[0].rows["clips"]
    assert (row["end_frame"], row["frames_lost"], row["longest_gap_ms"]) == (60, 0, 6 * 40)
    assert numbers(cut(path, [(1000, 1800, 20, 40)], tmp_path / "out")[0]) == list(range(20, 40))


def test_a_clock_that_breaks_is_said(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "v.mp4", [6], times=[0, 1, 2, 25 * 3600 * 20, 25 * 3600 * 20 + 1, 25 * 3600 * 20 + 2], bf="0"
    )
    (row,) = analyse(path)[0].rows["clips"]
    assert (row["status"], row["error"]) == ("failed", "v: its clock jumps by 19 hours before frame 3")


def test_times_that_are_a_step_off_are_no_loss() -> None:
    losses = Losses()
    program_stream = SimpleNamespace(container=SimpleNamespace(format=SimpleNamespace(name="mpeg")))
    times = np.array([40 * n for n in range(30)])
    times[12] -= 40
    losses.finish(Timeline(times, 1200, 25.0), lambda ticks: ticks, program_stream)  # type: ignore[arg-type]
    assert losses.between(0, 30) == 0
    losses.finish(Timeline(np.delete(times, slice(20, 23)), 1200, 25.0), lambda ticks: ticks, program_stream)  # type: ignore[arg-type]
    assert losses.between(0, 27) == losses.between(19, 20) == 3


def test_damage_is_counted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", [150], g="25", bf="0")
    data, rng = bytearray(path.read_bytes()), random.Random(3)
    for at in range(int(len(data) * 0.4), int(len(data) * 0.5)):
        data[at] = rng.randrange(256)
    path.write_bytes(data)
    found, _ = analyse(path)
    (row,) = found.rows["clips"]
    with ClipReader(str(path)) as reader:
        times = [f.time_ms for f in reader.frames(0, 6000)]
    assert len(times) < 150
    assert row["frames_lost"] == 150 - len(times)
    assert row["longest_gap_ms"] == max(b - a for a, b in pairwise([*times, 6000]))
    assert f"{150 - len(times)} frames are lost" in found.stats.warnings
    parts, _ = analyse(path, "fixed", max_s=1.0)
    lost = [r["frames_lost"] for r in sorted(parts.rows["clips"], key=lambda r: r["start_ms"]) if r["status"] == "ok"]
    assert sum(lost) == row["frames_lost"]
    assert lost[0] == lost[-1] == 0
    whole, _ = analyse(write_video(tmp_path / "w.mp4", [20], times=[n * n for n in range(20)]))
    assert whole.rows["clips"][0]["frames_lost"] == 0, "slower and slower, but all there"


def test_what_follows_damage_in_avi_keeps_its_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.avi", [150], codec="mpeg4", g="25", bf="0", b="3M")
    data = bytearray(path.read_bytes())
    start, end = int(len(data) * 0.4), int(len(data) * 0.5)
    data[start:end] = bytes(end - start)
    path.write_bytes(data)
    (row,) = analyse(path)[0].rows["clips"]
    with ClipReader(str(path)) as reader:
        read = [(f.time_ms, number_in(reader.rgb(f)[..., 1])) for f in reader.frames(0, 6000)]
    assert (row["start_ms"], row["end_ms"], row["end_frame"]) == (0, 6000, len(read))
    assert row["frames_lost"] == 150 - len(read) > 10
    assert [40 * number for _, number in read[-75:]] == [time for time, _ in read[-75:]]
    spans = [(3200, 4000), (4800, 5600)]
    for (start_ms, end_ms), clip in zip(spans, cut(path, list(spans), tmp_path / "out"), strict=True):
        assert numbers(clip) == list(range(start_ms // 40, end_ms // 40)), "the same by seeking"
    for (start_ms, _), clip in zip(spans, cut(path, list(spans), tmp_path / "out", cut="copy"), strict=True):
        assert numbers(clip)[0] * 40 == clip.start_ms <= start_ms


def test_packets_that_are_gone_from_a_steady_stream_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "v.ts"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg2video", rate=25, options={"g": "1"})
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for n in range(100):
            frame = av.VideoFrame.from_ndarray(picture(n, 0), format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            for packet in stream.encode(frame):
                if not 40 <= n < 52:
                    output.mux(packet)
        output.mux(stream.encode(None))
    (row,) = analyse(path)[0].rows["clips"]
    assert row["frames_lost"] == 100 - row["end_frame"] - row["start_frame"] == 12
    assert row["longest_gap_ms"] == 13 * 40


@pytest.mark.parametrize("mode", ["deinterlace", "keep"])
def test_interlaced_pictures_are_made_whole(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream(
            "libx264", rate=25, options={"preset": "veryfast", "crf": "10", "x264-params": "tff=1", "g": "20"}
        )
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for n in range(60):
            first, second = (np.roll(picture(n, 0)[30:], 6 * k, axis=1) for k in (2 * n, 2 * n + 1))
            first[1::2] = second[1::2]
            image = np.concatenate([picture(n, 0)[:30], first])
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode(None))

    def combs(image: NDArray[np.uint8]) -> float:
        """How much neighbouring lines differ against those two apart."""
        y = image[40:-10].astype(int)
        return float(np.abs(y[1:] - y[:-1]).mean() / max(0.1, np.abs(y[2:] - y[:-2]).mean()))

    found, samples = analyse(path, interlaced=mode)
    (row,) = found.rows["clips"]
    assert (row["interlaced"], row["end_frame"], row["end_ms"]) == (True, 60, 2400)
    assert all(number_in(image[..., 1]) == n for n, image in samples)
    clips = cut(path, [(400, 1200, 10, 30), (1200, 2400, 30, 60)], tmp_path / "out", interlaced=mode)
    assert [numbers(clip) for clip in clips] == [list(range(10, 30)), list(range(30, 60))]
    pictures = [image for _, image in samples] + [image for clip in clips for image in shown(clip)]
    values = [combs(image) for image in pictures]
    assert max(values) < 1.1 if mode == "deinterlace" else min(values) > 1.5


def test_four_frames_in_forty_seconds_have_one_end(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", [4], times=[0, 250, 500, 750], bf="3")
    (row,) = analyse(path)[0].rows["clips"]
    (exact,) = cut(path, [(0, row["end_ms"], 0, 4)], tmp_path / "exact")
    (copied,) = cut(path, [(0, row["end_ms"])], tmp_path / "copied", cut="copy")
    lengths = {probe(p or "").duration_ms for p in (str(path), exact.path, copied.path)}
    assert lengths == {row["end_ms"], *{exact.end_ms}, *{copied.end_ms}} == {row["end_ms"]}


def trimmed(path: Path, target: Path, hidden: int) -> Path:
    """`path` with an edit list that hides its first `hidden` frames, as phones trim."""
    with av.open(str(path)) as source, av.open(str(target), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        shift = round(Fraction(hidden, 25) / source.streams.video[0].time_base)
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                output.mux(packet)
    return target


def test_copies_never_show_what_an_edit_list_hides(tmp_path: Path) -> None:
    path = trimmed(write_video(tmp_path / "v.mp4", [100], g="20", bf="0"), tmp_path / "t.mp4", 13)
    (row,) = analyse(path)[0].rows["clips"]
    assert row["end_frame"] == 87
    first, later = cut(path, [(0, 2000), (1000, 3000)], tmp_path / "out", cut="copy")
    assert numbers(first) == list(range(20, 63)), "from the first key frame that is shown"
    assert (first.start_ms, first.end_ms) == (7 * 40, 2000)
    assert numbers(later) == list(range(20, 88))


@pytest.mark.parametrize("open_groups", [0, 1])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_copies_never_show_a_picture_of_what_follows(codec: str, open_groups: int, tmp_path: Path) -> None:
    params = f"keyint=20:min-keyint=20:open-gop={open_groups}:bframes=3:scenecut=0"
    name = {"libx264": "x264-params", "libx265": "x265-params"}[codec]
    quiet = ":log-level=error" if codec == "libx265" else ""
    path = write_video(tmp_path / "v.mp4", [90], codec=codec, **{name: params + quiet})
    for end in (40, 41, 43, 60, 79, 80, 90):
        (clip,) = cut(path, [(800, 40 * end)], tmp_path / f"{end}", cut="copy")
        found = numbers(clip)
        assert found == list(range(20, found[-1] + 1))
        assert end - 5 <= found[-1] <= end - 1
        assert (clip.start_ms, clip.end_ms) == (800, 40 * (found[-1] + 1)), "the row says what is there"


def test_mpegts_is_copied_over_the_wrap_of_its_clock(tmp_path: Path) -> None:
    before = 2**33 - 2 * 90_000
    times = [before // 3600 + n for n in range(120)]
    path = write_video(tmp_path / "v.ts", [120], times=times, g="20", bf="2")
    with av.open(str(path)) as media:
        assert (media.streams.video[0].start_time or 0) < 0, "the clock wraps"
    (row,) = analyse(path)[0].rows["clips"]
    assert (row["start_ms"], row["end_frame"]) == (0, 120)
    for clip, first in zip(
        cut(path, [(0, 1000), (1600, 2400), (3200, 4000)], tmp_path / "out", cut="copy"), (0, 40, 80), strict=True
    ):
        found = numbers(clip)
        assert found == list(range(first, found[-1] + 1))
        assert clip.start_ms == first * 40
    exact = cut(path, [(0, 1000, 0, 25), (3200, 4000, 80, 100)], tmp_path / "exact")
    assert [numbers(c) for c in exact] == [list(range(25)), list(range(80, 100))]


def test_the_rows_are_the_same_at_every_look(tmp_path: Path) -> None:
    path = joined(tmp_path, [(320, 180), (480, 270)])
    one, other = (analyse(path)[0] for _ in range(2))
    assert one.rows == other.rows
    assert dataclasses.asdict(one.stats)["warnings"] == dataclasses.asdict(other.stats)["warnings"]
