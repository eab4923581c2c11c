"""What the page of `curation look` takes over generated candidates: `python -m benchmarks.look --clips 100000 1000000 --folder /dev/shm`.

One subset with five rules, judged, all of its candidates in one table as `curation run` writes it; scores drawn at random, ids as of HD-VILA. The frames of one shard
stand for those of all. The server is the real one, asked over loopback by one client; each question but the first is asked ten times, with another number each.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
import uvicorn

from curation_assets.look.app import look_app
from curation_assets.recipes import parse_recipe
from curation_assets.schemas import schema
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_resources.provenance import Provenance
from curation_resources.tables import TableStore

RECIPE = """dataset: big
source: {format: folder, path: nowhere}
subsets:
  hq: {where: [keep, "motion >= 0.2", "text_area <= 0.6", "sharpness between 0.1 and 0.95", "duration_s >= 4"]}
"""
RULES = ["keep", "motion >= {}", "text_area <= 0.6", "sharpness between 0.1 and 0.95", "duration_s >= 4"]
PER_SHARD = 10_000
PER_VIDEO = 30
ASKED = 10


def candidates(clips: int) -> pa.Table:
    """A table of a subset with so many candidates; every third is selected, as far as it says."""
    rng = np.random.default_rng(0)
    contract = schema("curated_clips")
    number = np.arange(clips)
    videos = pa.array(number // PER_VIDEO).cast(pa.string())
    start = (number % PER_VIDEO) * 10_000
    end = start + rng.integers(1_000, 10_000, clips)
    video_ids = pa.compute.binary_join_element_wise("v", pa.compute.utf8_lpad(videos, 9, "0"), "")
    clip_ids = pa.compute.binary_join_element_wise(
        video_ids, pa.array(start).cast(pa.string()), pa.array(end).cast(pa.string()), "_"
    )
    shards = pa.compute.binary_join_element_wise(
        "big-", pa.compute.utf8_lpad(pa.array(number // PER_SHARD).cast(pa.string()), 5, "0"), ""
    )
    given: dict[str, Any] = {
        "dataset": pa.array(["big"] * clips),
        "video_id": video_ids,
        "clip_id": clip_ids,
        "shard": shards,
        "selected": pa.array(number % 3 == 0),
        "keep": pa.array(rng.random(clips) < 0.9),
        "start_ms": pa.array(start),
        "end_ms": pa.array(end),
    }
    columns = []
    for field in contract.arrow:
        if field.name in given:
            columns.append(given[field.name].cast(field.type))
        elif pa.types.is_floating(field.type):
            columns.append(pa.array(rng.random(clips), field.type))
        else:
            columns.append(pa.nulls(clips, field.type))
    return pa.table(columns, schema=contract.arrow)


def write(store: TableStore, clips: int) -> None:
    """The table, and a shard's pictures."""
    table = candidates(clips)
    store.commit("curated_clips", "big-hq", table, Provenance("1"))
    contract = schema("frames")
    store.storage.write("frames/big-00000/x.tar", bytes(20_000))
    ids = table["clip_id"].slice(0, PER_SHARD).to_pylist()
    rows = [
        dict.fromkeys(contract.names)
        | {"dataset": "big", "video_id": i.split("_")[0], "clip_id": i, "time_ms": t, "frame": t, "position": 0.5}
        | {"tar": "frames/big-00000/x.tar", "offset": 0, "size": 20_000, "width": 8, "height": 8}
        for i in ids
        for t in (0, 500, 900)
    ]
    store.commit("frames", "big-00000", pa.Table.from_pylist(rows, schema=contract.arrow), Provenance("1"))


def measure(clips: int, folder: str) -> None:
    """Prints what each question took."""
    with tempfile.TemporaryDirectory(dir=folder) as root:
        store = table_store(Settings(storage=root))
        write(store, clips)
        app = look_app(store, {"big": parse_recipe(RECIPE, "big.yaml")})
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                time.sleep(0.05)
            address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
            _questions(clips, address, Path(root, "curated_clips/big-hq.parquet").stat().st_size)
        finally:
            server.should_exit = True
            thread.join()


def _questions(clips: int, address: str, size: int) -> None:
    def ask(name: str, **query: Any) -> tuple[Any, float, float]:
        before, cpu = time.perf_counter(), time.process_time()
        with urllib.request.urlopen(f"{address}{name}?{urlencode(query)}") as answer:
            data = answer.read()
        return data, time.perf_counter() - before, time.process_time() - cpu

    def say(what: str, walls: list[float], cpus: list[float]) -> None:
        ms = 1000
        print(
            f"{clips:>9,}  {what:<46}  {statistics.median(walls) * ms:7.0f}  {max(walls) * ms:7.0f}  {statistics.median(cpus) * ms:7.0f}"
        )

    print(
        f"{'clips':>9}  {'question':<46}  {'median':>7}  {'longest':>7}  {'CPU':>7}   ms; table of {size / 1e6:.0f} MB"
    )
    data, wall, cpu = ask("/api/collection", key="big-hq")
    say("open: ids, scales of all rules", [wall], [cpu])
    version = json.loads(data)["version"]
    first = {"key": "big-hq", "version": version}

    def rules(value: float) -> str:
        return json.dumps([[r.format(value), True] for r in RULES])

    _, wall, cpu = ask("/api/rows", **first, rules=rules(0.2), limit=100)
    _, more, and_cpu = ask("/frame", shard="big-00000", clip=json.loads(_)["items"][0]["clip_id"])
    say("then the first 100 clips and a picture", [wall + more], [cpu + and_cpu])
    for what, name, query in (
        ("a number moved: the funnel, changes, histograms", "/api/judge", {}),
        ("then the clips on either side of it", "/api/near", {"rule": 1, "number": 0}),
        ("then the grid, by a score", "/api/rows", {"sort": "motion", "down": 1}),
        ("then the grid of what would go out", "/api/rows", {"show": "went"}),
        ("the grid, filtered by another rule", "/api/rows", {"where": "overlay > {}"}),
    ):
        walls, cpus = [], []
        for turn in range(ASKED):
            value = 0.3 + turn / 100
            _, wall, cpu = ask(name, **first, rules=rules(value), **{k: str(v).format(value) for k, v in query.items()})
            walls.append(wall)
            cpus.append(cpu)
        say(what, walls, cpus)
    print(
        f"memory of the process, at its most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB, the making of the table included"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--folder", default=tempfile.gettempdir())
    arguments = parser.parse_args()
    for clips in arguments.clips:
        measure(clips, arguments.folder)


if __name__ == "__main__":
    main()
