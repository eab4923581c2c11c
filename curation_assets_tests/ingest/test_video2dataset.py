"""Tars of video2dataset 1.3: what its JSON says, and a tar of its layout fetched with sound, subtitles, spans and address.

The JSON is as its workers wrote it when they were run on a video with a picture and a sound in two files.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import av
import pytest

from curation_assets.ingest.dataset_index import Source
from curation_assets.ingest.fetch_plan import ShardVideos
from curation_assets.ingest.fetching import build_raw_shard
from curation_assets.ingest.raw_shards import Download
from curation_assets.ingest.sources import RejectedLine, SourceRow, read_source
from curation_assets.ingest.sources.video2dataset import is_sample, section_of, spans_of, subtitles_of
from curation_assets_tests.ingest.test_fetching import lasting, metadata
from curation_assets_tests.sample_video import sample_video
from curation_resources.media import MediaRef
from curation_resources.storage import Storage

URL = "https://www.youtube.com/watch?v=abcdefghijk"
LINES = [
    {"start": "00:00:01.000", "end": "00:00:03.500", "lines": ["Hello there", "world"]},
    {"start": "00:00:06.000", "end": "00:00:09.000", "lines": ["Later"]},
]
PAGE = {"id": "abcdefghijk", "title": "A title", "uploader": "Someone", "upload_date": "20200102", "license": "CC-BY"}
WHOLE: dict[str, Any] = {
    "url": URL,
    "caption": "a caption",
    "key": "000000",
    "status": "success",
    "error_message": None,
    "yt_meta_dict": {"info": PAGE, "subtitles": {"en": LINES}},
}
CLIP = WHOLE | {
    "key": "000000_00001",
    "yt_meta_dict": {},
    "clips": [["00:00:02.000", "00:00:08.000"]],
    "clip_subtitles": [line | {"lines": {"en": line["lines"], "de": ["Hallo"]}} for line in LINES],
}
CUTS = {"original_fps": 25.0, "cuts_original_fps": [[0, 50], [50, 113], [113, 113]]}


def test_times_are_those_of_the_samples_own_file() -> None:
    assert (spans_of(WHOLE), section_of(WHOLE)) == ([], None)
    assert [(c["start_ms"], c["end_ms"], c["text"]) for c in subtitles_of(WHOLE)["en"]] == [
        (1000, 3500, "Hello there world"),
        (6000, 9000, "Later"),
    ]
    assert (spans_of(CLIP), section_of(CLIP)) == ([("000000_00001", 0, 6000)], (2000, 8000))
    cues = subtitles_of(CLIP)
    assert [(c["start_ms"], c["end_ms"]) for c in cues["en"]] == [(0, 1500), (4000, 6000)]
    assert {c["text"] for c in cues["de"]} == {"Hallo"}
    assert spans_of(WHOLE | {"cuts": CUTS}) == [(None, 0, 2000), (None, 2000, 4520)]
    assert spans_of(CLIP | {"cuts": CUTS}) == spans_of(CLIP), "cuts of a clip are those of the whole video"
    assert spans_of(WHOLE | {"clips": [[0.5, 2], [2, 3.25]]}) == [(None, 500, 2000), (None, 2000, 3250)]


@pytest.mark.parametrize(
    "odd",
    [
        {"clips": "x"},
        {"clips": [["a", "b"]]},
        {"cuts": {"original_fps": 0, "cuts_original_fps": [[0, 1]]}},
        {"cuts": {"original_fps": 25}},
        {"cuts": {"original_fps": 25, "cuts_original_fps": [[1], None]}},
        {"yt_meta_dict": None},
        {"yt_meta_dict": {"subtitles": [{"start": "x"}, 3]}},
        {"clip_subtitles": [None, {"lines": 3}], "key": "1_0", "clips": [[0, 1]]},
    ],
)
def test_what_cannot_be_read_says_nothing(odd: dict[str, Any]) -> None:
    info = WHOLE | {"yt_meta_dict": {}} | odd
    assert is_sample(info)
    assert subtitles_of(info) == {}
    assert all(end > start >= 0 for _, start, end in spans_of(info))


def test_a_neighbours_json_is_none() -> None:
    assert not is_sample({"url": URL, "key": "0", "status": "success", "error_message": None, "width": 3})


def a_tar(path: Path, sound: bytes) -> None:
    silent, own = sample_video(2.0, audio=False), sample_video(2.0)
    members: dict[str, bytes] = {
        "000000.mp4": silent,
        "000000.m4a": sound,
        "000000.json": json.dumps(
            WHOLE | {"cuts": CUTS | {"cuts_original_fps": [[0, 25], [25, 50]]}}, indent=4
        ).encode(),
        "000000.txt": b"a caption",
        "000001.mp4": own,
        "000001.m4a": sound,
        "000001.json": json.dumps(WHOLE | {"key": "000001", "url": "/local/x.mp4", "yt_meta_dict": None}).encode(),
        "000002_00001.mp4": silent,
        "000002_00001.json": json.dumps(CLIP | {"key": "000002_00001"}).encode(),
        "000002_00001.txt": str(CLIP["clip_subtitles"][0]["lines"]).encode(),
        "000003.json": json.dumps(WHOLE | {"status": "failed_to_download", "error_message": "ERROR: gone"}).encode(),
        "000003.txt": b"",
    }
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_a_tar_comes_in_with_sound_subtitles_spans_and_address(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "root"))
    a_tar(tmp_path / "00000.tar", sample_video(2.0, video=False))
    source = Source.model_validate({"format": "webdataset", "path": str(tmp_path / "00000.tar")})
    found = list(read_source(source, storage))
    (refused,) = [r for r in found if isinstance(r, RejectedLine)]
    assert refused.reason == "no video among json, txt: ERROR: gone"
    rows = {r.video_id or "": r for r in found if isinstance(r, SourceRow)}
    whole, local, clip = rows["000000"], rows["000001"], rows["000002_00001"]
    assert (whole.url, whole.title, whole.caption, whole.licence) == (URL, "A title", "a caption", "CC-BY")
    assert whole.spans == [(None, 0, 1000), (None, 1000, 2000)]
    assert local.url == local.extra["media"]["tar"], "no address of a page"
    assert (clip.caption, clip.spans) == ("Hello there world", [("000002_00001", 0, 6000)])

    def table(download: dict[str, Any]) -> tuple[dict[str, dict[str, Any]], Any, Any]:
        said = metadata({i: r.url for i, r in rows.items()}, extra={i: json.dumps(r.extra) for i, r in rows.items()})
        videos = ShardVideos(said, Download.model_validate({"attempts": 1, **download}), allow_local=True)
        result = build_raw_shard(videos, storage, "raw_shards/demo-00000")
        again = build_raw_shard(videos, storage, "raw_shards/demo-00000", result.table)
        return {r["video_id"]: r for r in result.table.to_pylist()}, result, again

    made, result, again = table({})
    assert {r["status"] for r in made.values()} == {"ok"}
    joined = made["000000"]
    assert (joined["audio_codec"], joined["url"], joined["page_url"], joined["channel"]) == ("aac", URL, URL, "Someone")
    assert joined["subtitles"][0]["cues"][1] == {"start_ms": 6000, "end_ms": 9000, "text": "Later"}
    with av.open(io.BytesIO(storage.read_media(MediaRef(joined["tar"], joined["offset"], joined["size"])))) as file:
        picture, sound = file.streams.video[0], file.streams.audio[0]
        assert (picture.frames, picture.codec_context.name) == (20, "h264")
        assert abs(float(sound.duration * sound.time_base) - 2.0) < 0.1  # type: ignore[operator]
        assert len(list(file.decode(video=0))) == 20
    with (
        av.open(io.BytesIO(sample_video(2.0, audio=False))) as before,
        av.open(io.BytesIO(storage.read_media(MediaRef(joined["tar"], joined["offset"], joined["size"])))) as after,
    ):
        assert [bytes(p) for p in before.demux(video=0)] == [bytes(p) for p in after.demux(video=0)], "copied as it is"
    assert (made["000001"]["tar"], made["000001"]["audio_codec"]) == (str(tmp_path / "00000.tar"), "aac"), (
        "its own sound"
    )
    cut_out = made["000002_00001"]
    assert (cut_out["section_start_ms"], cut_out["page_url"], cut_out["audio_codec"]) == (2000, URL, None)
    assert [t["language"] for t in cut_out["subtitles"]] == ["en", "de"]
    assert (again.stats.fetched, again.stats.kept) == (0, 3)
    assert lasting(again.table) == lasting(result.table)

    mute, _, _ = table({"audio": False})
    assert (mute["000000"]["audio_codec"], mute["000000"]["tar"]) == (None, str(tmp_path / "00000.tar"))


def test_sound_that_cannot_be_read_fails_its_video_alone(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "root"))
    a_tar(tmp_path / "00000.tar", b"no sound at all")
    source = Source.model_validate({"format": "webdataset", "path": str(tmp_path / "00000.tar")})
    rows = {r.video_id or "": r for r in read_source(source, storage) if isinstance(r, SourceRow)}
    said = metadata({i: r.url for i, r in rows.items()}, extra={i: json.dumps(r.extra) for i, r in rows.items()})
    videos = ShardVideos(said, Download(attempts=1), allow_local=True)
    made = {r["video_id"]: r for r in build_raw_shard(videos, storage, "raw_shards/demo-00000").table.to_pylist()}
    assert [made[i]["status"] for i in sorted(made)] == ["failed", "ok", "ok"]
    assert made["000000"]["error_class"] == "corrupt"
    assert "sound beside the video" in made["000000"]["error"]
