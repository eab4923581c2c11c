"""A Dagster backfill and the gap sensor over as many shards as HD-VILA has, on PostgreSQL and the shipped instance file: cancelled, and resumed.

`curation ui` runs as a user starts it, with its web server and daemon; the backfill is launched, cancelled and resumed through the web server's API, as the UI does
it. Every address of the list answers with the same small generated video, and only what comes first is fetched before somebody cancels.
`CURATION_BACKFILL_VIDEOS` says how many videos a shard has.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import pytest
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter, build_sensor_context

from curation_assets.demo.web_server import free_port
from curation_assets.engine.heads import listing
from curation_assets.engine.staleness import open_heads
from curation_assets.orchestration.compat import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from curation_assets.orchestration.sensors import close_gaps
from curation_assets.recipes import read_recipes
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets_tests.deploy.conftest import DEPLOY
from curation_assets_tests.faults.shipped import Shipped, kill_group
from curation_assets_tests.sample_video import sample_video
from curation_resources.tables import TableStore

SHARDS = 33_000
VIDEOS = int(os.environ.get("CURATION_BACKFILL_VIDEOS", "100"))
RANGE = 20
RECIPE = """
dataset: big
source: {{format: ids, path: {path}, url_template: "{address}/{{id}}.mp4"}}
shard: {{videos: {videos}}}
clips: {{from: fixed, max_s: 0.5, min_s: 0.2}}
"""
ASSETS = ("video_metadata", "raw_shards")
UNFINISHED = [s for s in DagsterRunStatus if s.value not in ("SUCCESS", "FAILURE", "CANCELED")]
LAUNCH = "mutation($p: LaunchBackfillParams!) {launchPartitionBackfill(backfillParams: $p) {__typename ... on LaunchBackfillSuccess {backfillId}}}"
CANCEL = "mutation($id: String!) {cancelPartitionBackfill(backfillId: $id) {__typename}}"
RESUME = """mutation($id: String!) {reexecutePartitionBackfill(reexecutionParams: {parentRunId: $id, strategy: FROM_FAILURE})
            {__typename ... on LaunchBackfillSuccess {backfillId}}}"""
STATUS = "query($id: String!) {partitionBackfillOrError(backfillId: $id) {... on PartitionBackfill {status}}}"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(5400)]
Found = TypeVar("Found")


def wait(what: str, found: Callable[[], Found], minutes: float = 25) -> Found:
    """What `found` gives once it is true."""
    deadline = time.monotonic() + minutes * 60
    while time.monotonic() < deadline:
        result = found()
        if result:
            return result
        time.sleep(1)
    raise AssertionError(f"waited {minutes:g} minutes for {what}")


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
    """An installation whose shards are registered, its UI and daemon, and what is asked of them."""

    def __init__(self, place: Shipped, instance: DagsterInstance, port: int) -> None:
        self.place, self.instance, self.port = place, instance, port
        self.settings = Settings.load(storage=place.data, recipes=str(place.root / "recipes"))
        self.store: TableStore = table_store(self.settings)
        self.keys: Sequence[str] = instance.get_dynamic_partitions("shards")
        self.place_of = {k: n for n, k in enumerate(self.keys)}

    def ask(self, query: str, **variables: Any) -> Mapping[str, Any]:
        """What the web server's API answers; the single field of its data."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=600) as answer:
            said = json.load(answer)
        assert "errors" not in said, said
        (found,) = said["data"].values()
        return dict(found)

    def answers(self) -> bool:
        """Whether the web server is there and has loaded the graph."""
        try:
            return self.ask("{repositoriesOrError {__typename}}")["__typename"] == "RepositoryConnection"
        except OSError:
            return False

    def launch(self) -> str:
        partitions = {"range": {"start": self.keys[0], "end": self.keys[-1]}}
        targets = [{"assetKey": {"path": [a]}, "partitions": partitions} for a in ASSETS]
        return str(self.ask(LAUNCH, p={"partitionsByAssets": targets})["backfillId"])

    def cancel(self, backfill: str) -> None:
        assert self.ask(CANCEL, id=backfill)["__typename"] == "CancelBackfillSuccess"
        wait("the backfill to be canceled", lambda: self.ask(STATUS, id=backfill)["status"] == "CANCELED")
        assert self.instance.get_runs_count(RunsFilter(tags={"dagster/backfill": backfill}, statuses=UNFINISHED)) == 0

    def ranges(self, backfill: str, status: DagsterRunStatus | None = None) -> list[tuple[int, int]]:
        """(first, last) shard of a backfill's runs."""
        statuses = [status] if status else None
        runs = self.instance.get_runs(RunsFilter(tags={"dagster/backfill": backfill}, statuses=statuses))
        ends = ((r.tags[ASSET_PARTITION_RANGE_START_TAG], r.tags[ASSET_PARTITION_RANGE_END_TAG]) for r in runs)
        return sorted((self.place_of[a], self.place_of[b]) for a, b in ends)

    def ended_well(self, backfill: str) -> list[tuple[int, int]]:
        return self.ranges(backfill, DagsterRunStatus.SUCCESS)

    def tables(self) -> dict[tuple[str, str], str]:
        """Table -> tag of its file."""
        return {(a, k): tag for a in ASSETS for k, tag in listing(self.store.storage, a).items()}

    def nothing_is_half_made(self) -> None:
        """Every table that is there can be read byte by byte and says of each of its videos that it was fetched; no slot is held."""
        for asset, shard in self.tables():
            rows = self.store.read(asset, shard)
            assert rows.num_rows == VIDEOS
            if asset == ASSETS[-1]:
                assert set(rows["status"].to_pylist()) == {"ok"}
        for pool in self.instance.event_log_storage.get_concurrency_keys():
            assert self.instance.event_log_storage.get_concurrency_info(pool).active_slot_count == 0

    def tick(self, heads: Any) -> tuple[list[tuple[int, int]], str]:
        """A tick of the gap sensor: ranges that it requests, and what it says instead."""
        recipes = read_recipes(self.settings.recipes).usable
        found = close_gaps(build_sensor_context(self.instance), self.settings, recipes, self.store, heads)
        ends = (
            (r.tags[ASSET_PARTITION_RANGE_START_TAG], r.tags[ASSET_PARTITION_RANGE_END_TAG])
            for r in found.run_requests or []
        )
        return [(self.place_of[a], self.place_of[b]) for a, b in ends], str(found.skip_reason)


@pytest.fixture
def site(tmp_path: Path, database: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Backfilled]:
    environment = {**database, "CURATION_RUN_PARTITIONS": str(RANGE)}
    place = Shipped(tmp_path, instance=DEPLOY / "dagster.postgres.yaml", environment=environment)
    with (tmp_path / "ids.txt").open("w") as file:
        file.writelines(f"v{n:010d}\n" for n in range(SHARDS * VIDEOS))
    with site_of_videos() as address:
        recipe = place.declare("big", RECIPE.format(path=tmp_path / "ids.txt", address=address, videos=VIDEOS))
        done = place.curation("run", str(recipe), "--select", "dataset_index", timeout=3000)
        assert done.returncode == 0, done.stdout + done.stderr
        for name, value in {**environment, "DAGSTER_HOME": str(place.home)}.items():
            monkeypatch.setenv(name, value)
        port = free_port()
        ui = place.start(["ui", "--port", str(port)])
        drains = [threading.Thread(target=stream.read, daemon=True) for stream in (ui.stdout, ui.stderr) if stream]
        for drain in drains:
            drain.start()
        try:
            with DagsterInstance.from_config(str(place.home)) as instance:
                found = Backfilled(place, instance, port)
                assert len(found.keys) == SHARDS
                wait("the web server", found.answers)
                yield found
        finally:
            kill_group(ui, signal.SIGTERM)
            ui.wait(120)
            kill_group(ui, signal.SIGKILL) if ui.poll() is None else None


def test_a_backfill_over_all_shards_is_cancelled_and_goes_on_with_what_is_missing(site: Backfilled) -> None:
    heads = open_heads(site.store)
    first = site.launch()
    wait("two runs of the backfill", lambda: len(site.ended_well(first)) >= 2)
    assert site.tick(heads)[1].find("a backfill is under way") >= 0
    site.cancel(first)
    submitted = site.ranges(first)
    assert all(end - begin < RANGE for begin, end in submitted), "no run is larger than is said"
    assert [begin for begin, _ in submitted] == [n * RANGE for n in range(len(submitted))]
    site.nothing_is_half_made()
    before = site.tables()
    whole = {k for k in site.keys if all((a, k) in before for a in ASSETS)}
    done = site.ended_well(first)
    assert whole >= {site.keys[n] for begin, end in done for n in range(begin, end + 1)}

    asked, said = site.tick(heads)
    assert 1 <= len(asked) <= site.settings.open_runs, said
    assert all(end - begin < site.settings.range_shards for begin, end in asked)
    assert asked[0][0] == 0, "what is fetched is not yet decoded"

    second = str(site.ask(RESUME, id=first)["backfillId"])
    wait("a run of the resumed backfill", lambda: site.ended_well(second))
    site.cancel(second)
    again = {site.keys[n] for begin, end in site.ranges(second) for n in range(begin, end + 1)}
    assert not again & whole, "what was made is not asked for again"
    assert min(map(site.place_of.__getitem__, again)) == min(n for n, k in enumerate(site.keys) if k not in whole)
    site.nothing_is_half_made()
    after = site.tables()
    assert {t: after.get(t) for t in before} == before, "no table that was there is made again"
    assert len(after) > len(before)
