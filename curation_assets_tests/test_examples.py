"""The example recipes from source to published files, on real videos behind a web server on loopback, with small models of the real kinds.

Each recipe is the file in `recipes/examples`, which finds its list through its environment variable, with nothing but URLs, models' names
and counts replaced; embeddings whose scores decide are computed in fp32, so that every machine decides the same.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from curation_assets.cli import main
from curation_assets.schemas import SCHEMAS
from curation_assets_tests.caption_server import CaptionServer
from curation_assets_tests.fault_server import FaultServer
from curation_assets_tests.resources.detectors.tiny_models import save_owlv2
from curation_assets_tests.shared_data import shared
from curation_assets_tests.tiny_clip import write_tiny_clip
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

EXAMPLES = Path(__file__).resolve().parents[1] / "recipes" / "examples"


class Example:
    """One recipe in an installation of its own."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.web = root, root / "web"
        self.web.mkdir()
        self.store = TableStore(Storage(str(root / "data")), SCHEMAS)
        (root / "home").mkdir()
        (root / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        monkeypatch.setenv("DAGSTER_HOME", str(root / "home"))
        monkeypatch.setenv("CURATION_STORAGE", str(root / "data"))
        monkeypatch.setenv("CURATION_WORKERS", "1")
        self._monkeypatch = monkeypatch

    def serve(self, name: str, as_: str, title: str, subtitles: str | None = None) -> str:
        """Puts a shared video on a page with a title, and with subtitles in the file of that name; returns the page's file name."""
        (self.web / f"{as_}{Path(name).suffix}").symlink_to(shared(name))
        track = ""
        if subtitles is not None:
            (self.web / f"{as_}.vtt").symlink_to(shared(subtitles))
            track = f'<track kind="subtitles" srclang="en" src="{as_}.vtt">'
        body = f'<video src="{as_}{Path(name).suffix}">{track}</video>'
        page = f"<!doctype html><html><head><title>{title}</title></head><body>{body}</body></html>"
        (self.web / f"{as_}.html").write_text(page)
        return f"{as_}.html"

    def source(self, variable: str, folder: Path) -> None:
        """Sets the variable of an example's source, as its user would."""
        self._monkeypatch.setenv(variable, str(folder))

    def run(self, name: str, changes: Mapping[str, Any]) -> int:
        """Runs the example with the keys in `changes`, dots between their parts, replaced. Returns the exit code."""
        data = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
        for key, value in changes.items():
            *parents, last = key.split(".")
            section = data
            for part in parents:
                section = section[part]
            assert last in section or last in ("url_template", "precision"), key
            section[last] = value
        path = self.root / f"{name}.yaml"
        path.write_text(yaml.safe_dump(data, sort_keys=False))
        self._monkeypatch.setenv("CURATION_RECIPES", str(path))
        return main(["run", str(path)])

    def rows(self, asset: str, partition: str | None = None) -> list[dict[str, Any]]:
        """Rows of one partition, or of all."""
        keys = [partition] if partition is not None else self.store.partitions(asset)
        return [row for key in keys for row in self.store.read(asset, key).to_pylist()]

    def version(self, asset: str, subset: str) -> Path:
        header = self.store.header(asset, subset)
        assert header is not None
        return Path(header.stats["folder"])

    def explained(self, identifier: str, capsys: pytest.CaptureFixture[str]) -> str:
        capsys.readouterr()
        assert main(["explain", identifier]) == 0
        return capsys.readouterr().out


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Example:
    return Example(tmp_path, monkeypatch)


def samples_of(folder: Path) -> dict[str, dict[str, bytes]]:
    """Key -> extension -> bytes, by plain tarfile."""
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted(folder.rglob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, extension = member.name.split(".")
                found.setdefault(key, {})[extension] = tar.extractfile(member).read()  # type: ignore[union-attr]
    return found


def check_clips(example: Example, subset: str) -> dict[str, dict[str, bytes]]:
    """Every selected clip is a sample with exactly its frames and the sound of its span; the description is valid. Returns the samples."""
    import mlcroissant

    samples = samples_of(example.version("clip_dataset", subset))
    selected = {r["clip_id"]: r for r in example.rows("curated_clips", subset) if r["selected"]}
    rows = {r["sample_key"]: r for r in example.rows("clip_dataset", subset)}
    assert samples.keys() == rows.keys()
    assert {r["clip_id"] for r in rows.values()} == selected.keys()
    for key, sample in samples.items():
        clip = selected[rows[key]["clip_id"]]
        frames, sound = decoded(sample["mp4"])
        assert frames == clip["end_frame"] - clip["start_frame"], key
        assert sound == pytest.approx((clip["end_ms"] - clip["start_ms"]) / 1000, abs=0.05), key
        assert json.loads(sample["json"])["clip_id"] == clip["clip_id"]
    described = mlcroissant.Dataset(jsonld=str(example.version("clip_dataset", subset) / "croissant.json"))
    assert not described.metadata.ctx.issues.errors
    return samples


def decoded(mp4: bytes) -> tuple[int, float | None]:
    """Frames, and seconds of sound."""
    with av.open(io.BytesIO(mp4)) as video:
        frames = sum(1 for _ in video.decode(video=0))
    with av.open(io.BytesIO(mp4)) as video:
        if not video.streams.audio:
            return frames, None
        samples = sum(f.samples for f in video.decode(audio=0))
        return frames, samples / video.streams.audio[0].rate


def hdvila_list(example: Example, server: FaultServer, pages: Mapping[str, str], end: str) -> None:
    """Writes a list in HD-VILA's layout, of one span a video, to where the recipe looks for it."""
    rows = [
        {
            "video_id": v,
            "url": server.url(f"folder/{page}"),
            "clip": [{"clip_id": f"{v}.0.mp4", "span": ["00:00:00.000", end]}],
        }
        for v, page in pages.items()
    ]
    (example.root / "part.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    example.source("HDVILA", example.root)


def test_hdvila(example: Example, capsys: pytest.CaptureFixture[str]) -> None:
    pages = {
        "talk": example.serve("videos/manifesto.mp4", "talk", "A speech", "videos/manifesto.vtt"),
        "-episode": example.serve("assembled/ep_s01.mp4", "-episode", "An episode"),
        "gone": "gone.html",
    }
    with FaultServer({}, example.web) as server:
        hdvila_list(example, server, pages, "00:00:04.000")
        assert example.run("hdvila", {}) == 0
    samples = check_clips(example, "hdvila-clips")
    cuts = cuts_of_episode()
    edges = {r["start_frame"] for r in example.rows("clips") if r["video_id"] == "-episode"} - {0}
    assert all(min(abs(e - c) for c in cuts) <= 1 for e in edges)
    captions = {r["clip_id"]: r["caption"] for r in example.rows("captions")}
    assert captions["talk_44040_88080"].startswith("of communism")
    assert {k: s["txt"].decode() for k, s in samples.items()} == {k: captions[k] or "" for k in samples}
    card = (example.version("clip_dataset", "hdvila-clips") / "README.md").read_text()
    assert "detector: content" in card
    assert f"{len(samples)} clips" in card
    assert "HTTP 404" in example.explained("gone", capsys)
    told = example.explained(sorted(samples)[0], capsys)
    row = next(r for r in example.rows("clip_dataset") if r["sample_key"] == sorted(samples)[0])
    assert f"{row['size']} bytes from {row['offset']}" in told
    assert "selected, train" in told


def cuts_of_episode() -> list[int]:
    """First frames of its shots but the first."""
    return list(json.loads(shared("assembled/ep_s01.cuts.json").read_text())["cuts"])


def test_hdvila_videos(example: Example) -> None:
    pages = {
        "talk": example.serve("videos/manifesto.mp4", "talk", "A speech", "videos/manifesto.vtt"),
        "-episode": example.serve("assembled/ep_s01.mp4", "-episode", "An episode"),
    }
    with FaultServer({}, example.web) as server:
        hdvila_list(example, server, pages, "00:00:04.000")
        assert example.run("hdvila_videos", {}) == 0
    samples = samples_of(example.version("clip_dataset", "hdvila_videos-videos"))
    assert {k.rsplit("_", 2)[0] for k in samples} == {"talk", "-episode"}
    cuts = cuts_of_episode()
    for key, sample in samples.items():
        said = json.loads(sample["json"])
        frames, sound = decoded(sample["mp4"])
        assert sound is None
        assert frames == said["cuts"]["cuts_original_fps"][-1][1] == said["export"]["frames"]
        assert ("m4a" in sample) == (said["source"].get("audio_codec") is not None)
        if key.startswith("-episode"):
            edges = [start for start, _ in said["cuts"]["cuts_original_fps"][1:]]
            assert len(edges) >= len(cuts) / 2
            assert all(min(abs(e - c) for c in cuts) <= 1 for e in edges)
        else:
            assert said["yt_meta_dict"]["subtitles"]["en"]


def test_acav100m(example: Example) -> None:
    for name in ("vid1", "vid2"):
        example.serve(f"videos/{name}.mp4", name, f"The title of {name}")
    (example.root / "acav.csv").write_text("vid1,0.0,2.0\nvid2,0.0,2.5\nvid2,2.5,5.0\n")
    with FaultServer({}, example.web) as server:
        address = server.url("folder/") + "{id}.html"
        changes = {"source.url_template": address}
        example.source("ACAV", example.root)
        assert example.run("acav100m", changes) == 0
        samples = check_clips(example, "acav100m-all")
        before = example.version("clip_dataset", "acav100m-all")
        assert example.run("acav100m", changes) == 0
    assert example.version("clip_dataset", "acav100m-all") == before
    assert len(samples) == 3
    assert all(s["txt"].decode().startswith(f"The title of {k[:4]}") for k, s in samples.items())


def test_video_embeddings(example: Example) -> None:
    model = write_tiny_clip(example.root / "clip")
    videos = sorted(shared("panda").glob("*.mp4"))[:12]
    with FaultServer({v.name: v.read_bytes() for v in videos}) as server:
        with open(example.root / "webvid.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("videoid", "contentUrl", "name"))
            writer.writerows((v.stem, server.url(f"ok/{v.name}"), f"caption of {v.stem}") for v in videos)
        example.source("WEBVID", example.root)
        changes = {
            "embeddings.model": f"local-dir:{model}",
            "subsets.ds.export.embeddings.per_tar": 5,
        }
        assert example.run("video_embeddings", changes) == 0
    folder = example.version("embedding_dataset", "video_embeddings-ds")
    samples = samples_of(folder)
    rows = {r["sample_key"]: r for r in example.rows("embedding_dataset")}
    assert samples.keys() == rows.keys()
    assert {r["video_id"] for r in rows.values()} == {v.stem for v in videos}
    for key, sample in samples.items():
        array, said = np.load(io.BytesIO(sample["npy"])), json.loads(sample["json"])
        assert array.dtype == np.float16
        assert array.shape == (len(said["frame_ms"]), 512)
        assert said["fps"] == 1.0 or len(said["frame_ms"]) < 2, "the constant rate alone"
        assert said["source"]["url"].endswith(f"{said['video_id']}.mp4")
        assert sample["txt"].decode() == f"caption of {said['video_id']}"
        assert said["split"] == rows[key]["split"]
    header, *lines = (folder / "splits.csv").read_text().splitlines()
    assert header == "tar_file,split"
    assert sorted(line.split(",")[0] for line in lines) == sorted(p.name for p in folder.rglob("*.tar"))
    assert len(lines) >= 3


def small_clip(folder: Path, seed: int = 0) -> Path:
    """A small CLIP whose two towers lean the same way, as trained ones do, so that pictures and texts match a little."""
    import torch

    model = write_tiny_clip(folder, 768, seed)
    weights = model / "open_clip_pytorch_model.bin"
    state = torch.load(weights, weights_only=True)
    state["text_projection"][0] = state["visual.proj"][0]
    state["visual.ln_post.bias"][0] = state["ln_final.bias"][0] = 8.0
    torch.save(state, weights)
    return model


def small_head(path: Path, bias: float) -> Path:
    """An aesthetic head with random weights for embeddings of ViT-L-14's length."""
    import torch

    torch.manual_seed(1)
    torch.save({"weight": torch.randn(1, 768) * 5, "bias": torch.tensor([bias])}, path)
    return path


def test_t2v_hq(example: Example) -> None:
    model, head = small_clip(example.root / "clip"), small_head(example.root / "head.pth", 6.75)
    (example.root / "videos").mkdir()
    for name in (
        "assembled/ep_s01.mp4",
        "videos/counter.mp4",
        "videos/vid2.mp4",
        "dedup/pattern-hd-no-bar.mp4",
        "dedup/pattern-sd-grey-bar.mp4",
    ):
        shutil.copy(shared(name), example.root / "videos")
    example.source("T2V_VIDEOS", example.root / "videos")
    with CaptionServer() as server:
        changes = {
            "embeddings.model": f"local-dir:{model}",
            "embeddings.precision": "fp32",
            "aesthetic.head": str(head),
            "captions.url": server.url,
            "subsets.hq.select.count": 3,
        }
        assert example.run("t2v_hq", changes) == 0
        asked = len(server.seen)
    rows = {r["clip_id"]: r for r in example.rows("curated_clips")}
    captioned = {r["clip_id"] for r in example.rows("captions") if r["status"] == "ok"}
    assert captioned == {k for k, r in rows.items() if r["keep"] and r["aesthetic"] >= 4.5}
    assert asked == len(captioned)
    assert rows["pattern-sd-grey-bar_0_6867"]["drop_reason"] == "keep"
    assert rows["counter_0_2000"]["drop_reason"] == "text_area <= 0.02"
    assert rows["vid2_0_5354"]["drop_reason"] == "aesthetic >= 4.5"
    chosen = {k: r for k, r in rows.items() if r["selected"]}
    assert len(chosen) == 3
    for row in chosen.values():
        assert row["keep"]
        assert row["aesthetic"] >= 4.5
        assert row["text_area"] <= 0.02
        assert 0.002 <= row["motion"] <= 0.2
        assert row["match"] >= 20
    folder = example.version("clip_dataset", "t2v_hq-hq")
    listed = pq.read_table(folder / "metadata.parquet").to_pylist()
    assert {r["clip_id"] for r in listed} == chosen.keys()
    for row in listed:
        clip = chosen[row["clip_id"]]
        assert row["text"]
        assert decoded((folder / row["path"]).read_bytes())[0] == clip["end_frame"] - clip["start_frame"]


def small_detector(folder: Path) -> Path:
    """A small OWLv2 that is sure of large objects everywhere."""
    from safetensors.torch import load_file, save_file

    model = save_owlv2(folder)
    state = load_file(model / "model.safetensors")
    state["class_head.logit_shift.bias"] += 1.0
    state["box_head.dense2.bias"][2:] += 1.5
    save_file(state, model / "model.safetensors", {"format": "pt"})
    return model


def test_trackverse(example: Example) -> None:
    model, head = (
        small_clip(
            example.root / "clip",
        ),
        small_head(example.root / "head.pth", 9.0),
    )
    pages = {n: example.serve(f"videos/{n}.mp4", n, n) for n in ("birthday", "demo")}
    with FaultServer({}, example.web) as server:
        hdvila_list(example, server, pages, "00:00:04.000")
        changes = {
            "embeddings.model": f"local-dir:{model}",
            "embeddings.precision": "fp32",
            "aesthetic.head": str(head),
            "tracks.model": str(small_detector(example.root / "owl")),
            "tracks.match": 0.3,  # the boxes of a detector with random weights jump too far for the example's own
            "subsets.random_tracks.select.count": 2,
            "subsets.video_balanced_tracks.select.count": 2,
            "subsets.class_balanced_tracks.select.per_class": 1,
            "subsets.min_redundancy_tracks.select.per_class": 1,
        }
        assert example.run("trackverse", changes) == 0
    tracks = {r["track_id"]: r for r in example.rows("tracks")}
    for subset in ("random_tracks", "video_balanced_tracks", "class_balanced_tracks", "min_redundancy_tracks"):
        rows = example.rows("curated_tracks", f"trackverse-{subset}")
        assert {r["track_id"] for r in rows} == tracks.keys()
        chosen = {r["track_id"] for r in rows if r["selected"]}
        assert chosen
        for t in chosen:
            assert tracks[t]["area"] >= 0.1
            assert tracks[t]["end_ms"] - tracks[t]["start_ms"] >= 3000
        if subset == "video_balanced_tracks":
            assert len({tracks[t]["video_id"] for t in chosen}) == 2
        if subset.startswith(("class", "min")):
            assert len({tracks[t]["label"] for t in chosen}) == len(chosen)
        (lines,) = (example.root / "data" / "curated_tracks" / f"trackverse-{subset}").rglob("tracks.jsonl.gz")
        said = [json.loads(line) for line in gzip.decompress(lines.read_bytes()).splitlines()]
        assert {r["track_id"] for r in said} == chosen
        clips = example.rows("clip_dataset", f"trackverse-{subset}")
        assert {r["track_id"] for r in clips} == chosen
        assert all(r["status"] == "ok" and 0.6 <= r["width"] / r["height"] <= 1.6 for r in clips)
