"""A Dagster backfill and the gap sensor over as many shards as HD-VILA has, on PostgreSQL and the shipped instance file: cancelled, and resumed.

What the daemon does for a backfill is done here by its own functions, iteration by iteration, with the graph loaded in this process; runs that it has queued are taken from
the queue and executed here too. So nothing waits for a process to start. Every address of the list answers with the same small generated video, and only what comes
first is fetched before somebody cancels. `CURATION_BACKFILL_VIDEOS` says how many videos a shard has.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from dagster import (
    AssetKey,
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunsFilter,
    build_sensor_context,
)
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.definitions.selector import PartitionRangeSelector, PartitionsByAssetSelector, PartitionsSelector
from dagster._core.execution.api import execute_run
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import InProcessTestWorkspaceLoadTarget
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._daemon.backfill import execute_backfill_iteration

from curation_assets.engine.heads import Heads, listing
from curation_assets.engine.plan import PlanStep
from curation_assets.engine.run import Run
from curation_assets.engine.staleness import open_heads
from curation_assets.engine.steps import StepFailed, carry_out
from curation_assets.makers import MAKERS
from curation_assets.orchestration.compat import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from curation_assets.orchestration.definitions import build_definitions
from curation_assets.orchestration.partitions import register_shards
from curation_assets.orchestration.sensors import close_gaps
from curation_assets.recipes import parse_recipe
from curation_assets.registry import INDEX
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets_tests.deploy.conftest import DEPLOY
from curation_assets_tests.sample_video import sample_video

SHARDS, RANGE, CHUNK = 33_000, 20, 5
VIDEOS = int(os.environ.get("CURATION_BACKFILL_VIDEOS", "2"))
RECIPE = """
dataset: big
source: {{format: ids, path: {path}, url_template: "{address}/{{id}}.mp4"}}
shard: {{videos: {videos}}}
clips: {{from: fixed, max_s: 0.5, min_s: 0.2}}
"""
ASSETS = ("video_metadata", "raw_shards")
Range = tuple[int, int]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@contextmanager
def site_of_videos() -> Iterator[str]:
    """A web site where every address is the same video."""
    video = sample_video(0.5, size=(64, 36))

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "video/mp4")
            self.send_header("Content-Length", str(len(video)))
            self.end_headers()
            self.wfile.write(video)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class Backfilled:
    """An installation whose shards are registered, and the daemon's view of it."""

    def __init__(self, root: Path, address: str, instance: DagsterInstance, daemon: WorkspaceProcessContext) -> None:
        self.instance, self.daemon = instance, daemon
        self.settings = Settings.load()
        self.recipes = {"big": parse_recipe((root / "recipes/big.yaml").read_text(), "big")}
        self.store = table_store(self.settings)
        run = Run(self.store, self.recipes, self.settings, register=partial(register_shards, instance))
        assert not [e for e in carry_out([PlanStep("index", (INDEX,))], run, MAKERS) if isinstance(e, StepFailed)]
        self.keys: Sequence[str] = instance.get_dynamic_partitions("shards")
        self.place_of = {k: n for n, k in enumerate(self.keys)}
        self.job = build_definitions(self.settings, self.recipes).resolve_implicit_global_asset_job_def()

    def launch(self) -> str:
        """A backfill of all shards, as the UI requests it."""
        graph = self.daemon.create_request_context().asset_graph
        every = PartitionsSelector(ranges=[PartitionRangeSelector(start=self.keys[0], end=self.keys[-1])])
        targets = [PartitionsByAssetSelector(asset_key=AssetKey(a), partitions=every) for a in ASSETS]
        with partition_loading_context(dynamic_partitions_store=self.instance):
            asked = PartitionBackfill.from_partitions_by_assets(
                "first", graph, time.time(), {}, self.instance, targets, None, None, None
            )
        self.instance.add_backfill(asked)
        return "first"

    def resume(self, backfill: str) -> str:
        """*Re-execute, from failure*, as the UI requests it."""
        graph = self.daemon.create_request_context().asset_graph
        with partition_loading_context(dynamic_partitions_store=self.instance):
            data = self.backfill(backfill).get_asset_backfill_data(graph)
            lacking = data.target_subset - data.materialized_subset
            again = PartitionBackfill.from_asset_graph_subset(
                "second", time.time(), {}, self.instance, lacking, None, None, None
            )
        self.instance.add_backfill(again)
        return "second"

    def backfill(self, name: str) -> PartitionBackfill:
        found = self.instance.get_backfill(name)
        assert found is not None
        return found

    def iterate(self) -> None:
        """What the daemon does every half minute."""
        errors = [e for e in execute_backfill_iteration(self.daemon, logging.getLogger("daemon")) if e]
        assert errors == []

    def queued(self, name: str) -> list[DagsterRun]:
        runs = self.instance.get_runs(RunsFilter(tags={"dagster/backfill": name}, statuses=[DagsterRunStatus.QUEUED]))
        return sorted(runs, key=self.range_of)

    def range_of(self, run: DagsterRun) -> Range:
        first, last = run.tags[ASSET_PARTITION_RANGE_START_TAG], run.tags[ASSET_PARTITION_RANGE_END_TAG]
        return self.place_of[first], self.place_of[last]

    def submit_and_cancel(self, name: str) -> None:
        """An iteration that submits runs, while somebody cancels as soon as there is one."""
        submit = self.instance.submit_run

        def and_cancel(run_id: str, workspace: Any) -> DagsterRun:
            run = submit(run_id, workspace)
            self.instance.update_backfill(self.backfill(name).with_status(BulkActionStatus.CANCELING))
            return run

        with patch.object(self.instance, "submit_run", and_cancel):
            self.iterate()

    def until_canceled(self, name: str) -> None:
        while self.backfill(name).status != BulkActionStatus.CANCELED:
            self.iterate()
        every = self.instance.get_runs(RunsFilter(tags={"dagster/backfill": name}))
        assert {r.status for r in every} <= {DagsterRunStatus.SUCCESS, DagsterRunStatus.CANCELED}

    def execute(self, run: DagsterRun) -> None:
        """Takes a run from the queue and carries it out."""
        starting = DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, run.job_name)
        self.instance.report_dagster_event(starting, run.run_id)
        job = self.job.get_subset(asset_selection=set(run.asset_selection or ()))
        begun = self.instance.get_run_by_id(run.run_id)
        assert begun is not None
        assert execute_run(InMemoryJob(job), begun, self.instance).success

    def tables(self) -> dict[tuple[str, str], str]:
        """Table -> tag of its file."""
        return {(a, k): tag for a in ASSETS for k, tag in listing(self.store.storage, a).items()}

    def tick(self, heads: Heads) -> tuple[list[Range], str]:
        """A tick of the gap sensor: ranges that it requests, and what it says instead."""
        found = close_gaps(build_sensor_context(self.instance), self.settings, self.recipes, self.store, heads)
        ends = (
            (r.tags[ASSET_PARTITION_RANGE_START_TAG], r.tags[ASSET_PARTITION_RANGE_END_TAG])
            for r in found.run_requests or []
        )
        return [(self.place_of[a], self.place_of[b]) for a, b in ends], str(found.skip_reason)


@pytest.fixture
def site(tmp_path: Path, database: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Backfilled]:
    home = tmp_path / "home"
    for folder in (home, tmp_path / "recipes"):
        folder.mkdir()
    (home / "dagster.yaml").write_text((DEPLOY / "dagster.postgres.yaml").read_text())
    with (tmp_path / "ids.txt").open("w") as file:
        file.writelines(f"v{n:010d}\n" for n in range(SHARDS * VIDEOS))
    environment = {
        **database,
        "DAGSTER_HOME": str(home),
        "DAGSTER_ASSET_BACKFILL_RUN_CHUNK_SIZE": str(CHUNK),
        "CURATION_STORAGE": str(tmp_path / "data"),
        "CURATION_RECIPES": str(tmp_path / "recipes"),
        "CURATION_RUN_PARTITIONS": str(RANGE),
        "CURATION_WORKERS": "1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delitem(sys.modules, "curation_assets.definitions", raising=False)  # as another test has loaded it
    with ExitStack() as stack:
        address = stack.enter_context(site_of_videos())
        text = RECIPE.format(path=tmp_path / "ids.txt", address=address, videos=VIDEOS)
        (tmp_path / "recipes/big.yaml").write_text(text)
        instance = stack.enter_context(DagsterInstance.from_config(str(home)))
        module = LoadableTargetOrigin(executable_path=sys.executable, module_name="curation_assets.definitions")
        target = InProcessTestWorkspaceLoadTarget(InProcessCodeLocationOrigin(module))
        daemon = stack.enter_context(WorkspaceProcessContext(instance, target))
        yield Backfilled(tmp_path, address, instance, daemon)


def test_a_backfill_over_all_shards_is_cancelled_and_goes_on_with_what_is_missing(site: Backfilled) -> None:
    assert len(site.keys) == SHARDS
    heads = open_heads(site.store)
    first = site.launch()
    assert "a backfill is under way" in site.tick(heads)[1]
    site.submit_and_cancel(first)
    submitted = site.queued(first)
    assert CHUNK <= len(submitted) < SHARDS // RANGE, "the rest is not submitted any more"
    assert [site.range_of(r) for r in submitted] == [(n * RANGE, n * RANGE + RANGE - 1) for n in range(len(submitted))]
    for run in submitted[:2]:
        site.execute(run)
    site.until_canceled(first)

    whole = site.tables()
    assert set(whole) == {(a, k) for a in ASSETS for k in site.keys[: 2 * RANGE]}, "nothing is half made"
    for shard in site.keys[: 2 * RANGE]:
        assert site.store.read("raw_shards", shard)["status"].to_pylist() == ["ok"] * VIDEOS
    asked, said = site.tick(heads)
    assert len(asked) == site.settings.open_runs, said
    most = site.settings.range_shards
    assert asked == [(n * most, n * most + most - 1) for n in range(len(asked))], "what is fetched is not yet decoded"

    second = site.resume(first)
    site.submit_and_cancel(second)
    again = site.queued(second)
    assert [site.range_of(r)[0] for r in again[:2]] == [2 * RANGE, 3 * RANGE], "what was made is not asked for again"
    site.execute(again[0])
    site.until_canceled(second)
    assert set(site.tables()) == {(a, k) for a in ASSETS for k in site.keys[: 3 * RANGE]}
    assert {t: tag for t, tag in site.tables().items() if t in whole} == whole, "no table that was there is made again"
