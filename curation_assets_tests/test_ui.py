"""What a newcomer clicks first, in a real browser on the real web server: from an empty instance to a checked table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from curation_assets_tests.browser import NoBrowser, browser_page, chromium, web_server
from curation_assets_tests.sample_video import sample_video

INSTANCE = """
telemetry: {enabled: false}
nux: {enabled: false}
run_coordinator: {module: dagster.core.run_coordinator, class: DefaultRunCoordinator}  # no daemon is needed to start runs
"""
RECIPE = "dataset: toy\nsource: {format: folder, path: videos}\nshard: {videos: 2}\n"
RUN_S = 300
"""How long a run may take, process start included, on a machine that does much else."""
pytestmark = pytest.mark.timeout(900)
expect.set_options(timeout=200_000)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A browser in front of a fresh instance with three videos and one recipe."""
    try:
        chromium()
    except NoBrowser as missing:
        pytest.skip(str(missing))
    for name in ("home", "recipes", "videos"):
        (tmp_path / name).mkdir()
    (tmp_path / "home/dagster.yaml").write_text(INSTANCE)
    (tmp_path / "recipes/toy.yaml").write_text(RECIPE)
    for seed, name in enumerate(("apple", "pear", "plum")):
        (tmp_path / f"videos/{name}.mp4").write_bytes(sample_video(seed=seed))
    environment = {"DAGSTER_HOME": str(tmp_path / "home"), "CURATION_STORAGE": "data", "CURATION_RECIPES": "recipes"}
    with web_server(tmp_path, environment) as address, browser_page(address) as page:
        yield page


def test_a_newcomer_gets_from_the_graph_to_a_checked_table(page: Page) -> None:
    page.goto("/asset-groups")
    for group in ("ingest", "decode", "dedup", "scores", "captions", "tracks", "publish"):
        expect(page.get_by_text(group, exact=True).first).to_be_visible()

    page.get_by_role("link", name="Catalog").click()
    page.get_by_role("link", name="dataset_index").click()
    expect(page.get_by_text("Start here.")).to_be_visible()
    never = page.get_by_text("Never materialized")
    expect(never).to_be_visible()
    page.locator("button", has_text="Materialize").first.click()
    expect(never).to_be_hidden(timeout=RUN_S * 1000)

    page.goto("/assets/video_metadata?view=partitions")
    for shard in ("toy-00000", "toy-00001"):
        expect(page.get_by_text(shard, exact=True).first).to_be_visible()
    page.get_by_text("toy-00001", exact=True).first.click()
    page.locator("button", has_text="Materialize").first.click()
    page.locator("button", has_text="Launch 1 run").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.get_by_role("link", name="Runs").click()
    expect(page.get_by_text("Success", exact=True)).to_have_count(2, timeout=RUN_S * 1000)

    page.goto("/assets/video_metadata?view=partitions&partition=toy-00001")
    rows = page.get_by_role("row").filter(has_text="dagster/row_count")
    expect(rows.get_by_role("cell").nth(1)).to_have_text("1")

    page.get_by_role("tab", name="Checks").click()
    expect(page.get_by_text("toy-00001: 1 row fits the schema")).to_be_visible()
    expect(page.get_by_text("Passed", exact=True)).to_be_visible()
