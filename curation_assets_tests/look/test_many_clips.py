"""Over several blocks of clips the page counts what judging counts, rule by rule; and sorts, looks beside a number and compares as one would who held all rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation_assets.look import row_bits, scales
from curation_assets.look.best_rows import best_from
from curation_assets.look.blocks import BLOCK_ROWS
from curation_assets.look.candidates import CandidateColumns
from curation_assets.look.collection import Collection
from curation_assets.look.column_cache import ColumnCache
from curation_assets.look.grid_order import GridQuery
from curation_assets.look.labelling import LabelFiles
from curation_assets.look.likeness import Likeness
from curation_assets.look.scales import BINS, percentile_of
from curation_assets.look.views import CollectionView
from curation_assets.publish.curating.candidate_facts import CandidateFacts
from curation_assets.publish.curating.judging import Judge, rules_of
from curation_assets.publish.curating.what_if import what_if
from curation_assets.publish.subsets import Subset
from curation_assets.recipes import subsets
from curation_assets.rules.columns import derived
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets_tests.look.wide_root import fill, recipes
from curation_resources.tables import TableStore

FLOATS = st.sampled_from(
    ["motion", "sharpness", "blank", "duration_s", "motion / sharpness", "width * height / 1e6", "blank - motion"]
)
NUMBERS = st.one_of(st.integers(0, 7), st.floats(0, 1).map(lambda v: round(v, 3)))
COMPARED = st.one_of(
    st.tuples(FLOATS, st.sampled_from(["<", "<=", ">", ">=", "=", "!="]), NUMBERS).map(lambda t: " ".join(map(str, t))),
    st.tuples(FLOATS, NUMBERS, NUMBERS).map(lambda t: f"{t[0]} between {min(t[1:])} and {max(t[1:])}"),
    st.sampled_from(["keep", "motion is null", "sharpness is not null", "cluster_id in [k1, k2, k3]", "cluster_id != 'k7'", "motion > blank", "selected"]),
)  # fmt: skip
RULES = st.recursive(
    COMPARED,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
        inner.map(lambda rule: f"not ({rule})"),
    ),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TableStore:
    folder = tmp_path_factory.mktemp("wide")
    made = table_store(Settings(storage=str(folder / "root")))
    fill(made, folder)
    return made


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> ColumnCache:
    return ColumnCache(tmp_path_factory.mktemp("columns"))


def opened(store: TableStore, cache: ColumnCache, key: str) -> CollectionView:
    recipe, subset = subsets(recipes())[key] if "-" in key else (recipes()[key], Subset())
    candidates = CandidateColumns(
        store, recipes(), Collection(key, recipe, subset, "-" in key), LabelFiles(recipes()), cache
    )
    return CollectionView(candidates, Likeness(store, recipes(), candidates))


@pytest.fixture(scope="module")
def view(store: TableStore, cache: ColumnCache) -> CollectionView:
    found = opened(store, cache, "wide-hq")
    assert found.candidates.rows > BLOCK_ROWS
    return found


@pytest.fixture(scope="module")
def table(store: TableStore) -> pa.Table:
    whole = store.read("curated_clips", "wide-hq")
    return whole.append_column("duration_s", derived("duration_s", whole))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(RULES, min_size=1, max_size=4))
def test_any_rules_leave_what_judging_leaves(view: CollectionView, table: pa.Table, rules: list[str]) -> None:
    subset = Subset(where=rules)
    judge = Judge(subset, rules_of(subset), {True: {}, False: {}})
    reasons = judge.reasons(CandidateFacts(table, table), table["shard"])
    asked = tuple((text, True) for text in rules)
    steps = view.funnel.steps(asked)
    assert [(s.rule, s.rows) for s in steps] == [(s.rule, s.rows) for s in judge.funnel]
    assert [s.ms / 3_600_000 for s in steps] == pytest.approx([s.hours for s in judge.funnel])
    kept = row_bits.rows_of(view.funnel.judge(asked).alive, table.num_rows)
    assert np.array_equal(kept, np.flatnonzero(reasons == 0))


@pytest.mark.parametrize("other", [["motion >= p75"], ["sharpness > p50", "keep or blank > 0.5"]])
def test_a_percentile_is_that_of_what_if(store: TableStore, view: CollectionView, other: list[str]) -> None:
    found = what_if(store, recipes(), recipes()["wide"], "hq", other)
    steps = view.funnel.steps([(rule, True) for rule in found.rules])
    assert [(s.rows, s.ms / 3_600_000) for s in steps] == [(s.rows, pytest.approx(s.hours)) for s in found.steps]


@given(
    st.lists(st.one_of(st.floats(allow_nan=False, allow_infinity=False, width=32), st.sampled_from([0.0, -0.0, 1.0])), min_size=1, max_size=60),
    st.floats(0, 100),
)  # fmt: skip
def test_percentiles_by_counting_are_those_of_numpy(values: list[float], p: float) -> None:
    numbers = np.r_[np.array(values, float), np.full(3, np.nan)]
    wanted = float(np.percentile(numbers[:-3], p))
    for gathered in (len(numbers), 1, 7):  # else they are counted by their digits
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scales, "GATHERED", gathered)
            found = percentile_of(lambda _: numbers, len(numbers), p)
        assert found == pytest.approx(wanted, rel=1e-12, abs=1e-300)


@given(
    st.lists(st.one_of(st.integers(-3, 3).map(float), st.just(float("nan"))), max_size=40),
    st.integers(0, 45), st.integers(0, 45), st.randoms(),
)  # fmt: skip
def test_the_first_rows_are_those_of_a_sort(values: list[float], offset: int, limit: int, random: object) -> None:
    numbers = np.array(values, float)
    which = np.array([bool(random.getrandbits(1)) for _ in values], bool)  # type: ignore[attr-defined]
    rows, found = best_from(
        lambda _: numbers, row_bits.of_masks([which] if values else [], len(values)), len(values), offset, limit
    )
    wanted = np.argsort(numbers, kind="stable")
    wanted = wanted[(which & np.isfinite(numbers))[wanted]][offset : offset + limit]
    assert np.array_equal(rows, wanted)
    assert np.array_equal(found, numbers[wanted])


def test_the_grid_is_walked_in_order(view: CollectionView, table: pa.Table) -> None:
    values = table["motion"].to_numpy()
    kept = table["keep"].to_numpy()
    for down in (False, True):
        order = np.lexsort((np.arange(len(values)), -values if down else values))
        order = order[kept[order]]
        known = order[~np.isnan(values[order])]
        wanted = np.r_[known, np.flatnonzero(kept & np.isnan(values))]
        for offset in (0, 100, 200, len(known) - 30, len(wanted) - 20):
            query = GridQuery((), where="keep", sort="motion", down=down, offset=offset, limit=100)
            found = view.rows(query)
            assert [i["row"] for i in found["items"]] == wanted[offset : offset + 100].tolist()
            assert found["total"]["rows"] == len(wanted)
    query = GridQuery((("keep", True),), show="rule:0", offset=9_000, limit=5)
    assert [i["row"] for i in view.rows(query)["items"]] == np.flatnonzero(~kept)[9_000:9_005].tolist()


def test_beside_a_number_lie_the_nearest_and_histograms_have_what_other_rules_let_by(
    view: CollectionView, table: pa.Table
) -> None:
    rules = (("keep", True), ("motion >= 0.5", True), ("blank < 0.7", True))
    others = table["keep"].to_numpy() & (table["blank"].to_numpy() < np.float32(0.7))
    values = table["motion"].to_numpy()
    near = view.near(rules, 1, 0)
    for side, own in (("inside", values >= 0.5), ("outside", values < 0.5)):
        wanted = np.sort(np.abs(values[others & own] - 0.5))[:8]
        assert [abs(i["value"] - 0.5) for i in near[side]] == pytest.approx(wanted.tolist())
    told = view.judge(rules)
    drawn = next(h for h in told["histograms"] if h["name"] == "motion")
    assert (len(drawn["alive"]), sum(drawn["alive"])) == (BINS + 1, others.sum())
    assert drawn["alive"][-1] == (others & np.isnan(values)).sum()
    before = table["drop_reason"].is_null().to_numpy()
    now = others & (values >= np.float32(0.5))
    ms = pc.subtract(table["end_ms"], table["start_ms"]).to_numpy()
    for side, change in (("came", now & ~before), ("went", before & ~now)):
        assert told[side] == {"rows": change.sum(), "ms": ms[change].sum()}


@pytest.mark.parametrize("rule", ["similarity > 0.5", "relation = 'cropped'", "similarity is null or similarity < 0.1"])
def test_columns_that_the_table_has_not_come_from_shards_that_lie_mixed(
    store: TableStore, view: CollectionView, table: pa.Table, rule: str
) -> None:
    parts = [store.read("dedup", s, ["clip_id", "similarity", "relation"]) for s in store.partitions("dedup")]
    joined = pa.concat_tables(parts)
    seen = joined.take(pc.index_in(table["clip_id"], value_set=joined["clip_id"].combine_chunks()))
    subset = Subset(where=[rule])
    judge = Judge(subset, rules_of(subset), {True: {}, False: {}})
    whole = table.append_column("similarity", seen["similarity"]).append_column("relation", seen["relation"])
    reasons = judge.reasons(CandidateFacts(whole, whole), whole["shard"])
    found = row_bits.rows_of(view.funnel.passes((rule, True)), table.num_rows)
    assert np.array_equal(found, np.flatnonzero(reasons == 0))


def test_one_that_was_never_judged_has_the_same_clips(
    store: TableStore, cache: ColumnCache, view: CollectionView
) -> None:
    rules = [("keep", True), ("motion >= 0.5", True), ("similarity > 0.5", True)]
    for key in ("wide-new", "wide"):
        other = opened(store, cache, key)
        assert not other.candidates.judged
        assert [(s.rows, s.ms) for s in other.funnel.steps(rules)] == [(s.rows, s.ms) for s in view.funnel.steps(rules)]
        item = other.rows(GridQuery((), offset=140_000, limit=1))["items"][0]
        assert other.row_of(item["shard"], item["id"]) == 140_000


def test_clips_are_found_by_id_where_they_are_labelled(view: CollectionView, table: pa.Table) -> None:
    rows = [3, BLOCK_ROWS - 1, BLOCK_ROWS, table.num_rows - 1]
    clips = [("wide", table["clip_id"][r].as_py()) for r in rows]
    found = view.candidates.lookup.rows_of_clips([*clips, ("wide", "gone"), ("other", clips[0][1])])
    assert found.tolist() == rows


def test_the_first_clips_are_seen_before_columns_are_made(
    store: TableStore, table: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = opened(store, ColumnCache(tmp_path), "wide-hq")
    monkeypatch.setattr(found.preparation, "ready", lambda timeout_s: timeout_s is None)  # it is at work still
    told = found.rows(GridQuery((), down=True, offset=100, limit=50))
    assert not list(found.candidates.folder.path.glob("*.arrow"))
    judged = found.rows(GridQuery(tuple(found.funnel.declared), offset=100, limit=50))
    for first, then in zip(told["items"], judged["items"], strict=True):
        assert {n: v for n, v in first.items() if n != "has"} == {n: v for n, v in then.items() if n != "has"}
