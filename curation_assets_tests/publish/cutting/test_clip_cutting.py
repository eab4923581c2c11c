"""Exported clips against their sources: the frames that the table names, the sound of the span, the same bytes every time."""

from __future__ import annotations

import dataclasses
import itertools
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curation_assets.decode.reading.clip_frames import JOIN_MS, ClipReader
from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.cutting import shard_cutting, video_cutting
from curation_assets.publish.cutting.clip_plan import ClipToCut, clip_fingerprint
from curation_assets.publish.cutting.pieces import Pieces
from curation_assets.publish.cutting.shard_cutting import ShardToCut, cut_shard
from curation_assets.publish.cutting.track_pictures import ASPECTS, TrackBoxes
from curation_assets.publish.cutting.video_cutting import cut_video, runs
from curation_assets.publish.cutting.video_task import CutClip, VideoCuts
from curation_assets.schemas import schema
from curation_assets_tests.decode.coded_video import write_video
from curation_assets_tests.frame_numbers import number_in
from curation_assets_tests.shared_data import shared
from curation_resources.media import MediaRef
from curation_resources.storage import Storage

AUDIO_RATE = 44_100


def cut(
    key: str, start_ms: int, end_ms: int, first: int | None = None, end: int | None = None, **more: Any
) -> ClipToCut:
    values = {"track_id": None, "split": "train", "crop": None, "track": None, **more}
    return ClipToCut(
        "toy",
        "video",
        key,
        values["track_id"],
        key,
        values["split"],
        start_ms,
        end_ms,
        first,
        end,
        values["crop"],
        values["track"],
        key,
    )


def make(path: Path, cuts: list[ClipToCut], folder: Path, **options: Any) -> dict[str, CutClip]:
    folder.mkdir(exist_ok=True)
    params = ClipExport(**{"preset": "ultrafast", "cut": "exact", **options})
    task = VideoCuts(Storage(str(folder)), MediaRef(str(path)), tuple(cuts), params, str(folder))
    return {c.key: c for c in cut_video(task)}


def frames(path: str | Path) -> list[tuple[Fraction, NDArray[np.uint8]]]:
    with av.open(str(path)) as video:
        return [(Fraction(f.pts) * f.time_base, f.to_ndarray(format="gray")) for f in video.decode(video=0)]


def numbers(clip: CutClip) -> list[int]:
    assert clip.error is None, clip.error
    return [number_in(luma) for _, luma in frames(clip.path or "")]


def with_sound(video: Path, path: Path, clicks: list[float], seconds: float, start_s: float = 0.0) -> Path:
    """`video` with a sound track from `start_s` on that is silent but for a short tone at each of `clicks`."""
    samples = np.zeros(round(seconds * AUDIO_RATE), np.float32)
    tone = 0.8 * np.sin(np.arange(441) * 2 * np.pi * 2000 / AUDIO_RATE).astype(np.float32)
    for click in clicks:
        at = round(click * AUDIO_RATE)
        samples[at : at + len(tone)] = tone
    samples = samples[round(start_s * AUDIO_RATE) :]
    with av.open(str(video)) as source, av.open(str(path), "w") as output:
        picture, sound = (
            output.add_stream_from_template(source.streams.video[0]),
            output.add_stream("aac", rate=AUDIO_RATE),
        )
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = picture
                output.mux(packet)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = AUDIO_RATE, round(start_s * AUDIO_RATE)
        frame.time_base = Fraction(1, AUDIO_RATE)
        for packet in [*sound.encode(frame), *sound.encode(None)]:
            output.mux(packet)
    return path


def clicks_in(path: str) -> tuple[list[float], float]:
    """When tones begin, and when the sound ends, seconds from the clip's start."""
    with av.open(path) as clip:
        pieces = [(float(f.pts * f.time_base), f.to_ndarray()[0]) for f in clip.decode(audio=0)]
        rate = clip.streams.audio[0].sample_rate
    signal = np.zeros(round((pieces[-1][0]) * rate) + len(pieces[-1][1]))
    for time, samples in pieces:
        at = max(0, round(time * rate))
        signal[at : at + len(samples)] = samples[: len(signal) - at]
    loud = np.flatnonzero(np.abs(signal) > 0.25) / rate
    return [float(t) for i, t in enumerate(loud) if i == 0 or t - loud[i - 1] > 0.1], len(signal) / rate


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 frames at 25 a second with B-frames and a key frame every 60, numbered."""
    return write_video(tmp_path_factory.mktemp("coded") / "coded.mp4", [70, 130], g="60", bf="3")


@pytest.mark.parametrize("crf", [0, 18])
def test_the_clip_has_exactly_the_frames_that_the_table_names(coded: Path, tmp_path: Path, crf: int) -> None:
    cuts = [cut("a", 400, 2400, 10, 60), cut("b", 1600, 4000, 40, 100), cut("c", 7960, 8000, 199, 200)]
    clips = make(coded, cuts, tmp_path / "out", crf=crf)
    source = [luma for _, luma in frames(coded)]
    for c in cuts:
        assert c.start_frame is not None
        assert c.end_frame is not None
        assert numbers(clips[c.key]) == list(range(c.start_frame, c.end_frame))
        found = frames(clips[c.key].path or "")
        assert [t for t, _ in found] == [Fraction(i, 25) for i in range(c.end_frame - c.start_frame)]
        for (_, luma), wanted in zip(found, source[c.start_frame : c.end_frame], strict=True):
            error = np.abs(luma.astype(int) - wanted).mean()
            assert error == 0 if crf == 0 else error < 2


def test_variable_frame_rates_keep_their_times(tmp_path: Path) -> None:
    steps = np.random.default_rng(3).integers(10, 90, 120)
    times = [0, *np.cumsum(steps).tolist()]
    path = write_video(tmp_path / "vfr.mkv", [121], times=times, time_base=Fraction(1, 1000), rate=Fraction(25))
    clip = make(path, [cut("v", times[30], times[90], 30, 90)], tmp_path / "out")["v"]
    assert numbers(clip) == list(range(30, 90))
    assert [round(1000 * t) for t, _ in frames(clip.path or "")] == [t - times[30] for t in times[30:90]]


@pytest.mark.parametrize("gap", [60, 61])
def test_a_clip_that_misses_a_picture_keeps_its_times_though_the_file_looks_constant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gap: int
) -> None:
    monkeypatch.setattr("curation_assets.decode.reading.clip_frames.SAME_RATE", Fraction(1, 10))
    times = [n if n < gap else n + 1 for n in range(100)]
    path = write_video(tmp_path / "gap.mp4", [100], times=times, g="50", bf="2")
    cuts = [cut("whole", 400, 3240, 10, 80), cut("before", 400, 2400, 10, 60)]
    clips = make(path, cuts, tmp_path / "out", preset="medium")
    for clip, c in ((clips[c.key], c) for c in cuts):
        wanted = times[c.start_frame : c.end_frame]
        assert numbers(clip) == list(range(c.start_frame or 0, c.end_frame or 0))
        assert [25 * t for t, _ in frames(clip.path or "")] == [n - 10 for n in wanted]


def test_overlapping_clips_cost_one_decode(coded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []

    class Counting(ClipReader):
        def __exit__(self, *error: Any) -> None:
            decoded.append(self.frames_decoded)
            super().__exit__(*error)

    monkeypatch.setattr(video_cutting, "ClipReader", Counting)
    cuts = [cut(f"o{i}", 40 * i, 40 * (i + 50), i, i + 50) for i in range(0, 100, 10)]
    clips = make(coded, cuts, tmp_path / "out", preset="ultrafast")
    assert all(numbers(clips[c.key]) == list(range(c.start_frame or 0, c.end_frame or 0)) for c in cuts)
    assert decoded == [pytest.approx(141, abs=6)]


def test_a_clip_whose_frames_cannot_be_as_the_table_says_fails_alone(coded: Path, tmp_path: Path) -> None:
    clips = make(
        coded,
        [cut("good", 0, 400, 0, 10), cut("bad", 400, 800, 10, 25), cut("late", 90_000, 91_000, 2250, 2275)],
        tmp_path / "out",
    )
    assert numbers(clips["good"]) == list(range(10))
    assert numbers(clips["bad"]) == list(range(10, 25)), "frame numbers decide where times and numbers disagree"
    assert "ends before" in (clips["late"].error or "")


@pytest.mark.parametrize("rate", [None, 22_050])
def test_sound_is_that_of_the_span(coded: Path, tmp_path: Path, rate: int | None) -> None:
    path = with_sound(coded, tmp_path / "sound.mp4", [1.0, 2.5, 3.1, 6.0], 8.0)
    clip = make(path, [cut("s", 2400, 4000, 60, 100)], tmp_path / "out", audio_rate=rate)["s"]
    clicks, end = clicks_in(clip.path or "")
    assert clicks == pytest.approx([0.1, 0.7], abs=0.003)
    assert end == pytest.approx(1.6, abs=1024 / (rate or AUDIO_RATE) + 1e-3)


def test_sound_that_begins_late_stays_in_its_place(coded: Path, tmp_path: Path) -> None:
    path = with_sound(coded, tmp_path / "late.mp4", [3.5], 8.0, start_s=3.0)
    clip = make(path, [cut("l", 2000, 4000, 50, 100)], tmp_path / "out")["l"]
    assert clicks_in(clip.path or "")[0] == pytest.approx([1.5], abs=0.003)


def test_the_same_cut_gives_the_same_bytes(coded: Path, tmp_path: Path) -> None:
    path = with_sound(coded, tmp_path / "sound.mp4", [1.0], 8.0)
    for preset in ("ultrafast", "veryfast"):
        made = {
            Path(make(path, [cut("d", 400, 1600, 10, 40)], tmp_path / name, preset=preset)["d"].path or "").read_bytes()
            for name in "abcdefgh"
        }
        assert len(made) == 1


def test_rotation_and_pixel_aspect_are_applied(tmp_path: Path) -> None:
    turned = make(shared("hostile_real/video_90.mov"), [cut("t", 0, 100)], tmp_path / "t")["t"]
    assert (turned.width, turned.height) == (320, 568)
    with av.open(turned.path or "") as video:
        assert next(video.decode(video=0)).rotation == 0
    wide = make(shared("videos/issue-195-aspect-ratio.mp4"), [cut("w", 0, 400, 0, 10)], tmp_path / "w")["w"]
    assert (wide.width, wide.height, wide.frames) == (1024, 576, 10)
    odd = make(shared("hostile_real/testsrc2_odd_height_and_width_444.mp4"), [cut("o", 0, 200, 0, 5)], tmp_path / "o")[
        "o"
    ]
    assert (odd.width, odd.height) == (320, 240)
    source = next(luma for _, luma in frames(shared("hostile_real/testsrc2_odd_height_and_width_444.mp4")))
    assert np.abs(frames(odd.path or "")[0][1].astype(int) - source[:240, :320]).mean() < 3, "cropped, not scaled"


def test_a_picture_of_one_pixel_is_told(tmp_path: Path) -> None:
    clip = make(shared("hostile_real/-video-with-dash-.mp4"), [cut("p", 0, 2000, 0, 2)], tmp_path)["p"]
    assert "1x1 pixels are too small" in (clip.error or "")


def test_sizes_crops_and_rates(coded: Path, tmp_path: Path) -> None:
    small = make(coded, [cut("s", 0, 2000, 0, 50)], tmp_path / "s", short_side=90, fps=10)["s"]
    assert (small.width, small.height, small.frames, small.fps) == (160, 90, 20, 10)
    assert numbers(small) == [i * 5 // 2 for i in range(20)], "at each moment the frame that is on screen"
    never = make(coded, [cut("n", 0, 400, 0, 10)], tmp_path / "n", short_side=2000)["n"]
    assert (never.width, never.height) == (320, 180)
    half = make(coded, [cut("c", 0, 400, 0, 10, crop=(0.25, 0.5, 0.5, 0.5))], tmp_path / "c", crf=0)["c"]
    assert (half.width, half.height) == (160, 90)
    assert np.array_equal(frames(half.path or "")[3][1], frames(coded)[3][1][90:, 80:240])


@pytest.mark.parametrize("last", range(69, 84))
def test_copying_keeps_the_frames_from_the_key_frame_on(coded: Path, tmp_path: Path, last: int) -> None:
    clip = make(coded, [cut("c", 2600, 40 * last, 65, last)], tmp_path / "out", cut="copy")["c"]
    assert clip.start_ms == 2400
    assert clip.frames is not None
    assert clip.end_ms == 2400 + 40 * clip.frames
    assert last - 60 - 3 <= clip.frames <= last - 60, "up to three B-frames lean on a picture past the end"
    assert numbers(clip) == list(range(60, 60 + clip.frames)), "from the key frame at 60, without a gap"
    assert np.array_equal(frames(clip.path or "")[1][1], frames(coded)[61][1])


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("rate", [25, Fraction(30000, 1001)])
def test_copies_begin_with_the_last_key_frame_that_can(tmp_path: Path, container: str, rate: int | Fraction) -> None:
    path = write_video(tmp_path / f"v.{container}", [80], rate=Fraction(rate), g="20", bf="2")
    with ClipReader(str(path)) as reader:
        times = [f.time_ms for f in reader.frames(0, 9000)]
    for first, end in ((0, 9), (20, 40), (33, 45), (40, 60), (59, 61), (60, 80)):
        clip = make(
            path, [cut("c", times[first], times[end - 1] + 1000 // rate, first, end)], tmp_path / "out", cut="copy"
        )["c"]
        found = numbers(clip)
        assert found[0] == first // 20 * 20
        assert found == list(range(found[0], found[-1] + 1))
        assert end - 3 <= found[-1] <= end - 1
        assert clip.frames == len(found)
        assert clip.start_ms == times[found[0]]


@pytest.mark.parametrize(
    "name",
    [
        "videos/realshort.mp4",  # all pictures before all sound
        "videos/skateboarding_dog.mp4",  # in turns of a second
        "assembled/ep_s02.mp4",
    ],
)
def test_copied_sound_is_that_of_the_copied_pictures_however_the_file_interleaves_them(
    name: str, tmp_path: Path
) -> None:
    def sound(path: Path | str) -> list[tuple[float, bytes]]:
        with av.open(str(path)) as media:
            return [(float(p.pts * p.time_base), bytes(p)) for p in media.demux(audio=0) if p.size]

    path = shared(name)
    with av.open(str(path)) as media:
        times = [round(1000 * p.pts * p.time_base) for p in media.demux(video=0) if p.size]
    third = sorted(times)[len(times) // 3]
    cuts = [cut("a", 0, third), cut("b", third, 2 * third)]
    for clip in make(path, cuts, tmp_path / "out", cut="copy").values():
        assert clip.error is None
        assert clip.start_ms is not None
        assert clip.end_ms is not None
        found = sound(clip.path or "")
        wanted = [d for t, d in sound(path) if clip.start_ms <= 1000 * t < clip.end_ms]
        assert len(found) > 5
        assert [d for _, d in found] == wanted
        assert found[0][0] < 0.05


def test_av1_is_copied_too(tmp_path: Path) -> None:
    clip = make(shared("hostile_real/av1_video.mkv"), [cut("a", 0, 400, 0, 10)], tmp_path / "out", cut="copy")["a"]
    assert (clip.error, clip.frames) == (None, 10)
    assert len(frames(clip.path or "")) == 10


def test_faces_are_blurred_and_the_rest_is_not(tmp_path: Path) -> None:
    photo = cv2.resize(cv2.imread(str(shared("faces/2008_002079.jpg"))), (480, 360), interpolation=cv2.INTER_AREA)
    path = tmp_path / "faces.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=10, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 480, 360, "yuv420p"
        for _ in range(8):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(photo, format="bgr24")))
        output.mux(stream.encode(None))
    cuts = [cut("f", 0, 800, 0, 8)]
    plain = make(path, cuts, tmp_path / "plain", crf=10)["f"]
    blurred = make(path, cuts, tmp_path / "blurred", crf=10, blur_faces=True)["f"]
    assert plain.blurred_faces is None
    assert blurred.blurred_faces is not None
    assert blurred.blurred_faces >= 8
    assert blurred.frames == 8
    before, after = frames(plain.path or "")[4][1].astype(int), frames(blurred.path or "")[4][1].astype(int)
    changed = cv2.GaussianBlur(np.abs(before - after).astype(np.float32), (9, 9), 0) > 12
    assert 0.005 < changed.mean() < 0.6
    assert np.abs(before - after)[~cv2.dilate(changed.astype(np.uint8), np.ones((25, 25))).astype(bool)].mean() < 2.5


def test_a_track_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "ball.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for i in range(200):
            image = np.full((180, 320, 3), 60, np.uint8)
            cv2.rectangle(image, (20 + i, 60), (59 + i, 119), (230, 230, 230), -1)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode(None))
    times = list(range(0, 8000, 200))
    track = TrackBoxes(times, [[20 + t / 40, 60, 40, 60] for t in times])
    clip = make(path, [cut("t", 0, 7802, track=track)], tmp_path / "out")["t"]
    assert (clip.width, clip.height, clip.frames) == (40, 60, 196)
    assert (clip.end_ms, clip.fps) == (7840, 25.0), "the frame of the last box is shown to its end"
    for _, luma in frames(clip.path or "")[75:121]:  # away from the ends, where the smoothing pulls the box inwards
        assert (luma > 150).mean() > 0.9


@given(
    st.lists(
        st.tuples(*(st.floats(-50, 300) for _ in range(2)), *(st.floats(0, 400) for _ in range(2))),
        min_size=1,
        max_size=30,
    )
)
def test_windows_of_tracks_stay_inside_at_one_aspect_ratio(boxes: list[tuple[float, ...]]) -> None:
    windows, size = TrackBoxes([125 * i for i in range(len(boxes))], boxes).windows(320, 180)
    assert (windows[:, :2] >= -1e-6).all()
    assert (windows[:, 0] + windows[:, 2] <= 320 + 1e-6).all()
    assert (windows[:, 1] + windows[:, 3] <= 180 + 1e-6).all()
    ratios = windows[:, 2] / windows[:, 3]
    assert np.allclose(ratios, ratios[0])
    assert ASPECTS[0] - 1e-6 <= ratios[0] <= ASPECTS[1] + 1e-6
    assert size[0] % 2 == 0
    assert size[1] % 2 == 0
    assert min(size) >= 2


@given(st.lists(st.tuples(st.integers(0, 60_000), st.integers(1, 20_000)), max_size=30))
def test_runs_hold_every_clip_once_in_order(spans: list[tuple[int, int]]) -> None:
    cuts = [cut(f"{i:03d}", s, s + d) for i, (s, d) in enumerate(spans)]
    found = runs(cuts)
    assert sorted(c.key for r in found for c in r) == [c.key for c in cuts]
    for before, after in itertools.pairwise(found):
        assert after[0].start_ms > max(c.end_ms for c in before) + JOIN_MS


# ---- shards


def raw_table(paths: list[Path]) -> pa.Table:
    rows = [
        {
            "dataset": "toy",
            "video_id": p.stem,
            "status": "ok",
            "tar": str(p),
            "offset": None,
            "size": p.stat().st_size,
            "sha256": None,
            "etag": f"tag-{p.stem}",
            "duration_ms": 8000,
        }
        for p in paths
    ]
    return pa.Table.from_pylist([{**r, "etag": None} for r in rows], schema=schema("raw_shards").arrow)


def shard_cuts(names: list[str], params: ClipExport) -> list[ClipToCut]:
    cuts = [
        dataclasses.replace(cut(f"{n}_{s}", s, s + 1000, s // 40, s // 40 + 25), video_id=n)
        for n in names
        for s in (0, 2000)
    ]
    return [
        dataclasses.replace(c, fingerprint=clip_fingerprint(c, {"sha256": c.video_id, "etag": None}, params))
        for c in cuts
    ]


def test_other_face_weights_make_other_clips_where_faces_are_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    one, source = cut("a", 0, 1000, 0, 25), {"sha256": "s", "etag": None}
    both = [ClipExport(blur_faces=blur) for blur in (False, True)]
    before = [clip_fingerprint(one, source, params) for params in both]
    monkeypatch.setattr("curation_resources.detectors.faces.centerface_identity", lambda: "centerface:other")
    after = [clip_fingerprint(one, source, params) for params in both]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False]


def test_a_killed_export_does_not_redo_finished_pieces(
    coded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        os.link(coded, tmp_path / f"{name}.mp4")
    storage, params = Storage(str(tmp_path / "root")), ClipExport(preset="ultrafast")
    pieces, raw = Pieces(storage, "clip_dataset/toy-x/pieces"), raw_table([tmp_path / "a.mp4", tmp_path / "b.mp4"])
    cuts = shard_cuts(["a", "b", "gone"], params)
    first = cut_shard(ShardToCut("toy-00000", cuts, raw, params), storage, pieces, workers=0)
    assert (first.cut, first.reused, first.failed) == (4, 0, 2)
    assert {r["error"].split(":")[0] for r in first.table.to_pylist() if r["status"] == "failed"} == {
        "gone_0",
        "gone_2000",
    }

    def refuse(task: VideoCuts) -> list[CutClip]:
        raise AssertionError(f"{task.cuts[0].video_id} was cut again")

    monkeypatch.setattr(shard_cutting, "cut_video", refuse)
    again = cut_shard(ShardToCut("toy-00000", cuts, raw, params), storage, pieces, workers=0)
    assert again.table.equals(first.table)
    for name in (n for n in storage.list(pieces.folder) if n.endswith(".parquet")):
        whole = storage.read(f"{pieces.folder}/{name}")
        for bit in range(0, 8 * len(whole), 8 * len(whole) // 200):
            data = bytearray(whole)
            data[bit // 8] ^= 1 << bit % 8
            Path(storage.uri(f"{pieces.folder}/{name}")).write_bytes(data)
            found = pieces.get("toy-00000", cuts)
            assert found is None or found.equals(first.table), f"{name}, bit {bit}"
        storage.write(f"{pieces.folder}/{name}", whole)


def test_only_new_clips_are_cut_when_a_subset_grows(coded: Path, tmp_path: Path) -> None:
    os.link(coded, tmp_path / "a.mp4")
    storage, params = Storage(str(tmp_path / "root")), ClipExport(preset="ultrafast")
    pieces, raw = Pieces(storage, "p"), raw_table([tmp_path / "a.mp4"])
    cuts = shard_cuts(["a"], params)
    first = cut_shard(ShardToCut("toy-00000", cuts[:1], raw, params), storage, pieces, workers=0)
    grown = cut_shard(ShardToCut("toy-00000", cuts, raw, params, earlier=first.table), storage, pieces, workers=0)
    assert (grown.cut, grown.reused) == (1, 1)
    other = ClipExport(preset="ultrafast", crf=30)
    changed = cut_shard(
        ShardToCut("toy-00000", shard_cuts(["a"], other), raw, other, earlier=first.table), storage, pieces, workers=0
    )
    assert (changed.cut, changed.reused) == (2, 0)


def test_processes_give_what_one_gives(coded: Path, tmp_path: Path) -> None:
    for name in "ab":
        os.link(coded, tmp_path / f"{name}.mp4")
    params, raw = ClipExport(preset="ultrafast"), raw_table([tmp_path / "a.mp4", tmp_path / "b.mp4"])
    cuts = shard_cuts(["a", "b"], params)
    hashes = []
    for workers in (0, 2):
        storage = Storage(str(tmp_path / f"root{workers}"))
        done = cut_shard(ShardToCut("toy-00000", cuts, raw, params), storage, Pieces(storage, "p"), workers=workers)
        hashes.append(done.table["sha256"].to_pylist())
    assert hashes[0] == hashes[1]
    assert None not in hashes[0]
