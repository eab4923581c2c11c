"""How long ticks of the sensors and a look at staleness take: `python -m benchmarks.sensors [--shards 1000 10000]`.

Writes an installation of generated tables with true fingerprints (a row each; the sensors read footers and listings, not rows), then
measures the gap sensor from nothing known, again with everything known, after ten tables changed, and in a new process; and the
source sensor over as many files as there are videos. The baseline is what the filesystem alone takes: listing and `stat` of the same files.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from dagster import DagsterInstance, SensorResult, build_sensor_context

from curation_assets.engine.shard_keys import shard_key
from curation_assets.orchestration.sensors import close_gaps, watch_sources
from curation_assets.recipes import Recipe
from curation_assets.schemas import schema
from curation_assets.settings import Settings
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

VIDEOS = 10
"""Videos of a shard in the generated index; shards of 100 make the index ten times as long and nothing else."""


def recipe(folder: Path) -> Recipe:
    """Everything but tracks: fifteen tables a shard."""
    return Recipe.model_validate(
        {
            "dataset": "bench",
            "source": {"format": "folder", "path": str(folder / "videos")},
            "shard": {"videos": VIDEOS},
            "text": {},
            "captions": {"backend": "source", "where": []},
            "subsets": {"all": {}},
        }
    )


def generate(store: TableStore, one: Recipe, shards: int) -> int:
    """Writes the index and all tables; returns how many there are."""
    from curation_assets.dedup.comparison import clusters_provenance
    from curation_assets.engine.staleness import SHARDED, Graph, open_heads

    rows = [
        {
            "dataset": "bench",
            "video_id": f"v{n:08d}",
            "shard": shard_key("bench", n // VIDEOS),
            "status": "present",
            "source": "s",
            "line": n,
            "record": json.dumps({"url": f"http://host/{n}.mp4"}),
        }
        for n in range(shards * VIDEOS)
    ]
    index = pa.Table.from_pylist(rows, schema=schema("dataset_index").arrow)
    store.commit("dataset_index", None, index, Provenance("1"))
    settings = Settings(storage=store.storage.root)
    heads = open_heads(store, remember=False)
    plain = TableStore(store.storage, {})
    count = 0
    for asset in SHARDED:
        if asset == "dedup":
            provenance, _ = clusters_provenance(store, {"bench": one}, settings)
            store.commit("duplicate_clusters", None, schema("duplicate_clusters").empty(), provenance)
        heads.look(list(SHARDED))
        graph = Graph(store, {"bench": one}, settings, heads, why=False)
        if not graph.wanted("bench", asset):
            continue
        made_of = graph.made_of("bench", asset)
        for shard in graph.shards:
            table = pa.table({"video_id": [shard]})
            plain.commit(
                asset, shard, table, made_of.provenance(made_of.hashes(shard) or {}), {"cpu_s": 1.0, "wall_s": 1.0}
            )
            count += 1
    return count


def timed(step: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall and CPU seconds of a step, and what it gave."""
    wall, cpu = time.perf_counter(), os.times()
    found = step()
    now = os.times()
    return time.perf_counter() - wall, now.user + now.system - cpu.user - cpu.system, found


def stat_all(root: Path) -> int:
    """The baseline: every file below a folder, listed and stat'ed."""
    return sum(
        1 for folder, _, names in os.walk(root) for name in names if os.stat(os.path.join(folder, name)).st_size >= 0
    )


class Bench:
    """A generated installation and the sensors' cursor on it."""

    def __init__(self, folder: Path, shards: int) -> None:
        self.folder, self.shards = folder, shards
        (folder / "videos").mkdir()
        (folder / "home").mkdir()
        os.environ["DAGSTER_HOME"] = str(folder / "home")
        self.settings = Settings(storage=str(folder / "data"), look_entries=20_000)
        self.store = TableStore(Storage(self.settings.storage), {"dataset_index": schema("dataset_index")})
        self.recipes = {"bench": recipe(folder)}
        self.tables = generate(self.store, self.recipes["bench"], shards)
        for n in range(shards * VIDEOS):
            (folder / "videos" / f"v{n:08d}.mp4").touch()
        self.cursor: str | None = None
        self.baseline = timed(lambda: stat_all(folder / "data"))[1]

    def say(self, step: str, wall: float, cpu: float) -> None:
        print(
            f"{self.shards:7} {self.tables:7}  {step:48} {wall:7.2f} {cpu:7.2f} {cpu / self.baseline:10.1f}", flush=True
        )

    def ticks(
        self,
        step: str,
        instance: DagsterInstance,
        last: Callable[[SensorResult], bool],
        evaluate: Callable[..., SensorResult],
        *rest: Any,
    ) -> None:
        """Ticks until `last`; says how many, the longest, and the CPU seconds of all."""
        longest, total, count, requests = 0.0, 0.0, 0, 0
        done = False
        while not done:
            context = build_sensor_context(instance=instance, cursor=self.cursor)
            wall, cpu, result = timed(lambda c=context: evaluate(c, self.settings, self.recipes, self.store, *rest))  # type: ignore[misc]
            self.cursor, done = result.cursor, last(result)
            longest, total, count = max(longest, wall), total + cpu, count + 1
            requests += len(result.run_requests or [])
        self.say(f"{step}: {count} ticks, {requests} requests", longest, total)

    def measure(self) -> None:
        """All steps."""
        from curation_assets.engine.staleness import SHARDED, open_heads, shard_states

        self.say("baseline: list and stat", *timed(lambda: stat_all(self.folder / "data"))[:2])
        with DagsterInstance.local_temp(str(self.folder / "home")) as instance:
            instance.add_dynamic_partitions("shards", [shard_key("bench", n) for n in range(self.shards)])
            heads = open_heads(self.store)

            def looked(result: SensorResult) -> bool:
                return "still to be looked at" not in str(result.skip_reason)

            self.ticks("gap sensor, nothing known", instance, looked, close_gaps, heads)
            self.ticks("gap sensor, nothing changed", instance, looked, close_gaps, heads)
            for n in range(10):
                self.store.storage.remove(self.store.path("motion_scores", shard_key("bench", n * self.shards // 10)))
            self.ticks("gap sensor, ten tables gone", instance, looked, close_gaps, heads)
            self.say("heads in a new process", *timed(lambda: open_heads(self.store).look(list(SHARDED)))[:2])
            states = timed(lambda: list(shard_states(self.store, self.recipes, self.settings, why=False)))
            self.say("curation stale", *states[:2])
            self.cursor = None
            self.ticks("source sensor, two looks", instance, lambda r: bool(r.run_requests), watch_sources)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, nargs="+", default=[1000])
    parser.add_argument("--folder", help="where the temporary files go")
    options = parser.parse_args()
    print("wall is of the longest tick, CPU of all ticks of a step")
    print(f"{'shards':>7} {'tables':>7}  {'step':48} {'wall s':>7} {'CPU s':>7} {'x baseline':>10}")
    for shards in options.shards:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            Bench(Path(name), shards).measure()


if __name__ == "__main__":
    main()
