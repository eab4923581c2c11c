"""A collection whose columns are still being made, in a real browser: its first clips are seen, how far it is is said, and the rules come when they can be moved."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from curation_assets.look import views
from curation_assets.look.preparation import Preparation
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets_tests.browser import NoBrowser, browser_page, chromium
from curation_assets_tests.look.small_root import fill, served
from curation_resources.progress import tell


@pytest.mark.parametrize(("key", "marks"), [("toy-hq", ["✓", "✕"]), ("toy-new", ["…"])])
def test_the_grid_comes_before_the_rules(
    key: str, marks: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        chromium()
    except NoBrowser as missing:
        pytest.skip(str(missing))
    go_on, begin = threading.Event(), Preparation.begin

    def slowly(self: Preparation, first: Callable[[], None], later: Callable[[], None]) -> None:
        def held() -> None:
            tell(2, 7, "row groups")
            go_on.wait(250)
            first()

        begin(self, held, later)

    monkeypatch.setattr(Preparation, "begin", slowly)
    monkeypatch.setattr(views, "SMALL_S", 0.1)
    store = table_store(Settings(storage=str(tmp_path)))
    fill(store)
    with served(store) as address, browser_page(address, timeout_s=200) as page:
        try:
            page.goto(f"/#{key}")
            cards = page.locator("#grid .card")
            expect(cards).to_have_count(16)
            page.wait_for_function(
                "[...document.querySelectorAll('#grid img')].slice(0, 4).every(i => i.naturalWidth === 64)"
            )
            expect(page.locator("#notice")).to_have_text("reading tables: 2 of 7 row groups …")
            expect(page.locator("#rules section")).to_have_count(0)
            assert {m.inner_text() for m in cards.locator(".mark").all()} == set(marks)
        finally:
            go_on.set()
        expect(page.locator("#summary")).to_contain_text("kept of 16")
        expect(page.locator("#rules section").first).to_be_visible()
        expect(cards).to_have_count(16)
        expect(page.locator("#notice")).to_contain_text(
            "as its table in force has it" if key == "toy-hq" else "no run has judged it yet"
        )
