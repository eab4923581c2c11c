"""Sensors, evaluated as the daemon does: sources that change, shards that move, attempts that end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterRun, DagsterRunStatus, DefaultScheduleStatus, DefaultSensorStatus, RunsFilter

from curation_assets.decode.clips import Clips
from curation_assets.demo.web_server import served
from curation_assets.engine.behind import Busy
from curation_assets.engine.plan import ranges
from curation_assets.orchestration import sensors
from curation_assets.orchestration.dead_runs import PROCESS_TAG
from curation_assets.orchestration.sensors import at_work
from curation_assets.recipes import Recipe
from curation_assets.registry import CLUSTERS, GATHERED
from curation_assets.source_watch import RESTLESS, Page, SourceWatch, look
from curation_assets_tests.conftest import S3Server
from curation_assets_tests.installation import Installation
from curation_assets_tests.sample_video import sample_video
from curation_resources.processes import started, this_process
from curation_resources.storage import Storage

CHEAP = "clips: {from: whole, min_s: 0}\nmotion: {fps: 2}\n"


def recipe(form: str, path: str, dataset: str = "d") -> Recipe:
    columns = {"columns": {"id": "id", "url": "url"}} if form == "table" else {}
    return Recipe.model_validate(
        {"dataset": dataset, "source": {"format": form, "path": path, "settle_s": 0, **columns}}
    )


def whole_look(
    one: Recipe, watch: SourceWatch, storage: Storage, page: int = 10_000, now: float | None = None
) -> SourceWatch:
    complete = False
    while not complete:
        watch, complete = look(one, watch, storage, Page(page), time.time() if now is None else now)
    return watch


@pytest.fixture(params=["local", "s3", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Somewhere to put files."""
    if request.param == "local":
        return Storage(str(tmp_path))
    if request.param == "memory":
        return Storage(f"memory://{tmp_path.name}")
    server: S3Server = request.getfixturevalue("s3_server")
    return Storage(f"{server.bucket()}/in/side", server.options)


FILES = ("a.mp4", "a.txt", "b.mp4", "b/a.mp4", "b/c/d.mkv", "b.d/e.mp4", "z z ü.mp4")


def test_a_look_in_pages_of_any_size_sees_what_one_look_sees(place: Storage) -> None:
    for name in (*FILES, "notes.doc", ".hidden/x.mp4", "b/.part.mp4"):
        place.write(name, name.encode())
    one = recipe("folder", place.root)
    seen = whole_look(one, SourceWatch(), place)
    for page in (1, 2, 3, 5):
        assert whole_look(one, SourceWatch(), place, page).last == seen.last
    watch, complete = look(one, SourceWatch(), place, Page(4), time.time())
    assert not complete
    assert 0 < watch.entries <= 4
    assert whole_look(one, watch, place, 3).last == seen.last


def test_new_changed_and_removed_files_are_seen_and_others_are_not(place: Storage) -> None:
    for name in FILES:
        place.write(name, b"1")
    one = recipe("folder", place.root)
    seen = {whole_look(one, SourceWatch(), place).last}

    def changed() -> bool:
        now = whole_look(one, SourceWatch(), place).last
        fresh = now not in seen
        seen.add(now)
        return fresh

    assert not changed()
    place.write("b/new.mp4", b"2")
    assert changed()
    place.write("b/c/d.mkv", b"other")
    assert changed()
    place.remove("a.txt")
    assert changed()
    place.write("b/readme.doc", b"3")
    place.write(".hidden.mp4", b"4")
    assert not changed()


@pytest.mark.parametrize(
    ("form", "path", "counts", "ignored"),
    [
        ("table", "lists", "lists/b.csv.gz", "lists/deep/c.csv"),
        ("table", "lists/*.jsonl", "lists/x.jsonl", "lists/x.csv"),
        ("table", "lists/a.csv", "lists/a.csv", "lists/a.csv.bak"),
        ("webdataset", "lists", "lists/1.tar", "lists/1.txt"),
        ("folder", "lists/20*", "lists/2026/v.mp4", "lists/1999/v.mp4"),
        ("folder", "lists/**/*.mp4", "lists/p/q/v.mp4", "lists/p/q/v.avi"),
    ],
)
def test_what_counts_is_what_the_format_reads(place: Storage, form: str, path: str, counts: str, ignored: str) -> None:
    for name in ("lists/a.csv", "lists/a.jsonl", "lists/0.tar", "lists/2025/v.mp4", "lists/o/o/o.mp4"):
        place.write(name, b"1")
    one = recipe(form, f"{place.root}/{path}")
    first = whole_look(one, SourceWatch(), place).last
    place.write(ignored, b"22")
    assert whole_look(one, SourceWatch(), place).last == first
    place.write(counts, b"333")
    assert whole_look(one, SourceWatch(), place).last != first


def test_a_file_counts_once_two_looks_have_found_it_the_same(place: Storage) -> None:
    place.write("a.mp4", b"1")
    one = recipe("folder", place.root)
    watch = whole_look(one, SourceWatch(), place)
    assert not watch.due
    watch = whole_look(one, watch, place)
    assert watch.due
    watch = SourceWatch(taken=watch.last, last=watch.last)
    for size in range(2, 5):
        place.write("b.mp4", b"x" * size)
        watch = whole_look(one, watch, place)
        assert not watch.due, "it grows"
    watch = whole_look(one, watch, place)
    assert watch.due
    for size in range(10, 10 + RESTLESS):
        assert not SourceWatch(taken="t", last=watch.last, restless=size - 10 + 1).due or size - 9 >= RESTLESS
        place.write("b.mp4", b"x" * size)
        watch = whole_look(one, watch, place)
    assert watch.due, "a source that never rests is taken as it stands"


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_bytes(b"1")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
    one = recipe("folder", str(tmp_path / "in"))
    watch, complete = look(one, SourceWatch(), Storage(str(tmp_path)), Page(100), time.time())
    assert complete
    assert watch.last


@pytest.mark.parametrize("form", ["folder", "table"])
@pytest.mark.usefixtures("no_aws_keys")
def test_a_source_that_cannot_be_read_stops_no_other(tmp_path: Path, form: str) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "a.mp4").write_bytes(b"1")
    site = Installation(tmp_path / "site", options={"s3_endpoint": "http://127.0.0.1:9"})
    sources = {
        "gone": recipe(form, str(tmp_path / "nowhere"), "gone"),
        "keyless": recipe(form, "s3://bucket/v", "keyless"),
    }
    site.recipes = {**sources, "watched": recipe("folder", str(tmp_path / "v"), "watched")}
    assert not site.tick("source_sensor").run_requests
    assert "gone: " in site.said["source_sensor"]
    assert "keyless: Unable to locate credentials" in site.said["source_sensor"]
    (request,) = site.tick("source_sensor").run_requests or []
    assert request.tags["curation/changed_sources"] == "watched"
    assert not site.run("index")
    assert site.store.read("dataset_index")["dataset"].to_pylist() == ["watched"]


def test_run_keys_differ_when_a_source_returns_to_what_it_was(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "a.mp4").write_bytes(b"1")
    site = Installation(tmp_path / "site", options={"look_entries": 1})
    site.recipes = {"d": recipe("folder", str(tmp_path / "v"))}
    keys = []
    for there in (False, True, False, True):
        if there:
            os.link(tmp_path / "v" / "a.mp4", tmp_path / "v" / "b.mp4")
        else:
            (tmp_path / "v" / "b.mp4").unlink(missing_ok=True)
        for _ in range(8):
            keys += [r.run_key for r in site.tick("source_sensor").run_requests or []]
    assert len(keys) == 4
    assert len(set(keys)) == 4


def test_ranges_are_contiguous_alike_and_no_longer_than_asked() -> None:
    order = [f"d-{i:05d}" for i in range(8)]
    work = {order[i]: ("clips",) for i in (0, 1, 2, 4, 5)} | {order[6]: ("frames",)}
    assert ranges(work, order, 2) == [
        (("clips",), order[0:2]),
        (("clips",), order[2:3]),
        (("clips",), order[4:6]),
        (("frames",), order[6:7]),
    ]


def test_shards_of_open_runs_are_busy() -> None:
    order = [f"d-{i:05d}" for i in range(5)]
    spans = {"dagster/asset_partition_range_start": order[1], "dagster/asset_partition_range_end": order[2]}
    runs = [
        DagsterRun("curate", tags=spans),
        DagsterRun("curate", tags={"dagster/partition": order[4]}, asset_selection={AssetKey("clips")}),
        DagsterRun("publish", tags={"dagster/partition": order[0]}, asset_selection={AssetKey("curated_clips")}),
    ]
    shards = frozenset({order[1], order[2], order[4]})
    assert at_work(runs, order) == Busy(shards, dict.fromkeys(GATHERED, shards - {order[4]}))
    whole = [
        DagsterRun("deduplicate"),
        DagsterRun("publish", tags={"dagster/partition": "d-all"}, asset_selection={AssetKey("curated_clips")}),
    ]
    assert at_work(whole, order) == Busy(subsets=frozenset({"d-all"}), gathered=frozenset({CLUSTERS}))


@pytest.fixture
def folder_site(tmp_path: Path) -> Installation:
    """One dataset over a folder, a video a shard."""
    (tmp_path / "v").mkdir()
    for i in range(4):
        (tmp_path / "v" / f"v{i}.mp4").write_bytes(sample_video(seconds=0.5, seed=i))
    site = Installation(tmp_path / "site", options={"range_shards": 2, "open_runs": 1, "max_attempts": 2})
    site.declare(f"dataset: d\nsource: {{format: folder, path: {tmp_path}/v}}\nshard: {{videos: 1}}\n{CHEAP}")
    assert site.run("index")
    return site


def test_attempts_end_and_are_taken_up_when_something_changes(
    folder_site: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A table that cannot be made: its shard is tried twice, others go on, and it is named."""
    now = 1_000_000.0
    monkeypatch.setattr(sensors.time, "time", lambda: now)
    site = folder_site
    broken = Path(site.settings.storage) / "dedup" / "d-00001.parquet"
    broken.mkdir(parents=True)
    (broken / "in the way").touch()
    attempts = 0
    for _ in range(20):
        requests = site.tick("gap_sensor").run_requests or []
        assert len(requests) <= 1, "no more runs than may be open"
        for request in requests:
            spans = {
                request.tags.get("dagster/asset_partition_range_start"),
                request.tags.get("dagster/asset_partition_range_end"),
            }
            attempts += "d-00001" in spans and AssetKey("dedup") in (request.asset_selection or [])
            site.run(
                request.job_name or "",
                tags=dict(request.tags),
                asset_selection=list(request.asset_selection or []),
                partition_key=request.partition_key,
            )
        if not requests:
            if "left alone" in site.said["gap_sensor"]:
                break
            assert "1 table waits for its next attempt: dedup of d-00001" in site.said["gap_sensor"]
            now += 3600
    assert "1 table is left alone after 2 attempts: dedup of d-00001" in site.said["gap_sensor"]
    assert site.store.partitions("dedup") == ["d-00000", "d-00002", "d-00003"], "the others go on"
    assert attempts == 2
    tries = json.loads(site.cursors["gap_sensor"] or "{}")["tries"]
    assert list(tries) == ["dedup d-00001"], "the cursor keeps what is behind and nothing else"
    shutil.rmtree(broken)
    assert not site.tick("gap_sensor").run_requests, "given up is given up"
    site.recipes = {
        "d": site.recipes["d"].model_copy(
            update={"clips": Clips.model_validate({"from": "fixed", "max_s": 0.3, "min_s": 0})}
        )
    }
    site.settle()
    assert site.said["gap_sensor"] == "every table is up to date"


def test_what_is_in_a_queued_run_is_not_requested_again(folder_site: Installation) -> None:
    site = folder_site
    (request,) = site.tick("gap_sensor").run_requests or []
    site.instance.create_run_for_job(
        site.definitions.resolve_job_def("curate"), status=DagsterRunStatus.NOT_STARTED, tags=dict(request.tags)
    )
    assert not site.tick("gap_sensor").run_requests
    assert "waits for room" in site.said["gap_sensor"]
    tags = {k: v for k, v in request.tags.items() if k != sensors.REQUESTED_BY}
    for record in site.instance.get_run_records():
        site.instance.delete_run(record.dagster_run.run_id)
    site.instance.create_run_for_job(
        site.definitions.resolve_job_def("curate"), status=DagsterRunStatus.STARTED, tags=tags
    )
    (other,) = site.tick("gap_sensor").run_requests or []
    assert other.tags["dagster/asset_partition_range_start"] == "d-00002"


def test_a_run_whose_process_was_killed_keeps_nothing_waiting(folder_site: Installation) -> None:
    """Also one that was made and never started, at which run monitoring does not look."""
    site = folder_site
    bounds = {"dagster/asset_partition_range_start": "d-00000", "dagster/asset_partition_range_end": "d-00003"}
    job = site.definitions.resolve_job_def("curate")
    with subprocess.Popen(["sleep", "600"]) as process:
        gone = replace(this_process(), pid=process.pid, started=started(process.pid))
        runs = [
            site.instance.create_run_for_job(job, status=status, tags={**bounds, PROCESS_TAG: gone.dumps()}).run_id
            for status in (DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTED)
        ]
        assert not site.tick("gap_sensor").run_requests
        process.kill()
    assert site.tick("gap_sensor").run_requests
    assert {r.status for r in site.instance.get_runs(RunsFilter(run_ids=runs))} == {DagsterRunStatus.FAILURE}


def test_a_look_that_takes_too_long_goes_on_at_the_next_tick(
    folder_site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curation_assets.engine import heads

    site = folder_site
    assert site.run(
        "ingest",
        tags={"dagster/asset_partition_range_start": "d-00000", "dagster/asset_partition_range_end": "d-00003"},
    )
    monkeypatch.setattr(heads, "BATCH", 3)
    monkeypatch.setattr(heads, "RACY_NS", 0)  # the tables are new, and would be read again at each look
    monkeypatch.setattr(sensors, "LOOK_SECONDS", -1.0)
    said = []
    while not site.tick("gap_sensor").run_requests:
        said.append(site.said["gap_sensor"])
    assert said == [
        "5 tables still to be looked at; goes on at the next tick",
        "4 tables still to be looked at; goes on at the next tick",
        "1 table still to be looked at; goes on at the next tick",
    ]


def test_everything_is_stopped_until_it_is_switched_on(tmp_path: Path) -> None:
    site = Installation(tmp_path)
    site.recipes = {"d": recipe("folder", str(tmp_path))}
    repository = site.definitions.get_repository_def()
    assert {s.name for s in repository.sensor_defs} == {"source_sensor", "gap_sensor", "failure_notices"}
    assert {s.default_status for s in repository.sensor_defs} == {DefaultSensorStatus.STOPPED}
    assert {s.default_status for s in repository.schedule_defs} == {DefaultScheduleStatus.STOPPED}


def test_a_new_list_in_a_bucket_and_new_files_in_a_folder_go_through_the_graph(
    tmp_path: Path, s3_environment: S3Server
) -> None:
    """From a dropped file to the subset: the new shards alone are made, and copies of old videos are found."""
    site = Installation(
        tmp_path / "site", storage=f"{s3_environment.bucket()}/out", options={"s3_endpoint": s3_environment.endpoint}
    )
    lists = Storage(f"{s3_environment.bucket()}/lists", s3_environment.options)
    web, films = tmp_path / "web", tmp_path / "films"
    for folder in (web, films):
        folder.mkdir()
    for i in range(4):
        (web / f"w{i}.mp4").write_bytes(sample_video(seed=i))
    (web / "copy.mp4").write_bytes((web / "w0.mp4").read_bytes())
    (films / "f0.mp4").write_bytes(sample_video(seed=10))

    with served(web) as port:

        def write_list(name: str, *ids: str) -> None:
            rows = "".join(f"{i},http://127.0.0.1:{port}/{i}.mp4\n" for i in ids)
            lists.write(name, f"id,url\n{rows}".encode())

        write_list("first.csv", "w0", "w1")
        site.declare(
            f"dataset: web\nsource: {{format: table, path: {lists.root}, columns: {{id: id, url: url}}}}\nshard: {{videos: 2}}\n"
            f"download: {{info: false, allow_private: true}}\n{CHEAP}subsets: {{best: {{datasets: [web, films], where: [keep]}}}}\n",
            f"dataset: films\nsource: {{format: folder, path: {films}, settle_s: 0}}\nshard: {{videos: 1}}\n{CHEAP}",
        )

        def flow() -> None:
            """The sensors, until none of them requests anything, the source sensor at least twice."""
            for _ in range(10):
                if not site.sensor("source_sensor") + site.sensor("source_sensor") + site.settle():
                    return

        flow()
        before = site.tables()
        assert site.store.partitions("dedup") == ["films-00000", "web-00000"]
        write_list("second.csv", "w2", "copy")
        (films / "f1.mp4").write_bytes(sample_video(seed=11))
        flow()
    assert site.failed == []
    made = site.made_since(before)
    new = {"films-00001", "web-00001"}
    old = {(a, k) for a, k in made if k not in {*new, None, "web-best"}}
    assert old == {("dedup", "web-00000")}, "of the old shards, what is said of the clip that has a copy now"
    assert {a for a, k in made if k in new} >= {"raw_shards", "clips", "frames", "clip_fingerprints", "dedup"}
    assert {a for a, k in made if k is None} == {"dataset_index", "duplicate_clusters"}
    table = site.store.read("curated_clips", "web-best").to_pylist()
    verdicts = {(r["dataset"], r["video_id"]): r["selected"] for r in table}
    assert verdicts.keys() == {("web", v) for v in ("w0", "w1", "w2", "copy")} | {("films", v) for v in ("f0", "f1")}
    assert sorted((verdicts["web", "w0"], verdicts["web", "copy"])) == [False, True], "one of the two copies is kept"
    assert all(s for (d, v), s in verdicts.items() if v not in ("w0", "copy"))


def test_a_source_in_a_bucket_is_found_at_the_endpoint_though_tables_lie_in_a_folder(
    tmp_path: Path, s3_environment: S3Server
) -> None:
    films = Storage(f"{s3_environment.bucket()}/films", s3_environment.options)
    films.write("a.mp4", sample_video())
    site = Installation(tmp_path / "site", options={"s3_endpoint": s3_environment.endpoint})
    site.declare(f"dataset: films\nsource: {{format: folder, path: {films.root}}}\n{CHEAP}")
    assert site.sensor("source_sensor") + site.sensor("source_sensor") == 1
    site.settle()
    assert site.failed == []
    assert site.store.read("raw_shards", "films-00000")["status"].to_pylist() == ["ok"]
