"""A small installation that goes through the whole graph without a network or published weights, and what it holds when it is done.

What belongs here: what several tests of faults compare. What does not: the faults.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from dagster import DagsterInstance

from curation_assets.demo.web_server import served
from curation_assets.orchestration import dead_runs
from curation_assets.schemas import SCHEMAS
from curation_assets_tests.faults.shipped import INSTANCE_FILE, Shipped
from curation_assets_tests.resources.detectors.test_onnx import network
from curation_assets_tests.sample_video import sample_video
from curation_assets_tests.tiny_clip import write_tiny_clip
from curation_resources.media import MediaRef
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

DIMENSION = 32
VIDEOS = 4
SMALL = """
dataset: toy
source: {{format: table, path: "{given}/list.csv", columns: {{id: id, url: url, caption: caption}}}}
shard: {{videos: 2}}
download: {{timeout_s: 60, info: false}}
clips: {{from: detect, detector: content, threshold: 27, min_s: 0.4}}
subsets:
  hq: {{where: [keep, "motion >= 0"], export: {{clips: {{format: webdataset}}}}}}
"""
MODELS = """
text: {{}}
audio: {{}}
embeddings: {{model: "local-dir:{given}/model", batch: 8}}
aesthetic: {{head: "{given}/head.pt"}}
categories: {{kind: {{noise: a picture of noise, cat: a picture of a cat}}}}
captions: {{backend: source, where: []}}
tracks: {{detector: onnx, onnx: {{layout: yolov5, size: 64}}, model: "{given}/boxes.onnx", vocabulary: "{given}/names.txt", fps: 5}}
"""
MORE = """  fine: {{where: [keep, "aesthetic >= -1000"], export: {{clips: {{format: folder}}, embeddings: {{}}}}}}
  objects: {{of: tracks, export: {{clips: {{format: folder, tracks: true}}}}}}
"""
PUBLISHED = ("clip_dataset/", "embedding_dataset/", "curated_tracks/")
TOKEN = re.compile(r"[0-9a-f]{8,}(?=-\d{5})")


@contextmanager
def source(folder: Path, video: Callable[[int], bytes] = lambda n: sample_video(seconds=2, seed=n)) -> Iterator[Path]:
    """What installations work on, so that all of them say the same of it: a list of videos behind a server on loopback, and tiny models.

    Args:
        folder: is made.
        video: number of a video -> its bytes.

    Yields:
        the folder of the list and the models.
    """
    with served(folder / "web") as port:
        (folder / "web").mkdir(parents=True)
        for n in range(VIDEOS):
            (folder / "web" / f"v{n}.mp4").write_bytes(video(n))
        lines = ["id,url,caption", *(f"v{n},http://127.0.0.1:{port}/v{n}.mp4,a thing {n}" for n in range(VIDEOS))]
        (folder / "list.csv").write_text("\n".join(lines) + "\n")
        yield folder


def write_models(folder: Path) -> None:
    import torch

    if not (folder / "model").exists():
        write_tiny_clip(folder / "model", DIMENSION)
        torch.manual_seed(0)
        torch.save({"weight": torch.randn(1, DIMENSION), "bias": torch.zeros(1)}, folder / "head.pt")
        # One box of class a, in whatever is shown: centre, size, objectness, and a score for each name.
        always = np.asarray([[[24, 32, 16, 16, 1.0, 0.9, 0.1]]], np.float32)
        network(folder / "boxes.onnx", always, 64)
        (folder / "names.txt").write_text("a\nb\n")


def install(
    root: Path,
    given: Path,
    models: bool = False,
    instance: Path = INSTANCE_FILE,
    environment: Mapping[str, str] | None = None,
    storage: str | None = None,
) -> Shipped:
    """An installation whose recipe is `toy`.

    Args:
        root: a folder of its own.
        given: the folder of `source`.
        models: whether also text, sound, embeddings, scores, captions, tracks and two more subsets are asked for.
        instance: the instance file.
        environment: of its commands.
        storage: its storage root; None is a folder below `root`.
    """
    scratch = root / "tmp"
    scratch.mkdir(parents=True)
    shipped = Shipped(
        root, storage=storage, instance=instance, environment={"TMPDIR": str(scratch), **(environment or {})}
    )
    recipe = SMALL
    if models:
        write_models(given)
        before, _, after = SMALL.partition("subsets:")
        recipe = f"{before}{MODELS.strip()}\nsubsets:{after}{MORE}"
    shipped.declare("toy", recipe.format(given=given))
    return shipped


RUN = ("run", "recipes/toy.yaml")


def store_of(shipped: Shipped) -> TableStore:
    return TableStore(Storage(shipped.data), SCHEMAS)


@dataclass(frozen=True)
class Holdings:
    """What a storage root holds, told apart from another only by what matters.

    Attributes:
        tables: (asset, partition) -> content hash and number of rows.
        media: asset -> SHA-256 of the bytes of every row, in the table's order.
        exports: path of a published file -> SHA-256.
        names: every file of the root, with tokens that are new with every write left out.
    """

    tables: Mapping[tuple[str, str | None], tuple[str, int]]
    media: Mapping[str, tuple[str, ...]]
    exports: Mapping[str, str]
    names: tuple[str, ...]


def holdings(shipped: Shipped, store: TableStore | None = None) -> Holdings:
    """Reads everything that a root holds, through `store` where the installation's own way to it is not to be used."""
    store = store or store_of(shipped)
    tables, media, exports = {}, {}, {}
    for asset in SCHEMAS:
        for partition in [*sorted(store.partitions(asset)), None]:
            header = store.header(asset, partition)
            if header is not None:
                tables[asset, partition] = (header.content_hash, header.rows)
    for asset in ("raw_shards", "frames"):
        for partition in sorted(store.partitions(asset)):
            table = store.read(asset, partition, columns=["tar", "offset", "size"])
            parts = [MediaRef(*row.values()) for row in table.to_pylist() if row["tar"]]
            media[f"{asset} {partition}"] = tuple(
                hashlib.sha256(store.storage.read_media(p)).hexdigest() for p in parts
            )
    names = sorted(store.storage.find(""))
    for name in names:
        if name.startswith(PUBLISHED) and name.count("/") > 1:
            exports[name] = hashlib.sha256(store.storage.read(name)).hexdigest()
    return Holdings(tables, media, exports, tuple(sorted(TOKEN.sub("T", n) for n in names)))


def left_over(shipped: Shipped) -> list[str]:
    """What a finished command should not leave: unfinished runs, held slots, temporary files, processes."""
    with DagsterInstance.from_config(str(shipped.home)) as instance:
        found = [f"{h}, {h.run.status.value if h.run else 'deleted'}, {h.slots}" for h in dead_runs.holders(instance)]
    found += [f"temporary {f.name}" for f in (shipped.root / "tmp").iterdir()]
    if "://" not in shipped.data:
        found += [f"temporary {f}" for f in Path(shipped.data).rglob("*") if ".tmp" in str(f) and f.is_file()]
    return found + [f"process {p}" for p in remaining(shipped)]


def remaining(shipped: Shipped) -> list[int]:
    """Processes that do not end by themselves: the system clears killed ones away a moment later, and Python's helpers end after their parent."""
    end = time.monotonic() + 30
    while (found := processes_of(shipped)) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def processes_of(shipped: Shipped) -> list[int]:
    """Processes whose environment names the installation."""
    mark = f"DAGSTER_HOME={shipped.home}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if mark in environment.split(b"\0") and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


@cache
def undisturbed(root: Path, given: Path, models: bool) -> Holdings:
    """What the installation holds after one run that nothing disturbs."""
    shipped = install(root, given, models)
    done = shipped.curation(*RUN, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return holdings(shipped)
