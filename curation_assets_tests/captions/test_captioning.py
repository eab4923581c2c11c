from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation_assets.captions.caption_backends import caption_identity, load_captioner, load_refiner
from curation_assets.captions.captioning import CaptionInputs, CaptionStats, caption_shard
from curation_assets.captions.captions import Captions, Cleaning
from curation_assets.captions.given_texts import best_cues, clip_subtitles
from curation_assets.captions.model_captions import spread
from curation_assets.ingest.subtitles import parse_subtitles
from curation_assets.schemas import schema
from curation_assets_tests.caption_server import CUT, DROP, EMPTY, JUNK, CaptionServer, caption_of, random_faults
from curation_assets_tests.fault_server import wait_until
from curation_assets_tests.shared_data import shared
from curation_assets_tests.tiny_vlm import write_tiny_idefics3
from curation_resources.captioners import LazyCaptioner
from curation_resources.captioners import server as server_module
from curation_resources.captioners.server import ServerUnusable
from curation_resources.journal import Journal
from curation_resources.storage import Storage
from curation_resources.tars import TarWriter


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "FIRST_PAUSE", 0.002)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


class Shard:
    """The upstream tables of a shard whose frames are the bytes given; every video has one clip of `seconds`."""

    def __init__(self, root: Path, pictures: dict[str, list[bytes]], seconds: int = 10) -> None:
        self.storage, self.pictures, self.seconds = Storage(str(root)), pictures, seconds
        clips: list[dict[str, Any]] = []
        frames: list[dict[str, Any]] = []
        with TarWriter(self.storage, "frames/d-00000", "token") as tar:
            for video, several in pictures.items():
                ids = {"dataset": "d", "video_id": video, "clip_id": self.clip_id(video)}
                clips.append(
                    {
                        **dict.fromkeys(schema("clips").names),
                        **ids,
                        "status": "ok",
                        "start_ms": 1000,
                        "end_ms": 1000 + 1000 * seconds,
                    }
                )
                for i, data in enumerate(several):
                    m = tar.add(f"{video}-{i}", {"jpg": data})["jpg"]
                    time_ms = 1000 + int(1000 * seconds * (i + 0.5) / len(several))
                    frames.append({**dict.fromkeys(schema("frames").names), **ids, "time_ms": time_ms, "frame": i,
                                   "tar": m.tar, "offset": m.offset, "size": m.size, "sha256": m.sha256})  # fmt: skip
        self.clips = pa.Table.from_pylist(clips, schema("clips").arrow)
        self.frames = pa.Table.from_pylist(frames[::-1], schema("frames").arrow)
        self.metadata, self.raw = schema("video_metadata").empty(), schema("raw_shards").empty()

    def clip_id(self, video: str) -> str:
        return f"{video}_1000_{1000 + 1000 * self.seconds}"

    def caption(self, params: Captions, **more: Any) -> tuple[dict[str, dict[str, Any]], CaptionStats, pa.Table]:
        more = {"captioner": load_captioner(params), "refiner": load_refiner(params), **more}
        own = {name: more.pop(name) for name in ("wanted", "scores", "previous") if name in more}
        inputs = CaptionInputs(self.clips, self.frames, self.metadata, self.raw, **own)
        table, stats = caption_shard(inputs, params, self.storage, **more)
        assert table.schema.equals(schema("captions").arrow)
        assert table["clip_id"].to_pylist() == sorted(self.clip_id(v) for v in self.pictures)
        assert stats.clips == len(self.clips) == stats.ok + stats.empty + stats.failed + stats.skipped
        return {row["video_id"]: row for row in table.to_pylist()}, stats, table


def videos(count: int, frames: int = 2) -> dict[str, list[bytes]]:
    return {f"v{i:04d}": [f"picture {i} {k}".encode() for k in range(frames)] for i in range(count)}


def openai(server: CaptionServer, **more: Any) -> Captions:
    return Captions(**{"backend": "openai", "url": server.url, "model": "m", "concurrency": 8, "timeout_s": 5, **more})


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 30),
    faults=st.lists(st.sampled_from([429, 500, 503, 400, DROP, CUT, JUNK, EMPTY]), min_size=1, max_size=4),
    concurrency=st.sampled_from([1, 3, 16]),
    window_s=st.sampled_from([None, 4.0]),
)
def test_a_caption_comes_from_its_own_frames_whatever_the_server_does(
    seed: int, count: int, faults: list[Any], concurrency: int, window_s: float | None
) -> None:
    slow = random_faults(seed, [0.0, 0.002, 0.02], 1)
    with (
        tempfile.TemporaryDirectory() as root,
        CaptionServer(
            random_faults(seed, faults, 3), lambda c: slow(c, 0) if isinstance(slow(c, 0), float) else 0.0
        ) as server,
    ):
        shard = Shard(Path(root), videos(count, frames=3))
        rows, stats, _ = shard.caption(openai(server, attempts=3, concurrency=concurrency, window_s=window_s))
    assert len(rows) == count
    for video, row in rows.items():
        pictures = shard.pictures[video]
        windows = [pictures] if window_s is None else [[p] for p in pictures]
        if row["status"] == "failed":
            assert (row["caption"], row["caption_raw"]) == (None, None)
            assert row["error"]
        else:
            said = row["caption_raw"].split() if window_s else [row["caption_raw"]]
            allowed = {w for pics in windows for w in (caption_of(pics).split(" ") if window_s else [caption_of(pics)])}
            assert set(said) <= allowed | {""}
            assert (row["status"] == "ok") == bool(row["caption_raw"].strip())
    assert stats.requests == count * (3 if window_s else 1)


def test_frames_are_spread_in_time_order_and_windows_are_joined(tmp_path: Path) -> None:
    pictures = videos(1, frames=10)
    with CaptionServer() as server:
        shard = Shard(tmp_path, pictures)
        rows, _, _ = shard.caption(openai(server, frames=3))
        several = pictures["v0000"]
        assert rows["v0000"]["caption_raw"] == caption_of([several[1], several[5], several[8]])
        rows, stats, _ = shard.caption(openai(server, frames=1, window_s=3.0))
    assert rows["v0000"]["caption_raw"] == "\n\n".join(caption_of([several[i]]) for i in (1, 3, 6, 8))
    assert (stats.requests, rows["v0000"]["prompt_tokens"], rows["v0000"]["completion_tokens"]) == (4, 400, 8)


@given(st.integers(0, 60), st.integers(1, 20))
def test_spread_is_even_ordered_and_complete(n: int, count: int) -> None:
    chosen = spread(range(n), count)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(n, count)
    gaps = [b - a for a, b in zip([-1, *chosen], [*chosen, n], strict=True)]
    assert not chosen or max(gaps[1:-1], default=1) - min(gaps[1:-1], default=1) <= 1


def test_only_clips_whose_frames_prompt_or_model_changed_are_asked_about_again(tmp_path: Path) -> None:
    pictures = videos(6)
    fails = caption_of(pictures["v0005"])
    with CaptionServer(lambda c, times: 400 if c == fails and times == 0 else None) as server:
        params = openai(server)
        rows, stats, table = Shard(tmp_path / "a", pictures).caption(params)
        assert (stats.requests, stats.ok, stats.failed, rows["v0005"]["status"]) == (6, 5, 1, "failed")

        rows, stats, table = Shard(tmp_path / "b", pictures).caption(params, previous=table)
        assert (stats.requests, stats.reused, stats.ok) == (1, 5, 6), "only the failed clip is asked about again"
        rows, stats, again = Shard(tmp_path / "b", pictures).caption(params, previous=table)
        assert (stats.requests, again) == (0, table)

        changed = {**pictures, "v0001": [b"new picture"]}
        rows, stats, table = Shard(tmp_path / "c", changed).caption(params, previous=table)
        assert (stats.requests, rows["v0001"]["caption_raw"]) == (1, caption_of([b"new picture"]))

        elsewhere = params.model_copy(update={"concurrency": 2, "timeout_s": 9.0, "clean": Cleaning(max_chars=8)})
        rows, stats, _ = Shard(tmp_path / "c", changed).caption(elsewhere, previous=table)
        assert (stats.requests, rows["v0000"]["caption"]) == (0, "pictures"), "cleaning asks nothing"
        for update in ({"prompt": "other"}, {"model": "other"}, {"max_tokens": 9}, {"frames": 1}):
            _, stats, _ = Shard(tmp_path / "c", changed).caption(params.model_copy(update=update), previous=table)
            assert stats.requests == (5 if "frames" in update else 6), update


def test_clips_that_are_not_wanted_or_have_no_frames_get_a_row_too(tmp_path: Path) -> None:
    with CaptionServer(lambda c, _: EMPTY if c == caption_of([b"blank"]) else None) as server:
        shard = Shard(tmp_path, {"a": [b"one"], "b": [b"two"], "c": [], "d": [b"blank"]})
        rows, stats, _ = shard.caption(openai(server), wanted={shard.clip_id(v) for v in "acd"})
    assert {v: row["status"] for v, row in rows.items()} == {"a": "ok", "b": "skipped", "c": "failed", "d": "empty"}
    assert "no frames" in rows["c"]["error"]
    assert (rows["d"]["caption"], rows["d"]["caption_raw"]) == (None, "")
    assert (stats.requests, stats.skipped) == (2, 1)


def test_a_stricter_where_and_back_asks_nobody_and_refines_nothing_anew(tmp_path: Path) -> None:
    pictures = videos(4)
    shard = Shard(tmp_path, pictures)
    few = {shard.clip_id("v0000")}
    with CaptionServer() as server:
        params = openai(server, clean={"refine": {"url": server.url, "model": "t", "prompt": "Shorten: {caption}"}})
        first, stats, table = shard.caption(params)
        assert stats.requests == 8
        strict, stats, strict_table = shard.caption(params, wanted=few, previous=table)
        assert (stats.requests, stats.skipped) == (0, 3)
        assert (strict["v0001"]["status"], strict["v0001"]["caption"], strict["v0001"]["caption_raw"]) == (
            "skipped",
            None,
            None,
        )
        _, _, fresh = shard.caption(params, wanted=few)
        hashed = [n for n in table.column_names if n not in schema("captions").volatile]
        assert strict_table.select(hashed).equals(fresh.select(hashed)), "what is kept aside is no content"
        _, stats, stricter_table = shard.caption(params, wanted=set(), previous=strict_table)
        assert (stats.requests, stats.skipped) == (0, 4)
        back, stats, _ = shard.caption(params, previous=stricter_table)
        assert (stats.requests, stats.reused, back) == (0, 4, first)
        before = stricter_table.drop_columns(["kept_answer"])
        _, stats, _ = shard.caption(params, previous=before)
        assert stats.requests == 8, "a table of before has none to take back"
        other = params.model_copy(update={"prompt": "another"})
        _, stats, _ = shard.caption(other, previous=stricter_table)
        assert stats.requests == 4, "other questions are asked, and what they are refined to is known by their text"


def test_pictures_that_are_not_what_was_written_are_not_captioned(tmp_path: Path) -> None:
    shard = Shard(tmp_path, videos(3))
    rows = shard.frames.to_pylist()
    rows[0]["offset"] += 1
    rows[-1]["tar"] = "frames/d-00000/gone.tar"
    shard.frames = pa.Table.from_pylist(rows, shard.frames.schema)
    with CaptionServer() as server:
        got, _, _ = shard.caption(openai(server))
    assert "not the picture that was written" in got["v0002"]["error"]
    assert "gone" in got["v0000"]["error"]
    assert got["v0001"]["status"] == "ok"
    assert len(server.seen) == 1


CHILD = """
import sys
from pathlib import Path
from curation_assets.captions.captions import Captions
from curation_assets_tests.captions.test_captioning import Shard, videos
from curation_resources.journal import Journal
root, url = sys.argv[1:]
shard = Shard(Path(root) / "frames", videos(60))
params = Captions(backend="openai", url=url, model="m", concurrency=4)
with Journal(shard.storage, "captions/d-00000", "captions") as journal:
    shard.caption(params, journal=journal)
"""


def test_a_killed_run_is_continued_and_asks_nothing_twice(tmp_path: Path) -> None:
    """Twenty are answered; the four asked after them are in flight when the process is killed."""
    turn, killed = itertools.count(), threading.Event()

    def pause(caption: str) -> float:
        if next(turn) >= 20:
            killed.wait(250)
        return 0.0

    def kept() -> int:
        return len(Journal(Storage(str(tmp_path / "frames")), "captions/d-00000", "captions").items)

    with CaptionServer(delay=pause) as server:
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), server.url], env=dict(os.environ))
        try:
            wait_until(lambda: len(server.seen) == 24 and kept() == 20)
        finally:
            child.kill()
            child.wait()
            killed.set()
        shard = Shard(tmp_path / "frames", videos(60))
        with Journal(shard.storage, "captions/d-00000", "captions") as journal:
            rows, stats, _ = shard.caption(openai(server), journal=journal)
    assert (stats.resumed, stats.requests, stats.ok) == (20, 40, 60)
    assert Counter(server.asked.values()) == {1: 56, 2: 4}, "only what was in flight is asked again"
    assert all(row["caption_raw"] == caption_of(shard.pictures[video]) for video, row in rows.items())


def test_a_server_that_goes_away_keeps_what_it_gave(tmp_path: Path) -> None:
    shard = Shard(tmp_path, videos(20))
    with CaptionServer(lambda c, _: None if len(server.seen) <= 8 else 401) as server:
        params = openai(server, concurrency=1)
        with Journal(shard.storage, "captions/d-00000", "f") as journal, pytest.raises(ServerUnusable):
            shard.caption(params, journal=journal)
        server.fault = lambda c, _: None
        with Journal(shard.storage, "captions/d-00000", "f") as journal:
            _, stats, _ = shard.caption(params, journal=journal)
    assert (stats.resumed, stats.requests, stats.ok) == (8, 12, 20)


def test_captions_are_refined_once_and_scores_are_said_last(tmp_path: Path) -> None:
    shard = Shard(tmp_path, videos(3))
    fails = "refined: Shorten: " + caption_of(shard.pictures["v0002"])
    with CaptionServer(lambda c, times: 400 if c == fails and times == 0 else None) as server:
        refine = {"url": server.url, "model": "text", "prompt": "Shorten: {caption}"}
        params = openai(server, clean={"refine": refine, "suffixes": ["motion", "aesthetic"]})
        scores = {shard.clip_id("v0000"): {"motion": 0.5, "aesthetic": 5.5}}
        rows, stats, table = shard.caption(params, scores=scores)
        raw = caption_of(shard.pictures["v0000"])
        assert (rows["v0000"]["caption_raw"], rows["v0000"]["caption_refined"]) == (raw, f"refined: Shorten: {raw}")
        assert rows["v0000"]["caption"] == f"refined: Shorten: {raw} Motion: fast. Aesthetic quality: good."
        assert rows["v0001"]["caption"].endswith(caption_of(shard.pictures["v0001"]))
        assert (rows["v0002"]["status"], rows["v0002"]["caption"]) == ("failed", None)
        assert "refinement failed: status 400" in rows["v0002"]["error"]
        assert stats.requests == 6
        rows, stats, _ = shard.caption(params, scores={}, previous=table)
    assert (stats.requests, stats.reused, stats.ok) == (1, 3, 3), "one refinement is repeated, no caption"
    assert rows["v0000"]["caption"] == f"refined: Shorten: {raw}"


def test_tokens_and_cost_are_counted(tmp_path: Path) -> None:
    with CaptionServer() as server:
        params = openai(server, price_per_mtok=(2.0, 10.0))
        _, stats, table = Shard(tmp_path, videos(4)).caption(params)
        _, later, _ = Shard(tmp_path, videos(5)).caption(params, previous=table)
    assert (stats.prompt_tokens, stats.completion_tokens) == (4 * 200, 4 * 3)
    assert stats.cost == pytest.approx((800 * 2 + 12 * 10) / 1e6)
    assert stats.cost_per_clip == pytest.approx(stats.cost / 4)
    assert (later.requests, later.cost) == (1, pytest.approx(stats.cost / 4))
    assert later.cost_per_clip == pytest.approx(stats.cost_per_clip), "what a caption cost, whichever run asked"
    assert later.seconds_per_clip == later.seconds


def test_a_model_of_transformers_captions_a_shard_and_is_not_loaded_for_nothing(tmp_path: Path) -> None:
    folder = write_tiny_idefics3(tmp_path / "vlm")
    names = ["faces/2007_007763.jpg", "ocr/img_1.jpg", "faces/2008_001009.jpg"]
    shard = Shard(tmp_path, {f"v{i}": [shared(n).read_bytes()] for i, n in enumerate(names)})
    params = Captions(backend="transformers", model=str(folder), batch=2, max_tokens=6, device="cpu", dtype="float32")
    rows, stats, table = shard.caption(params)
    assert stats.ok + stats.empty == 3
    assert all(row["model"].startswith("local sha256:") and row["prompt_tokens"] for row in rows.values())
    assert caption_identity(params) == f"transformers {rows['v0']['model']}"

    def must_not_load() -> Any:
        raise AssertionError("loaded without a question")

    lazy = LazyCaptioner(must_not_load)
    _, stats, again = shard.caption(params, previous=table, captioner=lazy)
    assert (stats.reused, again) == (3, table)


# ---- source and subtitles


def manifesto_shard(tmp_path: Path, spans: list[tuple[int, int]], extension: str) -> tuple[Shard, list[Any]]:
    cues = parse_subtitles(shared(f"videos/manifesto.{extension}").read_text("utf-8"))
    shard = Shard(tmp_path, {})
    clips = [
        {**dict.fromkeys(schema("clips").names), "dataset": "d", "video_id": "m", "clip_id": f"m_{a}_{b}", "status": "ok",
         "start_ms": a, "end_ms": b, "origin": "given"}
        for a, b in spans
    ]  # fmt: skip
    shard.clips = pa.Table.from_pylist(clips, schema("clips").arrow)
    tracks = [
        {"language": "de", "automatic": False, "cues": [{"start_ms": 0, "end_ms": 99_000, "text": "Deutsch"}]},
        {"language": "en-US", "automatic": True, "cues": [vars(cue) for cue in cues]},
    ]
    raw = {
        **dict.fromkeys(schema("raw_shards").names),
        "dataset": "d",
        "video_id": "m",
        "status": "ok",
        "subtitles": tracks,
    }
    shard.raw = pa.Table.from_pylist([raw], schema("raw_shards").arrow)
    return shard, cues


@pytest.mark.parametrize("extension", ["vtt", "srt"])
def test_real_rolling_subtitles_become_captions_without_repeats(tmp_path: Path, extension: str) -> None:
    spans = [(0, 9519), (9519, 30_000), (30_000, 88_000), (200_000, 210_000)]
    shard, cues = manifesto_shard(tmp_path, spans, extension)
    params = Captions(backend="subtitles", languages=["en"])
    table, stats = caption_shard(
        CaptionInputs(shard.clips, shard.frames, shard.metadata, shard.raw), params, shard.storage
    )
    rows = {row["clip_id"]: row for row in table.to_pylist()}
    first = rows["m_0_9519"]
    assert first["caption_raw"] == (
        "this audiobook is in the public domain you can find the text version of this audio book at www.marxists.org"
    )
    assert (
        first["caption"] == "this audiobook is in the public domain you can find the text version of this audio book at"
    )
    assert first["language"] == "en"
    assert rows["m_200000_210000"]["status"] == "empty"
    assert stats.ok == 3
    said = " ".join(rows[f"m_{a}_{b}"]["caption_raw"] for a, b in spans[:3])
    words, spoken = said.split(), " ".join(cue.text for cue in cues).split()
    assert len(spoken) <= len(words) <= len(spoken) + 2 * 10, "each cue once, but for those across two boundaries"
    german = caption_shard(
        CaptionInputs(shard.clips, shard.frames, shard.metadata, shard.raw),
        Captions(backend="subtitles"),
        shard.storage,
    )[0]
    assert german["caption_raw"][0].as_py() == "Deutsch", "without a preference tracks made by people come first"


@pytest.mark.parametrize(
    ("languages", "chosen"),
    [
        ([], "zh-Hans"),
        (["zh-Hant"], "zh-Hant"),
        (["en"], "en-US"),
        (["EN"], "en-US"),
        (["pt-BR", "en"], "en-US"),
        (["zh-TW"], "zh-Hans"),
        (["fr"], "zh-Hans"),
    ],
)
def test_the_subtitle_track_is_that_of_the_first_language_to_be_had(languages: list[str], chosen: str) -> None:
    tracks = [
        {"language": name, "automatic": name == "en", "cues": [{"start_ms": 0, "end_ms": 1, "text": name}]}
        for name in ("zh-Hans", "zh-Hant", "en", "en-US")
    ]
    row = {
        **dict.fromkeys(schema("raw_shards").names),
        "dataset": "d",
        "video_id": "m",
        "status": "ok",
        "subtitles": tracks,
    }
    cues = best_cues(pa.Table.from_pylist([row], schema("raw_shards").arrow), languages)
    assert cues["m"][0]["text"] == chosen


def test_cues_belong_to_the_clips_they_overlap() -> None:
    cues = [{"start_ms": a, "end_ms": b, "text": t} for a, b, t in (
        (0, 1000, "before"), (900, 1200, "edge"), (1500, 1600, "short"), (1600, 1700, "short"), (1900, 9000, "long"), (5000, 6000, "after"),
    )]  # fmt: skip
    clip = {"start_ms": 1000, "end_ms": 2150, "origin": "given", "text": "no"}
    assert clip_subtitles(clip, cues) == "edge short short long"
    assert clip_subtitles({**clip, "start_ms": 1150}, cues) == "short short long"
    assert clip_subtitles({**clip, "origin": "subtitles", "text": "its own cue"}, cues) == "its own cue"
    assert clip_subtitles(clip, []) == ""


def test_the_sources_caption_comes_before_its_title_and_the_pages_title(tmp_path: Path) -> None:
    shard = Shard(tmp_path, {v: [b"x"] for v in "abcd"})
    given = {"a": ("A <b>cat</b> &amp; a dog", "T"), "b": (None, "Title"), "c": (None, None)}
    metadata = [
        {**dict.fromkeys(schema("video_metadata").names), "dataset": "d", "video_id": v, "caption": c, "title": t, "status": "ok", "source": "s", "line": 1}
        for v, (c, t) in given.items()
    ]  # fmt: skip
    raw = [
        {**dict.fromkeys(schema("raw_shards").names), "dataset": "d", "video_id": v, "status": "ok", "title": "Page"}
        for v in "abc"
    ]
    shard.metadata = pa.Table.from_pylist(metadata, schema("video_metadata").arrow)
    shard.raw = pa.Table.from_pylist(raw, schema("raw_shards").arrow)
    rows, _, _ = shard.caption(Captions(backend="source"))
    assert [rows[v]["caption"] for v in "abcd"] == ["A cat & a dog", "Title", "Page", None]
    assert rows["a"]["caption_raw"] == "A <b>cat</b> &amp; a dog"
    assert rows["d"]["status"] == "empty"
    assert rows["a"]["model"] is None
