"""Labels given on the page: written at once, seen by rules at once, held against them; and nobody else's page can give them."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import expect

from curation_assets.look.grid_order import GridQuery
from curation_assets.look.labelling import LabelFiles, best_fit
from curation_assets.scores.label_file import LabelFile, Said
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets_tests.browser import NoBrowser, browser_page, chromium
from curation_assets_tests.look.small_root import fill, opened, recipes, served
from curation_resources.tables import TableStore

OPS = {">=": np.greater_equal, ">": np.greater, "<=": np.less_equal, "<": np.less}
VALUES = st.one_of(st.floats(-5, 5, allow_nan=False).map(lambda v: round(v, 2)), st.just(float("nan")))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TableStore:
    made = table_store(Settings(storage=str(tmp_path_factory.mktemp("root"))))
    fill(made)
    return made


@given(
    st.lists(st.tuples(VALUES, st.booleans()), min_size=1, max_size=12),
    st.sampled_from(sorted(OPS)),
    st.floats(-6, 6, allow_nan=False),
)
def test_no_number_agrees_with_more_than_the_best(labelled: list[tuple[float, bool]], op: str, now: float) -> None:
    values, keep = np.array([v for v, _ in labelled]), np.array([k for _, k in labelled])
    number, agreed = best_fit(values, keep, op, now)
    assert agreed == np.count_nonzero(OPS[op](values, number) == keep)
    tried = [*np.linspace(-7, 7, 281), now, *values[np.isfinite(values)], *(values[np.isfinite(values)] + 1e-6)]
    assert agreed >= max(np.count_nonzero(OPS[op](values, at) == keep) for at in tried)
    if np.count_nonzero(OPS[op](values, now) == keep) == agreed:
        assert number == now, "it stays where it is, if that is as good"


def test_the_best_number_is_short_where_it_can_be() -> None:
    """It is written into a recipe: one beyond all values had all the digits of a measurement."""
    values = np.array([0.0141303270975, 0.31, 0.52])
    assert best_fit(values, np.array([True, True, True]), ">=", 0.6) == (0.01, 3)
    number, agreed = best_fit(values, np.array([False, False, False]), ">=", 0.1)
    assert (len(str(number)) <= 6, agreed) == (True, 3)


def test_rules_are_held_against_labels(store: TableStore, tmp_path: Path) -> None:
    file = LabelFile(str(tmp_path / "l.jsonl"))
    at_hand = recipes(file.location)
    view, labels = opened(store, at_hand, "toy-hq"), LabelFiles(at_hand, "me")
    rules = tuple(view.funnel.declared)
    assert view.agreement(rules)["precision"] is None
    labels.say([("toy", "v1_0_500"), ("toy", "v2_1000_1500")], "keep", True)  # motion 0.6 and 0.7
    labels.say([("toy", "v0_500_1000"), ("toy", "v2_500_1000")], "drop", True)  # 0.31 and 0.35, which the rules keep
    told = view.agreement(rules)
    assert {n: told[n] for n in ("keep", "drop", "kept_keep", "kept_drop", "precision", "recall")} == {
        "keep": 2, "drop": 2, "kept_keep": 2, "kept_drop": 2, "precision": 0.5, "recall": 1.0
    }  # fmt: skip
    (fit,) = [f for f in told["fits"] if f["rule"] == 1]
    assert 0.35 < fit["value"] < 0.6
    assert (fit["agreed"], fit["of"]) == (4, 4)
    assert {i["id"] for i in view.rows(GridQuery(rules, "disagree"))["items"]} == {"v0_500_1000", "v2_500_1000"}
    assert {i["id"] for i in view.rows(GridQuery(rules, "label:keep"))["items"]} == {"v1_0_500", "v2_1000_1500"}
    before = view.funnel.steps([*rules, ("not label.drop", True)])[-1].rows
    labels.say([("toy", "v1_0_500")], "drop", True)
    assert file.labels()["v1_0_500"].keys() == {"drop"}, "to keep and to drop exclude each other"
    assert view.funnel.steps([*rules, ("not label.drop", True)])[-1].rows == before - 1, "what was said is seen at once"
    assert [i["labels"] for i in view.rows(GridQuery((), where="label.drop and motion > 0.5"))["items"]] == [["drop"]]


def post(address: str, body: Any, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=240)
    try:
        connection.request("POST", "/api/label", body if isinstance(body, str) else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_labels_are_taken_from_the_page_alone(store: TableStore, tmp_path: Path) -> None:
    file = LabelFile(str(tmp_path / "l.jsonl"))
    page, good = {"x-curation-look": "1"}, {"clips": [["toy", "v0_0_500"]], "label": "ok", "holds": True}
    with served(store, labels=file.location) as address:
        assert post(address, good, {})[0] == 403, "a form of another page cannot give the header"
        for wrong, said in (
            ("no", "are wanted, as JSON"),
            ([1], "are wanted, as JSON"),
            ({**good, "label": "../x"}, "a label is a word"),
            ({**good, "clips": [["other", "c"]]}, "the recipe of other has no file of labels"),
            ({**good, "clips": [["toy", "c"]] * 5001}, "up to 5000 clips"),
        ):
            status, told = post(address, wrong, page)
            assert status == 400
            assert said in told["error"]
        assert not Path(file.location).exists()
        assert post(address, good, page) == (200, {"labelled": 1})
    assert file.labels()["v0_0_500"]["ok"].who == "somebody"


@pytest.fixture
def file(tmp_path: Path) -> LabelFile:
    try:
        chromium()
    except NoBrowser as missing:
        pytest.skip(str(missing))
    return LabelFile(str(tmp_path / "l.jsonl"))


def test_clips_are_labelled_with_keys_and_the_recipe_follows(store: TableStore, file: LabelFile) -> None:
    expect.set_options(timeout=200_000)
    with served(store, labels=file.location) as address, browser_page(address, timeout_s=200) as page:
        page.goto("/")
        cards = page.locator("#grid .card")
        expect(cards).to_have_count(16)
        page.locator("#sort").select_option("motion")
        expect(cards.first).to_have_attribute("title", "v1_1000_1500: dropped by sharpness <= p90 (6)")
        for key in ("ArrowRight", "ArrowRight", "y"):  # the second: motion 0.8
            page.keyboard.press(key)
        expect(cards.nth(1).locator(".labels")).to_have_text("keep")
        expect(page.locator("#agreement")).to_contain_text("Of 1 labelled keep the rules keep 1")
        page.locator("#where").fill("motion < 0.4 and motion > 0.3 and keep")
        page.locator("#where").press("Enter")
        expect(cards).to_have_count(2)
        page.locator("#where").press("Escape")
        page.keyboard.press("a")
        expect(page.locator("#marked")).to_have_text("2 marked")
        page.keyboard.press("n")
        expect(page.locator("#agreement")).to_contain_text("of 2 labelled drop, 2 (precision 33 %)")
        page.locator("#agreement button", has_text="take it").first.click()
        expect(page.locator("#agreement")).to_contain_text("of 2 labelled drop, 0 (precision 100 %)")
        expect(page.locator("#yaml ins")).to_contain_text("motion >= 0.")
    assert Said("v3_0_500", "keep", True, "somebody") in [
        Said(s.clip, s.label, s.holds, s.who) for own in file.labels().values() for s in own.values()
    ]
