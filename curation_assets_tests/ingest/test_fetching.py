"""raw_shards on tables of URLs with every fault, on videos in storage, and on runs that are killed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset

from curation_assets.ingest import fetch_fingerprints
from curation_assets.ingest import raw_shards as declared
from curation_assets.ingest.fetch_attempt import THUMBNAILS
from curation_assets.ingest.fetch_ledgers import rows_of_killed_runs
from curation_assets.ingest.fetch_plan import ShardVideos
from curation_assets.ingest.fetching import FetchProgress, RawShard, build_raw_shard
from curation_assets.ingest.raw_shards import Download
from curation_assets.recipes import Recipe
from curation_assets.schemas import schema
from curation_assets_tests.fault_server import FaultServer, wait_until
from curation_assets_tests.sample_video import sample_video
from curation_resources.media import MediaRef
from curation_resources.storage import Storage
from curation_resources.storage_errors import MediaChanged
from curation_resources.tars import sample_key
from curation_resources.urls import public_url

FOLDER = "raw_shards/demo-00000"
QUICK = Download(
    timeout_s=3.0, total_timeout_s=9.0, attempts=2, backoff_s=0.01, max_bytes=3_000_000, concurrency=16, per_host=16
)
PATIENT = QUICK.model_copy(update={"timeout_s": 60.0, "total_timeout_s": 120.0})
SECRET = "hush-hush"

FAULTS = {
    "ok/v{n}.mp4": (40, "ok", 1),
    "partial/v{n}.mp4": (15, "ok", 1),
    "moved/301/v{n}.mp4": (15, "ok", 1),
    "status/403/v{n}.mp4": (10, "private", 1),
    "status/404/v{n}.mp4": (15, "gone", 1),
    "status/410/v{n}.mp4": (10, "gone", 1),
    "flaky/429/1/v{n}.mp4": (15, "ok", 2),
    "flaky/500/1/v{n}.mp4": (15, "ok", 2),
    "stall/v{n}.mp4": (10, "timeout", 2),
    "cut/1/v{n}.mp4": (15, "ok", 2),
    "cutplain/v{n}.mp4": (5, "network", 2),
    "long/v{n}.mp4": (5, "network", 2),
    "short/v{n}.mp4": (5, "corrupt", 1),
    "lie/v{n}.mp4": (7, "corrupt", 1),
    "html/v{n}.mp4": (3, "corrupt", 1),
    "endless/v{n}.mp4": (15, "too_large", 1),
}
"""path -> (rows, outcome, attempts): the 200 rows that the download is judged by"""


def metadata(urls: Mapping[str, str | None], **columns: Any) -> pa.Table:
    """A `video_metadata` table; `columns` hold for all rows, or by video_id."""
    rows = []
    for video_id, url in urls.items():
        row: dict[str, Any] = {
            **dict.fromkeys(schema("video_metadata").names),
            "dataset": "demo",
            "video_id": video_id,
            "url": url,
        }
        row |= {
            "status": "ok",
            "source": "list.csv",
            "line": 1,
            "title": f"title {video_id}",
            "caption": f"caption {video_id}",
        }
        row |= {name: value.get(video_id) if isinstance(value, dict) else value for name, value in columns.items()}
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=schema("video_metadata").arrow)


def by_id(result: RawShard) -> dict[str, dict[str, Any]]:
    return {row["video_id"]: row for row in result.table.to_pylist()}


def lasting(table: pa.Table) -> list[dict[str, Any]]:
    """The rows without what says where or when they were made."""
    return table.drop_columns(sorted(schema("raw_shards").volatile)).to_pylist()


def check_media(result: RawShard, storage: Storage) -> None:
    """Every ok row's bytes lie where it says, with its hash, also for readers of plain tars and of webdataset."""
    for row in result.table.to_pylist():
        if row["status"] == "ok" and row["sha256"]:
            data = storage.read_media(MediaRef(row["tar"], row["offset"], row["size"]))
            assert hashlib.sha256(data).hexdigest() == row["sha256"], row["video_id"]
    for tar in result.tars:
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "x.tar"
            local.write_bytes(storage.read(tar))
            with tarfile.open(local) as plain:
                keys = [m.name.partition(".")[0] for m in plain.getmembers()]
            assert [k for i, k in enumerate(keys) if i == 0 or keys[i - 1] != k] == list(dict.fromkeys(keys))
            samples = list(webdataset.WebDataset(str(local), shardshuffle=False))
            assert [s["__key__"] for s in samples] == list(dict.fromkeys(keys))
            assert all("json" in s and any(e in s for e in ("mp4", "webm", "mkv")) for s in samples)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    videos = {f"v{n}.mp4": sample_video(1.0, seed=n % 7) for n in range(60)}
    with FaultServer(videos) as running:
        yield running


@pytest.fixture
def local(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "root"))


def test_a_private_address_is_a_failed_row_that_is_asked_again_once_it_is_allowed(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    with FaultServer({"v.mp4": sample_video()}) as server:
        rows = metadata({"a": server.url("ok/v.mp4")})
        careful = QUICK.model_copy(update={"allow_private": False})
        refused = build_raw_shard(ShardVideos(rows, careful), storage, FOLDER)
        row = by_id(refused)["a"]
        assert (row["status"], row["error_class"], server.requests) == ("failed", "unsupported", [])
        assert row["error"].startswith("127.0.0.1 is an address of this machine, and videos of this list")
        kept = build_raw_shard(ShardVideos(rows, careful), storage, FOLDER, refused.table)
        assert kept.stats.kept == 1
        assert by_id(build_raw_shard(ShardVideos(rows, QUICK), storage, FOLDER, kept.table))["a"]["status"] == "ok"


@pytest.mark.parametrize(
    ("source", "said", "allowed"),
    [
        ("list.csv", None, True),
        ("file:///list.csv", None, True),
        ("list.csv", False, False),
        ("https://host/list.csv", None, False),
        ("hf://datasets/a/b.csv", None, False),
        ("s3://bucket/list.csv", None, False),
        ("${LISTS_OF_NOBODY:-ftp://host}/list.csv", None, False),
        ("simplecache::https://host/list.csv", None, False),
        ("https://host/list.csv", True, True),
    ],
)
def test_lists_from_the_network_lead_to_public_addresses_only(source: str, said: bool | None, allowed: bool) -> None:
    recipe = Recipe.model_validate(
        {"dataset": "d", "source": {"format": "table", "path": source}, "download": {"allow_private": said}}
    )
    assert declared._downloads(recipe).allow_private is allowed


# Downloads


def test_two_hundred_rows_with_every_fault(server: FaultServer, local: Storage) -> None:
    urls, expected = {}, {}
    for path, (count, outcome, attempts) in FAULTS.items():
        for n in range(count):
            video_id = f"{path.split('/v{')[0].replace('/', '-')}-{n}"
            urls[video_id] = server.url(path.format(n=n), f"me:{SECRET}") + f"?X-Amz-Signature={SECRET}"
            expected[video_id] = (outcome, attempts)
    assert len(urls) == 200
    steps: list[FetchProgress] = []
    began = time.monotonic()
    result = build_raw_shard(ShardVideos(metadata(urls), QUICK), local, FOLDER, progress=steps.append)
    assert time.monotonic() - began < 180
    rows = by_id(result)
    assert {i: (r["error_class"] or r["status"], r["attempts"]) for i, r in rows.items()} == expected
    assert list(rows) == sorted(urls)
    outcomes = Counter(o for o, _ in expected.values())
    assert result.stats.by_class == outcomes
    assert (result.stats.ok, result.stats.failed, result.stats.rejected) == (outcomes["ok"], 200 - outcomes["ok"], 0)
    assert (steps[-1].done, steps[-1].total, steps[-1].ok, steps[-1].bytes) == (
        200,
        200,
        outcomes["ok"],
        result.stats.bytes,
    )
    ok = rows["ok-3"]
    assert (ok["width"], ok["height"], ok["fps"], ok["duration_ms"], ok["audio_codec"]) == (160, 96, 10.0, 1000, "aac")
    assert ok["title"] == "title ok-3"
    check_media(result, local)
    assert SECRET not in repr(result.table.to_pylist())
    assert all(SECRET.encode() not in local.read(tar) for tar in result.tars)
    assert len(result.thumbnails) == THUMBNAILS
    assert all(jpeg.startswith(b"\xff\xd8") for _, jpeg in result.thumbnails)


def test_only_what_may_pass_is_tried_again(server: FaultServer, local: Storage) -> None:
    paths = {
        "a": "ok/v1.mp4",
        "b": "status/404/v1.mp4",
        "c": "flaky/500/3/v2.mp4?again",
        "d": "cutplain/v3.mp4",
        "e": "lie/v1.mp4",
    }
    table = metadata({i: server.url(p) for i, p in paths.items()})
    first = build_raw_shard(ShardVideos(table, QUICK), local, FOLDER)
    assert {i: r["error_class"] for i, r in by_id(first).items()} == {
        "a": None,
        "b": "gone",
        "c": "network",
        "d": "network",
        "e": "corrupt",
    }
    seen = len(server.requests)
    second = build_raw_shard(ShardVideos(table, QUICK), local, FOLDER, first.table)
    assert {p.split("/")[1] for _, p, _ in server.requests[seen:]} == {"flaky", "cutplain"}
    rows = by_id(second)
    assert (rows["c"]["status"], rows["c"]["attempts"]) == ("ok", 4)
    assert (rows["d"]["status"], rows["d"]["attempts"]) == ("failed", 4)
    assert rows["a"] == by_id(first)["a"]
    assert (second.stats.kept, second.stats.fetched, len(second.tars)) == (3, 2, 2)
    check_media(second, local)


def test_media_that_were_refused_are_looked_into_once_by_a_newer_probe(
    server: FaultServer, local: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = metadata(
        {i: server.url(p) for i, p in {"a": "ok/v1.mp4", "b": "status/404/v1.mp4", "e": "lie/v1.mp4"}.items()}
    )
    monkeypatch.setattr(fetch_fingerprints, "REFUSED_BY_PROBE", frozenset())  # as rows were before probes had versions
    first = build_raw_shard(ShardVideos(table, QUICK), local, FOLDER)
    monkeypatch.undo()
    seen = len(server.requests)
    second = build_raw_shard(ShardVideos(table, QUICK), local, FOLDER, first.table)
    assert {p.split("/")[1] for _, p, _ in server.requests[seen:]} == {"lie"}
    assert by_id(second)["e"]["attempts"] == by_id(first)["e"]["attempts"] + 1
    seen = len(server.requests)
    build_raw_shard(ShardVideos(table, QUICK), local, FOLDER, second.table)
    assert len(server.requests) == seen


def test_a_changed_request_is_made_anew_and_a_changed_title_or_signature_is_not(
    server: FaultServer, local: Storage
) -> None:
    urls = {
        "a": server.url("ok/v1.mp4?sig=1"),
        "b": server.url("ok/v2.mp4"),
        "c": server.url("status/403/v1.mp4?sig=1"),
    }
    first = build_raw_shard(ShardVideos(metadata(urls), QUICK), local, FOLDER)
    changed = {
        **urls,
        "a": server.url("ok/v1.mp4?sig=2"),
        "b": server.url("ok/v3.mp4"),
        "c": server.url("ok/v1.mp4?sig=2"),
    }
    second = build_raw_shard(ShardVideos(metadata(changed, title="new"), QUICK), local, FOLDER, first.table)
    rows = by_id(second)
    assert (rows["a"]["tar"], rows["a"]["title"]) == (by_id(first)["a"]["tar"], "new")
    assert rows["b"]["sha256"] == hashlib.sha256(server.files["v3.mp4"]).hexdigest()
    assert (rows["c"]["status"], second.stats.kept) == ("ok", 1)
    third = build_raw_shard(
        ShardVideos(metadata(changed), QUICK.model_copy(update={"height": 720})), local, FOLDER, second.table
    )
    assert third.stats.kept == 0
    forced = build_raw_shard(
        ShardVideos(metadata(changed, title="new"), QUICK), local, FOLDER, second.table, force=True
    )
    assert (forced.stats.kept, forced.stats.fetched) == (0, 3)
    assert lasting(forced.table) == lasting(second.table)


def test_a_row_whose_tar_is_lost_is_fetched_again(server: FaultServer, local: Storage) -> None:
    table = metadata({"a": server.url("ok/v1.mp4"), "b": server.url("status/404/v1.mp4")})
    first = build_raw_shard(ShardVideos(table, QUICK), local, FOLDER)
    local.remove(first.tars[0])
    second = build_raw_shard(ShardVideos(table, QUICK), local, FOLDER, first.table)
    assert (second.stats.fetched, second.stats.kept) == (1, 1)
    check_media(second, local)


def test_the_order_in_which_downloads_finish_does_not_show(server: FaultServer, local: Storage) -> None:
    fast = {f"v{n}": server.url(f"slow/{0.02 * (5 - n)}/v{n}.mp4") for n in range(5)}
    one = build_raw_shard(ShardVideos(metadata(fast), QUICK), local, FOLDER)
    many = build_raw_shard(
        ShardVideos(metadata(fast), QUICK.model_copy(update={"concurrency": 1})), local, FOLDER, force=True
    )
    assert [by_id(one)[v]["offset"] for v in fast] != [by_id(many)[v]["offset"] for v in fast]
    assert lasting(one.table) == lasting(many.table)


def test_rejected_and_removed_rows_have_a_fate_too(server: FaultServer, local: Storage) -> None:
    status = {"a": "ok", "b": "rejected", "c": "removed", "d": "ok"}
    error = {"b": "line 3 is no JSON"}
    table = metadata(
        {"a": server.url("ok/v1.mp4"), "b": None, "c": server.url("ok/v2.mp4"), "d": None}, status=status, error=error
    )
    result = build_raw_shard(ShardVideos(table, QUICK), local, FOLDER)
    fates = {i: (r["status"], r["error_class"], r["error"]) for i, r in by_id(result).items()}
    assert fates == {
        "a": ("ok", None, None),
        "b": ("rejected", "rejected", "line 3 is no JSON"),
        "c": ("rejected", "removed", "the source no longer lists it"),
        "d": ("failed", "unsupported", "the source gives no URL"),
    }
    empty = build_raw_shard(ShardVideos(table.slice(0, 0), QUICK), local, FOLDER)
    assert (empty.table.num_rows, empty.table.schema, empty.tars) == (0, schema("raw_shards").arrow, ())


def test_a_page_gives_info_subtitles_and_provenance(tmp_path: Path, local: Storage) -> None:
    rolling = (
        "WEBVTT\n\n00:00.000 --> 00:01.000\n \none<00:00:00.500><c> two</c>\n\n00:01.000 --> 00:01.010\none two\n \n\n"
        "00:01.010 --> 00:02.000\none two\nthree\n\n00:02.000 --> 00:02.010\nthree\n \n"
    )
    (tmp_path / "en.vtt").write_text(rolling)
    (tmp_path / "page.html").write_text(
        '<html><head><title>The page</title></head><body><video src="/ok/v.mp4"><track kind="subtitles" srclang="en" src="en.vtt"></video></body></html>'
    )
    with FaultServer({"v.mp4": sample_video(1.0)}, tmp_path) as served:
        options = PATIENT.model_copy(update={"subtitles": Download.model_validate({"subtitles": {}}).subtitles})
        url = served.url("folder/page.html") + f"?token={SECRET}"
        result = build_raw_shard(ShardVideos(metadata({"é/1": url}, licence="CC0"), options), local, FOLDER)
    row = by_id(result)["é/1"]
    assert row["subtitles"] == [
        {
            "language": "en",
            "automatic": False,
            "cues": [
                {"start_ms": 0, "end_ms": 1010, "text": "one two"},
                {"start_ms": 1010, "end_ms": 2010, "text": "three"},
            ],
            "encoding": None,
        }
    ]
    assert row["page_url"] == url.replace(SECRET, "***")
    assert (row["licence"], json.loads(row["info"])["extractor_key"]) == ("CC0", "HTML5MediaEmbed")
    (sample,) = webdataset.WebDataset(str(local.uri(result.tars[0])), shardshuffle=False)
    assert (sample["__key__"], sample["txt"].decode()) == (sample_key("é/1"), "caption é/1")
    said = json.loads(sample["json"])
    assert (said["video_id"], said["subtitles"]) == ("é/1", row["subtitles"])
    assert SECRET not in json.dumps(said)


def test_tars_roll_and_hold_whole_samples(server: FaultServer, local: Storage) -> None:
    urls = {f"v{n}": server.url(f"ok/v{n}.mp4") for n in range(40)}
    result = build_raw_shard(
        ShardVideos(metadata(urls), QUICK.model_copy(update={"tar_bytes": 500_000})), local, FOLDER
    )
    assert len(result.tars) > 2
    assert all(local.size(t) < 700_000 for t in result.tars)
    assert {n for n in local.list(FOLDER) if n.endswith(".tar")} == {t.rsplit("/", 1)[-1] for t in result.tars}
    check_media(result, local)


def test_a_storage_that_cannot_be_written_ends_the_run_at_once(server: FaultServer, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "raw_shards").write_text("a file where a folder should be")
    urls = {"a": server.url("ok/v1.mp4"), "b": server.url("mute/v1.mp4")}
    began = time.monotonic()
    with pytest.raises(OSError, match="raw_shards"):
        build_raw_shard(ShardVideos(metadata(urls), PATIENT), Storage(str(root)), FOLDER)
    assert time.monotonic() - began < 60


# Videos that lie in storage


def reference(storage: Storage, uri: str, offset: int | None = None, size: int | None = None) -> dict[str, Any]:
    return {
        "tar": uri,
        "offset": offset,
        "size": storage.size(uri) if size is None else size,
        "etag": storage.etag(uri),
    }


def in_storage(storage: Storage, videos: Mapping[str, dict[str, Any]], **more: Any) -> pa.Table:
    extra = {i: json.dumps({"path": i, "media": media, **more.get(i, {})}) for i, media in videos.items()}
    return metadata({i: media["tar"] for i, media in videos.items()}, extra=extra)


def test_files_are_referenced_where_they_stand(storage: Storage) -> None:
    data = sample_video(2.0)
    for name, content in (
        ("a.mp4", data),
        ("b.mp4", b"<html>"),
        ("a.json", json.dumps({"title": "T", "uploader": "U"}).encode()),
    ):
        storage.write(f"bucket/{name}", content)
    storage.write("bucket/a.en.srt", b"1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    a, b = (reference(storage, storage.uri(f"bucket/{n}.mp4")) for n in "ab")
    sidecars = {
        "json": reference(storage, storage.uri("bucket/a.json")),
        "en.srt": reference(storage, storage.uri("bucket/a.en.srt")),
    }
    table = in_storage(storage, {"a": a, "b": b}, a={"sidecars": sidecars})
    result = build_raw_shard(ShardVideos(table, QUICK, allow_local=True), storage, FOLDER)
    rows = by_id(result)
    assert (rows["a"]["tar"], rows["a"]["size"], rows["a"]["etag"], rows["a"]["sha256"]) == (
        a["tar"],
        len(data),
        a["etag"],
        None,
    )
    assert (rows["a"]["channel"], rows["a"]["duration_ms"]) == ("U", 2000)
    assert rows["a"]["subtitles"][0]["cues"] == [{"start_ms": 0, "end_ms": 1000, "text": "hello"}]
    assert rows["b"]["error_class"] == "corrupt"
    assert result.tars == ()
    assert not [n for n in storage.list(FOLDER) if n.endswith(".tar")]
    assert len(result.thumbnails) == 1
    ref = MediaRef(rows["a"]["tar"], rows["a"]["offset"], rows["a"]["size"], rows["a"]["etag"])
    assert storage.read_media(ref) == data
    again = build_raw_shard(ShardVideos(table, QUICK, allow_local=True), storage, FOLDER, result.table)
    assert (again.stats.kept, again.stats.fetched) == (2, 0)
    assert again.table.equals(result.table)

    changed = sample_video(1.0)
    storage.write("bucket/a.mp4", changed)
    with pytest.raises(MediaChanged):
        storage.read_media(ref)
    storage.write("bucket/b.mp4", changed)
    table = in_storage(storage, {n: reference(storage, storage.uri(f"bucket/{n}.mp4")) for n in "ab"})
    assert (
        by_id(build_raw_shard(ShardVideos(table, QUICK, allow_local=True), storage, FOLDER, again.table))["b"]["status"]
        == "ok"
    )
    renewed = by_id(build_raw_shard(ShardVideos(table, QUICK, allow_local=True), storage, FOLDER, again.table))["a"]
    assert (renewed["duration_ms"], renewed["size"]) == (1000, len(changed))
    assert storage.read_media(MediaRef(renewed["tar"], None, renewed["size"], renewed["etag"])) == changed


def test_members_of_existing_tars_are_referenced_and_noticed_when_the_tar_changes(storage: Storage) -> None:
    data = sample_video(1.0)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in (("x.mp4", data), ("x.txt", b"caption")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    storage.write("set/00000.tar", buffer.getvalue())
    media = reference(storage, storage.uri("set/00000.tar"), 512, len(data))
    table = in_storage(storage, {"x": media})
    result = build_raw_shard(ShardVideos(table, QUICK, allow_local=True), storage, FOLDER)
    row = by_id(result)["x"]
    assert (row["status"], row["offset"], row["size"]) == ("ok", 512, len(data))
    assert storage.read_media(MediaRef(row["tar"], row["offset"], row["size"], row["etag"])) == data
    storage.write("set/00000.tar", b"\0" * 512 + buffer.getvalue())
    again = by_id(build_raw_shard(ShardVideos(table, QUICK, allow_local=True), storage, FOLDER, result.table))["x"]
    assert (again["status"], again["error_class"]) == ("failed", "storage")
    assert "dataset_index" in again["error"]


def test_copies_are_made_where_the_recipe_says_so(storage: Storage) -> None:
    data = sample_video(1.0, container="webm")
    storage.write("bucket/a.webm", data)
    table = in_storage(storage, {"a": reference(storage, storage.uri("bucket/a.webm"))})
    copying = QUICK.model_copy(update={"store": "copy"})
    result = build_raw_shard(ShardVideos(table, copying, allow_local=True), storage, FOLDER)
    row = by_id(result)["a"]
    assert (row["tar"], row["etag"], row["sha256"]) == (result.tars[0], None, hashlib.sha256(data).hexdigest())
    check_media(result, storage)
    assert build_raw_shard(ShardVideos(table, copying, allow_local=True), storage, FOLDER, result.table).stats.kept == 1


def test_storage_urls_of_a_list_are_referenced_and_only_the_blocks_that_are_needed_are_read(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    if storage.is_local:
        pytest.skip("local paths in a list are refused")
    padding = 24_000_000
    padded = sample_video(1.0, index_first=True) + padding.to_bytes(4, "big") + b"free" + b"\0" * (padding - 8)
    storage.write("bucket/a.mp4", padded)
    monkeypatch.setattr(Storage, "open_media", lambda self, ref: pytest.fail("the whole file would be fetched"))
    options = QUICK.model_copy(update={"max_bytes": 100_000_000})
    row = by_id(build_raw_shard(ShardVideos(metadata({"a": storage.uri("bucket/a.mp4")}), options), storage, FOLDER))[
        "a"
    ]
    assert (row["status"], row["tar"], row["size"]) == ("ok", storage.uri("bucket/a.mp4"), len(padded))
    gone = by_id(build_raw_shard(ShardVideos(metadata({"a": storage.uri("bucket/none.mp4")}), QUICK), storage, FOLDER))[
        "a"
    ]
    assert gone["error_class"] == "gone"


def test_a_bucket_that_does_not_answer_is_a_fault_of_storage_which_no_subset_goes_without(tmp_path: Path) -> None:
    client = {"endpoint_url": "http://127.0.0.1:1", "region_name": "us-east-1"}
    away = {"key": "a", "secret": "b", "client_kwargs": client, "config_kwargs": {"retries": {"max_attempts": 0}}}
    storage = Storage(str(tmp_path / "root"), others={"s3": away})
    table = metadata({"a": "s3://bucket/a.mp4"})
    row = by_id(build_raw_shard(ShardVideos(table, QUICK), storage, FOLDER))["a"]
    assert (row["error_class"], "Could not connect" in row["error"]) == ("storage", True), row["error"]


@pytest.mark.parametrize("where", ["{path}", "file://{path}"])
def test_a_list_cannot_name_local_files(where: str, local: Storage, tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    video.write_bytes(sample_video(1.0))
    extra = json.dumps({"media": {"tar": str(video), "offset": None, "size": None, "etag": None}})
    table = metadata({"a": where.format(path=video)}, extra=extra)
    row = by_id(build_raw_shard(ShardVideos(table, QUICK), local, FOLDER))["a"]
    assert (row["error_class"], row["tar"]) == ("unsupported", None)
    if "://" not in where:
        assert by_id(build_raw_shard(ShardVideos(table, QUICK, allow_local=True), local, FOLDER))["a"]["status"] == "ok"


# Runs that are killed

RUN = """
import sys, pyarrow.parquet as pq
from curation_assets.ingest.raw_shards import Download
from curation_assets.ingest.fetch_plan import ShardVideos
from curation_assets.ingest.fetching import build_raw_shard
from curation_resources.storage import Storage
print("begun", flush=True)
videos = ShardVideos(pq.read_table(sys.argv[1]), Download.model_validate_json(sys.argv[2]))
build_raw_shard(videos, Storage(sys.argv[3]), sys.argv[4], checkpoint_s=0.15)
"""


def kill_repeatedly(kills: int, server: FaultServer, tmp_path: Path) -> None:
    """Kills `kills` runs at random moments, the first when some of its rows are written down, lets one come to its end, and compares it with a run that nobody disturbed."""
    chance = random.Random(kills)
    urls = {f"v{n}": server.url(f"slow/0.15/v{n}.mp4?kill={kills}") for n in range(32)}
    urls |= {"gone": server.url("status/404/v1.mp4"), "lie": server.url("lie/v1.mp4")}
    options = QUICK.model_copy(update={"concurrency": 2})
    table = metadata(urls)
    pq.write_table(table, tmp_path / "metadata.parquet")
    storage = Storage(str(tmp_path / "killed"))
    command = [
        sys.executable,
        "-c",
        RUN,
        str(tmp_path / "metadata.parquet"),
        options.model_dump_json(),
        storage.root,
        FOLDER,
    ]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(scratch)}
    for number in range(kills):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, start_new_session=True)
        assert process.stdout is not None
        process.stdout.readline()
        if number == 0:
            wait_until(lambda: rows_of_killed_runs(storage, FOLDER))
        try:
            process.wait(chance.uniform(0.3, 1.6))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()
    result = build_raw_shard(ShardVideos(table, options), storage, FOLDER)
    calm = build_raw_shard(ShardVideos(table, options), Storage(str(tmp_path / "calm")), FOLDER)
    assert lasting(result.table) == lasting(calm.table)
    assert result.stats.adopted > 0
    assert result.stats.adopted + result.stats.fetched == len(urls)
    check_media(result, storage)
    assert len(list(scratch.iterdir())) <= 1, "a run removes the scratch folders of those that were killed"


def test_a_killed_run_is_taken_up_where_it_stopped(server: FaultServer, tmp_path: Path) -> None:
    kill_repeatedly(2, server, tmp_path)


@pytest.mark.slow
def test_twenty_killed_runs(server: FaultServer, tmp_path: Path) -> None:
    kill_repeatedly(20, server, tmp_path)


def test_a_damaged_or_foreign_ledger_is_not_believed(server: FaultServer, local: Storage) -> None:
    table = metadata({"a": server.url("ok/v1.mp4"), "b": server.url("ok/v2.mp4")})
    first = build_raw_shard(ShardVideos(table, QUICK), local, FOLDER)
    (ledger,) = (n for n in local.list(FOLDER) if n.endswith(".rows.parquet"))
    assert build_raw_shard(ShardVideos(table, QUICK), local, FOLDER).stats.adopted == 2
    written = local.read(f"{FOLDER}/{ledger}")
    believed = rows_of_killed_runs(local, FOLDER)
    for bit in range(0, 8 * len(written), 8 * len(written) // 200):
        data = bytearray(written)
        data[bit // 8] ^= 1 << bit % 8
        local.write(f"{FOLDER}/{ledger}", bytes(data))
        assert rows_of_killed_runs(local, FOLDER) in ({}, believed), bit
    local.write(f"{FOLDER}/{ledger}", written)
    tar = first.tars[0]
    whole = local.read(tar)
    local.write(tar, whole[:-1024])
    assert build_raw_shard(ShardVideos(table, QUICK), local, "raw_shards/other").stats.adopted == 0
    shortened = build_raw_shard(ShardVideos(table, QUICK), local, FOLDER)
    assert shortened.stats.adopted == 0
    check_media(shortened, local)
    for name in local.list(FOLDER):
        if name.endswith(".rows.parquet"):
            local.write(f"{FOLDER}/{name}", local.read(f"{FOLDER}/{name}")[:-30])
    assert build_raw_shard(ShardVideos(table, QUICK), local, FOLDER).stats.adopted == 0
    assert ledger.startswith(tar.rsplit("/", 1)[-1].partition("-")[0])


def test_public_urls_are_fetched_by_the_full_ones_beside_them(server: FaultServer, local: Storage) -> None:
    full = {
        "user": server.url("auth/v1.mp4", f"me:{SECRET}"),
        "signed": server.url("query/v2.mp4") + f"?sig={SECRET}",
        "gone": server.url("status/404/v3.mp4") + f"?sig={SECRET}",
        "other": server.url("ok/v4.mp4") + f"?sig={SECRET}",
    }
    table = metadata({name: public_url(url) for name, url in full.items()})
    stale = full | {"other": server.url("ok/v5.mp4") + f"?sig={SECRET}"}
    first = build_raw_shard(ShardVideos(table, QUICK, urls=stale), local, FOLDER)
    assert {i: (r["status"], r["error_class"]) for i, r in by_id(first).items()} == {
        "gone": ("failed", "gone"),
        "other": ("failed", "storage"),
        "signed": ("ok", None),
        "user": ("ok", None),
    }
    assert "side file" in by_id(first)["other"]["error"]
    assert SECRET not in repr(first.table.to_pylist())
    assert all(SECRET.encode() not in local.read(tar) for tar in first.tars)

    again = build_raw_shard(ShardVideos(table, QUICK, urls=full), local, FOLDER, first.table)
    assert (again.stats.kept, again.stats.fetched, by_id(again)["other"]["status"]) == (3, 1, "ok")
    hits = server.hits("status/404/v3.mp4"), server.hits("query/v2.mp4")
    signed_anew = {name: url.replace(SECRET, "new") for name, url in full.items()}
    third = build_raw_shard(ShardVideos(table, QUICK, urls=signed_anew), local, FOLDER, again.table)
    assert (server.hits("status/404/v3.mp4"), server.hits("query/v2.mp4")) == (hits[0] + 1, hits[1]), (
        "only the refused one"
    )
    assert lasting(third.table) == lasting(again.table)
