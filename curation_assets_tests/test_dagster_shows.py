"""Dagster shows what the engine does: events with data versions and numbers, checks, its own staleness, the sensor's requests, the launchpad.

What is made and what not is in test_recompute.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import AssetCheckKey, AssetKey, AssetRecordsFilter, Definitions

from curation_assets.commands.picture_server import PictureServer
from curation_assets.engine.staleness import FRESH, shard_states
from curation_assets.orchestration.definitions import build_definitions, settings_of_run
from curation_assets.orchestration.descriptions import asked
from curation_assets.orchestration.jobs import all_jobs
from curation_assets.recipes import parse_recipe
from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings
from curation_assets_tests.installation import QUIET, Installation
from curation_assets_tests.toy_site import RECIPE, SHARDS, SUBSET, over, prepared

PICTURES = re.compile(r"data:image/[^)]*")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Two shards of two videos, brought up to date by the gap sensor."""
    root = tmp_path_factory.mktemp("toy")
    with prepared(root):
        installation = Installation(root)
        installation.declare(RECIPE.format(root=root))
        assert installation.run("index")
        installation.settle()
        assert installation.failed == []
        yield installation


def test_what_the_sensor_leaves_is_fresh_to_both(toy: Installation) -> None:
    states = list(shard_states(toy.store, toy.recipes, toy.settings, remember=False))
    assert {s.state for s in states} == {FRESH}
    assert toy.said["gap_sensor"] == "every table is up to date"
    assert toy.stale_to_dagster() == {}


def test_a_change_is_requested_made_and_seen_by_dagster(toy: Installation) -> None:
    before = toy.tables()
    toy.declare(RECIPE.replace("a picture of a cat", "a photo of a cat").format(root=toy.root))
    toy.settle()
    assert toy.failed == []
    assert toy.made_since(before) == over("category_scores") | {SUBSET}
    assert toy.stale_to_dagster() == {}


def test_every_event_says_the_version_and_what_it_took(toy: Installation) -> None:
    for asset, key in toy.tables():
        header = toy.store.header(asset, key)
        assert header is not None
        event = toy.instance.fetch_materializations(
            AssetRecordsFilter(AssetKey(asset), asset_partitions=[key] if key else None), limit=1
        ).records[0]
        assert event.asset_materialization
        shown = event.asset_materialization.metadata
        assert (event.asset_materialization.tags or {})["dagster/data_version"] == header.content_hash
        (check,) = toy.instance.event_log_storage.get_asset_check_execution_history(
            AssetCheckKey(AssetKey(asset), "contract"), limit=1
        )
        assert check.status.value == "SUCCEEDED"
        assert shown["dagster/row_count"].value == header.rows
        assert shown["table_bytes"].value == toy.store.storage.size(toy.store.path(asset, key))
        assert shown["cpu_s"].value == header.stats["cpu_s"]


def test_pictures_lie_beside_tables_and_events_link_to_them(toy: Installation) -> None:
    """Every link opens the sheet that lies beside the table, and what an event holds of pictures is small."""
    linked = set()
    with PictureServer(toy.store, ("127.0.0.1", 0)) as server:
        for asset, key in toy.tables():
            records = toy.instance.fetch_materializations(
                AssetRecordsFilter(AssetKey(asset), asset_partitions=[key] if key else None), limit=10
            ).records
            for event in (r.asset_materialization for r in records):
                assert event is not None
                assert sum(len(t) for v in event.metadata.values() for t in PICTURES.findall(str(v.value))) < 6_000
            latest = records[0].asset_materialization
            assert latest is not None
            if key is not None and "clip_id" in SCHEMAS[asset].names:
                place = f"toy/shard:{key}" if key in SHARDS else key
                assert latest.metadata["look"].value == f"{toy.settings.look_url}/#{place}"
            else:
                assert "look" not in latest.metadata
            if "sheet" in latest.metadata:
                address = str(latest.metadata["sheet"].value).removeprefix(toy.settings.pictures_url)
                shown = server.sheet(address)
                assert shown == toy.store.storage.read(address.lstrip("/").split("?")[0])
                linked.add(asset)
    assert {"raw_shards", "frames", "category_scores"} <= linked
    lying = {p.relative_to(toy.root / "data").parts[0] for p in (toy.root / "data").rglob("sheet.jpg")}
    assert lying == linked


def test_each_category_shows_its_lowest_median_and_highest_clip(toy: Installation) -> None:
    event = toy.instance.fetch_materializations(
        AssetRecordsFilter(asset_key=AssetKey("category_scores"), asset_partitions=[SHARDS[0]]), limit=1
    ).records[0]
    assert event.asset_materialization
    shown = event.asset_materialization.metadata
    scores = toy.store.read("category_scores", SHARDS[0]).sort_by("score").to_pylist()
    said, picture, link = shown["lowest_median_highest"].value.split("\n\n")
    assert picture.startswith("![contact sheet](data:image/jpeg;base64,")
    assert shown["sheet"].value in link
    rows = [line.split(" | ") for line in said.splitlines()[2:]]
    assert [row[0] for row in rows] == ["| kind.noise", "| kind.cat"]
    for row, category in zip(rows, ("noise", "cat"), strict=True):
        known = [s["score"] for s in scores if s["category"] == category]
        cells = [cell.removesuffix(" |") for cell in row[1:]]
        assert cells == [f"{known[i]:.3g}" for i in (0, len(known) // 2, -1)]
    bars = shown["distributions"].value
    assert "kind.noise" in bars
    assert "kind.cat" in bars


def test_the_launchpad_describes_its_fields_and_one_run_obeys_them(toy: Installation) -> None:
    fields = settings_of_run(toy.settings).config_schema.config_type.fields
    assert fields.keys() == {"force", "workers"}
    assert all(f.description for f in fields.values())
    before = toy.tables()
    job = toy.definitions.resolve_job_def("curate")
    for options, made in (({"workers": 2}, set()), ({"force": True}, {("motion_scores", SHARDS[0])})):
        result = job.execute_in_process(
            instance=toy.instance,
            run_config={**QUIET, "resources": {"settings": {"config": options}}},
            asset_selection=[AssetKey("motion_scores")],
            partition_key=SHARDS[0],
        )
        assert result.success
        assert toy.made_since(before) == made


def test_what_nobody_asks_for_says_so() -> None:
    texts = {"a": "text: {}\nsubsets: {s: {}}", "b": "subsets: {t: {of: tracks}}"}
    recipes = {
        n: parse_recipe(f"dataset: {n}\nsource: {{format: folder, path: x}}\n{text}\n", n) for n, text in texts.items()
    }
    assert asked("clips", recipes) == ""
    assert "Asked for by `a`; not by `b`." in asked("text_scores", recipes)
    assert "**No recipe asks for it**" in asked("audio_scores", recipes)
    assert "`audio:` in a recipe asks for it" in asked("audio_scores", recipes)
    assert "Asked for by `a-s`; not by `b-t`." in asked("curated_clips", recipes)
    assert "**No subset asks for it**" in asked("clip_dataset", recipes)
    assert "**No recipe asks for it**" in asked("clips", {})


def test_the_code_location_loads_as_the_ui_loads_it() -> None:
    """All jobs are resolved at once there: two things of one name show in no run of the command line."""
    recipe = parse_recipe("dataset: a\nsource: {format: folder, path: x}\nsubsets: {s: {}}\n", "a.yaml")
    Definitions.validate_loadable(build_definitions(Settings(storage="memory://none"), {"a": recipe}))


def test_the_tour_names_the_jobs_as_dagster_does() -> None:
    tour = (Path(__file__).parents[1] / "docs/how-to/ui.md").read_text(encoding="utf-8")
    section = tour.partition("## Jobs and automation")[2].partition("Everything under")[0]
    assert set(re.findall(r"`(\w+)`", section)) == {job.name for job in all_jobs([])}
