"""What the page of `curation look` takes over generated candidates: `python -m benchmarks.look --clips 100000 1000000 --folder /dev/shm`.

One subset with five rules, judged, all of its candidates in one table as `curation run` writes it; scores drawn at random, ids as of HD-VILA. Scores that nothing asks for are left out of
tables of more than a million: they are never read. The frames of one shard stand for those of all. The server is the real one, in a process of its own, asked over loopback by one client; each
question but the first is asked ten times, with another number each.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uvicorn

from curation_assets.look.app import look_app
from curation_assets.look.column_cache import ColumnCache
from curation_assets.recipes import parse_recipe
from curation_assets.schemas import schema
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_resources import sealed_parquet
from curation_resources.provenance import Provenance
from curation_resources.table_headers import TableHeader, footer_metadata
from curation_resources.tables import TableStore

RECIPE = """dataset: big
source: {format: folder, path: nowhere}
subsets:
  hq: {where: [keep, "motion >= 0.2", "text_area <= 0.6", "sharpness between 0.1 and 0.95", "duration_s >= 4"]}
"""
RULES = ["keep", "motion >= {}", "text_area <= 0.6", "sharpness between 0.1 and 0.95", "duration_s >= 4"]
PER_SHARD = 10_000
PER_VIDEO = 30
GROUP = 99_990
"""Rows of a row group: whole videos."""
ALL_SCORES = 1_000_000
"""Candidates up to which tables have all scores."""
ASKED = 10
ASKED_FOR = frozenset({"motion", "text_area", "sharpness", "overlay"})


def candidates(clips: int) -> Iterator[pa.Table]:
    """The rows of a table of a subset with so many candidates, part by part; every third is selected, as far as it says."""
    for start in range(0, clips, GROUP):
        yield _part(np.arange(start, min(clips, start + GROUP)), clips <= ALL_SCORES)


def _part(number: np.ndarray, all_scores: bool) -> pa.Table:
    clips = len(number)
    rng = np.random.default_rng(int(number[0]))
    contract = schema("curated_clips")
    join, text = (
        pa.compute.binary_join_element_wise,
        lambda values, width: pa.compute.utf8_lpad(pa.array(values).cast(pa.string()), width, "0"),
    )
    start = (number % PER_VIDEO) * 10_000
    end = start + rng.integers(1_000, 10_000, clips)
    video_ids = join("v", text(number // PER_VIDEO, 9), "")
    given: dict[str, Any] = {
        "dataset": pa.array(["big"] * clips),
        "video_id": video_ids,
        "clip_id": join(video_ids, text(start, 6), text(end, 6), "_"),
        "shard": join("big-", text(number // PER_SHARD, 5), ""),
        "selected": pa.array(number % 3 == 0),
        "keep": pa.array(rng.random(clips) < 0.9),
        "start_ms": pa.array(start),
        "end_ms": pa.array(end),
    }
    columns = []
    for field in contract.arrow:
        if field.name in given:
            columns.append(given[field.name].cast(field.type))
        elif pa.types.is_floating(field.type) and (all_scores or field.name in ASKED_FOR):
            columns.append(pa.array(rng.random(clips, np.float32), field.type))
        else:
            columns.append(pa.nulls(clips, field.type))
    return pa.table(columns, schema=contract.arrow)


def write(store: TableStore, clips: int) -> None:
    """The table, a part at a time, and a shard's pictures."""
    made = Provenance("1")
    header = TableHeader("curated_clips", "big-hq", clips, made, made.fingerprint, f"{clips:064d}", {})
    form = schema("curated_clips").arrow.with_metadata(footer_metadata(header))
    path = Path(store.storage.root, store.path("curated_clips", "big-hq"))
    path.parent.mkdir(parents=True)
    with open(path, "w+b") as file:
        with pq.ParquetWriter(file, form, **sealed_parquet.WRITING) as writer:
            for part in candidates(clips):
                writer.write_table(part.replace_schema_metadata(form.metadata))
        file.flush()
        sealed_parquet.seal(file)
    contract = schema("frames")
    store.storage.write("frames/big-00000/x.tar", bytes(20_000))
    ids = next(candidates(clips))["clip_id"].slice(0, PER_SHARD).to_pylist()
    rows = [
        dict.fromkeys(contract.names)
        | {"dataset": "big", "video_id": i.split("_")[0], "clip_id": i, "time_ms": t, "frame": t, "position": 0.5}
        | {"tar": "frames/big-00000/x.tar", "offset": 0, "size": 20_000, "width": 8, "height": 8}
        for i in ids
        for t in (0, 500, 900)
    ]
    store.commit("frames", "big-00000", pa.Table.from_pylist(rows, schema=contract.arrow), Provenance("1"))


def serve(root: str, port: Any) -> None:
    """The server, until the process is ended; says its port."""

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            port.send(self.servers[0].sockets[0].getsockname()[1])

    app = look_app(
        table_store(Settings(storage=f"{root}/storage")),
        {"big": parse_recipe(RECIPE, "big.yaml")},
        cache=ColumnCache(Path(root, "cache")),
    )
    Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off")).run()


def measure(clips: int, folder: str) -> None:
    """Prints what each question took."""
    with tempfile.TemporaryDirectory(dir=folder) as root:
        write(table_store(Settings(storage=f"{root}/storage")), clips)
        ask_all(clips, root)


def ask_all(clips: int, root: str) -> None:
    """Prints what each question took, of a first process and of one that finds the columns there."""
    print(
        f"{'clips':>11}  {'question':<52}  {'median':>7}  {'longest':>7}  {'CPU':>7}   ms; table of {Path(root, 'storage/curated_clips/big-hq.parquet').stat().st_size / 1e6:,.0f} MB"
    )
    for first in (True, False):
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(root, there))
        process.start()
        try:
            _questions(clips, f"http://127.0.0.1:{here.recv()}", process.pid or 0, first)
        finally:
            process.terminate()
            process.join()
    kept = sum(p.stat().st_size for p in Path(root, "cache").rglob("*") if p.is_file())
    print(f"{clips:>11,}  columns on disk: {kept / 1e6:,.0f} MB")


def _memory(pid: int) -> dict[str, float]:
    """Memory of a process in MB, as Linux has it: at its most, and what of it now is not of files."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: int(lines[name].split()[0]) / 1024 for name in ("VmHWM", "RssAnon")}


def _cpu(pid: int) -> float:
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def _questions(clips: int, address: str, pid: int, made: bool) -> None:
    """Asks them; where columns are made first, only how long the first ones take."""

    def ask(name: str, **query: Any) -> tuple[Any, float, float]:
        before, cpu = time.perf_counter(), _cpu(pid)
        with urllib.request.urlopen(f"{address}{name}?{urlencode(query)}") as answer:
            data = answer.read()
        return data, time.perf_counter() - before, _cpu(pid) - cpu

    def say(what: str, walls: list[float], cpus: list[float]) -> None:
        ms = 1000
        print(
            f"{clips:>11,}  {what:<52}  {statistics.median(walls) * ms:7.0f}  {max(walls) * ms:7.0f}  {statistics.median(cpus) * ms:7.0f}",
            flush=True,
        )

    begin, spent = time.perf_counter(), _cpu(pid)
    data, wall, cpu = ask("/api/collection", key="big-hq")
    opened = json.loads(data)
    first = {"key": "big-hq", "version": opened["version"]}

    def rules(value: float) -> str:
        return json.dumps([[r.format(value), True] for r in RULES])

    asked = rules(0.2) if opened["ready"] else "[]"
    found, more, and_cpu = ask("/api/rows", **first, rules=asked, limit=100)
    _, last, last_cpu = ask("/frame", shard="big-00000", clip=json.loads(found)["items"][0]["clip_id"])
    words = "first time" if made else "again"
    say(f"open ({words}): the first 100 clips and a picture", [wall + more + last], [cpu + and_cpu + last_cpu])
    while not opened["ready"]:
        json.loads(ask("/api/standing", key="big-hq")[0])
        opened = json.loads(ask("/api/collection", key="big-hq")[0])
    ask("/api/judge", **first, rules=rules(0.2))
    say(f"open ({words}): until the rules can be moved", [time.perf_counter() - begin], [_cpu(pid) - spent])
    if made:
        ask("/api/rows", **first, rules=rules(0.2), where="overlay > 0.5")  # a column that no rule names
        _until_quiet(pid)
        say(f"open ({words}): until all is made", [time.perf_counter() - begin], [_cpu(pid) - spent])
    for what, name, query in (
        ("a number moved: the funnel, changes, histograms", "/api/judge", {}),
        ("then the clips on either side of it", "/api/near", {"rule": 1, "number": 0}),
        ("then the grid, by a score", "/api/rows", {"sort": "motion", "down": 1}),
        ("its next hundred", "/api/rows", {"sort": "motion", "down": 1, "offset": 100}),
        ("then the grid of what would go out", "/api/rows", {"show": "went"}),
        ("the grid, filtered by another rule", "/api/rows", {"where": "overlay > {}"}),
        ("one clip's page", "/api/clip", {"shard": opened_shard(found), "id": json.loads(found)["items"][7]["id"]}),
    ):
        if made:
            break
        walls, cpus = [], []
        for turn in range(ASKED):
            value = 0.3 + turn / 100
            _, wall, cpu = ask(name, **first, rules=rules(value), **{k: str(v).format(value) for k, v in query.items()})
            walls.append(wall)
            cpus.append(cpu)
        say(what, walls, cpus)
    memory = _memory(pid)
    print(
        f"{clips:>11,}  memory of the page's process ({words}): {memory['VmHWM']:,.0f} MB at its most; {memory['RssAnon']:,.0f} MB now without files' pages",
        flush=True,
    )


def opened_shard(found: bytes) -> str:
    """The shard of a clip of the grid."""
    return str(json.loads(found)["items"][7]["shard"])


def _until_quiet(pid: int) -> None:
    """Waits until a process does nothing more for a second."""
    before = -1.0
    while (now := _cpu(pid)) - before > 0.02:
        before = now
        time.sleep(1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--folder", default=tempfile.gettempdir())
    arguments = parser.parse_args()
    for clips in arguments.clips:
        measure(clips, arguments.folder)


if __name__ == "__main__":
    main()
