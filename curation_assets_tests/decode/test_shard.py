"""A shard of good, odd and damaged videos: every one has its row, whatever happens to the process that decodes it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pytest

from curation_assets.decode.analysis_results import TABLES, AnalysisParams
from curation_assets.decode.clips import Clips
from curation_assets.decode.measures.motion import PAIR_MS
from curation_assets.decode.reading.workers import Task, run_tasks
from curation_assets.decode.shard import ShardAnalysis, analyse_shard
from curation_assets.schemas import schema
from curation_assets_tests.decode.coded_video import two_streams, write_video
from curation_assets_tests.shared_data import shared
from curation_resources.media import MediaRef
from curation_resources.storage import Storage
from curation_resources.tars import TarWriter, new_token

PARAMS = AnalysisParams(clips=Clips(min_s=0))


def run(
    files: list[Path],
    root: Path,
    *,
    workers: int = 0,
    params: AnalysisParams = PARAMS,
    spans: dict[str, Any] | None = None,
    wanted: tuple[str, ...] = TABLES,
) -> tuple[ShardAnalysis, Storage]:
    rows = [
        {"dataset": "d", "video_id": f.name, "status": "ok", "tar": str(f), "size": f.stat().st_size} for f in files
    ]
    rows.append({"dataset": "d", "video_id": "not downloaded", "status": "failed"})
    raw = pa.Table.from_pylist(rows, schema=schema("raw_shards").arrow)
    known = [
        {
            "dataset": "d",
            "video_id": r["video_id"],
            "status": "ok",
            "source": "s",
            "line": 1,
            "spans": (spans or {}).get(r["video_id"]),
        }
        for r in rows
    ]
    metadata = pa.Table.from_pylist(known, schema=schema("video_metadata").arrow)
    storage = Storage(str(root))
    with TarWriter(storage, "frames/d-00000", new_token()) as writer:
        return analyse_shard(raw, metadata, params, storage, writer, workers=workers, wanted=wanted), storage


def by_video(table: pa.Table) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        rows.setdefault(row["video_id"], []).append(row)
    return rows


def sound_only(path: Path) -> Path:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.rate = 44100
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Odd and damaged videos by what is odd about them."""
    folder = tmp_path_factory.mktemp("odd")
    good = write_video(folder / "good.mp4", (50, 50), bf="3")
    indexed = write_video(folder / "indexed.mkv", (50, 50), bf="3")
    files = {
        "good": good,
        "truncated": folder / "truncated.mkv",
        "truncated without index": folder / "truncated.mp4",
        "scrambled": folder / "scrambled.mkv",
        "page": folder / "page.mp4",
        "empty": folder / "empty.mp4",
        "sound only": sound_only(folder / "sound.mp4"),
        "one frame": write_video(folder / "one.mp4", (1,)),
        "1000 fps": write_video(folder / "fast.mp4", (300, 300), rate=Fraction(1000), bf="3"),
        "tall": write_video(folder / "tall.mp4", (40,), size=(64, 1080)),
        "10 bit": write_video(folder / "ten.mp4", (40,), pix_fmt="yuv420p10le"),
        "4:4:4, odd size": write_video(folder / "odd.mp4", (40,), size=(161, 91), pix_fmt="yuv444p"),
        "interlaced": write_video(folder / "lace.mp4", (40,), flags="+ildct+ilme"),
        "rotated": write_video(folder / "rotated.mp4", (40,), rotation=90),
        "two streams": two_streams(folder / "two.mp4", ((160, 90), (320, 180))),
        "nön-ASCII naïve": write_video(folder / "nön ASCII – naïve.mp4", (40,)),
    }
    data = indexed.read_bytes()
    files["truncated"].write_bytes(data[: len(data) * 2 // 3])
    files["truncated without index"].write_bytes(good.read_bytes()[:2000])
    scrambled = bytearray(data)
    for at in range(5000, len(scrambled), 3000):
        scrambled[at : at + 40] = b"\xff" * 40
    files["scrambled"].write_bytes(scrambled)
    files["page"].write_bytes(b"<!DOCTYPE html><html><body>Sign in</body></html>")
    files["empty"].write_bytes(b"")
    return files


def check(result: ShardAnalysis, files: list[Path], storage: Storage) -> None:
    """What holds of every shard: schemas, keys, accounting, and JPEGs where the table says."""
    for name, table in result.tables.items():
        contract = schema(name)
        assert table.schema.equals(contract.arrow)
        keys = list(zip(*(table[c].to_pylist() for c in contract.key), strict=True))
        assert keys == sorted(set(keys))
        for column in contract.columns:
            assert column.nullable or not table[column.name].null_count, column.name
    clips = by_video(result.tables["clips"])
    assert clips.keys() == {f.name for f in files}
    ok = {r["clip_id"] for rows in clips.values() for r in rows if r["status"] == "ok"}
    for rows in clips.values():
        for row in rows:
            assert (row["status"] == "ok") != bool(row["error"])
    for name in ("motion_scores", "quality_scores", "clip_fingerprints"):
        assert set(result.tables[name]["clip_id"].to_pylist()) == ok
    frames = result.tables["frames"].to_pylist()
    assert {f["clip_id"] for f in frames} <= ok
    for row in frames:
        data = storage.read_media(MediaRef(row["tar"], row["offset"], row["size"]))
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert image.shape[:2] == (row["height"], row["width"])


def test_odd_and_damaged_videos_have_rows(odd: dict[str, Path], tmp_path: Path) -> None:
    result, storage = run(list(odd.values()), tmp_path)
    check(result, list(odd.values()), storage)
    clips = {kind: by_video(result.tables["clips"])[path.name] for kind, path in odd.items()}
    failed = {kind for kind, rows in clips.items() if rows[0]["status"] == "failed"}
    assert failed == {"truncated without index", "page", "empty", "sound only"}
    assert "sound only" in clips["sound only"][0]["error"]
    assert [(r["start_frame"], r["end_frame"]) for r in clips["good"]] == [(0, 50), (50, 100)]
    assert 50 <= max(r["end_frame"] for r in clips["truncated"] if r["status"] == "ok") < 100
    assert [(r["start_frame"], r["end_frame"]) for r in clips["1000 fps"]] == [(0, 300), (300, 600)]
    assert clips["one frame"][0]["end_frame"] == 1
    assert (clips["tall"][0]["width"], clips["tall"][0]["height"]) == (64, 1080)
    assert (clips["two streams"][0]["width"], clips["two streams"][0]["height"]) in {(160, 90), (320, 180)}


def test_real_hostile_files_have_rows(tmp_path: Path) -> None:
    files = sorted(shared("hostile_real").iterdir())
    result, storage = run(files, tmp_path)
    check(result, files, storage)
    assert set(result.errors) == {"broken.jpg"}
    assert all(r["hdr"] for r in by_video(result.tables["clips"])["nasa_13013_hdr.mp4"])


def comparable(result: ShardAnalysis) -> dict[str, pa.Table]:
    """The tables without the columns that say where or when."""
    return {
        name: table.select([c for c in table.column_names if c not in schema(name).volatile])
        for name, table in result.tables.items()
    }


def test_content_does_not_depend_on_workers_or_runs(odd: dict[str, Path], tmp_path: Path) -> None:
    files = [odd[kind] for kind in ("good", "truncated", "1000 fps", "rotated", "page")]
    results = [run(files, tmp_path / str(n), workers=n)[0] for n in (0, 2)]
    first, second = map(comparable, results)
    for name in TABLES:
        assert first[name].equals(second[name]), name
    offsets = [r.tables["frames"]["offset"].to_pylist() for r in results]
    assert offsets[0] == offsets[1]


def test_each_table_alone_is_that_of_the_whole_pass(odd: dict[str, Path], tmp_path: Path) -> None:
    files = [odd["good"], odd["tall"]]
    whole = comparable(run(files, tmp_path)[0])
    for name in TABLES:
        alone = comparable(run(files, tmp_path, wanted=(name,))[0])
        assert list(alone) == [name]
        assert alone[name].equals(whole[name]), name


def test_given_spans_share_samples_where_they_overlap(odd: dict[str, Path], tmp_path: Path) -> None:
    spans = {
        "good.mp4": [
            {"clip_id": "b", "start_ms": 1000, "end_ms": 3000},
            {"clip_id": "a", "start_ms": 0, "end_ms": 2000},
            {"clip_id": "zero", "start_ms": 500, "end_ms": 500},
            {"clip_id": "late", "start_ms": 3600, "end_ms": 9000},
            {"clip_id": "beyond", "start_ms": 8000, "end_ms": 9000},
        ]
    }
    params = AnalysisParams(clips=Clips.model_validate({"from": "given", "min_s": 0.1}))
    result, storage = run([odd["good"]], tmp_path, params=params, spans=spans)
    check(result, [odd["good"]], storage)
    rows = {r["source_clip_id"]: r for r in result.tables["clips"].to_pylist()}
    assert {k: (r["status"], r["start_frame"], r["end_frame"]) for k, r in rows.items()} == {
        "a": ("ok", 0, 50),
        "b": ("ok", 25, 75),
        "late": ("ok", 90, 100),
        "zero": ("rejected", None, None),
        "beyond": ("rejected", None, None),
    }
    places = {(r["frame"], r["offset"]) for r in result.tables["frames"].to_pylist()}
    assert len(places) == len({frame for frame, _ in places})
    for clip in ("a", "b", "late"):
        times = [r["position"] for r in result.tables["frames"].to_pylist() if r["clip_id"] == rows[clip]["clip_id"]]
        assert all(min(abs(t - place) for t in times) <= 0.2 for place in (0.1, 0.5, 0.9))


def test_clips_between_the_points_of_the_grids_are_measured(odd: dict[str, Path], tmp_path: Path) -> None:
    spans = [
        {"clip_id": str(a), "start_ms": a, "end_ms": a + n} for a, n in ((40, 360), (680, 40), (1080, 200), (3560, 400))
    ]
    params = AnalysisParams(clips=Clips.model_validate({"from": "given", "min_s": 0}))
    result, storage = run([odd["good"]], tmp_path, params=params, spans={"good.mp4": spans})
    check(result, [odd["good"]], storage)
    tables = {name: {r["clip_id"]: r for r in table.to_pylist()} for name, table in result.tables.items()}
    assert len(tables["clips"]) == len(spans)
    for clip_id, clip in tables["clips"].items():
        start_ms, end_ms = clip["start_ms"], clip["end_ms"]
        assert tables["quality_scores"][clip_id]["samples"] > 0
        assert tables["quality_scores"][clip_id]["sharpness"] is not None
        assert (tables["motion_scores"][clip_id]["motion"] is None) == (end_ms - start_ms <= PAIR_MS)
        prints = tables["clip_fingerprints"][clip_id]
        assert prints["hashes"]
        assert all(start_ms <= t < end_ms for t in prints["hash_ms"])
    alone = run([odd["good"]], tmp_path, params=params, spans={"good.mp4": spans}, wanted=("quality_scores",))[0]
    assert comparable(alone)["quality_scores"].equals(comparable(result)["quality_scores"])


def misbehave(argument: str) -> str:
    if argument == "die":
        os._exit(11)
    if argument == "hang":
        time.sleep(600)
    return argument.upper()


def test_a_worker_that_dies_or_hangs_takes_only_its_task_with_it() -> None:
    arguments = ["a", "die", "b", "hang", "c", "d"]
    tasks = [Task(a, a, 1.0 if a == "hang" else 240.0) for a in arguments]
    import curation_assets.decode.reading.workers as workers

    limit, workers.START_S = workers.START_S, 20.0
    try:
        outcomes = {o.key: o for o in run_tasks(misbehave, tasks, 2)}
    finally:
        workers.START_S = limit
    assert {k: o.result for k, o in outcomes.items()} == {
        "a": "A",
        "die": None,
        "b": "B",
        "hang": None,
        "c": "C",
        "d": "D",
    }
    assert "exit code 11" in (outcomes["die"].error or "")
    assert "longer than 1 s" in (outcomes["hang"].error or "")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    """A worker stays under 750 MB at 1080p, of which importing torch takes 180 and the other libraries 220, and a video four times as long takes hardly more."""
    program = (
        "import re, sys, tempfile; from pathlib import Path\n"
        "from curation_assets.decode.analysis import analyse_video\n"
        "from curation_assets.decode.analysis_results import TABLES, AnalysisParams, VideoFacts\n"
        "with tempfile.TemporaryFile() as spool:\n"
        "    analysis = analyse_video(Path(sys.argv[1]), AnalysisParams(), VideoFacts('d', 'v'), TABLES, spool)\n"
        "assert analysis.error is None, analysis.error\n"
        # not `ru_maxrss`, which begins with that of the process that started this one
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) // 1024)"
    )
    peaks = []
    for shots in (4, 16):
        path = write_video(tmp_path / f"{shots}.mp4", (250,) * shots, size=(1920, 1080), preset="ultrafast", bf="2")
        done = subprocess.run(
            [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True, timeout=900
        )
        peaks.append(int(done.stdout))
    assert max(peaks) < 750
    assert peaks[1] - peaks[0] < 60
