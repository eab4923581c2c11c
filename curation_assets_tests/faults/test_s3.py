"""Whole runs on S3, uploads in parts among their requests, that end like one on a folder that nothing disturbs: one of whose requests 12 % fail, and
ones that are killed.

`CURATION_FAULT_SEED` says which requests, and which moments; `CURATION_FAULT_S3_KILLS` how many kills (default 4).
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from botocore.exceptions import ConnectionClosedError
from fsspec.asyn import sync

from curation_assets.schemas import SCHEMAS
from curation_assets_tests.conftest import KEYS, S3Server
from curation_assets_tests.faults.killing import kill_through
from curation_assets_tests.faults.s3_proxy import UPLOADS, Fault, S3Proxy
from curation_assets_tests.faults.shipped import Shipped
from curation_assets_tests.faults.whole_graph import (
    RUN,
    Holdings,
    holdings,
    install,
    left_over,
    source,
    undisturbed,
)
from curation_assets_tests.resources.test_tables import frames
from curation_resources.media import MediaRef
from curation_resources.presence import at_work
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.sweep import unfinished_files
from curation_resources.tables import TableStore

SEED = int(os.environ.get("CURATION_FAULT_SEED", "0"))
KILLS = int(os.environ.get("CURATION_FAULT_S3_KILLS", "4"))
SHARE = 0.12
PART_BYTES = 5 << 20
"""The smallest that S3 takes."""
FPS = 10


def grainy_video(seed: int) -> bytes:
    """Four seconds that do not compress, cut after two, so that stored videos, frames and exported clips are all larger than a part; a free
    box at the end makes one that is stored as it came larger still."""
    chance = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        with av.open(str(path), "w") as output:
            stream = output.add_stream("libx264", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
            stream.options = {"preset": "ultrafast", "crf": "16", "g": str(FPS)}
            for number in range(4 * FPS):
                base = np.full((360, 640, 3), 60 if number < 2 * FPS else 190, dtype=np.int16)
                grain = chance.integers(-50, 50, base.shape, dtype=np.int16)
                frame = av.VideoFrame.from_ndarray((base + grain).astype(np.uint8), format="rgb24")
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        free = 3 << 20
        return path.read_bytes() + struct.pack(">I4s", 8 + free, b"free") + chance.bytes(free)


def without_runs(found: Holdings) -> Holdings:
    """Without what says who is at work, which differs between folders and S3."""
    return replace(found, names=tuple(n for n in found.names if not n.startswith(".runs/")))


def through(endpoint: str, server: S3Server, root: Path, given: Path) -> Shipped:
    """An installation with models whose storage is a new bucket of the server, reached by an address that may be a proxy's."""
    parts = json.dumps({"default_block_size": PART_BYTES})
    environment = {**KEYS, "CURATION_S3_ENDPOINT": endpoint, "FSSPEC_S3": parts}
    return install(root, given, True, environment=environment, storage=f"{server.bucket()}/store")


def direct(shipped: Shipped, server: S3Server) -> TableStore:
    """What an installation stored, whatever its own way to it is."""
    return TableStore(Storage(shipped.data, server.options), SCHEMAS)


def nothing_left_over(shipped: Shipped, store: TableStore, server: S3Server) -> None:
    assert left_over(shipped) == []
    assert list(unfinished_files(store.storage)) == []
    uploads = server.client().list_multipart_uploads(Bucket=shipped.data.split("/")[2])
    assert uploads.get("Uploads", []) == []
    assert not [n for n in store.storage.list(".runs") if "~" in n]


def test_tables_and_tars_over_a_failing_store(tmp_path: Path, s3_server: S3Server) -> None:
    """Each commit names a tar that was put in parts and replaces the table before, so a lost answer that is not known again is an error."""
    bucket = s3_server.bucket()
    with S3Proxy(s3_server.endpoint, SHARE, SEED) as proxy:
        options = {
            **s3_server.options,
            "client_kwargs": {"endpoint_url": proxy.endpoint, "region_name": "us-east-1"},
            "config_kwargs": {"retries": {"max_attempts": 5, "mode": "standard"}},
            "default_block_size": PART_BYTES,
        }
        store = TableStore(Storage(f"{bucket}/store", options), SCHEMAS)
        header = None
        for turn in range(3):
            with at_work(store.storage, ["d-00000"]):
                picture = bytes([turn]) * (PART_BYTES + 1)
                table, tar = frames(store, picture, 1)
                header = store.commit("frames", "d-00000", table, Provenance(str(turn)), base=header)
                (row,) = store.read("frames", "d-00000").to_pylist()
                assert store.storage.read_media(MediaRef(row["tar"], row["offset"], row["size"])) == picture + b"\0"
            assert store.storage.list("frames/d-00000") == [tar.rsplit("/", 1)[-1]]
        assert proxy.faults["complete", Fault.LOST]
        assert proxy.faults["begin", Fault.LOST]
    uploads = s3_server.client().list_multipart_uploads(Bucket=bucket.removeprefix("s3://"))
    assert uploads.get("Uploads", []) == []
    behind = Storage(f"{bucket}/store", s3_server.options)
    assert sorted(behind.find("")) == sorted([".runs/probe", "frames/d-00000.parquet", tar])


def test_a_table_whose_answer_never_comes_is_known_all_the_same(s3_server: S3Server) -> None:
    """Whether it was put is asked when all tries have failed."""
    storage = Storage(f"{s3_server.bucket()}/p", {**s3_server.options, "default_block_size": PART_BYTES})
    storage.write("first", b"1")
    fs, _ = storage.filesystem()
    for data in (b"2", b"2" * (PART_BYTES + 1)):
        last = "put_object" if len(data) == 1 else "complete_multipart_upload"

        def mute(self: Any, method: str, last: str = last, **kwargs: Any) -> Any:
            answer = sync(self.loop, self._call_s3, method, **kwargs)
            if method == last:
                raise ConnectionClosedError(endpoint_url="http://127.0.0.1")
            return answer

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(fs), "call_s3", mute)
            tag = storage.replace(f"own-{len(data)}", lambda f, d=data: f.write(d))
        assert storage.read(f"own-{len(data)}") == data
        assert storage.tag(f"own-{len(data)}") == tag


@pytest.mark.faults
@pytest.mark.timeout(1200)
def test_a_whole_graph_with_uploads_in_parts_over_a_failing_store(tmp_path: Path, s3_server: S3Server) -> None:
    with (
        source(tmp_path / "source", grainy_video) as given,
        S3Proxy(s3_server.endpoint, SHARE, SEED) as proxy,
    ):
        shipped = through(proxy.endpoint, s3_server, tmp_path / "s3", given)
        store = direct(shipped, s3_server)
        done = shipped.curation(*RUN, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        expected = undisturbed(tmp_path / "local", given, True)
        assert without_runs(holdings(shipped, store)) == without_runs(expected)
        nothing_left_over(shipped, store, s3_server)
        requests, faults = proxy.requests.total(), proxy.faults.total()
        print(f"{faults} of {requests} requests failed; {dict(proxy.requests)}")
        print({f"{kind} {fault.value}": n for (kind, fault), n in sorted(proxy.faults.items(), key=str)})
        assert 0.08 < faults / requests < 0.2
        for kind, chosen in UPLOADS.items():
            assert all(proxy.faults[kind, fault] for fault in chosen), kind
        assert {f for _, f in proxy.faults} == set(Fault)
        again = shipped.curation(*RUN)
        assert again.returncode == 0, again.stdout + again.stderr
        assert without_runs(holdings(shipped, store)) == without_runs(expected), "nothing is made again"


@pytest.mark.faults
@pytest.mark.timeout(1200 + 150 * KILLS)
def test_random_kills_on_s3(tmp_path: Path, s3_server: S3Server) -> None:
    """A kill leaves uploads in parts that were begun on the server; the next run aborts them."""

    def ended(shipped: Shipped, expected: Holdings) -> None:
        done = shipped.curation(*RUN, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        store = direct(shipped, s3_server)
        assert without_runs(holdings(shipped, store)) == without_runs(expected)
        nothing_left_over(shipped, store, s3_server)

    def installed(root: Path) -> Shipped:
        return through(s3_server.endpoint, s3_server, root, given)

    with source(tmp_path / "source", grainy_video) as given:
        kill_through(tmp_path, installed, given, tmp_path / "whole", KILLS, SEED, ended)
