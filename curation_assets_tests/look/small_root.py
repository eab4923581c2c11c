"""A storage root with real pictures and videos and no run: two shards of two videos, each of four clips, and a subset that was judged by what makes subsets."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from threading import Event, Thread
from typing import Any

import numpy as np
import pyarrow as pa
import uvicorn
from PIL import Image

from curation_assets.look.app import look_app
from curation_assets.look.candidates import CandidateColumns
from curation_assets.look.collection import Collection
from curation_assets.look.labelling import LabelFiles
from curation_assets.look.likeness import Likeness
from curation_assets.look.views import CollectionView
from curation_assets.publish.curating.curating import curate
from curation_assets.publish.curating.subset_inputs import curated_provenance, subset_shards
from curation_assets.publish.subsets import Subset
from curation_assets.recipes import Recipe, parse_recipe, subsets
from curation_assets.schemas import schema
from curation_assets_tests.sample_video import sample_video
from curation_resources.provenance import Provenance
from curation_resources.tables import TableStore

RECIPE = """dataset: toy
source: {format: folder, path: films}
shard: {videos: 2}
subsets:
  hq: {where: [keep, "motion >= 0.3", "sharpness <= p90", "duration_s between 0.4 and 2"]}
  new: {where: ["motion >= 0.5"]}
"""
VIDEOS = ("v0", "v1", "v2", "v3")
CLIPS, CLIP_MS, SECONDS = 4, 500, 2.0
MOTION = [0.02, 0.31, 0.29, 0.5, 0.6, 0.1, 0.9, None, 0.4, 0.35, 0.7, 0.3, 0.8, 0.25, 0.55, 0.45]
SHARDS = ("toy-00000", "toy-00001")
FILM = sample_video(SECONDS, container="webm")
"""VP9 and Opus: what every Chromium plays."""
BEFORE = 700
"""Bytes before a video in its tar."""


def opened(store: TableStore, at_hand: Mapping[str, Recipe], key: str) -> CollectionView:
    """A subset by its key, or all clips of a dataset, as the page has them."""
    recipe, subset = subsets(at_hand)[key] if "-" in key else (at_hand[key], Subset())
    candidates = CandidateColumns(store, at_hand, Collection(key, recipe, subset, "-" in key), LabelFiles(at_hand))
    return CollectionView(candidates, Likeness(store, at_hand, candidates))


def recipes(labels: str = "") -> dict[str, Recipe]:
    return {"toy": parse_recipe(f"{RECIPE}labels: {{file: '{labels}'}}\n", "toy.yaml")}


def picture(number: int) -> bytes:
    """A JPEG of one colour, another for each number."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 36), ((37 * number) % 256, (90 + 53 * number) % 256, (180 + 11 * number) % 256)).save(
        buffer, "JPEG"
    )
    return buffer.getvalue()


def clips_of(shard: int) -> list[tuple[int, str, str, int]]:
    """(number, video, clip, start) of the clips of a shard."""
    found = []
    for video in VIDEOS[2 * shard : 2 * shard + 2]:
        for i in range(CLIPS):
            start = i * CLIP_MS
            found.append((VIDEOS.index(video) * CLIPS + i, video, f"{video}_{start}_{start + CLIP_MS}", start))
    return found


def commit(store: TableStore, asset: str, key: str | None, rows: Sequence[Mapping[str, Any]]) -> None:
    contract = schema(asset)
    fill = {"dataset": "toy", "status": "ok", "estimator": "e", "detector": "d", "line": 1, "method": "m"}
    full = [{n: fill.get(n) for n in contract.names} | dict(row) for row in rows]
    table = pa.Table.from_pylist(full, schema=contract.arrow).sort_by([(k, "ascending") for k in contract.key])
    store.commit(asset, key, table, Provenance("1"))


def fill(store: TableStore) -> None:
    """Writes the tables and media; the subset `hq` is judged, `new` is not."""
    store.storage.write("secret.txt", b"in the root, and in no table")
    index = [
        {"video_id": v, "shard": SHARDS[i // 2], "source": f"films/{v}.webm", "status": "present", "record": "{}"}
        for i, v in enumerate(VIDEOS)
    ]
    commit(store, "dataset_index", None, index)
    for number, shard in enumerate(SHARDS):
        own = clips_of(number)
        videos = VIDEOS[2 * number : 2 * number + 2]
        store.storage.write(f"raw_shards/{shard}/t-00000.tar", bytes(BEFORE) + FILM + FILM)
        rows: list[dict[str, Any]] = [
            {
                "video_id": v,
                "tar": f"raw_shards/{shard}/t-00000.tar",
                "offset": BEFORE + i * len(FILM),
                "size": len(FILM),
            }
            | {"container": "matroska,webm", "video_codec": "vp9", "duration_ms": 2000, "sha256": "0" * 64}
            for i, v in enumerate(videos)
        ]
        if number:
            rows.append({"video_id": "lost", "status": "failed", "error_class": "gone", "error": "the host says 404"})
        commit(store, "raw_shards", shard, rows)
        ids = [{"video_id": v, "clip_id": c} for _, v, c, _ in own]
        spans = [{"start_ms": s, "end_ms": s + CLIP_MS, "width": 160, "height": 96, "fps": 10.0} for *_, s in own]
        for span in spans:
            span |= {"start_frame": span["start_ms"] // 100, "end_frame": span["end_ms"] // 100}
        commit(store, "clips", shard, [a | b for a, b in zip(ids, spans, strict=True)])
        pictures = [picture(n) for n, *_ in own]
        store.storage.write(f"frames/{shard}/t-00000.tar", b"".join(pictures))
        ends = np.cumsum([0, *map(len, pictures)]).tolist()
        frames = [
            {
                "time_ms": s + 200,
                "frame": 1,
                "position": 0.5,
                "tar": f"frames/{shard}/t-00000.tar",
                "offset": at,
                "size": len(p),
            }
            | {"width": 64, "height": 36}
            for (*_, s), at, p in zip(own, ends, pictures, strict=False)
        ]
        commit(store, "frames", shard, [a | b for a, b in zip(ids, frames, strict=True)])
        commit(store, "motion_scores", shard, [i | {"motion": MOTION[n]} for i, (n, *_) in zip(ids, own, strict=True)])
        commit(
            store,
            "quality_scores",
            shard,
            [i | {"sharpness": float(n % 7), "blank": 0.0} for i, (n, *_) in zip(ids, own, strict=True)],
        )
        copy = {
            "keep": False,
            "duplicate_of": own[0][2],
            "relation": "copy",
            "similarity": 0.97,
            "cluster_id": f"k{number}",
        }
        kept = {"keep": True, "cluster_id": None}
        commit(
            store, "dedup", shard, [i | (copy if n == own[3][0] else kept) for i, (n, *_) in zip(ids, own, strict=True)]
        )
    clusters = []
    for number, shard in enumerate(SHARDS):
        own = clips_of(number)
        for clip, keep in ((own[0], True), (own[3], False)):
            one = {
                "video_id": clip[1],
                "clip_id": clip[2],
                "shard": shard,
                "cluster_id": f"k{number}",
                "survivor": own[0][2],
                "survivor_dataset": "toy",
            }
            alike = {"duplicate_of": own[0][2], "relation": "copy", "similarity": 0.97}
            clusters.append(one | {"keep": keep} | ({} if keep else alike))
    commit(store, "duplicate_clusters", None, clusters)
    judge(store, "toy-hq")


def judge(store: TableStore, key: str) -> None:
    """Judges a subset and commits its table, as a run does."""
    at_hand = recipes()
    recipe, subset = subsets(at_hand)[key]
    shards = subset_shards(store, subset, recipe.dataset)
    found = curate(key, subset, at_hand, shards, store.read, Path(mkdtemp()))
    now = curated_provenance(store, at_hand, key)
    stats = {"funnel": [[s.rule, s.rows, s.hours] for s in found.funnel], "missing_shards": found.missing}
    assert found.parts is not None
    store.commit_written("curated_clips", key, found.path, now, found.parts, stats)


@contextmanager
def served(store: TableStore, token: str | None = None, labels: str = "") -> Iterator[str]:
    """The page over a store on a free loopback port, with a file of labels if one is given; yields its address."""
    started = Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            started.set()

    server = Server(
        uvicorn.Config(look_app(store, recipes(labels), token, "somebody"), port=0, log_level="warning", lifespan="off")
    )
    thread = Thread(target=server.run)
    thread.start()
    try:
        started.wait()
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
