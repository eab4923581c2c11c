"""The first real job, from lists of videos to committed raw shards, as people run it: Dagster's CLI, ranges, S3, kills."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curation_assets.demo.web_server import served
from curation_assets.schemas import SCHEMAS
from curation_assets_tests.conftest import S3Server
from curation_assets_tests.sample_video import sample_video
from curation_resources.media import MediaRef
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty small videos in a folder."""
    folder = tmp_path_factory.mktemp("videos")
    for i in range(20):
        (folder / f"v{i:02d}.mp4").write_bytes(sample_video(seed=i))
    return folder


@pytest.fixture
def port(videos: Path) -> Iterator[int]:
    """Where the videos are served."""
    with served(videos) as found:
        yield found


def installation(root: Path, videos: Path, port: int, storage: str) -> dict[str, str]:
    """Writes a recipe over a list of URLs, two videos a shard, and returns the environment of a user who runs it."""
    (root / "home").mkdir(parents=True)
    (root / "recipes").mkdir()
    lines = ["id,url,caption"] + [
        f"{v.stem},http://127.0.0.1:{port}/{v.name}?token=hush-{v.stem},clip {v.stem}"
        for v in sorted(videos.glob("*.mp4"))
    ]
    (videos / "list.csv").write_text("\n".join(lines) + "\n")
    (root / "recipes" / "web.yaml").write_text(
        f"dataset: web\nsource: {{format: table, path: 'http://reader:hush-list@127.0.0.1:{port}/list.csv', columns: {{id: id, url: url, caption: caption}}}}\n"
        "shard: {videos: 2}\ndownload: {timeout_s: 5, backoff_s: 0.1, store: copy, allow_private: true}\n"
    )
    return {
        **os.environ,
        "DAGSTER_HOME": str(root / "home"),
        "CURATION_STORAGE": storage,
        "CURATION_RECIPES": str(root / "recipes"),
        "CURATION_WORKERS": "1",
    }


def dagster(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "curation_assets.definitions", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)


def hashes(store: TableStore) -> dict[str, str]:
    found = {f"{a}/{k}": h.content_hash for a in ("video_metadata", "raw_shards") for k, h in store.headers(a).items()}
    index = store.header("dataset_index")
    assert index is not None
    return {**found, "dataset_index": index.content_hash}


def places_of(secret: str, storage: Storage, home: Path) -> list[str]:
    """Files of a storage root, and of an instance's folder, that hold `secret`: as bytes, in a table's cells, or in its metadata."""
    wanted = secret.encode()
    fs, root = storage.filesystem()
    found = []
    for name in fs.find(root):
        data = fs.cat_file(name)
        if name.endswith(".parquet"):
            table = pq.read_table(io.BytesIO(data))
            data += (
                repr(pq.read_metadata(io.BytesIO(data)).metadata).encode()
                + json.dumps(table.to_pylist(), default=str).encode()
            )
        if wanted in data:
            found.append(name.removeprefix(root.rstrip("/") + "/"))
    return sorted(found) + [
        str(p.relative_to(home)) for p in sorted(home.rglob("*")) if p.is_file() and wanted in p.read_bytes()
    ]


def check_media(store: TableStore) -> int:
    """Every tar entry has the recorded hash; returns how many there are."""
    import hashlib

    entries = 0
    for key in store.partitions("raw_shards"):
        for row in store.read("raw_shards", key).to_pylist():
            if row["status"] == "ok":
                data = store.storage.read_media(MediaRef(row["tar"], row["offset"], row["size"]))
                assert hashlib.sha256(data).hexdigest() == row["sha256"], row["video_id"]
                entries += 1
    return entries


def test_the_command_line_alone_gives_the_same_tables_on_a_folder_and_on_s3(
    tmp_path: Path, videos: Path, port: int, s3_environment: S3Server
) -> None:
    found = []
    listed = installation(tmp_path / "a", videos, port, str(tmp_path / "a" / "data"))
    bucket = s3_environment.bucket()
    remote = {
        **listed,
        "CURATION_STORAGE": f"{bucket}/p",
        "CURATION_S3_ENDPOINT": s3_environment.endpoint,
        "DAGSTER_HOME": str(tmp_path / "home2"),
    }
    (tmp_path / "home2").mkdir()
    for environment, storage in (
        (listed, Storage(listed["CURATION_STORAGE"])),
        (remote, Storage(remote["CURATION_STORAGE"], s3_environment.options)),
    ):
        first = dagster(environment, "--select", "dataset_index")
        assert first.returncode == 0, first.stderr
        one = dagster(environment, "--select", "video_metadata,raw_shards", "--partition", "web-00000")
        assert one.returncode == 0, one.stderr
        ten = dagster(
            environment, "--select", "video_metadata,raw_shards", "--partition-range", "web-00000...web-00009"
        )
        assert ten.returncode == 0, ten.stderr
        store = TableStore(storage, SCHEMAS)
        assert check_media(store) == 20
        found.append(hashes(store))
        logs = [run.stdout + run.stderr for run in (first, one, ten)]
        assert [log for log in logs if "hush" in log] == [], "secrets of URLs do not appear in logs"
        assert places_of("hush", storage, Path(environment["DAGSTER_HOME"])) == ["dataset_index/secrets/web.parquet"]
    assert found[0] == found[1]
    assert len(found[0]) == 21
    secrets = Path(listed["CURATION_STORAGE"]) / "dataset_index/secrets/web.parquet"
    assert secrets.stat().st_mode & 0o077 == 0, "only its owner may read the side file"


def test_a_run_on_a_terminal_shows_a_bar_and_a_summary(tmp_path: Path, videos: Path) -> None:
    import fcntl
    import pty
    import struct
    import termios

    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"dataset: mine\nsource: {{format: folder, path: '{videos}'}}\n")
    (tmp_path / "home").mkdir()
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(tmp_path / "home"),
        "CURATION_STORAGE": str(tmp_path / "data"),
        "CURATION_RECIPES": str(recipe),
    }
    command = [sys.executable, "-m", "curation_assets.cli", "run", str(recipe), "--select"]
    command.append("dataset_index,video_metadata,raw_shards")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    shown = b""
    while True:
        try:
            block = os.read(ours, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not block:
            break
        shown += block
    os.close(ours)
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, shown
    assert b"raw_shards mine-00000" in shown
    assert b"20 ok, 0 failed" in shown
    (line,) = (line.split() for line in said.splitlines() if line.startswith("mine-00000"))
    assert line[:4] == ["mine-00000", "20", "20", "0"]


@pytest.mark.slow
def test_twenty_kills_at_random_moments_leave_the_tables_of_an_uninterrupted_run(
    tmp_path: Path, videos: Path, port: int
) -> None:
    calm = installation(tmp_path / "calm", videos, port, str(tmp_path / "calm" / "data"))
    wild = {**calm, "CURATION_STORAGE": str(tmp_path / "wild"), "DAGSTER_HOME": str(tmp_path / "home2")}
    (tmp_path / "home2").mkdir()
    arguments = ("--select", "video_metadata,raw_shards", "--partition-range", "web-00000...web-00009")
    chance = random.Random(0)
    for environment in (calm, wild):
        assert dagster(environment, "--select", "dataset_index").returncode == 0
    assert dagster(calm, *arguments).returncode == 0
    command = [
        sys.executable,
        "-m",
        "dagster",
        "asset",
        "materialize",
        "-m",
        "curation_assets.definitions",
        *arguments,
    ]
    for _ in range(20):
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=wild,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(chance.uniform(2, 14))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    last = dagster(wild, *arguments)
    assert last.returncode == 0, last.stderr
    stores = [TableStore(Storage(e["CURATION_STORAGE"]), SCHEMAS) for e in (calm, wild)]
    assert hashes(stores[0]) == hashes(stores[1])
    assert check_media(stores[1]) == 20
