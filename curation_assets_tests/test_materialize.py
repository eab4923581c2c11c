"""The loop that makes shards: one event, one check and one commit per partition; no-ops; failures that hide nothing."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path

import pyarrow as pa
import pytest
from dagster import AssetKey, AssetRecordsFilter, DagsterInstance, Definitions, ExecuteInProcessResult

from curation_assets.contracts.component import Component, Made, Stage
from curation_assets.engine.making import expected, make_shard
from curation_assets.engine.plan import ranges
from curation_assets.engine.run_tags import FORCE_TAG
from curation_assets.engine.shard import Shard
from curation_assets.orchestration.io_manager import TableIOManager
from curation_assets.orchestration.partitions import SHARDS
from curation_assets.orchestration.shard_assets import shard_assets
from curation_assets.recipes import Recipe, parse_recipe
from curation_assets.schemas import SCHEMAS, schema
from curation_assets.settings import Settings
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.tables import DamagedTable, TableStore

RECIPE = "dataset: toy\nsource: {format: ids, path: ids.txt}\n"
KEYS = [f"toy-{i:05d}" for i in range(4)]


class Toy:
    """Two real stages over tiny tables; counts how often each is made and fails where it is told to."""

    def __init__(self, root: Path) -> None:
        self.store = TableStore(Storage(str(root / "data")), SCHEMAS)
        self.settings = Settings(storage=str(root / "data"), workers=1)
        self.made: list[tuple[str, str]] = []
        self.broken: set[str] = set()
        self.lossy: set[str] = set()
        self.title = "a"
        self.titles: dict[str, str] = {}
        self.looked_at: list[str] = []
        (root / "home").mkdir()
        self.instance = DagsterInstance.local_temp(str(root / "home"), {"telemetry": {"enabled": False}})
        self.instance.add_dynamic_partitions(SHARDS.name or "", KEYS)

    def _metadata(self, shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
        self.made.append(("video_metadata", shard.key))
        if shard.key in self.broken:
            raise OSError(f"{shard.key} is broken")
        rows = [
            {
                "dataset": "toy",
                "video_id": f"{shard.key}-v{i}",
                "url": "u",
                "title": self.titles.get(f"{shard.key}-v{i}", self.title),
                "status": "ok",
                "source": "s",
                "line": i + 1,
            }
            for i in range(3)
        ]
        return {"video_metadata": Made(pa.Table.from_pylist(rows), metadata={"picture": "three videos"})}

    def _raw(self, shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
        self.made.append(("raw_shards", shard.key))
        videos = shard.table("video_metadata")["video_id"].to_pylist()
        titles = dict(zip(videos, shard.table("video_metadata")["title"].to_pylist(), strict=True))
        self.looked_at += videos
        if shard.key in self.lossy:
            videos = videos[1:]
        rows = [
            {"dataset": "toy", "video_id": v, "status": "ok", "attempts": len(self.made), "title": titles[v]}
            for v in videos
        ]
        return {
            "raw_shards": Made(
                pa.Table.from_pylist(
                    rows,
                    schema=pa.schema(
                        [
                            schema("raw_shards").arrow.field(n)
                            for n in ("dataset", "video_id", "status", "attempts", "title")
                        ]
                    ),
                )
            )
        }

    def definitions(self, recipe: Recipe | None = None) -> Definitions:
        recipes = {"toy": recipe or parse_recipe(RECIPE, "toy.yaml")}
        stages = [
            Stage(
                "video_metadata",
                (Component(schema("video_metadata"), "ingest", params=lambda r: r.source.model_dump()),),
                self._metadata,
            ),
            Stage(
                "raw_shards",
                (Component(schema("raw_shards"), "ingest", inputs=("video_metadata",), complete="video_metadata"),),
                self._raw,
                by_video=True,
            ),
        ]
        return Definitions(
            [shard_assets(s, self.settings, recipes) for s in stages],
            resources={
                "io_manager": TableIOManager(self.store),
                "tables": self.store,
                "recipes": recipes,
                "settings": self.settings,
            },
        )

    def run(self, first: str, last: str, recipe: Recipe | None = None, force: bool = False) -> ExecuteInProcessResult:
        job = self.definitions(recipe).resolve_implicit_global_asset_job_def()
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        tags |= {FORCE_TAG: "true"} if force else {}
        return job.execute_in_process(instance=self.instance, tags=tags, raise_on_error=False)

    def events(self, asset: str, key: str) -> int:
        found = self.instance.fetch_materializations(
            AssetRecordsFilter(AssetKey(asset), asset_partitions=[key]), limit=100
        )
        return len(found.records)


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def test_a_range_gives_one_event_with_its_own_data_version_and_one_check_per_partition(toy: Toy) -> None:
    first = toy.run(KEYS[0], KEYS[2])
    assert first.success
    versions = set()
    for key in KEYS[:3]:
        assert toy.events("video_metadata", key) == 1
        assert toy.events("raw_shards", key) == 1
        record = toy.instance.fetch_materializations(
            AssetRecordsFilter(AssetKey("raw_shards"), asset_partitions=[key]), limit=1
        ).records[0]
        tags = record.asset_materialization.tags
        header = toy.store.header("raw_shards", key)
        assert header is not None
        assert tags["dagster/data_version"] == header.content_hash
        upstream = toy.store.header("video_metadata", key)
        assert upstream is not None
        assert (
            tags["dagster/input_data_version/video_metadata"]
            == upstream.content_hash
            == header.provenance.inputs["video_metadata"]
        )
        versions.add(header.content_hash)
    assert len(versions) == 3
    assert toy.events("raw_shards", KEYS[3]) == 0
    again = toy.run(KEYS[0], KEYS[2])
    checks, repeated = (
        [e.asset_check_evaluation_data for e in run.all_events if e.event_type_value == "ASSET_CHECK_EVALUATION"]
        for run in (first, again)
    )
    assert repeated == [], "what held of a table when it was made is not looked at again"
    assert sorted((c.asset_key.to_user_string(), c.partition) for c in checks if c.check_name == "contract") == sorted(
        (a, k) for a in ("raw_shards", "video_metadata") for k in KEYS[:3]
    )


def test_an_unchanged_fingerprint_is_a_no_op_unless_forced(toy: Toy) -> None:
    toy.run(KEYS[0], KEYS[1])
    before = len(toy.made)
    path = toy.store.storage.uri(toy.store.path("raw_shards", KEYS[0]))
    stamp = Path(path).stat().st_mtime_ns
    assert toy.run(KEYS[0], KEYS[1]).success
    assert len(toy.made) == before
    assert Path(path).stat().st_mtime_ns == stamp
    assert toy.run(KEYS[0], KEYS[0], force=True).success
    assert len(toy.made) == before + 2


def test_an_event_of_what_was_up_to_date_repeats_nothing_that_dagster_has(toy: Toy) -> None:
    def shown() -> dict[str, object]:
        which = AssetRecordsFilter(AssetKey("video_metadata"), asset_partitions=[KEYS[0]])
        event = toy.instance.fetch_materializations(which, limit=1).records[0].asset_materialization
        assert event is not None
        return {k: v.value for k, v in event.metadata.items()}

    assert toy.run(KEYS[0], KEYS[0]).success
    first = shown()
    assert first["picture"] == "three videos"
    assert {"dagster/row_count", "wall_s", "cpu_s", "cost", "peak_rss_mb", "cpu_s_per_video"} <= set(first)
    for _ in range(2):
        assert toy.run(KEYS[0], KEYS[0]).success
        numbers = {k: v for k, v in first.items() if isinstance(v, int | float) and k != "table_bytes"}
        assert {"dagster/row_count", "wall_s", "cost"} <= numbers.keys(), "of which the UI draws a line"
        assert shown() == {"unchanged": True, **numbers}
    toy.instance.wipe_assets([AssetKey("video_metadata")])
    assert toy.run(KEYS[0], KEYS[0]).success
    told = {k: v for k, v in first.items() if k != "picture"}
    assert shown() == {**told, "unchanged": True}, "what Dagster knows nothing of is said in full"


def test_a_changed_parameter_remakes_its_asset_and_unchanged_content_stops_the_wave(toy: Toy) -> None:
    toy.run(KEYS[0], KEYS[0])
    toy.made.clear()
    changed = parse_recipe(RECIPE.replace("ids.txt", "other.txt"), "toy.yaml")
    assert toy.run(KEYS[0], KEYS[0], changed).success
    assert toy.made == [("video_metadata", KEYS[0])], "the rows are the same, so raw_shards is not made again"
    toy.title = "b"
    assert toy.run(KEYS[0], KEYS[0], parse_recipe(RECIPE.replace("ids.txt", "third.txt"), "toy.yaml")).success
    assert toy.made[-2:] == [("video_metadata", KEYS[0]), ("raw_shards", KEYS[0])]


def test_only_the_videos_that_changed_are_made_again_and_the_table_is_as_if_all_were(toy: Toy) -> None:
    toy.run(KEYS[0], KEYS[0])
    toy.looked_at.clear()
    toy.titles = {f"{KEYS[0]}-v1": "other"}
    assert toy.run(KEYS[0], KEYS[0], parse_recipe(RECIPE.replace("ids.txt", "other.txt"), "toy.yaml")).success
    assert toy.looked_at == [f"{KEYS[0]}-v1"]
    header = toy.store.header("raw_shards", KEYS[0])
    assert header is not None
    assert (header.rows, header.stats["videos_made"], header.stats["videos_kept"]) == (3, 1, 2)
    assert toy.store.read("raw_shards", KEYS[0])["title"].to_pylist() == ["a", "other", "a"]
    assert toy.run(
        KEYS[0], KEYS[0], parse_recipe(RECIPE.replace("ids.txt", "other.txt"), "toy.yaml"), force=True
    ).success
    forced = toy.store.header("raw_shards", KEYS[0])
    assert forced is not None
    assert forced.content_hash == header.content_hash
    assert len(toy.looked_at) == 4


def test_one_bad_shard_does_not_hide_the_good_ones(toy: Toy) -> None:
    toy.broken = {KEYS[1]}
    result = toy.run(KEYS[0], KEYS[2])
    assert not result.success
    failure = next(e for e in result.all_events if e.event_type_value == "STEP_FAILURE")
    assert "1 of 3 shards" in str(failure.step_failure_data.error) or "1 of 3 shards" in str(
        failure.step_failure_data.user_failure_data
    )
    assert [toy.events("video_metadata", k) for k in KEYS[:3]] == [1, 0, 1]
    toy.broken = set()
    toy.made.clear()
    assert toy.run(KEYS[0], KEYS[2]).success
    assert [m for m in toy.made if m[0] == "video_metadata"] == [("video_metadata", KEYS[1])]


def test_a_table_that_loses_rows_is_not_committed(toy: Toy) -> None:
    toy.lossy = {KEYS[0]}
    assert not toy.run(KEYS[0], KEYS[0]).success
    assert not toy.store.exists("raw_shards", KEYS[0])


def test_a_missing_input_says_what_to_materialize(toy: Toy) -> None:
    job = toy.definitions().resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=toy.instance, partition_key=KEYS[0], asset_selection=[AssetKey("raw_shards")], raise_on_error=False
    )
    failure = next(e for e in result.all_events if e.event_type_value == "STEP_FAILURE")
    text = str(failure.step_failure_data)
    assert "needs video_metadata" in text
    assert "materialize video_metadata first" in text


def test_ranges_cover_exactly_what_was_asked_for() -> None:
    order = list("abcdef")
    for asked, found in {"abc": ["abc"], "acdf": ["a", "cd", "f"], "": []}.items():
        assert ["".join(keys) for _, keys in ranges(dict.fromkeys(asked, ("clips",)), order)] == found


def test_a_damaged_table_is_made_again_and_a_damaged_input_says_what_to_do(toy: Toy) -> None:
    toy.run(KEYS[0], KEYS[0])
    toy.store.storage.write(toy.store.path("raw_shards", KEYS[0]), b"PAR1 torn")
    assert toy.run(KEYS[0], KEYS[0]).success
    assert toy.store.read("raw_shards", KEYS[0]).num_rows == 3
    shard = Shard(KEYS[0], parse_recipe(RECIPE, "toy.yaml"), toy.store, toy.settings, logging.getLogger())
    toy.store.storage.write(toy.store.path("video_metadata", KEYS[0]), b"PAR1 torn")
    with pytest.raises(DamagedTable, match=f"curation run RECIPE --select video_metadata --shards {KEYS[0]}"):
        expected(Component(schema("raw_shards"), "ingest", inputs=("video_metadata",)), shard)


@pytest.mark.parametrize("other", ["the same", "something else"])
def test_what_another_run_commits_meanwhile_is_taken_or_made_again(toy: Toy, other: str) -> None:
    """A run whose table was begun before another run's commit takes that if it was made from the same, else makes its own anew."""
    toy.run(KEYS[0], KEYS[0])
    toy.made.clear()
    recipe = parse_recipe(RECIPE, "toy.yaml")
    shard = Shard(KEYS[0], recipe, toy.store, toy.settings, logging.getLogger())
    part = Component(
        schema("raw_shards"), "ingest", code_version="2", inputs=("video_metadata",), complete="video_metadata"
    )

    def made_beside(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
        done = toy._raw(shard, wanted)
        if len(toy.made) == 1:  # while this one is made, another run commits
            now = expected(part, shard)
            theirs = now if other == "the same" else Provenance("other", now.params, now.inputs)
            toy.store.commit("raw_shards", shard.key, done["raw_shards"].table, theirs, {"theirs": True})
        return done

    stage = Stage("raw_shards", (part,), made_beside)
    [outcome] = make_shard(stage, ["raw_shards"], shard)
    header = toy.store.header("raw_shards", KEYS[0])
    assert header is not None
    assert header.fingerprint == expected(part, shard).fingerprint
    assert bool(header.stats.get("theirs")) == (other == "the same")
    assert (outcome.made is None) == (other == "the same")
    assert len(toy.made) == (1 if other == "the same" else 2)
