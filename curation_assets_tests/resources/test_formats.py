"""Which format is fetched, on lists as yt-dlp gives them (worst first)."""

from __future__ import annotations

from typing import Any

import pytest

from curation_resources.download_errors import DownloadError
from curation_resources.formats import choose_formats


def f(
    format_id: str, ext: str, height: int | None, vcodec: str | None, acodec: str | None, **more: Any
) -> dict[str, Any]:
    return {
        "format_id": format_id,
        "ext": ext,
        "height": height,
        "vcodec": vcodec,
        "acodec": acodec,
        "protocol": "https",
        **more,
    }


YOUTUBE = [
    f("sb0", "mhtml", 27, "none", "none", protocol="mhtml"),
    f("249", "webm", None, "none", "opus", abr=50),
    f("140", "m4a", None, "none", "mp4a.40.2", abr=129),
    f("251", "webm", None, "none", "opus", abr=160),
    f("160", "mp4", 144, "avc1.4d400c", "none", tbr=80),
    f("134", "mp4", 360, "avc1.4d401e", "none", tbr=400),
    f("396", "mp4", 360, "av01.0.01M.08", "none", tbr=300),
    f("243", "webm", 360, "vp9", "none", tbr=350),
    f("137", "mp4", 1080, "avc1.640028", "none", tbr=4000),
    f("248", "webm", 1080, "vp9", "none", tbr=2500),
    f("313", "webm", 2160, "vp9", "none", tbr=15000),
]


@pytest.mark.parametrize(
    ("height", "audio", "ids", "ext"),
    [
        (360, True, "134+140", "mp4"),
        (360, False, "134", "mp4"),
        (480, True, "137+140", "mp4"),
        (4320, True, "313+251", "webm"),
        (None, False, "313", "webm"),
        (100, False, "160", "mp4"),
    ],
)
def test_the_smallest_that_reaches_the_height_else_the_largest(
    height: int | None, audio: bool, ids: str, ext: str
) -> None:
    choice = choose_formats(YOUTUBE, height, audio)
    assert ("+".join(x["format_id"] for x in choice.formats), choice.ext) == (ids, ext)


def test_one_file_with_audio_is_preferred_at_the_same_height() -> None:
    choice = choose_formats([*YOUTUBE, f("18", "mp4", 360, "avc1.42001E", "mp4a.40.2", tbr=500)], 360, True)
    assert [x["format_id"] for x in choice.formats] == ["18"]


def test_a_format_without_audio_is_the_last_resort_where_none_can_be_merged() -> None:
    formats = [f("v", "mp4", 360, "avc1", "none"), f("m", "mp4", 720, "avc1", "mp4a")]
    assert choose_formats(formats, 360, True).formats[0]["format_id"] == "m"
    assert choose_formats(formats[:1], 360, True).formats[0]["format_id"] == "v"


def test_formats_of_unknown_size_and_codec_count_as_whole_files() -> None:
    assert choose_formats([f("0", "mp4", None, None, None)], 360, True).formats[0]["format_id"] == "0"


@pytest.mark.parametrize(
    ("formats", "error_class"),
    [
        ([], "no_video"),
        ([f("140", "m4a", None, "none", "mp4a")], "no_video"),
        ([f("d", "mp4", 360, "avc1", "mp4a", has_drm=True)], "unsupported"),
        ([f("r", "flv", 360, "h264", "aac", protocol="rtmp")], "unsupported"),
    ],
)
def test_nothing_to_fetch(formats: list[dict[str, Any]], error_class: str) -> None:
    with pytest.raises(DownloadError) as caught:
        choose_formats(formats, 360, True)
    assert caught.value.error_class == error_class
