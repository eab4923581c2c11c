"""Clips put together of copied and encoded pictures: the frames that the table names, the copied ones as the source has them, whatever the source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.cutting import seam_encoding, smart_clip
from curation_assets.publish.cutting.clip_plan import clip_fingerprint
from curation_assets.publish.cutting.clip_timing import Timing
from curation_assets.publish.cutting.coded_units import (
    CODINGS,
    H265,
    RENUMBERED,
    Bits,
    NotUnderstood,
    escaped,
    unescaped,
)
from curation_assets.publish.cutting.pieces import Pieces
from curation_assets.publish.cutting.shard_cutting import HOW, ShardToCut, cut_shard
from curation_assets.publish.cutting.unit_packing import Packing, stream_of
from curation_assets.publish.cutting.video_task import CutClip
from curation_assets_tests.decode.coded_video import write_video
from curation_assets_tests.frame_numbers import number_in
from curation_assets_tests.publish.cutting.test_clip_cutting import clicks_in, cut, make, with_sound
from curation_resources.storage import Storage

X265 = "log-level=none:pools=none:frame-threads=1:keyint=20:min-keyint=20:scenecut=0"
Picture = tuple[Fraction, NDArray[Any]]


def pictures(path: str | Path) -> list[Picture]:
    """Times and samples of a file's pictures, as they are coded."""
    with av.open(str(path)) as video:
        return [(Fraction(f.pts) * f.time_base, f.to_ndarray()) for f in video.decode(video=0)]


def luma(samples: NDArray[Any]) -> NDArray[np.uint8]:
    height = samples.shape[0] * 2 // 3
    return (samples[:height] >> (2 if samples.dtype == np.uint16 else 0)).astype(np.uint8)


def span(source: Sequence[Picture], first: int, end: int) -> tuple[int, int, int, int]:
    """What `clips` would say of frames [first, end), from the file's own times."""
    ticks = [*(t for t, _ in source), 2 * source[-1][0] - source[-2][0]]
    return round(1000 * (ticks[first] - ticks[0])), round(1000 * (ticks[end] - ticks[0])), first, end


def is_right(clip: CutClip, source: Sequence[Picture], first: int, end: int, numbered: bool = True) -> None:
    """The clip has the frames of the source, each at its time, all but the encoded ones sample by sample."""
    assert clip.error is None, clip.error
    made = pictures(clip.path or "")
    assert clip.frames == len(made) == end - first
    if numbered:
        assert [number_in(luma(p)) for _, p in made] == [number_in(luma(p)) for _, p in source[first:end]]
    with av.open(clip.path or "") as video:
        assert video.streams.video[0].start_time == 0
    for (time, _), (wanted, _) in zip(made, source[first:end], strict=True):
        assert float(time) == pytest.approx(float(wanted - source[first][0]), abs=1.1e-3)
    same = [np.array_equal(a, b) for (_, a), (_, b) in zip(made, source[first:end], strict=True)]
    assert clip.encoded_frames is not None
    assert sum(same) >= len(made) - clip.encoded_frames
    for (_, a), (_, b), equal in zip(made, source[first:end], same, strict=True):
        assert equal or np.abs(luma(a).astype(int) - luma(b)).mean() < 3


def durations(path: str | None) -> set[int]:
    with av.open(path or "") as video:
        return {p.duration for p in video.demux(video=0) if p.size}


H264 = {"g": "20", "bf": "3", "x264-params": "scenecut=0:ref=4:b-pyramid=normal:b-adapt=0"}
SOURCES: Mapping[str, dict[str, Any]] = {
    "main profile, pyramid, four references": {**H264, "profile": "main"},
    "baseline": {"g": "20", "profile": "baseline", "preset": "medium", "bf": "0"},
    "ten bits": {**H264, "pix_fmt": "yuv420p10le"},
    "open groups": {"g": "20", "bf": "3", "x264-params": "scenecut=0:open-gop=1:b-adapt=0:keyint=20:min-keyint=20"},
    "slices": {**H264, "x264-params": "scenecut=0:slices=4:sps-id=3", "bf": "2"},
    "full range": {**H264, "pix_fmt": "yuvj420p"},
    "HEVC, open groups": {"codec": "libx265", "preset": "superfast", "x265-params": f"{X265}:open-gop=1:bframes=4:b-adapt=0"},
    "HEVC, closed": {"codec": "libx265", "preset": "superfast", "x265-params": f"{X265}:open-gop=0:bframes=3:ref=4"},
    "HEVC, leading pictures of IDRs": {"codec": "libx265", "preset": "superfast", "x265-params": f"{X265}:open-gop=0:radl=2:bframes=4:b-adapt=0"},
    "HEVC, Main10": {"codec": "libx265", "preset": "superfast", "pix_fmt": "yuv420p10le", "x265-params": f"{X265}:open-gop=1:bframes=4"},
}  # fmt: skip
SPANS = ((20, 60), (7, 71), (33, 78), (40, 57), (0, 80))


@pytest.mark.parametrize(
    ("kind", "container"),
    [
        *((kind, "mp4") for kind in SOURCES),
        ("main profile, pyramid, four references", "mkv"),
        ("main profile, pyramid, four references", "ts"),
        ("open groups", "mov"),
        ("open groups", "ts"),
        ("HEVC, open groups", "mkv"),
        ("HEVC, Main10", "ts"),
    ],
)
def test_every_frame_is_there_and_copied_ones_are_the_sources(kind: str, container: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / f"v.{container}", [80], **SOURCES[kind])
    source = pictures(path)
    spans = SPANS if container == "mp4" else SPANS[1:3]
    cuts = [cut(f"{a}-{b}", *span(source, a, b)) for a, b in spans]
    made = make(path, cuts, tmp_path / "out", cut="smart")
    encoded = []
    for (a, b), c in zip(spans, cuts, strict=True):
        is_right(made[c.key], source, a, b)
        assert len(durations(made[c.key].path)) == 1, "a constant rate stays constant"
        encoded.append(made[c.key].encoded_frames)
    if kind == "open groups":  # x264's have one IDR, at the start; the others do not promise what comes after them
        assert encoded == ([40, 64, 45, 17, 0] if container == "mp4" else [64, 45])
        return
    # A head goes on to the next key frame, or to the end of the pictures that are shown before it; a tail leans on a picture past the end.
    for number, (a, b) in zip(encoded, spans, strict=True):
        assert -a % 20 <= number <= -a % 20 + (6 if b < 80 else 0)


def test_an_open_group_is_entered_at_a_cra_picture_that_joins(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", [80], **SOURCES["HEVC, open groups"])
    source, coding = pictures(path), CODINGS["hevc"]
    clip = make(path, [cut("j", *span(source, 30, 70))], tmp_path / "out", cut="smart")["j"]
    is_right(clip, source, 30, 70)
    with av.open(clip.path or "") as video:
        stream = video.streams.video[0]
        packing = Packing.of("hevc", stream.codec_context.extradata)
        kinds = [
            next(k for k in map(coding.kind, packing.units(bytes(p))) if coding.is_picture(k))
            for p in video.demux(stream)
            if p.size
        ]
        assert stream.codec_context.codec_tag == "hvc1"
    assert kinds[0] in (19, 20), "an encoded IDR"
    assert kinds.count(18) == 1, "a BLA picture where the copied ones begin"
    assert kinds[kinds.index(18) + 1] < 16


@pytest.mark.parametrize(("reordered", "way"), [("0", "smart"), ("2", "exact")])
def test_variable_rates_keep_their_times(reordered: str, way: str, tmp_path: Path) -> None:
    steps = np.random.default_rng(3).integers(20, 90, 80)
    times = [0, *np.cumsum(steps).tolist()]
    options = {"g": "20", "bf": reordered, "x264-params": "scenecut=0"}
    path = write_video(tmp_path / "v.mkv", [80], times=times, time_base=Fraction(1, 1000), **options)
    source = pictures(path)
    clip = make(path, [cut("v", *span(source, 30, 70))], tmp_path / "out", cut="smart")["v"]
    assert clip.cut == way
    assert (clip.encoded_because is None) == (way == "smart")
    is_right(clip, source, 30, 70)
    with av.open(clip.path or "") as video:
        shown = [
            (round(1000 * p.pts * p.time_base), round(1000 * p.duration * p.time_base))
            for p in video.demux(video=0)
            if p.size
        ]
    assert shown == [(times[n] - times[30], times[n + 1] - times[n]) for n in range(30, 70)]


@pytest.mark.parametrize(("lacking", "way"), [((1, 2), "smart"), ((40, 41, 59), "smart"), (range(1, 80, 3), "exact")])
def test_periods_without_a_picture_are_kept(lacking: Sequence[int], way: str, tmp_path: Path) -> None:
    times = [n * 512 for n in range(83) if n not in lacking]
    path = write_video(tmp_path / "v.mp4", [len(times)], times=times, time_base=Fraction(1, 12800), **H264)
    source = pictures(path)
    spans = ((0, 30), (33, len(times) - 2))
    made = make(path, [cut(f"{a}", *span(source, a, b)) for a, b in spans], tmp_path / "out", cut="smart")
    for a, b in spans:
        clip = made[f"{a}"]
        assert clip.cut == way
        is_right(clip, source, a, b)
        assert [t for t, _ in pictures(clip.path or "")] == [t - source[a][0] for t, _ in source[a:b]]


def test_a_rate_that_milliseconds_round_is_constant(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mkv", [80], rate=Fraction(30000, 1001), **H264)
    source = pictures(path)
    assert len({b - a for (a, _), (b, _) in pairwise(source)}) == 2
    clip = make(path, [cut("r", *span(source, 30, 70))], tmp_path / "out", cut="smart")["r"]
    assert clip.cut == "smart"
    is_right(clip, source, 30, 70)
    assert [t for t, _ in pictures(clip.path or "")] == [Fraction(1001 * n, 30000) for n in range(40)]


@pytest.mark.parametrize("kind", ["interlaced", "turned", "stretched", "4:4:4", "VP9", "two pictures"])
def test_what_is_in_doubt_is_encoded_and_the_row_says_why(kind: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "interlaced": {**H264, "x264-params": "scenecut=0:interlaced=1"},
        "turned": {**H264, "rotation": 90},
        "stretched": {**H264, "x264-params": "scenecut=0:sar=4/3"},
        "4:4:4": {**H264, "pix_fmt": "yuv444p"},
        "VP9": {"codec": "libvpx-vp9", "container": "matroska", "deadline": "realtime", "cpu-used": "8"},
        "two pictures": H264,
    }[kind]
    path = write_video(tmp_path / "v.mkv" if kind == "VP9" else tmp_path / "v.mp4", [60], **options)
    source = pictures(path)
    end = 22 if kind == "two pictures" else 60
    clip = make(path, [cut("d", *span(source, 20, end))], tmp_path / "out", cut="smart")["d"]
    assert clip.error is None
    assert (clip.cut, clip.encoded_frames) == ("exact", end - 20)
    said = {
        "interlaced": "interlaced", "turned": "not shown as", "stretched": "not shown as", "4:4:4": "yuv444p", "VP9": "vp9",
        "two pictures": "too few",
    }  # fmt: skip
    assert said[kind] in (clip.encoded_because or "")


@pytest.mark.parametrize("options", [{"short_side": 90}, {"fps": 5}, {"crop": (0.25, 0.25, 0.5, 0.5)}])
def test_pictures_that_are_changed_are_encoded(options: dict[str, Any], tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", [60], **H264)
    source, crop = pictures(path), options.pop("crop", None)
    clip = make(path, [cut("d", *span(source, 20, 60), crop=crop)], tmp_path / "out", cut="smart", **options)["d"]
    assert (clip.cut, clip.encoded_frames) == ("exact", clip.frames)
    assert (clip.encoded_because is None) == ("fps" in options), "with a rate of its own it is asked for exactly"


def rewritten(plain: Path, path: Path, change: Callable[[str, list[bytes]], list[bytes]]) -> Path:
    """A file with the units of each picture changed, given the codec."""
    with av.open(str(plain)) as media, av.open(str(path), "w") as out:
        video = media.streams.video[0]
        codec = video.codec_context.name
        packing = Packing.of(codec, video.codec_context.extradata)
        stream = out.add_stream_from_template(video, opaque=True)
        for packet in media.demux(video):
            if packet.size:
                other = av.Packet(packing.packed(change(codec, packing.units(bytes(packet)))))
                other.pts, other.dts, other.duration = packet.pts, packet.dts, packet.duration
                other.time_base, other.is_keyframe, other.stream = packet.time_base, packet.is_keyframe, stream
                out.mux(other)
    return path


@pytest.mark.parametrize("kind", ["main profile, pyramid, four references", "HEVC, closed"])
def test_what_a_camera_says_beside_its_pictures_is_not_published(kind: str, tmp_path: Path) -> None:
    secret = b"N 48.85 E 2.29" * 30
    message = bytes([5, 255, 16 + len(secret) - 255]) + bytes(range(16)) + secret

    def saying(codec: str, units: list[bytes]) -> list[bytes]:
        head = b"\x06" if codec == "h264" else b"\x4e\x01"
        # A message of another kind before the one that says where this is.
        return [escaped(head + bytes([200, 1, 0x80]) + message + b"\x80"), *units]

    plain = write_video(tmp_path / "plain.mp4", [60], **SOURCES[kind])
    path = rewritten(plain, tmp_path / "v.mp4", saying)
    assert secret[:14] in path.read_bytes()
    source = pictures(path)
    clip = make(path, [cut("s", *span(source, 10, 55))], tmp_path / "out", cut="smart")["s"]
    assert clip.cut == "smart", clip.encoded_because
    is_right(clip, source, 10, 55)
    assert secret[:14] not in Path(clip.path or "").read_bytes()


@pytest.mark.parametrize("rest", [b"\0\0\0\x01\x0a", b"\0\0\0"])
def test_what_muxers_leave_behind_a_unit_is_no_part_of_it(rest: bytes, tmp_path: Path) -> None:
    plain = write_video(tmp_path / "plain.mp4", [60], **H264)
    path = rewritten(plain, tmp_path / "v.mp4", lambda _, units: [*units[:-1], units[-1] + rest])
    source = pictures(path)
    assert len(source) == 60
    clip = make(path, [cut("r", *span(source, 10, 60))], tmp_path / "out", cut="smart")["r"]
    assert clip.cut == "smart", clip.encoded_because
    is_right(clip, source, 10, 60)


def joined(path: Path, parts: Sequence[Path], container: str) -> Path:
    """Streams one after the other in one file, without a word of the container about it."""
    with av.open(str(path), "w", format=container) as out:
        begun, stream = 0, None
        for part in parts:
            with av.open(str(part)) as media:
                video = media.streams.video[0]
                stream = stream or out.add_stream_from_template(video, opaque=True)
                last = 0
                for packet in media.demux(video):
                    if packet.size:
                        last = max(last, packet.pts + packet.duration)
                        packet.pts, packet.dts, packet.stream = packet.pts + begun, packet.dts + begun, stream
                        out.mux(packet)
                begun += last
    return path


@pytest.mark.parametrize("numbers", [(0, 0), (0, 5)])
def test_where_parameter_sets_change_a_clip_has_those_of_its_own_part(numbers: tuple[int, int], tmp_path: Path) -> None:
    kinds = ({"profile": "main", "bf": "2"}, {"profile": "high", "bf": "0", "preset": "medium"})
    parts = [
        write_video(
            tmp_path / f"{n}.ts", [40], first=40 * n, g="20", **{"x264-params": f"scenecut=0:sps-id={number}:ref={2 + n}", **kind}
        )
        for n, (number, kind) in enumerate(zip(numbers, kinds, strict=True))
    ]  # fmt: skip
    path = joined(tmp_path / "v.ts", parts, "mpegts")
    source = pictures(path)
    assert len(source) == 80
    spans = ((5, 38), (45, 78), (30, 70))
    made = make(path, [cut(f"{a}", *span(source, a, b)) for a, b in spans], tmp_path / "out", cut="smart")
    for a, b in spans:
        is_right(made[f"{a}"], source, a, b)
    # From frame 40 on the third is of the second part: what it was decoded with before is encoded.
    assert [made[f"{a}"].cut for a, _ in spans] == ["smart", "smart", "smart"]
    assert made["30"].encoded_frames == 10


def test_sound_is_cut_to_the_sample_and_the_bytes_are_the_same_every_time(tmp_path: Path) -> None:
    silent = write_video(tmp_path / "silent.mp4", [120], **H264)
    path = with_sound(silent, tmp_path / "v.mp4", [1.0, 2.5, 3.1], 4.8)
    source = pictures(path)
    cuts = [cut("s", *span(source, 55, 98))]
    made = [
        make(path, cuts, tmp_path / name, cut=way)["s"]
        for name, way in (("a", "smart"), ("b", "smart"), ("c", "exact"))
    ]
    assert [c.cut for c in made] == ["smart", "smart", "exact"]
    is_right(made[0], source, 55, 98)
    assert Path(made[0].path or "").read_bytes() == Path(made[1].path or "").read_bytes()
    (copied, ends), (encoded, padded) = (clicks_in(made[n].path or "") for n in (0, 2))
    assert copied == pytest.approx(encoded, abs=0.003)
    assert copied == pytest.approx([0.3, 0.9], abs=0.003)
    assert ends == pytest.approx(padded, abs=1024 / 44100)


def test_pictures_that_an_edit_list_hides_are_in_no_clip(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", [80], **H264)
    path = tmp_path / "trimmed.mp4"
    with av.open(str(whole)) as media, av.open(str(path), "w") as out:
        video = media.streams.video[0]
        stream = out.add_stream_from_template(video, opaque=True)
        base = round(Fraction(1, 25) / video.time_base)
        for packet in media.demux(video):
            if packet.size:
                packet.pts, packet.dts, packet.stream = packet.pts - 7 * base, packet.dts - 7 * base, stream
                out.mux(packet)
    source = pictures(path)
    assert number_in(luma(source[0][1])) == 7, "the list hides seven pictures"
    made = make(path, [cut("a", *span(source, 0, 40)), cut("b", *span(source, 5, 60))], tmp_path / "out", cut="smart")
    for key, (a, b) in (("a", (0, 40)), ("b", (5, 60))):
        is_right(made[key], source, a, b)
    assert made["b"].cut == "smart"


def test_a_clock_that_begins_anywhere_is_none_of_the_clips(tmp_path: Path) -> None:
    plain = write_video(tmp_path / "plain.mp4", [80], **H264)
    path = tmp_path / "late.ts"
    with av.open(str(plain)) as media, av.open(str(path), "w", options={"mpegts_copyts": "1"}) as out:
        video = media.streams.video[0]
        stream = out.add_stream_from_template(video, opaque=True)
        for number, packet in enumerate(p for p in media.demux(video) if p.size):
            late = round(5000 / video.time_base)
            # Decoding times that do not follow the frames: all early by a growing part of a tick, none after its picture.
            packet.pts, packet.dts, packet.stream = packet.pts + late, packet.dts + late - 40 - number % 7, stream
            out.mux(packet)
    source = pictures(path)
    clip = make(path, [cut("c", *span(source, 30, 70))], tmp_path / "out", cut="smart")["c"]
    assert clip.cut == "smart"
    is_right(clip, source, 30, 70)


def same_number(codec: str, taken: Any) -> int:
    """What the encoder numbers its sets where nobody says otherwise."""
    return next(n for kind, n in taken if kind == CODINGS[codec].sets[-1])


@pytest.mark.parametrize(
    "fault", ["one number for two sets", "a bit of a packet", "a picture is lost", "a set is lost", "a late picture"]
)
def test_a_seam_that_does_not_verify_is_not_published(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(
        tmp_path / "v.mp4", [80], **{**H264, "profile": "main", "x264-params": "scenecut=0:sps-id=4:ref=3:cabac=0"}
    )
    source = pictures(path)
    written: Callable[..., Any] = smart_clip._write

    def write(path: Path, video: Any, pictures: Any, sets: list[bytes], *more: Any) -> None:
        if fault == "a set is lost":
            sets = sets[:-1]
        if fault == "a picture is lost":
            pictures = replace(pictures, parts=[*pictures.parts[:15], *pictures.parts[16:]])
        written(path, video, pictures, sets, *more)
        data = bytearray(path.read_bytes())
        if fault == "a bit of a packet":
            place = data.index(bytes(pictures.parts[20].units[0][-40:]))
            data[place + 20] ^= 4
        if fault == "a late picture":
            place = data.index(b"ctts")
            data[place + 19] ^= 1
        path.write_bytes(data)

    if fault == "one number for two sets":
        monkeypatch.setattr(seam_encoding, "_free", same_number)
    monkeypatch.setattr(smart_clip, "_write", write)
    clip = make(path, [cut("f", *span(source, 30, 70))], tmp_path / "out", cut="smart")["f"]
    assert (clip.cut, clip.encoded_frames) == ("exact", 40), fault
    assert clip.encoded_because
    is_right(clip, source, 30, 70)


def test_what_was_published_stays_where_clips_would_come_out_the_same(tmp_path: Path) -> None:
    exact = ClipExport(cut="exact").model_dump()
    assert ClipExport(cut="smart").model_dump() == {**exact, "cut": "smart"}
    for same in ({"fps": 5.0}, {"blur_faces": True}, {"tracks": True}):
        assert ClipExport(cut="smart", **same).model_dump() == {**exact, **same}, (
            "compared as it was before there was `smart`"
        )
    path = write_video(tmp_path / "v.mp4", [60], **H264)
    source = pictures(path)
    raw = pa.table({"video_id": ["video"], "tar": [str(path)], "offset": [None], "size": [None], "etag": [None]})
    wanted = ShardToCut("toy-00000", [cut("a", *span(source, 20, 60))], raw, ClipExport(cut="exact"))
    storage = Storage(str(tmp_path / "storage"))
    made = cut_shard(wanted, storage, Pieces(storage, "first"), workers=0).table
    assert made.select(HOW).to_pylist() == [dict(zip(HOW, ("exact", 40, "libx264", None), strict=True))]
    before = replace(wanted, earlier=made.drop_columns(HOW))
    again = cut_shard(before, storage, Pieces(storage, "second"), workers=0)
    assert (again.cut, again.reused) == (0, 1)
    assert again.table.equals(made), "rows of before say how they were made, which their options decided"


def test_encoded_clips_are_as_good_as_those_that_are_put_together_and_not_the_other_way_round(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", [60], **H264)
    source, storage = pictures(path), Storage(str(tmp_path / "storage"))
    raw = pa.table({"video_id": ["video"], "tar": [str(path)], "offset": [None], "size": [None], "etag": [None]})
    planned = replace(cut("a", *span(source, 20, 60)), video_id="video")
    row = {"sha256": "0", "etag": None}

    def wanted(way: str, earlier: pa.Table | None) -> ShardToCut:
        params = ClipExport(cut=way)
        as_good = clip_fingerprint(planned, row, params.as_exact) if params.as_exact is not None else ""
        one = replace(planned, fingerprint=clip_fingerprint(planned, row, params), as_good=as_good)
        return ShardToCut("toy-00000", [one], raw, params, earlier=earlier)

    exact, smart = (
        cut_shard(wanted(w, None), storage, Pieces(storage, w), workers=0).table for w in ("exact", "smart")
    )
    assert [t["cut"].to_pylist() for t in (exact, smart)] == [["exact"], ["smart"]]
    cases = ((exact, "smart", 1), (smart, "exact", 0), (smart, "smart", 1), (exact, "copy", 0))
    for number, (earlier, way, reused) in enumerate(cases):
        again = cut_shard(wanted(way, earlier), storage, Pieces(storage, f"again-{number}"), workers=0)
        assert (again.reused, again.cut) == (reused, 1 - reused)
        if reused:
            assert again.table.equals(earlier), "and goes on saying how it was made"
    old = cut_shard(wanted("smart", exact.drop_columns(HOW)), storage, Pieces(storage, "old"), workers=0).table
    assert old["cut"].to_pylist() == ["exact"], "there was no other way then that gave this"


def test_sets_are_renumbered_without_moving_a_bit_of_what_follows() -> None:
    coding = CODINGS["hevc"]
    assert isinstance(coding, H265)
    frames = [
        av.VideoFrame.from_ndarray(np.full((96, 160, 3), 9 * n, np.uint8), format="rgb24").reformat(format="yuv420p")
        for n in range(9)
    ]
    timing = Timing(Fraction(1, 25), Fraction(25), True)
    plain = seam_encoding.encode(frames, "hevc", ClipExport(), timing, [])
    other = seam_encoding.encode(frames, "hevc", ClipExport(), timing, [(34, RENUMBERED[0])])
    assert {coding.set_key(s) for s in plain.sets} == {(32, 15), (33, 15), (34, 15)}
    assert {coding.set_key(s) for s in other.sets} == {(32, 15), (33, 15), (34, 16)}
    assert [coding.parent(u[-1]) for u in other.pictures] == [(34, 16)] * 9
    for a, b in zip(plain.decoded("hevc", 9), other.decoded("hevc", 9), strict=True):
        assert np.array_equal(a.to_ndarray(), b.to_ndarray())
    raw = bytes([64, 1, 0, 0, 1, 0, 0, 0, 3, 0, 0, 2])
    assert unescaped(escaped(raw)) == raw
    assert b"\0\0\1" not in escaped(raw)
    assert stream_of([b"a"]) == b"\0\0\0\1a"


def test_numbers_of_headers_are_read_to_their_last_bit() -> None:
    numbers = [0, 1, 2, 3, 6, 7, 254, 255, 256, 65_535, 2**31, 2**32 - 2, 0]
    coded = "".join(f"{'0' * ((n + 1).bit_length() - 1)}{n + 1:b}" for n in numbers)
    read = 0
    bits = Bits(int(coded.ljust(-(-len(coded) // 8) * 8, "0"), 2).to_bytes(-(-len(coded) // 8), "big"))
    for number in numbers:
        assert bits.ue() == number
        read += 2 * (number + 1).bit_length() - 1
        assert bits.read == read
    for nothing in (b"", b"\0", b"\0\0\0\0\x40\0\0\0\0"):
        with pytest.raises(NotUnderstood):
            Bits(nothing).ue()
