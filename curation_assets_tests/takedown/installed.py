"""A published dataset of tiny videos from a web server, and a search of all that is stored for what is of one of them."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.demo.web_server import served
from curation_assets_tests.installation import Installation
from curation_assets_tests.sample_video import sample_video
from curation_assets_tests.tiny_clip import write_tiny_clip
from curation_resources.media import MediaRef

RECIPE = """
dataset: toy
source: {{format: table, path: {root}/list.csv, columns: {{id: id, url: url, title: title, caption: caption, licence: licence, clips: spans}}}}
shard: {{videos: 3}}
download: {{timeout_s: 60, info: false}}
clips: {{from: given, min_s: 0.4}}
embeddings: {{model: "local-dir:{root}/model", batch: 8}}
concepts: {{clusters: 2, sample: 4}}
semantic_dedup: {{threshold: 0.99999}}
captions: {{backend: source, where: []}}
subsets:
  tars: {{where: [keep, "motion >= 0"], export: {{clips: {{}}, embeddings: {{frames: all}}}}}}
  list: {{where: [keep], export: {{clips: {{format: folder}}, embeddings: {{frames: all, layout: folders}}}}}}
  parq: {{where: [keep], export: {{clips: {{format: parquet, blur_faces: true}}}}}}
"""
VIDEOS = ("alpha", "-beta!x", "gamma", "delta", "zeta")
COPY = "zeta"
"""Its file is that of the first video."""
GONE = "-beta!x"
"""The id of the video that is taken down: it begins with a dash and is not fit for a tar's keys as it is."""


def words(video: str) -> list[str]:
    """Title, caption and licence of a video: nowhere else in the world."""
    return [f"Titel von {video} Quitte{len(video)}", f"someone feeds {video} to a bird{len(video)}", f"licence-{video}"]


@contextmanager
def published(root: Path) -> Iterator[Installation]:
    """Two shards, fetched, judged and exported; everything up to date."""
    with served(root / "web") as port:
        (root / "web").mkdir()
        lines = ["id,url,title,caption,licence,spans"]
        for i, video in enumerate(VIDEOS):
            (root / "web" / f"file{i}.mp4").write_bytes(sample_video(seed=0 if video == COPY else i))
            lines.append(f'{video},http://127.0.0.1:{port}/file{i}.mp4,{",".join(words(video))},"[[0.1, 0.9]]"')
        (root / "list.csv").write_text("\n".join(lines) + "\n")
        write_tiny_clip(root / "model", 32)
        installation = Installation(root)
        installation.declare(RECIPE.format(root=root))
        assert installation.run("index")
        installation.settle()
        assert installation.failed == []
        yield installation


NPY = b"\x93NUMPY"


def traces(installation: Installation, video: str) -> dict[str, bytes]:
    """What is of a video and of nothing else: its id, words and addresses, pieces of its bytes, of its pictures and of its exported clips."""
    store = installation.store
    found = {f"word {w}": w.encode() for w in words(video)}
    found["id"] = video.encode()
    shard = "toy-00000"

    def pieces(name: str, data: bytes) -> None:
        data = data[128:] if data.startswith(NPY) else data  # the head of an array is that of others too
        for part in (3, 5, 8):
            at = len(data) * part // 10
            found[f"{name} at {at}"] = data[at : at + 48]

    def of_tables(asset: str, partition: str) -> Iterator[tuple[str, bytes]]:
        for number, row in enumerate(store.read(asset, partition).to_pylist()):
            if row["video_id"] == video and row["tar"]:
                yield f"{asset} {number}", store.storage.read_media(MediaRef(row["tar"], row["offset"], row["size"]))

    for row in store.read("raw_shards", shard).to_pylist():
        if row["video_id"] == video:
            found["address"] = row["url"].split("/")[-1].encode()
            found["sha256"] = row["sha256"].encode()
    for asset, partition in (
        ("raw_shards", shard),
        ("frames", shard),
        *(("clip_dataset", f"toy-{n}") for n in ("tars", "list", "parq")),
        *(("embedding_dataset", f"toy-{n}") for n in ("tars", "list")),
    ):
        for name, data in of_tables(asset, partition):
            pieces(name, data)
    return found


def contents(path: Path) -> Iterator[bytes]:
    """The bytes of a file, and what they say where they are compressed."""
    data = path.read_bytes()
    yield data
    if path.suffix == ".parquet":
        with pq.ParquetFile(io.BytesIO(data)) as file:
            yield repr(file.metadata.metadata).encode()
            yield repr(file.read().to_pydict()).encode()
    elif path.suffix == ".arrow":
        yield repr(pa.ipc.open_file(io.BytesIO(data)).read_all().to_pydict()).encode()
    elif path.suffix == ".gz":
        yield gzip.decompress(data)


def search(folders: Iterable[Path], wanted: dict[str, bytes]) -> list[str]:
    """Where something of `wanted` is: every file below the folders, byte by byte, and tables by their rows."""
    found = []
    for folder in folders:
        for name, _, files in os.walk(folder):
            for file in files:
                for data in contents(Path(name) / file):
                    found += [f"{what} in {Path(name) / file}" for what, piece in wanted.items() if piece in data]
    return found
