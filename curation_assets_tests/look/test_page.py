"""What a person does on the page, in a real browser: sees clips, plays one, moves a number, takes the line for the recipe, filters, walks with keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pytest
from playwright.sync_api import Page, Route, expect

from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets_tests.browser import NoBrowser, browser_page, chromium
from curation_assets_tests.look.small_root import SHARDS, commit, fill, served
from curation_resources.tables import TableStore

expect.set_options(timeout=200_000)


TRACK = {
    "video_id": "v0",
    "clip_id": "v0_500_1000",
    "track_id": "v0_500_1000_0000",
    "label": "dog",
    "start_ms": 500,
    "end_ms": 900,
    "frame_ms": [500, 700, 900],
    "boxes": [[10.0, 20.0, 30.0, 40.0], [50.0, 20.0, 30.0, 40.0], [90.0, 20.0, 30.0, 40.0]],
    "detector": "d",
    "area": 0.1,
}
"""An object that moves to the right."""


def with_concepts(store: TableStore) -> None:
    """The subset as it is judged where a recipe asks for concepts: every third clip is of the same one."""
    header, table = store.header("curated_clips", "toy-hq"), store.read("curated_clips", "toy-hq")
    assert header is not None
    rows = [row | {"concept": n % 3, "concept_distance": n / 100} for n, row in enumerate(table.to_pylist())]
    made = pa.Table.from_pylist(rows, schema=table.schema)
    store.commit("curated_clips", "toy-hq", made, header.provenance, header.stats)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    try:
        chromium()
    except NoBrowser as missing:
        pytest.skip(str(missing))
    store = table_store(Settings(storage=str(tmp_path)))
    fill(store)
    with_concepts(store)
    commit(store, "tracks", SHARDS[0], [TRACK])
    labels = str(tmp_path / "labels.jsonl")
    with served(store, labels=labels) as address, browser_page(address, timeout_s=200) as page:
        faults: list[str] = []
        elsewhere: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda r: elsewhere.append(r.url) if not r.url.startswith(address) else None)
        page.goto("/")
        yield page
        assert faults == []
        assert elsewhere == [], "nothing is asked of anybody else"


def test_a_threshold_is_set_by_eye_and_a_clip_is_watched(page: Page) -> None:
    cards = page.locator("#grid .card")
    expect(cards).to_have_count(16)
    expect(page.locator("#summary")).to_contain_text("8 clips kept of 16")
    expect(page.locator("#summary")).to_contain_text("as in the recipe")
    page.wait_for_function("[...document.querySelectorAll('#grid img')].slice(0, 4).every(i => i.naturalWidth === 64)")

    # A number is moved: the whole funnel, the sides, the clips beside it and the line follow.
    page.locator('[data-rule="1"] input[type=range]').evaluate(
        "(r) => { r.focus(); r.value = 0.5; r.dispatchEvent(new Event('input', { bubbles: true })); }"
    )
    expect(page.locator("#summary")).to_contain_text("4 clips kept of 16")
    expect(page.locator("#summary")).to_contain_text("− 4 go out")
    expect(page.locator('[data-rule="1"] code')).to_have_text("motion >= 0.5")
    expect(page.locator("#edge .side").first.locator(".card")).to_have_count(4)
    expect(page.locator("#yaml ins")).to_have_text('+  - "motion >= 0.5"')
    expect(page.locator("#yaml del")).to_contain_text('"motion >= 0.3"')
    page.locator("#show").select_option("went")
    expect(cards).to_have_count(4)
    expect(cards.first.locator(".mark")).to_have_text("−")
    expect(cards.first.locator(".why")).to_contain_text("motion >= 0.5")
    page.locator("#reset").click()
    expect(page.locator("#summary")).to_contain_text("as in the recipe")
    expect(page.locator("#yaml")).to_be_hidden()

    # Filter, walk, play where it stands, look at one.
    page.locator("#show").select_option("all")
    page.keyboard.press("Escape")
    page.locator("#where").fill("motion > 0.5 and keep")
    page.locator("#where").press("Enter")
    expect(cards).to_have_count(5)
    page.locator("#where").press("Escape")
    for key in ("ArrowRight", "ArrowRight", " "):
        page.keyboard.press(key)
    video = page.locator("#grid .card.at video")
    expect(video).to_have_count(1)
    start = int(str(page.locator("#grid .card.at").get_attribute("title")).split("_")[1]) / 1000
    page.wait_for_function(
        "(start) => { const v = document.querySelector('.card.at video'); return v && !v.error && v.videoWidth === 160 && v.currentTime >= start && v.currentTime < start + 0.6; }",
        arg=start,
    )
    page.keyboard.press("Enter")
    dialog = page.locator("#clip")
    expect(dialog.locator("table.rules tbody tr")).to_have_count(4)
    expect(dialog.locator(".facts h3", has_text="video v")).to_be_visible()
    title = dialog.locator("header h2")
    first = title.inner_text()
    page.keyboard.press("ArrowRight")
    expect(title).not_to_have_text(first)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()

    # What cannot be read is said, and the page goes on.
    page.locator("#where").fill("motoin > 0")
    page.locator("#where").press("Enter")
    expect(page.locator("#fault")).to_contain_text("no table has the column 'motoin'; did you mean motion?")
    page.locator("#where").fill("")
    page.locator("#where").press("Enter")
    expect(page.locator("#fault")).to_be_hidden()


def test_a_rule_is_tried_copies_lie_side_by_side_and_failures_have_their_reason(page: Page) -> None:
    page.locator("#add input").fill("sharpness >= 2")
    page.locator("#add button").click()
    expect(page.locator('[data-rule="4"] svg')).to_be_visible()
    expect(page.locator("#yaml ins")).to_have_text('+  - "sharpness >= 2"')
    page.locator('[data-rule="0"] input[type=checkbox]').uncheck()
    expect(page.locator('[data-rule="0"] .left')).to_have_text("not applied")
    expect(page.locator("#yaml del")).to_contain_text("keep")

    page.get_by_role("button", name="copies").click()
    pairs = page.locator("#grid .card .pair")
    expect(pairs).to_have_count(2)
    page.locator("#grid .card figcaption").first.click()
    expect(page.locator("#clip .two .screen")).to_have_count(2)
    expect(page.locator("#clip .two")).to_contain_text("which is kept: copy, 0.97")
    page.keyboard.press("Escape")

    page.get_by_role("button", name="failed").click()
    expect(page.locator("#grid td", has_text="the host says 404")).to_be_visible()
    page.locator("#collection").select_option("toy-new")
    expect(page.locator("#notice")).to_contain_text("no run has judged it yet")
    expect(page.locator("#grid .card")).to_have_count(16)


def test_a_clip_is_labelled_on_its_page_and_a_label_is_made_a_word(page: Page, tmp_path: Path) -> None:
    page.locator("#add input").fill("not label.drop")
    page.locator("#add button").click()
    expect(page.locator("#rules .rule")).to_have_count(5)
    page.locator("#grid .card figcaption").first.click()
    dialog = page.locator("#clip")
    keep, drop = dialog.locator('[data-label="keep"]'), dialog.locator('[data-label="drop"]')
    rule = dialog.locator("table.rules tr", has_text="not label.drop").locator(".mark")
    expect(rule).to_have_text("✓")
    page.keyboard.press("n")
    expect(drop).to_have_attribute("aria-pressed", "true")
    expect(rule).to_have_text("✕")
    page.keyboard.press("y")
    expect(keep).to_have_attribute("aria-pressed", "true")
    expect(drop).to_have_attribute("aria-pressed", "false")
    expect(rule).to_have_text("✓")
    page.keyboard.press(" ")
    expect(keep).to_have_attribute("aria-pressed", "true")  # space plays, whatever button comes first
    page.keyboard.press("Escape")
    expect(page.locator("#grid .card").first.locator(".labels")).to_have_text("keep")

    page.locator("#grid .card .shot").first.click()  # at hand again: a rule that is added draws the grid anew
    page.locator("#labels input").fill(" Bad cut! ")
    page.locator("#labels input").press("Enter")
    expect(page.locator("#grid .card").first.locator(".labels")).to_have_text("bad_cutkeep")
    expect(page.locator("#fault")).to_be_hidden()
    assert '"bad_cut"' in (tmp_path / "labels.jsonl").read_text(encoding="utf-8")


def test_nothing_is_asked_of_rules_that_are_not_there_yet(page: Page) -> None:
    held: list[Route] = []
    page.route("**/api/collection?*", lambda route: held.append(route))
    page.reload()
    for control in ("#add input", "#add button", "#where", "#labels input", "#tabs button[data-tab=failed]"):
        expect(page.locator(control)).to_be_disabled()
    while not held:
        page.wait_for_timeout(20)
    held.pop().continue_()
    page.locator("#add input").fill("motion >= 0.5")  # as soon as it can be
    page.locator("#add button").click()
    expect(page.locator("#rules .rule")).to_have_count(5)
    expect(page.locator("#summary")).to_contain_text("4 clips kept of 16")
    expect(page.locator("#fault")).to_be_hidden()


def test_what_takes_long_is_said_and_comes_only_where_it_is_still_wanted(page: Page) -> None:
    """As over a bucket: each answer of these lets a while pass, until the test lets it by."""
    held: list[Route] = []
    page.route("**/api/clip?*", lambda route: held.append(route))
    page.route("**/api/failed?*", lambda route: held.append(route))

    def awaited(count: int) -> None:
        page.wait_for_timeout(100)
        while len(held) < count:
            page.wait_for_timeout(50)

    page.locator("#grid .card figcaption").first.click()
    dialog = page.locator("#clip")
    expect(dialog.locator("h2")).to_have_text("v0_0_500")
    expect(dialog.get_by_role("status")).to_have_text("looking …")
    page.keyboard.press("y")  # labels it, though its page is not there yet
    awaited(2)
    page.keyboard.press("Escape")
    expect(page.locator("#grid .card").first.locator(".labels")).to_have_text("keep")
    for route in held:
        route.continue_()
    page.wait_for_load_state("networkidle")
    expect(dialog).to_be_hidden()  # and does not come when nobody wants it any more

    held.clear()
    page.get_by_role("button", name="failed").click()
    expect(page.locator("#waiting")).to_be_visible()
    awaited(1)
    page.get_by_role("button", name="clips", exact=True).click()
    held[0].continue_()
    expect(page.locator("#waiting")).to_be_hidden()
    expect(page.locator("#grid .card")).to_have_count(16)
    expect(page.locator("#grid td")).to_have_count(0)


@pytest.mark.parametrize(("last", "more"), [(500, ""), (501, "there are more: curation list failed")])
def test_that_there_are_more_failures_is_said_where_there_are(page: Page, last: int, more: str) -> None:
    def answer(route: Route) -> None:
        begin = int(parse_qs(urlsplit(route.request.url).query)["from"][0])
        videos = range(1500) if begin == 0 else range(1500, 1500 + last)
        rows = [{"dataset": "toy", "table": "raw_shards", "video_id": f"v{n}", "why": "gone"} for n in videos]
        told = {"rows": rows, "more": False, "next": 1 if begin == 0 else None, "looked": begin + 1, "tables": 2}
        route.fulfill(json=told)

    page.route("**/api/failed?*", answer)
    page.get_by_role("button", name="failed").click()
    expect(page.locator("#grid tbody tr")).to_have_count(2000)
    expect(page.locator("#more")).to_have_text(more)


def test_nothing_is_cut_off_and_what_labels_stays_in_sight(page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 600})
    page.locator('[data-rule="1"] input[type=range]').evaluate(
        "(r) => { r.focus(); r.value = 0.5; r.dispatchEvent(new Event('input', { bubbles: true })); }"
    )
    expect(page.locator("#summary")).to_contain_text("go out")
    sticking = "(of) => { const e = document.querySelector(of); return e.scrollWidth - e.clientWidth; }"
    for box in ("#summary", "#side", "main"):
        assert page.evaluate(sticking, box) <= 0, box
    page.locator("#grid").focus()
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#labels")).to_be_in_viewport()
    for _ in range(12):
        page.keyboard.press("ArrowLeft")
    hidden = page.evaluate(
        "() => document.querySelector('#head').getBoundingClientRect().bottom - document.querySelector('.card.at').getBoundingClientRect().top"
    )
    assert hidden <= 0, "the clip at hand is not under the head of the grid"
    page.get_by_role("button", name="failed").click()
    expect(page.locator("#grid table")).to_be_visible()
    expect(page.locator("#edge")).to_be_hidden()


def test_a_lasso_at_the_end_of_what_is_seen_scrolls_on(page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 500})
    cards = page.locator("#grid .card")
    expect(cards).to_have_count(16)
    expect(cards.last).not_to_be_in_viewport()
    first = cards.nth(0).bounding_box()
    assert first is not None
    page.mouse.move(first["x"] + 10, first["y"] + 10)
    page.mouse.down()
    page.mouse.move(1260, 495, steps=4)
    expect(cards.last).to_be_in_viewport()
    box = page.locator("#lasso").bounding_box()
    assert box is not None
    assert box["y"] >= 40, "what has scrolled away is not drawn over the head of the page"
    page.wait_for_function(
        "() => { const m = document.querySelector('main'); return m.scrollTop + m.clientHeight >= m.scrollHeight - 1; }"
    )
    page.mouse.up()
    expect(page.locator("#marked")).to_have_text("16 marked")


def test_a_lasso_marks_a_concept_shows_its_clips_and_boxes_follow_the_video(page: Page) -> None:
    cards = page.locator("#grid .card")
    expect(cards).to_have_count(16)
    first, fifth = cards.nth(0).bounding_box(), cards.nth(1).bounding_box()
    assert first is not None
    assert fifth is not None
    page.mouse.move(first["x"] + 10, first["y"] + 10)
    page.mouse.down()
    page.mouse.move(fifth["x"] + 20, fifth["y"] + 30, steps=4)
    expect(page.locator("#lasso")).to_be_visible()
    page.mouse.up()
    expect(page.locator("#lasso")).to_have_count(0)
    expect(page.locator("#grid .card.marked")).to_have_count(2)
    expect(page.locator("#marked")).to_have_text("2 marked")
    expect(page.locator("#clip")).to_be_hidden()
    cards.nth(3).click(modifiers=["Control"])
    expect(page.locator("#marked")).to_have_text("3 marked")

    page.get_by_role("button", name="concepts").click()
    groups = page.locator("#grid .concept")
    expect(groups).to_have_count(3)
    expect(groups.first).to_contain_text("concept 0")
    expect(groups.first).to_contain_text("6 clips")
    expect(groups.first.locator("img")).to_have_count(4)
    groups.first.click()
    expect(cards).to_have_count(6)
    expect(page.locator("#where")).to_have_value("concept = 0")

    # The boxes of its tracks are drawn over a clip's video.
    page.locator("#where").fill("")
    page.locator("#where").press("Enter")
    page.locator("#grid .card", has_text="v0_500_1000").locator("figcaption").click()
    group = page.locator('#clip .boxes [data-track="v0_500_1000_0000"]')
    page.wait_for_function("() => document.querySelector('#clip video')?.readyState >= 2")
    for moment, x in ((0.55, "10"), (0.75, "50"), (0.95, "90")):
        page.evaluate(
            "(t) => { const v = document.querySelector('#clip video'); v.pause(); v.currentTime = t; }", moment
        )
        expect(group.locator("rect")).to_have_attribute("x", x)
        expect(group.locator("rect")).to_have_attribute("width", "30")
        expect(group.locator("text")).to_have_text("dog")
    page.evaluate("() => { document.querySelector('#clip video').currentTime = 1.4; }")
    expect(group).to_be_hidden()
