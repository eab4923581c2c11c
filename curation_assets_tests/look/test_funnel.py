"""The page counts what a run would count: funnels, sides that change, order; from a table in force and from the tables of shards."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from curation_assets.look import row_bits
from curation_assets.look.concept_groups import by_concept
from curation_assets.look.funnel import Asked
from curation_assets.look.grid_order import GridQuery
from curation_assets.look.row_bits import number_of
from curation_assets.look.scales import BINS, Scale
from curation_assets.look.views import CollectionView
from curation_assets.publish.curating.curating import curate
from curation_assets.publish.curating.subset_inputs import subset_shards
from curation_assets.publish.subsets import Subset
from curation_assets.rules.language import RuleError
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets_tests.look.small_root import MOTION, fill, opened, recipes
from curation_resources.tables import TableStore

OTHERS = [
    ["keep", "motion >= 0.5"],
    ["motion >= p50", "keep", "sharpness < 4"],
    ["motion is null or motion < 0.3"],
    ["similarity > 0.5", "duration_s > 0.4", "not keep"],
    ["width * height >= 15360 and sharpness between 1 and 5"],
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TableStore:
    made = table_store(Settings(storage=str(tmp_path_factory.mktemp("root"))))
    fill(made)
    return made


def view(store: TableStore, key: str) -> CollectionView:
    return opened(store, recipes(), key)


def asked(rules: Sequence[str]) -> list[Asked]:
    return [(text, True) for text in rules]


@pytest.mark.parametrize("key", ["toy-hq", "toy-new", "toy"])
@pytest.mark.parametrize("rules", OTHERS, ids=lambda r: r[0])
def test_a_funnel_is_that_of_a_run_with_these_rules(
    store: TableStore, key: str, rules: list[str], tmp_path: Path
) -> None:
    seen = view(store, key)
    assert seen.candidates.judged == (key == "toy-hq")
    while seen.candidates.stale is None:
        time.sleep(0.01)
    assert not seen.candidates.stale
    subset = Subset(where=rules)
    run = curate("x", subset, recipes(), subset_shards(store, subset, "toy"), store.read, tmp_path)
    steps = seen.funnel.steps(asked(rules))
    assert [(s.rows, s.ms / 3_600_000) for s in steps] == [(s.rows, pytest.approx(s.hours)) for s in run.funnel[:-1]]


def test_a_link_to_a_shard_shows_its_clips(store: TableStore) -> None:
    seen = view(store, "toy")
    items = seen.rows(GridQuery((), "shard:toy-00001", limit=500))["items"]
    assert {i["id"].split("_")[0] for i in items} == {"v2", "v3"}
    assert seen.rows(GridQuery((), "shard:toy-00009"))["total"]["rows"] == 0


def test_what_changes_sides_and_what_lies_beside_a_number(store: TableStore) -> None:
    seen = view(store, "toy-hq")
    rules = asked(["keep", "motion >= 0.4", "sharpness <= p90", "duration_s between 0.4 and 2"])
    told = seen.judge(rules)
    kept = {i["id"]: i for i in seen.rows(GridQuery(tuple(rules), limit=500))["items"]}
    came = [i for i in kept.values() if i["kept"] and not i["was"]]
    went = [i for i in kept.values() if i["was"] and not i["kept"]]
    assert (told["came"]["rows"], told["went"]["rows"]) == (len(came), len(went)) == (0, len(went))
    assert {i["id"] for i in seen.rows(GridQuery(tuple(rules), "went"))["items"]} == {i["id"] for i in went}
    assert all(i["why"] == "motion >= 0.4" for i in went)
    near = seen.near(rules, 1, 0)
    inside, outside = ([i["value"] for i in near[side]] for side in ("inside", "outside"))
    assert inside == sorted(inside)
    assert outside == sorted(outside, reverse=True)
    assert min(inside) >= 0.4 - 1e-6 > max(outside)
    assert {i["id"] for i in went} <= {i["id"] for i in near["outside"]}
    assert {f"{i['clip_id']}" for i in near["inside"]} == {n for n, i in kept.items() if i["kept"]}, (
        "all other rules let them by"
    )


def test_rows_are_in_order_with_the_unknown_last(store: TableStore) -> None:
    seen = view(store, "toy-hq")
    for down in (False, True):
        values = [i["value"] for i in seen.rows(GridQuery((), sort="motion", down=down))["items"]]
        known = sorted((m for m in MOTION if m is not None), reverse=down)
        assert values == [pytest.approx(m) for m in known] + [None]
    filtered = seen.rows(GridQuery((), where="motion > 0.5 and keep", sort="motion", offset=1, limit=2))
    assert filtered["total"]["rows"] == 5
    assert [i["value"] for i in filtered["items"]] == [pytest.approx(0.6), pytest.approx(0.7)]
    assert {i["id"] for i in seen.rows(GridQuery((), "copies"))["items"]} == {"v0_1500_2000", "v2_1500_2000"}
    dropped = seen.rows(GridQuery(tuple(asked(["keep", "motion >= 0.3"])), "rule:1"))
    assert all(i["why"] == "motion >= 0.3" for i in dropped["items"])
    assert dropped["total"]["rows"] == 5
    with pytest.raises(RuleError, match="no table has the column"):
        seen.rows(GridQuery((), where="motoin > 3"))


def test_each_rule_of_a_clip_has_what_it_has_there(store: TableStore) -> None:
    seen = view(store, "toy-hq")
    row = seen.row_of("toy-00000", "v0_0_500")
    assert row is not None
    told = {v["rule"]: v for v in seen.verdicts(row, seen.funnel.declared)}
    assert told["motion >= 0.3"]["values"] == {"motion": pytest.approx(0.02)}
    assert [v["passes"] for v in told.values()] == [True, False, True, True]
    assert seen.row_of("toy-00001", "v0_0_500") is None


def test_histograms_have_every_value_once() -> None:
    rng = np.random.default_rng(0)
    values = np.r_[rng.normal(0, 1, 2000), [np.nan] * 7, 1e6, -1e6]
    scale = Scale.of(lambda _: values, len(values), (3.5,))
    assert scale.low < 3.5 < scale.high < 100, "single values far out leave it as it is"
    counts = scale.counts()
    assert (len(counts), sum(counts), counts[-1]) == (BINS + 1, len(values), 7)
    which = values > 0
    assert sum(scale.counts(row_bits.of_masks([which], len(which)))) == np.count_nonzero(which)
    inner = np.histogram(values[np.isfinite(values)], BINS, (scale.low, scale.high))[0]
    assert np.abs(np.array(counts[1:-2]) - inner[1:-1]).sum() <= 4, "but for rounding at the edges"
    assert Scale.of(lambda _: np.full(3, np.nan), 3).counts()[-1] == 3


def test_two_numbers_of_a_measure_stand_on_one_scale(store: TableStore) -> None:
    least, most = view(store, "toy-hq").rule(asked(["duration_s between 0.4 and 500"])[0])["numbers"]
    assert (least["low"], least["high"]) == (most["low"], most["high"])
    assert least["low"] < 0.4 < 500 < least["high"]


def test_a_table_that_was_made_again_is_loaded_again(store: TableStore) -> None:
    from curation_assets.look.candidates import TableChanged
    from curation_assets.look.library import Collections

    library = Collections(store, recipes())
    first = library.opened("toy-hq")
    assert library.opened("toy-hq") is first
    assert library.held("toy-hq", first.candidates.version) is first
    with pytest.raises(TableChanged):
        library.held("toy-hq", "another")
    assert pc.sum(store.read("curated_clips", "toy-hq", ["selected"])["selected"]).as_py() == number_of(
        first.before.alive
    )


def test_concepts_have_their_clips_nearest_to_the_centre_first() -> None:
    nan = float("nan")
    concepts = np.array([1, 0, 1, nan, 1, 0, 2, 1], float)
    far = np.array([0.3, 0.2, nan, 0.1, 0.1, 0.1, 0.5, 0.2])
    kept = np.array([1, 1, 0, 1, 0, 1, 0, 1], bool)
    shown = np.array([1, 1, 1, 1, 1, 1, 0, 1], bool)
    sets = (row_bits.of_masks([mask], len(mask)) for mask in (kept, shown))
    found = by_concept(lambda _: concepts, lambda _: far, *sets, len(concepts))
    assert [(g["concept"], g["rows"], g["kept"], g["nearest"].tolist()) for g in found] == [
        (1, 4, 2, [4, 7, 0, 2]),
        (0, 2, 2, [5, 1]),
    ]


def test_a_collection_without_concepts_says_how_to_get_them(store: TableStore) -> None:
    with pytest.raises(RuleError, match="the clips have no concepts"):
        view(store, "toy-hq").concepts(GridQuery(()))
