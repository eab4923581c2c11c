"""What is said of real odd files, and what is refused and why."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curation_assets.decode.reading.media import OpenVideo
from curation_assets_tests.decode.coded_video import two_streams
from curation_assets_tests.sample_video import sample_video
from curation_assets_tests.shared_data import shared
from curation_resources.download_errors import DownloadError
from curation_resources.probe import probe

FACTS = {
    "-video-with-dash-.mp4": ("h264", None, 1, 1, 0, 1.0, 5000, "mp4"),
    "av1_video.mkv": ("av1", None, 640, 360, 0, 25.0, 5000, "mkv"),
    "corrupted.mp4": ("h264", None, 1280, 720, 0, 10.0, 5000, "mp4"),
    "delayed_start.mp4": ("mpeg4", None, 480, 320, 0, 25.0, 960, "mp4"),
    "h265_10bits.mp4": ("hevc", None, 200, 200, 0, 30.0, 1000, "mp4"),
    "nasa_13013_hdr.mp4": ("hevc", None, 320, 180, 0, 25.0, 13000, "mp4"),
    "no_duration.webm": ("vp9", "opus", 1280, 720, 0, 15000 / 1001, 4938, "webm"),
    "testsrc2_odd_height_and_width_444.mp4": ("h264", None, 321, 241, 0, 25.0, 1000, "mp4"),
    "transparent.webm": ("vp9", "vorbis", 200, 200, 0, 30.0, 5000, "webm"),
    "unordered.mov": ("h264", None, 50, 50, 0, 32.0, 125, "mov"),
    "video-1s.avi": ("indeo4", None, 256, 240, 0, 35.0, 1000, "avi"),
    "video_180.mov": ("h264", None, 568, 320, 180, 30.0, 100, "mov"),
    "video_270.mov": ("h264", None, 568, 320, 270, 30.0, 100, "mov"),
    "video_90.mov": ("h264", None, 568, 320, 90, 30.0, 100, "mov"),
    "video_with_failing_audio.mp4": ("h264", "mp3", 640, 360, 0, 25.0, 11233, "mp4"),
}
"""codec, audio, stored size, clockwise rotation (the negative of what ffprobe says), rate, ms, extension"""


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize("thorough", [True, False])
def test_real_odd_files(name: str, thorough: bool) -> None:
    p = probe(shared(f"hostile_real/{name}"), thorough=thorough, thumbnail=True)
    facts = (p.video_codec, p.audio_codec, p.width, p.height, p.rotation, p.fps, p.duration_ms, p.extension)
    assert facts == FACTS[name]
    picture = Image.open(io.BytesIO(p.thumbnail))
    assert picture.width <= 160
    assert picture.height <= 90
    if p.rotation in (90, 270):
        assert picture.height > picture.width


def test_of_two_streams_the_one_that_is_decoded_is_described(tmp_path: Path) -> None:
    path = two_streams(tmp_path / "two.mp4", ((160, 90), (320, 180)))
    found = probe(path)
    with OpenVideo(path) as video:
        assert (found.width, found.height) == (video.stream.width, video.stream.height) == (320, 180)


def why(data: bytes, **options: bool) -> tuple[str, str]:
    with pytest.raises(DownloadError) as caught:
        probe(io.BytesIO(data), **options)
    return caught.value.error_class, caught.value.message


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\0" * 5000, "zero bytes"),
        (b"\n <!DOCTYPE HTML><html>" + b"x" * 5000, "HTML"),
        (b'{"error": 1}', "JSON"),
        (b"<?xml version='1.0'?><Error/>", "XML"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "playlist"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "ffmpeg cannot read"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "picture (PNG)"),
        (b"just some text " * 100, "ffmpeg cannot read"),
        (bytes(range(256)) * 20, "ffmpeg cannot read"),
    ],
)
def test_what_is_no_media(data: bytes, reason: str) -> None:
    error_class, message = why(data)
    assert error_class == "corrupt"
    assert reason in message


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "JPEG2000", "ICO", "AVIF"])
def test_pictures_are_called_pictures(kind: str) -> None:
    data = io.BytesIO()
    try:
        Image.new("RGB", (64, 48), "red").save(data, kind)
    except (KeyError, OSError) as missing:
        pytest.skip(f"Pillow writes no {kind}: {missing}")
    assert why(data.getvalue())[1].startswith("the file is a picture")


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_animated_pictures_are_called_so(kind: str) -> None:
    data, pictures = io.BytesIO(), [Image.new("RGB", (64, 48), c) for c in ("red", "green", "blue")]
    pictures[0].save(data, kind, save_all=True, append_images=pictures[1:], duration=100, loop=0)
    said = why(data.getvalue())[1]
    assert said.startswith(
        "the file is a GIF" if kind == "GIF" else f"the file is an animated picture ({kind.replace('WEBP', 'WebP')})"
    )
    assert said.endswith("not a video; convert it to one to have it read")


@pytest.mark.parametrize("container", ["mp4", "mp3"])
def test_cover_art_is_no_video(container: str) -> None:
    data, cover = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(cover, "JPEG")
    with av.open(data, "w", format=container) as output:
        sound = output.add_stream("aac" if container == "mp4" else "libmp3lame", rate=44100)
        art = output.add_stream("mjpeg")
        art.width, art.height, art.pix_fmt = 64, 48, "yuvj420p"
        art.disposition = av.stream.Disposition.attached_pic
        packet = av.Packet(cover.getvalue())
        packet.stream, packet.pts, packet.dts = art, 0, 0
        output.start_encoding()
        output.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 44100), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 44100
        output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    error_class, message = why(data.getvalue())
    assert error_class == "no_video"
    assert message.endswith("only audio and cover art")


def test_audio_alone_is_no_video() -> None:
    error_class, message = why(sample_video(video=False))
    assert error_class == "no_video"
    assert "only audio" in message


@pytest.mark.parametrize("index_first", [True, False])
@pytest.mark.parametrize("thorough", [True, False])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.999])
def test_truncated_mp4(index_first: bool, thorough: bool, share: float) -> None:
    data = sample_video(4.0, index_first=index_first)
    error_class, message = why(data[: int(len(data) * share)], thorough=thorough)
    assert error_class == "corrupt"
    assert "truncated" in message


@pytest.mark.parametrize("container", ["matroska", "webm"])
@pytest.mark.parametrize("thorough", [True, False])
def test_truncated_matroska(container: str, thorough: bool) -> None:
    data = sample_video(4.0, container=container)
    assert why(data[: len(data) // 2], thorough=thorough)[0] == "corrupt"


def test_the_thumbnail_is_the_first_picture_that_is_not_black() -> None:
    first, black = (probe(io.BytesIO(sample_video(2.0, black_s=s)), thumbnail=True).thumbnail for s in (1.0, 2.0))
    assert sum(Image.open(io.BytesIO(first)).convert("L").tobytes()) > 1e5
    assert max(Image.open(io.BytesIO(black)).convert("L").tobytes()) < 20


def test_a_stream_with_an_offset_is_read_like_a_file(tmp_path: Path) -> None:
    data = sample_video(2.0)
    path = tmp_path / "ünï cødé.mp4"
    path.write_bytes(data)
    assert probe(path) == probe(io.BytesIO(data)) == probe(io.BytesIO(data), thorough=False)


@settings(max_examples=40)
@given(st.data())
def test_damage_anywhere_gives_facts_or_a_reason(data: st.DataObject) -> None:
    media = bytearray(sample_video(1.0, container=data.draw(st.sampled_from(["mp4", "matroska", "webm"]))))
    for _ in range(data.draw(st.integers(1, 30))):
        media[data.draw(st.integers(0, len(media) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = probe(io.BytesIO(bytes(media)), thumbnail=True)
    except DownloadError as error:
        outcome = error.error_class
    else:
        assert found.width > 0
        outcome = f"turned by {found.rotation}"
    assert outcome in ("corrupt", "no_video", "turned by 0", "turned by 90", "turned by 180", "turned by 270")
