"""Encoders of exported clips: those of this machine's CPU encode through the door that a GPU's go through too, and a GPU's say why they do not open."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter
from pydantic import ValidationError

from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.cutting.clip_encoding import in_formats
from curation_assets.publish.cutting.clip_plan import clip_fingerprint
from curation_assets.publish.cutting.pieces import Pieces
from curation_assets.publish.cutting.shard_cutting import ShardToCut, cut_shard
from curation_assets_tests.decode.coded_video import write_video
from curation_assets_tests.publish.cutting.test_clip_cutting import cut, make, numbers
from curation_assets_tests.publish.cutting.test_smart_clips import is_right, pictures
from curation_resources.encoders import ENCODERS, NoEncoder, reasons
from curation_resources.faults import RESOURCE
from curation_resources.storage import Storage

CPU = [e for e in ENCODERS.values() if not e.on_gpu]
GPU = [e for e in ENCODERS.values() if e.on_gpu]


def why_not(name: str) -> str:
    """Why an encoder does not open on this machine; empty if it does."""
    try:
        ENCODERS[name].check()
    except NoEncoder as error:
        return str(error)
    return ""


@pytest.mark.parametrize("encoder", CPU, ids=lambda e: e.name)
@pytest.mark.parametrize("times", ["constant", "varying"])
def test_a_clip_has_the_frames_of_its_span_and_the_same_bytes_again(tmp_path: Path, encoder: Any, times: str) -> None:
    ticks = None if times == "constant" else [40 * n + n * n for n in range(60)]
    source = write_video(tmp_path / "source.mp4", [60], times=ticks, time_base=Fraction(1, 1000) if ticks else None)
    there = pictures(source)
    first, end = 10, 50
    span = [round(1000 * (there[n][0] - there[0][0])) for n in (first, end)]
    wanted = [cut("clip", *span, first, end)]
    clips = [
        make(source, wanted, tmp_path / str(n), encoder=encoder.name, preset="medium", crf=12)["clip"] for n in range(2)
    ]
    clip = clips[0]
    is_right(clip, there, first, end)
    assert (clip.cut, clip.encoder, clip.encoded_frames) == ("exact", encoder.name, end - first)
    assert Path(clips[0].path or "").read_bytes() == Path(clips[1].path or "").read_bytes()
    with av.open(clip.path or "") as video:
        stream = video.streams.video[0]
        assert stream.codec_context.name == encoder.codec
        assert stream.codec_context.codec_tag == (encoder.tag or "avc1")
        assert bool(stream.codec_context.has_b_frames) == (times == "constant")
    capture = cv2.VideoCapture(clip.path or "")
    assert sum(iter(lambda: capture.read()[0], False)) == end - first, "another reader has as many"


def test_the_table_says_which_encoder_and_another_one_cuts_again(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", [40])
    size = (tmp_path / "v.mp4").stat().st_size
    raw = {
        "video_id": "video",
        "sha256": "abc",
        "etag": None,
        "tar": str(tmp_path / "v.mp4"),
        "offset": None,
        "size": size,
    }
    storage = Storage(str(tmp_path))
    found: list[pa.Table] = []
    for name in ("libx264", "libx265", "libx265"):
        params = ClipExport(cut="exact", encoder=name, preset="ultrafast")
        wanted = cut("clip", 400, 1200, 10, 30)
        wanted = type(wanted)(**{**vars(wanted), "fingerprint": clip_fingerprint(wanted, raw, params)})
        table = pa.Table.from_pylist([raw])
        shard = ShardToCut("shard", [wanted], table, params, found[-1] if found else None)
        made = cut_shard(shard, storage, Pieces(storage, f"pieces{len(found)}"), workers=0)
        found.append(made.table)
        assert (made.cut, made.reused) == ((0, 1) if len(found) == 3 else (1, 0))
    assert [t["encoder"].to_pylist() for t in found] == [["libx264"], ["libx265"], ["libx265"]]


@pytest.mark.parametrize("encoder", GPU, ids=lambda e: e.name)
def test_a_gpu_encodes_or_says_in_one_sentence_why_it_does_not(tmp_path: Path, encoder: Any) -> None:
    write_video(tmp_path / "v.mp4", [50])
    there = pictures(tmp_path / "v.mp4")
    clip = make(tmp_path / "v.mp4", [cut("a", 400, 1600, 10, 40)], tmp_path / "out", encoder=encoder.name, preset="p1")[
        "a"
    ]
    said = why_not(encoder.name)
    if not said:
        is_right(clip, there, 10, 40)
        assert clip.encoder == encoder.name
        return
    assert said.startswith(f"export.clips.encoder: {encoder.name} does not open on this machine (")
    assert said.endswith("or say `encoder: libx264`")
    assert "\n" not in said
    assert "NVIDIA" in said
    assert clip.path is None
    assert clip.fault is not None
    assert clip.fault.kind == RESOURCE, "no fault of the clip's: it is asked for again"
    assert f"{encoder.name} fails (" in (clip.error or "")
    assert not list((tmp_path / "out").glob("*.mp4"))


@pytest.mark.parametrize("encoder", GPU, ids=lambda e: e.name)
@pytest.mark.parametrize("reordered", [True, False])
def test_nvenc_knows_each_of_its_options(encoder: Any, reordered: bool) -> None:
    """Options are read before the driver is looked for: one that the encoder knows refuses a word that makes no sense, and one that it does not is passed over."""
    named = encoder.options(20, "p5", reordered)
    for preset in encoder.presets:
        assert not _refused(encoder.name, encoder.options(20, preset, reordered)), preset
    for option in named:
        assert _refused(encoder.name, {option: "no such thing"}), option
    assert not _refused(encoder.name, {"no_such_option": "no such thing"})


def _refused(name: str, options: dict[str, str]) -> bool:
    """Whether an encoder refuses options for what they say."""
    context: Any = av.CodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt = 256, 256, "yuv420p"
    context.framerate, context.time_base = Fraction(25), Fraction(1, 25)
    context.options = options
    with reasons() as told:
        try:
            context.open()
        except av.FFmpegError:
            return any("Error setting option" in message for _, _, message in told)
    return False


def test_full_range_keeps_its_samples_where_its_format_has_no_name() -> None:
    samples = np.random.default_rng(5).integers(0, 256, (72 * 3 // 2, 128), dtype=np.uint8)
    frame = VideoFrame.from_ndarray(samples, format="yuvj420p")
    frame.color_range = ColorRange.JPEG
    formats = {f.name for f in av.Codec("h264_nvenc", "w").video_formats or ()}
    given = in_formats(frame, formats, VideoReformatter())
    assert given.format.name in formats
    assert given.color_range == ColorRange.JPEG
    np.testing.assert_array_equal(given.to_ndarray(), samples)
    assert (
        in_formats(frame, {f.name for f in av.Codec("libx265", "w").video_formats or ()}, VideoReformatter()) is frame
    )


def test_seams_stay_with_the_cpu_whichever_encoder_is_named(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", [90], g="20", bf="2", **{"x264-params": "scenecut=0"})
    there = pictures(tmp_path / "v.mp4")
    cuts = [cut("a", 600, 2800, 15, 70), cut("b", 1600, 2800, 40, 70)]
    clips = make(tmp_path / "v.mp4", cuts, tmp_path / "out", cut="smart", encoder="h264_nvenc", preset="p7")
    for (first, end), clip in zip(((15, 70), (40, 70)), clips.values(), strict=True):
        is_right(clip, there, first, end)
        assert clip.cut == "smart"
        assert clip.encoder == ("libx264" if clip.encoded_frames else None)
    assert Counter(c.encoder for c in clips.values())["libx264"] >= 1
    assert numbers(clips["a"]) == list(range(15, 70))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (
            {"encoder": "h264_nvenc", "preset": "veryfast"},
            r"preset 'veryfast' is none of h264_nvenc's, which are p1, p2",
        ),
        ({"preset": "p4"}, "preset 'p4' is none of libx264's, which are ultrafast"),
        ({"encoder": "hevc_nvenc", "crf": 0}, "crf: 0 leaves the quality to hevc_nvenc; say 1 to 51"),
        (
            {"encoder": "libx265", "cut": "copy"},
            "cut: copy encodes nothing; `encoder: libx265` needs cut: exact or smart",
        ),
        ({"encoder": "h264_qsv"}, "libx264.*h264_nvenc"),
    ],
)
def test_what_an_encoder_does_not_take_is_said_when_the_recipe_is_read(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        ClipExport(**said)


def test_the_default_encoder_leaves_fingerprints_as_they_were() -> None:
    assert "encoder" not in ClipExport().decided()
    assert ClipExport(encoder="hevc_nvenc").preset == "p4"
    options = [ClipExport(encoder=name, preset=ENCODERS[name].preset) for name in ENCODERS]
    assert len({str(o.decided()) for o in options}) == len(ENCODERS)
