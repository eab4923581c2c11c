"""What subsets publish, as Dagster materializes it: versions that others' tools read, kept, made again only where something changed."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster import AssetKey, AssetRecordsFilter, DagsterInstance, ExecuteInProcessResult
from dagster._core.definitions.data_version import CODE_VERSION_TAG

from curation_assets.definitions import build_definitions, table_store
from curation_assets.engine.run_tags import FORCE_TAG
from curation_assets.on_call.metrics import registry
from curation_assets.orchestration.partitions import SHARDS
from curation_assets.publish.cutting import shard_cutting
from curation_assets.publish.cutting.video_task import CutClip, VideoCuts
from curation_assets.recipes import Recipes, parse_recipe
from curation_assets.schemas import schema
from curation_assets.settings import Settings
from curation_assets.tracks.face_tables import CLIP_FACES
from curation_assets_tests.decode.coded_video import write_video
from curation_assets_tests.publish.cutting.test_encoders import why_not
from curation_assets_tests.shared_data import shared
from curation_assets_tests.tracks.plates import SIDE, draw, letters, save_network
from curation_resources.detectors.faces import centerface_identity
from curation_resources.provenance import Provenance
from curation_resources.tables import TableStore
from curation_resources.weights import file_sha256

RECIPE = """
dataset: toy
description: Coded | videos
source: {format: folder, path: nowhere}
captions: {backend: source}
embeddings: {model: tiny, pretrained: none}
subsets:
  tars: {split: {train: 0.5, val: 0.5}, export: {clips: {preset: ultrafast, short_side: 90}, embeddings: {per_tar: 2, frames: all}}}
  files: {export: {clips: {format: folder, preset: ultrafast, short_side: 90}}}
  rows: {export: {clips: {format: parquet, preset: ultrafast, short_side: 90}}}
  objects: {of: tracks, export: {clips: {tracks: true, preset: ultrafast}, embeddings: {layout: folders}}}
"""
VIDEOS = [f"v{i}" for i in range(4)]
SPLIT = {"v0": "train", "v1": "train", "v2": "val", "v3": "train"}


def shard_of(video: str) -> str:
    return f"toy-{VIDEOS.index(video) // 2:05d}"


def clip_rows() -> list[dict[str, Any]]:
    """Two clips of each video, one of which is selected nowhere."""
    rows = []
    for video in VIDEOS:
        for first, end in ((0, 20), (20, 45)):
            rows.append(
                {
                    "dataset": "toy", "video_id": video, "clip_id": f"{video}_{40 * first}_{40 * end}", "status": "ok", "shard": shard_of(video),
                    "start_ms": 40 * first, "end_ms": 40 * end, "start_frame": first, "end_frame": end, "width": 320, "height": 180, "fps": 25.0,
                    "selected": video != "v3" or first == 0, "split": SPLIT[video], "aesthetic": 4.5 if first else None,
                }
            )  # fmt: skip
    return rows


class Installation:
    """Tables as the graph above the exports would leave them, over real videos."""

    def __init__(self, root: Path, recipe: str = RECIPE, with_faces: Sequence[str] = ()) -> None:
        self.settings = Settings(storage=str(root / "data"), workers=1)
        self.recipes = {"toy": parse_recipe(recipe, "toy.yaml")}
        self.store: TableStore = table_store(self.settings)
        (root / "home").mkdir()
        self.instance = DagsterInstance.local_temp(str(root / "home"))
        self.instance.add_dynamic_partitions(SHARDS.name or "", sorted({shard_of(v) for v in VIDEOS}))
        for video in VIDEOS:
            (write_faces(root / f"{video}.mp4") if video in with_faces else write_video(root / f"{video}.mp4", [45]))
        raw = [
            {
                "dataset": "toy", "video_id": v, "status": "ok", "tar": str(root / f"{v}.mp4"), "size": (root / f"{v}.mp4").stat().st_size,
                "sha256": v, "url": f"https://example.org/{v}", "licence": "CC-BY" if v != "v1" else None, "channel": "me", "duration_ms": 1800,
                **({"title": "A | title"} if v == "v3" else {}),
                **({"url": str(root / "v2.mp4"), "page_url": f"file://{root}/v2.mp4"} if v == "v2" and str(root) in recipe else {}),
            }
            for v in VIDEOS
        ]  # fmt: skip
        self.sharded("raw_shards", raw)
        self.sharded("clips", clip_rows())
        self.caption("a caption")
        rng = np.random.default_rng(0)
        self.sharded(
            "frame_embeddings",
            [
                {
                    "dataset": "toy", "video_id": c["video_id"], "clip_id": c["clip_id"], "time_ms": c["start_ms"] + t, "model": "tiny",
                    "embedding": rng.normal(size=4).astype(np.float16),
                }
                for c in clip_rows()
                for t in (0, 400)
            ],
        )  # fmt: skip
        tracks = [track(c, n) for c in clip_rows() if c["selected"] for n in range(2)]
        self.sharded("tracks", tracks)
        for name, subset in self.recipes["toy"].subsets.items():
            if subset.of == "clips":
                self.commit("curated_clips", f"toy-{name}", clip_rows())
        self.commit(
            "curated_tracks", "toy-objects", [{**t, "shard": shard_of(t["video_id"]), "selected": True, "split": "train"} for t in tracks]
        )  # fmt: skip

    def commit(self, asset: str, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
        contract = schema(asset)
        table = pa.Table.from_pylist([{n: r.get(n) for n in contract.names} for r in rows], schema=contract.arrow)
        stats = {"funnel": [["candidates", 8, 0.004], ["keep", 7, 0.0035]]} if asset.startswith("curated") else {}
        self.store.commit(asset, key, table, Provenance("1", None, {"clips": "c0ffee"}), stats)

    def sharded(self, asset: str, rows: Sequence[Mapping[str, Any]]) -> None:
        for key in sorted({shard_of(r["video_id"]) for r in rows}):
            self.commit(asset, key, [r for r in rows if shard_of(r["video_id"]) == key])

    def caption(self, text: str) -> None:
        names = {"dataset": "toy", "backend": "source", "status": "ok", "row_fingerprint": "f"}
        rows = [{**names, "video_id": c["video_id"], "clip_id": c["clip_id"], "caption": text} for c in clip_rows()]
        self.sharded("captions", rows)

    def run(self, asset: str, subset: str, force: bool = False) -> ExecuteInProcessResult:
        """Materializes an export. The tables are laid by hand, without an index: what keeps exports from being made is for test_publishing."""
        job = build_definitions(self.settings, self.recipes).resolve_implicit_global_asset_job_def()
        with patch("curation_assets.engine.completeness.left_out", lambda *_: []):
            return job.execute_in_process(
                instance=self.instance,
                asset_selection=[AssetKey(asset)],
                partition_key=f"toy-{subset}",
                tags={FORCE_TAG: "true"} if force else {},
            )

    def version(self, asset: str, subset: str) -> Path:
        header = self.store.header(asset, f"toy-{subset}")
        assert header is not None
        return Path(header.stats["folder"])

    def rows(self, asset: str, subset: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.store.read(asset, f"toy-{subset}").to_pylist()
        return found


def write_faces(path: Path) -> None:
    """A photograph with faces, 45 frames long."""
    photo = cv2.resize(cv2.imread(str(shared("faces/2008_002079.jpg"))), (320, 240), interpolation=cv2.INTER_AREA)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "16"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(45):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(photo, format="bgr24")))
        output.mux(stream.encode(None))


def track(clip: Mapping[str, Any], number: int) -> dict[str, Any]:
    times = [clip["start_ms"] + t for t in (0, 200, 400)]
    return {
        "dataset": "toy", "video_id": clip["video_id"], "clip_id": clip["clip_id"], "track_id": f"{clip['clip_id']}_{number:04d}", "label": "face",
        "score": 0.9, "top_labels": ["face"], "top_scores": [0.9], "top_scores_std": [0.0], "start_ms": times[0], "end_ms": times[-1],
        "frame_ms": times, "boxes": [[40.0 + number, 40, 60, 80]] * 3, "box_scores": [0.9] * 3, "box_labels": ["face"] * 3, "box_label_scores": [0.9] * 3,
        "width": 320, "height": 180, "detector": "faces",
    }  # fmt: skip


@pytest.fixture(scope="module")
def shared_installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """With the tars exported; for tests that only read."""
    made = Installation(tmp_path_factory.mktemp("export"))
    result = made.run("clip_dataset", "tars")
    assert result.success
    passed = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    assert passed == {"contract": True, "media": True, "single_shots": True, "face_leaks": True, "plate_leaks": True}
    return made


def members_of(folder: Path) -> dict[str, dict[str, bytes]]:
    """Key -> extension -> bytes in the folder's tars, by plain tarfile; `tar` has the name of the tar."""
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted(folder.rglob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, extension = member.name.split(".")
                found.setdefault(key, {"tar": path.name.encode()})[extension] = tar.extractfile(member).read()  # type: ignore[union-attr]
    return found


def samples_of(folder: Path) -> dict[str, tuple[str, bytes, str, dict[str, Any]]]:
    """Key -> (split, mp4, text, json)."""
    return {
        k: (m["tar"].decode().split("-")[0], m["mp4"], m["txt"].decode(), json.loads(m["json"]))
        for k, m in members_of(folder).items()
    }


def test_every_selected_clip_is_published_with_what_is_known_of_it(shared_installation: Installation) -> None:
    made = shared_installation
    samples = samples_of(made.version("clip_dataset", "tars"))
    selected = {c["clip_id"]: c for c in clip_rows() if c["selected"]}
    assert samples.keys() == selected.keys() == {r["clip_id"] for r in made.rows("clip_dataset", "tars")}
    for key, (split, mp4, text, said) in samples.items():
        clip = selected[key]
        assert (split, text) == (clip["split"], "a caption")
        assert mp4[4:8] == b"ftyp"
        assert said["export"]["frames"] == clip["end_frame"] - clip["start_frame"]
        assert said["source"]["url"] == f"https://example.org/{clip['video_id']}"
        assert said["clip"].get("aesthetic") == clip["aesthetic"]
    assert not list((made.version("clip_dataset", "tars").parent / "pieces").glob("*"))
    header = made.store.header("clip_dataset", "toy-tars")
    assert header
    assert header.stats["cpu_s"] > 0.2, "cutting counts, though other steps do it"
    assert header.stats["samples"] == 7


def croissant_records(folder: Path, name: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `mlcroissant` reads, with a cache of its own: what it extracts is named by the tar's name alone."""
    import mlcroissant
    from etils import epath

    monkeypatch.setattr("mlcroissant._src.operation_graph.operations.extract.EXTRACT_PATH", epath.Path(cache))
    described = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    assert not described.metadata.ctx.issues.errors
    return [{k.split("/")[1]: v for k, v in r.items()} for r in described.records(name)]


def test_other_tools_read_the_same_samples(
    shared_installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import webdataset
    from datasets import Video, load_dataset

    folder = shared_installation.version("clip_dataset", "tars")
    samples = samples_of(folder)
    tars = sorted(str(p) for p in folder.rglob("*.tar"))
    read = {
        s["__key__"]: (s["mp4"], s["txt"].decode(), json.loads(s["json"]))
        for s in webdataset.WebDataset(tars, shardshuffle=False)
    }
    assert read == {k: v[1:] for k, v in samples.items()}
    loaded = load_dataset(str(folder), cache_dir=str(tmp_path))
    counts = Counter(v[0] for v in samples.values())
    assert {s: d.num_rows for s, d in loaded.items()} == {"train": counts["train"], "validation": counts["val"]}
    for rows in loaded.values():
        for row in rows.cast_column("mp4", Video(decode=False)):
            assert row["mp4"]["bytes"] == samples[row["__key__"]][1]
            assert (row["txt"], row["json"]) == samples[row["__key__"]][2:]
    for place, member in enumerate(("mp4", "txt", "json"), 1):
        records = croissant_records(folder, member, tmp_path / "croissant", monkeypatch)
        read = {r["key"].decode(): r["content"] for r in records}
        assert read.keys() == samples.keys()
        for key, content in read.items():
            said = samples[key][place]
            assert (json.loads(content) if member == "json" else content) == (
                said.encode() if member == "txt" else said
            )


def test_the_card_says_where_everything_comes_from(shared_installation: Installation) -> None:
    text = (shared_installation.version("clip_dataset", "tars") / "README.md").read_text()
    assert "7 clips" in text
    assert "| candidates | 8 |" in text
    assert "| keep | 7 |" in text
    assert "| CC-BY | 0.001 | 71.0% |" in text
    assert "| not stated | 0.001 | 29.0% |" in text
    assert "Coded \\| videos" in text
    assert "short_side: 90" in text
    header = shared_installation.store.header("curated_clips", "toy-tars")
    assert header is not None
    assert header.content_hash in text
    assert "c0ffee" in text
    assert "centerface" not in text, "no faces were looked for"


def test_only_what_changed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Installation(tmp_path)
    made.run("clip_dataset", "tars")
    first, before = made.version("clip_dataset", "tars"), made.store.header("clip_dataset", "toy-tars")
    tars = {p.name: p.read_bytes() for p in first.rglob("*") if p.is_file()}

    cut: list[str] = []

    def counting(task: VideoCuts) -> list[CutClip]:
        cut.extend(c.key for c in task.cuts)
        return real(task)

    real = shard_cutting.cut_video
    monkeypatch.setattr(shard_cutting, "cut_video", counting)
    monkeypatch.setattr(shard_cutting, "run_tasks", lambda function, tasks, workers: run(function, tasks, 0))
    from curation_assets.decode.reading.workers import run_tasks as run

    result = made.run("clip_dataset", "tars")
    assert not cut
    assert not [e for e in result.all_node_events if e.step_key and "cut_clips" in e.step_key]
    assert made.store.header("clip_dataset", "toy-tars") == before

    made.caption("another caption")
    made.run("clip_dataset", "tars")
    second = made.version("clip_dataset", "tars")
    assert not cut, "captions do not change the clips"
    assert second != first
    assert {v[2] for v in samples_of(second).values()} == {"another caption"}
    assert {p.name: p.read_bytes() for p in first.rglob("*") if p.is_file()} == tars, (
        "the version before is kept as it was"
    )

    again = {p.name: p.read_bytes() for p in second.rglob("*") if p.is_file()}
    made.run("clip_dataset", "tars", force=True)
    assert len(cut) == 7
    assert made.version("clip_dataset", "tars") == second
    assert {p.name: p.read_bytes() for p in second.rglob("*") if p.is_file()} == again, "cut again, the same bytes"
    events = made.instance.fetch_materializations(
        AssetRecordsFilter(AssetKey("clip_dataset"), asset_partitions=["toy-tars"]), limit=10
    )
    versions = [
        e.asset_materialization.tags["dagster/data_version"]
        for e in events.records
        if e.asset_materialization and e.asset_materialization.tags
    ]
    assert [v == versions[0] for v in versions] == [True, True, False, False], (
        "newest first: forced, captions, no-op, first"
    )


@pytest.mark.parametrize(("subset", "listing"), [("files", "metadata.csv"), ("rows", "metadata.parquet")])
def test_folders_come_with_lists(
    shared_installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subset: str, listing: str
) -> None:
    import pyarrow.csv as pacsv
    import pyarrow.parquet as pq
    from datasets import Video, load_dataset

    made = shared_installation
    assert made.run("clip_dataset", subset).success
    folder = made.version("clip_dataset", subset)
    table = pacsv.read_csv(folder / listing) if listing.endswith("csv") else pq.read_table(folder / listing)
    rows = {r["clip_id"]: r for r in made.rows("clip_dataset", subset)}
    assert table.num_rows == len(rows) == 7
    for listed in table.to_pylist():
        file = folder / (listed.get("file_name") or listed["path"])
        assert file.stat().st_size == rows[listed["clip_id"]]["size"]
        assert file.parent.name == listed["split"]
        assert json.loads(listed["record"])["key"] == file.stem
    records = croissant_records(folder, "samples", tmp_path / "croissant", monkeypatch)
    assert [r["key"].decode() for r in records] == table["key"].to_pylist()
    loaded = load_dataset(str(folder), cache_dir=str(tmp_path))
    assert loaded.keys() == {"train", "validation"}
    found = {r["key"]: r for part in loaded.values() for r in part.cast_column("video", Video(decode=False))}
    assert found.keys() == rows.keys()
    for split, part in loaded.items():
        assert {"train": "train", "val": "validation"}[part["split"][0]] == split
        assert len(set(part["split"])) == 1
    for key, row in found.items():
        assert Path(row["video"]["path"]) == folder / row["split"] / f"{key}.mp4"
        assert row["text"] == "a caption"


def test_a_damaged_source_fails_its_own_clips_only(tmp_path: Path) -> None:
    made = Installation(tmp_path)
    (tmp_path / "v2.mp4").write_bytes(b"<html>" + bytes((tmp_path / "v2.mp4").stat().st_size - 6))
    assert made.run("clip_dataset", "files").success
    failed = {r["video_id"]: r["error"] for r in made.rows("clip_dataset", "files") if r["status"] == "failed"}
    assert failed.keys() == {"v2"}
    assert "cannot be opened as media" in failed["v2"]
    assert "2 more could not be made" in (made.version("clip_dataset", "files") / "README.md").read_text()
    numbers = registry(made.settings, lambda: Recipes(made.recipes))
    labels = {"subset": "toy-files", "asset": "clip_dataset"}
    assert numbers.get_sample_value("curation_export_failed", labels) == 2


def test_tracks_are_published_as_crops_and_as_lines(shared_installation: Installation) -> None:
    from curation_assets.publish.writing.track_versions import publish_tracks
    from curation_assets.publish.writing.trackverse_records import read_records

    made = shared_installation
    assert made.run("clip_dataset", "objects").success
    rows = made.rows("clip_dataset", "objects")
    assert len(rows) == 14
    assert {r["status"] for r in rows} == {"ok"}
    assert {(r["width"], r["height"], r["frames"]) for r in rows} == {(60, 80, 11)}
    header = made.store.header("curated_tracks", "toy-objects")
    assert header is not None
    path = made.settings.storage + "/" + publish_tracks(made.store, made.recipes, "toy-objects", header)
    first = Path(path).read_bytes()
    with open(path, "rb") as file:
        found = [r.track_id for r in read_records(file, path)]
    assert found == [r["track_id"] for r in made.rows("curated_tracks", "objects")]
    Path(path).unlink()
    publish_tracks(made.store, made.recipes, "toy-objects", header)
    assert Path(path).read_bytes() == first
    assert len(gzip.decompress(first).splitlines()) == 14


def test_embeddings_are_published(
    shared_installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import webdataset
    from datasets import load_dataset

    made = shared_installation
    assert made.run("embedding_dataset", "tars").success
    folder = made.version("embedding_dataset", "tars")
    assert len(made.rows("embedding_dataset", "tars")) == 7
    assert (folder / "splits.csv").read_text().startswith("tar_file,split\nds_00000.tar,")
    arrays = {
        r["key"].decode(): np.load(io.BytesIO(r["content"]))
        for r in croissant_records(folder, "npy", tmp_path / "croissant", monkeypatch)
    }
    assert len(arrays) == 7
    loaded = load_dataset(str(folder), cache_dir=str(tmp_path))
    assert {s: d.num_rows for s, d in loaded.items()} == {"train": 5, "validation": 2}
    plain = members_of(folder)
    tars = sorted(str(p) for p in folder.rglob("*.tar"))
    for sample in webdataset.WebDataset(tars, shardshuffle=False):
        assert {x: sample[x] for x in ("npy", "txt", "json")} == {
            x: plain[sample["__key__"]][x] for x in ("npy", "txt", "json")
        }
    rows = {r["__key__"]: r for split in loaded.values() for r in split}
    assert rows.keys() == plain.keys()
    for key, row in rows.items():
        assert arrays[key].shape == (2, 4)
        assert np.array_equal(np.load(io.BytesIO(plain[key]["npy"])), arrays[key])
        assert np.array_equal(np.array(row["npy"], np.float16), arrays[key])
        assert (row["txt"], row["json"]) == (plain[key]["txt"].decode(), json.loads(plain[key]["json"]))
    assert made.run("embedding_dataset", "files").success
    assert not made.rows("embedding_dataset", "files")


def test_the_table_of_the_other_kind_is_empty_and_written_once(shared_installation: Installation) -> None:
    made = shared_installation
    assert made.run("curated_tracks", "files").success
    file = Path(made.settings.storage, made.store.path("curated_tracks", "toy-files"))
    first = file.stat().st_ino
    assert made.run("curated_tracks", "files").success
    assert file.stat().st_ino == first
    assert made.rows("curated_tracks", "files") == []


EVERY_KIND = """
dataset: toy
source: {format: folder, path: nowhere}
captions: {backend: source}
embeddings: {model: tiny, pretrained: none}
subsets:
  exact: {split: {train: 0.5, val: 0.5}, export: {clips: {preset: ultrafast}, embeddings: {per_tar: 2, frames: all}}}
  copied: {export: {clips: {cut: copy}, embeddings: {layout: folders}}}
  covered: {export: {clips: {preset: ultrafast, blur_faces: true}}}
  files: {export: {clips: {format: folder, preset: ultrafast}}}
  rows: {export: {clips: {format: parquet, preset: ultrafast}}}
  objects: {of: tracks, export: {clips: {tracks: true, preset: ultrafast}}}
"""
TARS, CUT = {".tar", ".json", ".md"}, {".mp4", ".json", ".md"}
KINDS = {
    ("curated_tracks", "objects"): {".gz"},
    ("clip_dataset", "exact"): TARS,
    ("clip_dataset", "copied"): TARS,
    ("clip_dataset", "covered"): {*TARS, ".parquet"},
    ("clip_dataset", "files"): {*CUT, ".csv", ".parquet"},
    ("clip_dataset", "rows"): {*CUT, ".parquet"},
    ("clip_dataset", "objects"): TARS,
    ("embedding_dataset", "exact"): {*TARS, ".csv"},
    ("embedding_dataset", "copied"): {".npy", ".txt", ".json", ".md"},
}
"""Asset and subset -> endings of the files that it publishes, the tracks before the clips that follow them."""


@pytest.fixture(scope="module")
def every_kind(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Installation, dict[tuple[str, str], dict[str, bytes]]]:
    """Every kind of export made once, with the files of each."""
    root = tmp_path_factory.mktemp("kinds")
    made = Installation(root, EVERY_KIND.replace("nowhere", str(root)), with_faces=("v0",))
    for asset, subset in KINDS:
        assert made.run(asset, subset).success
    return made, {kind: published(made, *kind) for kind in KINDS}


def published(made: Installation, asset: str, subset: str) -> dict[str, bytes]:
    """Path below the subset's folder -> bytes."""
    folder = Path(made.settings.storage) / asset / f"toy-{subset}"
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_no_path_of_this_machine_is_published(
    every_kind: tuple[Installation, dict[tuple[str, str], dict[str, bytes]]],
) -> None:
    """Neither the folder of the videos nor the root of the storage; a video says where it lies below that folder."""
    made, files = every_kind
    root = str(Path(made.settings.storage).parent)
    said = 0
    for of in files.values():
        for name, data in of.items():
            if "/pieces/" in f"/{name}":
                continue  # those of a run, not of a version
            if name.endswith(".gz"):
                data = gzip.decompress(data)
            if name.endswith(".parquet"):
                table = pq.read_table(io.BytesIO(data))
                data += repr((table.to_pylist(), table.schema.metadata)).encode()
            assert root.encode() not in data, name
            said += b'"page_url":"v2.mp4"' in data
    assert said >= 6, "tars and lists of six exports hold clips of it"
    card = next(d for n, d in files["clip_dataset", "files"].items() if n.endswith("README.md")).decode()
    assert f"path:\n  - {Path(root).name}\n" in card


@pytest.mark.parametrize(("asset", "subset"), KINDS)
def test_the_same_export_made_again_has_the_same_bytes(
    every_kind: tuple[Installation, dict[tuple[str, str], dict[str, bytes]]], asset: str, subset: str
) -> None:
    made, first = every_kind
    before, rows = first[asset, subset], made.rows(asset, subset)
    assert {Path(f).suffix for f in before} == KINDS[asset, subset]
    shutil.rmtree(Path(made.settings.storage) / asset / f"toy-{subset}")
    assert made.run(asset, subset, force=True).success
    again = published(made, asset, subset)
    assert again.keys() == before.keys()
    assert [name for name in before if again[name] != before[name]] == []
    assert made.rows(asset, subset) == rows
    assert len(rows) >= 7
    assert {r.get("status", "ok") for r in rows} == {"ok"}


def test_embeddings_of_tracks_are_those_of_their_clips_each_once(shared_installation: Installation) -> None:
    made = shared_installation
    assert made.run("embedding_dataset", "objects").success
    folder = made.version("embedding_dataset", "objects")
    said = [json.loads(p.read_text()) for p in sorted(folder.glob("*/*.json"))]
    selected = [c for c in clip_rows() if c["selected"]]
    assert [(s["clip_id"], s["start_ms"], s["end_ms"]) for s in said] == [
        (c["clip_id"], c["start_ms"], c["end_ms"]) for c in selected
    ], "not the spans of the tracks"
    hours = sum(c["end_ms"] - c["start_ms"] for c in selected) / 3_600_000
    assert f"7 clips' frame embeddings, {hours:.3f} hours" in (folder / "README.md").read_text()


@pytest.mark.parametrize("asset", ["clip_dataset", "embedding_dataset"])
def test_dagster_hears_of_the_code_version_that_the_asset_declares(
    shared_installation: Installation, asset: str
) -> None:
    made = shared_installation
    declared = build_definitions(made.settings, made.recipes).resolve_asset_graph().get(AssetKey(asset)).code_version
    for subset in ("tars", "files"):
        assert made.run(asset, subset).success
        which = AssetRecordsFilter(AssetKey(asset), asset_partitions=[f"toy-{subset}"])
        event = made.instance.fetch_materializations(which, limit=1).records[0].asset_materialization
        assert event is not None
        assert (event.tags or {})[CODE_VERSION_TAG] == declared


def test_where_faces_were_covered_is_kept_and_a_second_detector_looks_again(tmp_path: Path) -> None:
    from datasets import Video, load_dataset

    yunet = shared("weights/yunet_n_dynamic.onnx")
    options = f"blur_faces: true, preset: ultrafast, leak_model: {yunet}"
    recipe = f"""
dataset: toy
source: {{format: folder, path: nowhere}}
captions: {{backend: openai, url: "https://me:sesame@example.org/v1", model: m}}
subsets:
  covered: {{export: {{clips: {{{options}}}}}}}
  open: {{export: {{clips: {{{options}, blur_threshold: 1.0}}}}}}
"""
    made = Installation(tmp_path, recipe, with_faces=("v0", "v2"))

    def faces() -> pa.Table:
        table = pq.read_table(made.version("clip_dataset", "covered") / "faces.parquet")
        assert table.schema.equals(CLIP_FACES)
        return table

    def leak_check(subset: str) -> Any:
        result = made.run("clip_dataset", subset)
        return next(e for e in result.get_asset_check_evaluations() if e.check_name == "face_leaks")

    check = leak_check("covered")
    assert check.passed, check.description
    rows = {r["sample_key"]: r for r in made.rows("clip_dataset", "covered")}
    first = faces()
    said = Counter(first["sample_key"].to_pylist())
    assert {k: said.get(k, 0) for k in rows} == {k: r["blurred_faces"] for k, r in rows.items()}
    assert {r["video_id"] for r in rows.values() if r["blurred_faces"]} == {"v0", "v2"}
    for key, row in rows.items():
        if row["blurred_faces"]:
            times = {r["frame_ms"] for r in first.to_pylist() if r["sample_key"] == key}
            assert times == set(range(row["start_ms"], row["end_ms"], 40)), "in every frame"

    loaded = load_dataset(str(made.version("clip_dataset", "covered")), cache_dir=str(tmp_path / "cache"))
    assert sorted(
        r["__key__"] for part in loaded.values() for r in part.cast_column("mp4", Video(decode=False))
    ) == sorted(rows)

    said_on_card = (made.version("clip_dataset", "covered") / "README.md").read_text()
    assert "https://example.org/v1" in said_on_card
    assert f"| clip_dataset | faces | {centerface_identity()} |" in said_on_card
    assert not any("sesame" in f.read_text() for f in made.version("clip_dataset", "covered").glob("*.[mj]*"))

    raw = [{**r, "sha256": "other" if r["video_id"] == "v2" else r["sha256"]} for s in ("toy-00000", "toy-00001")
           for r in made.store.read("raw_shards", s).to_pylist()]  # fmt: skip
    made.sharded("raw_shards", raw)
    earlier = made.version("clip_dataset", "covered")
    made.run("clip_dataset", "covered")
    assert made.version("clip_dataset", "covered") != earlier
    assert faces().equals(first), "kept with the clips that were kept, and found again where they were cut again"

    leaking = leak_check("open")
    assert not leaking.passed
    assert leaking.severity.value == "WARN"
    assert leaking.metadata["faces"].value > 0


def write_plates(path: Path) -> None:
    """A plate that moves over a photograph, 45 frames long."""
    photo = cv2.resize(cv2.imread(str(shared("faces/2008_002079.jpg"))), (320, 240), interpolation=cv2.INTER_AREA)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "14"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for k in range(45):
            frame = np.ascontiguousarray(photo[:, :, ::-1])
            draw(frame, (20.0 + 4 * k, 150.0, 56.0, 12.2), letters(1))
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        output.mux(stream.encode(None))


@pytest.mark.slow
def test_plates_are_covered_and_without_weights_nothing_is_published(tmp_path: Path) -> None:
    network = save_network(tmp_path / "plates.onnx")
    found = f"model: {network}, threshold: 0.5, onnx: {{size: {SIDE}}}"
    recipe = f"""
dataset: toy
source: {{format: folder, path: nowhere}}
subsets:
  covered: {{export: {{clips: {{preset: ultrafast, crf: 14, blur: {{plates: {{{found}, leak: {{model: {network}, onnx: {{size: {SIDE}}}}}}}}}}}}}}}
  missing: {{export: {{clips: {{preset: ultrafast, blur: {{faces: true, plates: {{model: {tmp_path}/gone.onnx}}}}}}}}}}
"""
    made = Installation(tmp_path, recipe)
    write_plates(tmp_path / "v0.mp4")
    size = (tmp_path / "v0.mp4").stat().st_size
    raw = [
        {**r, "size": size} if r["video_id"] == "v0" else r
        for r in made.store.read("raw_shards", "toy-00000").to_pylist()
    ]
    made.commit("raw_shards", "toy-00000", raw)

    result = made.run("clip_dataset", "covered")
    check = next(e for e in result.get_asset_check_evaluations() if e.check_name == "plate_leaks")
    assert check.passed, check.description
    assert check.metadata["covers"].value > 0
    rows = {r["sample_key"]: r for r in made.rows("clip_dataset", "covered")}
    folder = made.version("clip_dataset", "covered")
    covered = pq.read_table(folder / "plates.parquet")
    assert covered.schema.equals(CLIP_FACES)
    assert not (folder / "faces.parquet").exists()
    assert {r["sample_key"]: r["blurred_plates"] for r in rows.values() if r["video_id"] == "v0"} == dict(
        Counter(covered["sample_key"].to_pylist())
    )
    assert {r["blurred_plates"] for r in rows.values() if r["video_id"] != "v0"} == {0}
    assert {r["blurred_faces"] for r in rows.values()} == {None}
    for key, row in rows.items():
        if row["video_id"] == "v0":
            times = {r["frame_ms"] for r in covered.to_pylist() if r["sample_key"] == key}
            assert times == set(range(row["start_ms"], row["end_ms"], 40)), "in every frame"
    assert f"| clip_dataset | plates | onnx:{file_sha256(network)[:16]} |" in (folder / "README.md").read_text()
    first = made.store.header("clip_dataset", "toy-covered")
    made.run("clip_dataset", "covered")
    assert made.store.header("clip_dataset", "toy-covered") == first, "nothing to do"

    with pytest.raises(Exception, match="weights of the plate detector are missing") as error:
        made.run("clip_dataset", "missing")
    assert "blur_plates.model" in str(error.value)
    assert made.store.header("clip_dataset", "toy-missing") is None
    assert not list(Path(made.settings.storage, "clip_dataset").glob("toy-missing/**/*.tar"))


def test_an_encoder_that_does_not_open_stops_the_export_before_anything_is_cut(tmp_path: Path) -> None:
    recipe = """
dataset: toy
source: {format: folder, path: nowhere}
subsets:
  gpu: {export: {clips: {encoder: h264_nvenc, cut: exact}}}
  cpu: {export: {clips: {encoder: libx265, preset: ultrafast, cut: exact}}}
"""
    made = Installation(tmp_path, recipe)
    made.run("clip_dataset", "cpu")
    rows = made.rows("clip_dataset", "cpu")
    assert {(r["status"], r["encoder"], r["encoded_frames"]) for r in rows} == {
        ("ok", "libx265", r["frames"]) for r in rows
    }
    if why := why_not("h264_nvenc"):
        with pytest.raises(Exception, match="h264_nvenc does not open") as error:
            made.run("clip_dataset", "gpu")
        assert str(error.value).splitlines()[-1] == f"clip_dataset of toy-gpu: {why}; nothing was cut"
        assert made.store.header("clip_dataset", "toy-gpu") is None
        assert not list(Path(made.settings.storage, "clip_dataset").glob("toy-gpu/**/*.mp4"))
        assert not list(Path(made.settings.storage, "clip_dataset").glob("toy-gpu/**/*.tar"))
    else:
        made.run("clip_dataset", "gpu")
        assert {r["encoder"] for r in made.rows("clip_dataset", "gpu")} == {"h264_nvenc"}
        header = made.store.header("clip_dataset", "toy-gpu")
        assert header is not None
        assert header.stats["gpu_s"] > 0
