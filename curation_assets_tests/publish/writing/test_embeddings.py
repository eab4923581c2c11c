"""Triples as clip-video-encode has them: read by tarfile, webdataset and back from folders; whole splits; unique names."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import webdataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation_assets.cli import main
from curation_assets.publish.cutting.clip_plan import SampleKeys
from curation_assets.publish.embedding_dataset import EmbeddingExport
from curation_assets.publish.writing.embeddings import (
    SPLITS_HEADER,
    EmbeddedShard,
    EmbeddingWriter,
    at_rate,
    average_rate,
    npy_bytes,
    on_grid,
)
from curation_assets.publish.writing.processed_folders import BadTriple, pack_processed, read_processed
from curation_assets.schemas import schema
from curation_resources.media import MediaRef
from curation_resources.storage import Storage

DIM = 6


def shard(number: int, splits: list[str], empty: bool = False) -> EmbeddedShard:
    """A shard with a clip per split; the first clip has no embedding if `empty`."""
    rng = np.random.default_rng(number)
    ids = [f"v{number}.{i}_0_{1000 * (i % 3 + 1)}" for i in range(len(splits))]
    names = {"dataset": "toy", "shard": f"toy-{number:05d}", "selected": True, "start_ms": 0, "origin": "whole"}
    selected = [
        {
            **names,
            "video_id": c.rsplit("_", 2)[0],
            "clip_id": c,
            "split": s,
            "end_ms": 1000 * (i % 3 + 1),
            "caption": f"no. {i}",
        }
        for i, (c, s) in enumerate(zip(ids, splits, strict=True))
    ]
    frames = [
        {
            "dataset": "toy",
            "video_id": c.rsplit("_", 2)[0],
            "clip_id": c,
            "time_ms": 500 * f,
            "frame": f,
            "model": "m",
            "embedding": None if (empty and i == 0) or f == 1 else rng.normal(size=DIM).astype(np.float16),
        }
        for i, c in enumerate(ids)
        for f in range(2 + i % 3)
    ]
    return EmbeddedShard(
        selected,
        pa.Table.from_pylist(frames, schema=schema("frame_embeddings").arrow),
        {},
        2.0,
    )


def export(root: Path, shards: list[EmbeddedShard], **options: object) -> tuple[pa.Table, EmbeddingWriter]:
    """The rows of the version, in key order, and who wrote it."""
    with EmbeddingWriter(EmbeddingExport(**options), Storage(str(root)), "v", SampleKeys()) as writer:
        rows = [row for shard in shards for row in writer.write(shard)]
    contract = schema("embedding_dataset")
    table = pa.Table.from_pylist(rows, schema=contract.arrow)
    return table.sort_by([(k, "ascending") for k in contract.key]), writer


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(st.lists(st.sampled_from(["train", "val", "test"]), max_size=7), min_size=1, max_size=3), st.integers(1, 4)
)
def test_tars_hold_whole_splits_and_every_clip_once(
    tmp_path_factory: pytest.TempPathFactory, splits: list[list[str]], per_tar: int
) -> None:
    root = tmp_path_factory.mktemp("tars")
    done, _ = export(root, [shard(i, s) for i, s in enumerate(splits)], per_tar=per_tar, name="set")
    lines = (root / "v" / "splits.csv").read_text().splitlines()
    assert lines[0] == SPLITS_HEADER == "tar_file,split"
    listed = dict(csv.reader(lines[1:]))
    tars = sorted(p.name for p in (root / "v").glob("*.tar"))
    assert sorted(listed) == tars == [f"set_{i:05d}.tar" for i in range(len(tars))]
    found: dict[str, str] = {}
    for name in tars:
        with tarfile.open(root / "v" / name) as tar:
            members = tar.getnames()
        keys = list(dict.fromkeys(m.split(".")[0] for m in members))
        assert members == [f"{k}.{e}" for k in keys for e in ("npy", "txt", "json")]
        assert len(keys) <= per_tar
        assert not found.keys() & set(keys)
        found |= dict.fromkeys(keys, listed[name])
    assert found == {r["sample_key"]: r["split"] for r in done.to_pylist()}
    for split in ("train", "val", "test"):
        count = sum(s.count(split) for s in splits)
        assert sum(v == split for v in listed.values()) == -(-count // per_tar)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_triple_says_what_was_embedded(tmp_path: Path, dtype: str) -> None:
    one = shard(1, ["train", "val", "train"], empty=True)
    done, _ = export(tmp_path, [one], dtype=dtype)
    rows = done.to_pylist()
    assert [r["status"] for r in rows] == ["failed", "ok", "ok"]
    assert "no frame has an embedding" in rows[0]["error"]
    row = rows[2]
    data = Storage(str(tmp_path)).read_media(MediaRef(row["tar"], row["offset"], row["size"]))
    array = np.load(io.BytesIO(data))
    wanted = [
        e
        for c, e in zip(*(one.embeddings[n].to_pylist() for n in ("clip_id", "embedding")), strict=True)
        if c == row["clip_id"] and e
    ]
    assert array.dtype == dtype
    assert array.shape == (row["frames"], row["dim"]) == (3, DIM)
    assert np.array_equal(array, np.array(wanted, dtype))
    tars = sorted(str(p) for p in (tmp_path / "v").glob("*.tar"))
    samples = {s["__key__"]: s for s in webdataset.WebDataset(tars, shardshuffle=False).decode()}
    sample = samples[row["sample_key"]]
    assert np.array_equal(sample["npy"], array)
    assert sample["txt"] == "no. 2"
    said = sample["json"]
    assert (said["video_id"], said["start_ms"], said["end_ms"], said["model"]) == ("v1.2", 0, 3000, "m")
    assert said["frame_ms"] == [0, 1000, 1500], "the frame without an embedding is left out"
    assert (said["fps"], said["sampled_fps"]) == (None, 1.333333), "so they are not two per second"


@pytest.mark.parametrize(
    ("times_ms", "numbers", "fps", "regular", "average"),
    [
        ([0, 1001, 2002, 3036, 4004, 5038, 6006], [0, 30, 60, 91, 120, 151, 180], 1.0, True, 0.999001),
        ([101033, 102000, 103067, 104000], [3031, 3060, 3092, 3120], 1.0, True, 1.011122),
        ([0, 120, 200, 320, 400], [0, 3, 5, 8, 10], 10.0, True, 10.0),
        ([0, 33, 67, 100, 133], [0, 1, 2, 3, 4], 30.0, True, 30.075188),
        ([67, 133, 167], [2, 4, 5], 30.0, False, 20.0),
        ([0, 40, 80], [0, 1, 2], 60.0, False, 25.0),
        ([250, 1250, 2250], [6, 31, 56], 1.0, False, 1.0),
        ([0, 500, 833], [0, 15, 25], 1.0, False, 2.40096),
        ([1480, 2040, 3000], [37, 51, 75], 1.0, False, 1.315789),
        ([6640, 7040, 8041], [199, 211, 241], 1.0, False, 1.427552),
        ([0, 1000, 3000], [0, 25, 75], 1.0, False, 0.666667),
        ([400, 2000, 3600], [None, None, None], 0.5, False, 0.625),
        ([0, 2000], [None, None], 0.5, True, 0.5),
        ([0], [0], 1.0, False, None),
    ],
)
def test_a_rate_is_claimed_only_of_frames_that_lie_on_its_grid(
    times_ms: list[int], numbers: list[int | None], fps: float, regular: bool, average: float | None
) -> None:
    frames = pa.table({"time_ms": pa.array(times_ms, pa.int64()), "frame": pa.array(numbers, pa.int64())})
    assert on_grid(frames, fps) == regular
    assert average_rate(times_ms) == average


@pytest.mark.parametrize(
    ("times_ms", "numbers", "fps", "kept"),
    [
        ([0, 500, 833, 1000, 2000], [0, 15, 25, 30, 60], 1.0, [0, 1000, 2000]),
        ([6640, 7040, 8041], [199, 211, 241], 1.0, [7040, 8041]),
        ([0, 120, 200, 320, 400], [0, 3, 5, 8, 10], 10.0, [0, 120, 200, 320, 400]),
        ([250, 400, 700], [6, 10, 17], 1.0, [250, 400, 700]),
        ([400], [None], 0.5, [400]),
        ([0, 0, 1000], [None, None, None], 1.0, [0, 1000]),
    ],
)
def test_frames_beside_the_grid_are_left_out_where_there_are_others(
    times_ms: list[int], numbers: list[int | None], fps: float, kept: list[int]
) -> None:
    frames = pa.table({"time_ms": pa.array(times_ms, pa.int64()), "frame": pa.array(numbers, pa.int64())})
    assert at_rate(frames, fps)["time_ms"].to_pylist() == kept


@pytest.mark.parametrize("fps", [1.0, 2.0, 7.5])
def test_every_video_has_its_grid_and_nothing_else(fps: float) -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        grid = (
            np.ceil(np.arange(0, 40) * 1000 / fps / 40).astype(int) * 40
        )  # the first picture of each slot at 25 a second
        extra = rng.choice(np.arange(40, grid[-1], 40), 3, replace=False)
        times = np.union1d(grid, extra)
        frames = pa.table({"time_ms": times, "frame": times // 40})
        found = at_rate(frames, fps)
        assert found["time_ms"].to_pylist() == grid.tolist()
        assert on_grid(found, fps)


@pytest.mark.parametrize("fps", [1.0, 2.0, 5.0])
def test_a_stream_with_b_frames_has_a_frame_of_every_slot(fps: float) -> None:
    """What is sampled is the first picture that others lean on, here every fourth one at 25 a second: up to 160 ms behind the start of its slot. Clips that begin
    within a slot, whose frame the clip before has, have none of it."""
    leant_on = np.arange(0, 1000, 4) * 40
    grid = np.unique([leant_on[np.searchsorted(leant_on, n * 1000 / fps)] for n in range(int(30 * fps))])
    late = grid - np.floor(grid * fps / 1000) * 1000 / fps
    assert (late > max(40, 100 / fps)).any(), "frames that are later than one of the source's"
    for start_ms, end_ms in ((0, 5000), (5000, 12000), (12440, 20000)):
        own = grid[(grid >= start_ms) & (grid < end_ms)]
        extra = np.array([start_ms + 40, end_ms - 80])
        times = np.union1d(own, extra)
        frames = pa.table({"time_ms": times, "frame": times // 40})
        found = at_rate(frames, fps, start_ms)["time_ms"].to_numpy()
        slots = np.floor((found + 0.5) * fps / 1000)
        assert (np.diff(slots) == 1).all(), "one of each slot, and none is missing"
        assert slots[0] * 1000 / fps >= start_ms - 40
        assert slots[0] * 1000 / fps < start_ms + 1000 / fps
        assert slots[-1] == np.floor((own[-1] + 0.5) * fps / 1000)
        assert on_grid(at_rate(frames, fps, start_ms), fps, start_ms)
        assert not on_grid(frames, fps, start_ms), "with frames beside the grid there is no rate"


@pytest.mark.parametrize("chosen", ["grid", "all"])
def test_no_other_frame_of_a_slot_stands_for_one_without_an_embedding(tmp_path: Path, chosen: str) -> None:
    one = shard(0, ["train"])
    clip_id = one.clips[0]["clip_id"]
    names = {"dataset": "toy", "video_id": "v0.0", "clip_id": clip_id, "model": "m"}
    lacking, beside = 500, 700
    frames = [
        {**names, "time_ms": t, "frame": t // 20, "embedding": None if t == lacking else [np.float16(t)] * DIM}
        for t in (0, lacking, beside, 1000, 1500)
    ]
    table = pa.Table.from_pylist(frames, schema=schema("frame_embeddings").arrow)
    done, _ = export(tmp_path, [EmbeddedShard(one.clips, table, {}, 2.0)], frames=chosen)
    row = done.to_pylist()[0]
    with tarfile.open(tmp_path / row["tar"]) as tar:
        told = json.load(tar.extractfile(f"{row['sample_key']}.json"))
    assert told["frame_ms"] == [0, *([beside] if chosen == "all" else []), 1000, 1500]
    assert told["fps"] is None


def test_the_same_clips_give_the_same_bytes(tmp_path: Path) -> None:
    shards = [shard(i, ["train", "test"]) for i in range(2)]
    first, second = (export(tmp_path / root, shards)[1] for root in ("a", "b"))
    assert first.files == second.files
    assert len(first.files) == 2


def test_a_processed_dataset_becomes_tars_with_splits(tmp_path: Path) -> None:
    one = shard(3, ["train", "val", "test", "train", "train"])
    export(tmp_path, [one], layout="folders", dtype="float32")
    (tmp_path / "v" / "val" / "alone.npy").write_bytes(npy_bytes(np.ones((1, DIM), np.float32)))
    options = EmbeddingExport(dtype="float32", per_tar=2, name="mine")
    splits = pack_processed(tmp_path / "v", str(tmp_path / "packed"), options).splits
    lines = (tmp_path / "packed" / "splits.csv").read_text().splitlines()
    assert dict(csv.reader(lines[1:])) == splits
    assert sorted(splits.values()) == ["test", "train", "train", "val"]
    tars = [str(tmp_path / "packed" / name) for name in splits]
    found = {s["__key__"]: s for s in webdataset.WebDataset(tars, shardshuffle=False)}
    wanted = {r["sample_key"]: r for r in read_processed(tmp_path / "v").to_pylist()}
    assert found.keys() == wanted.keys()
    for key, row in wanted.items():
        assert np.array_equal(np.load(io.BytesIO(found[key]["npy"])), np.array(row["embeddings"], np.float32))
        assert found[key]["txt"].decode() == (row["text"] or "")
        assert json.loads(found[key]["json"]) == json.loads(row["record"] or "{}")
    with pytest.raises(BadTriple, match="has no npy in train, val, test"):
        pack_processed(tmp_path / "packed", str(tmp_path / "none"))


def test_a_processed_dataset_is_packed_by_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Folders as others leave them: float32, txt and json missing for some."""
    for split, number in (("train", 3), ("test", 1)):
        (tmp_path / "processed" / split).mkdir(parents=True)
        for n in range(number):
            array = np.full((n + 1, DIM), n, np.float32)
            np.save(tmp_path / "processed" / split / f"{split}.{n}.npy", array)
    (tmp_path / "processed" / "train" / "train.0.txt").write_text("a dog")
    command = ["pack", str(tmp_path / "processed"), str(tmp_path / "tars"), "--per-tar", "2", "--name", "mine"]
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["train: 3 triples in 2 tars", "test: 1 triple in 1 tar"]
    lines = (tmp_path / "tars" / "splits.csv").read_text().splitlines()
    assert lines == ["tar_file,split", "mine_00000.tar,train", "mine_00001.tar,train", "mine_00002.tar,test"]
    tars = [str(tmp_path / "tars" / f"mine_{n:05d}.tar") for n in range(3)]
    found = list(webdataset.WebDataset(tars, shardshuffle=False))
    assert [np.load(io.BytesIO(s["npy"])).dtype for s in found] == [np.float16] * 4
    assert sorted(s["txt"].decode() for s in found) == ["", "", "", "a dog"]
    assert main(command) == 2
    assert "has a splits.csv already" in capsys.readouterr().err
    np.save(tmp_path / "processed" / "train" / "vid.9.npy", np.ones((1, DIM + 1), np.float32))
    assert main([*command[:2], str(tmp_path / "other")]) == 2
    assert f"vid.9.npy has {DIM + 1} numbers a frame" in capsys.readouterr().err
    assert not (tmp_path / "other" / "splits.csv").exists()
    (tmp_path / "processed" / "train" / "vid.9.npy").rename(tmp_path / "processed" / "test" / "train.0.npy")
    np.save(tmp_path / "processed" / "test" / "train.0.npy", np.ones((1, DIM), np.float32))
    assert main([*command[:2], str(tmp_path / "other")]) == 2
    assert "test/train.0.npy has the name of a triple of another split" in capsys.readouterr().err
    for wrong, why in (("nowhere", "there is no such folder"), ("processed/test/train.0.npy", "it is a file")):
        assert main(["pack", str(tmp_path / wrong), str(tmp_path / "other")]) == 2
        assert f"{wrong}: {why}; name the folder that has train, val, test" in capsys.readouterr().err


def test_folders_are_written_and_read_back(tmp_path: Path) -> None:
    one = shard(3, ["train", "val", "test", "train"])
    done, _ = export(tmp_path, [one], layout="folders", dtype="float32")
    back = read_processed(tmp_path / "v").to_pylist()
    assert sorted((r["split"], r["sample_key"]) for r in back) == sorted(
        (r["split"], r["sample_key"]) for r in done.to_pylist()
    )
    for row in back:
        array = np.load(tmp_path / "v" / row["split"] / f"{row['sample_key']}.npy")
        assert np.array_equal(np.array(row["embeddings"], np.float32), array)
        assert json.loads(row["record"])["shape"] == list(array.shape)
        assert row["text"].startswith("no.")


@pytest.mark.parametrize("content", [b"", b"not numpy", None])
def test_a_file_that_is_no_array_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "train" / "bad.npy"
    path.parent.mkdir()
    if content is None:
        np.save(path, np.array([{"code": 1}], dtype=object), allow_pickle=True)
    else:
        path.write_bytes(content)
    with pytest.raises(BadTriple, match=r"bad\.npy"):
        read_processed(tmp_path)
