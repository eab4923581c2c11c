"""Two roots held against each other: what is the same says so, and what was changed on purpose is found, of the right rows and by the right amount."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curation_assets.cli import main
from curation_assets.comparing.clip_matching import moved_clips
from curation_assets.comparing.roots import compare_roots
from curation_assets.comparing.row_differences import Differences, Tolerance, differences
from curation_assets.comparing.value_distances import distances
from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets_tests.look.small_root import SHARDS, fill
from curation_resources.provenance import Provenance
from curation_resources.tables import TableStore

FLOATS = st.one_of(st.none(), st.floats(-1e6, 1e6, allow_nan=False, width=32))


@pytest.fixture(params=["whole", "parts"])
def roots(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[TableStore, TableStore]:
    """Two roots that say the same; compared in one part, as small ones are, and in many, as large ones are."""
    if request.param == "parts":
        monkeypatch.setattr("curation_assets.comparing.spilling.PART_ROWS", 2)
    made = tuple(table_store(Settings(storage=str(tmp_path / name))) for name in "ab")
    for root in made:
        fill(root)
    return made  # type: ignore[return-value]


def change(
    root: TableStore, asset: str, key: str | None, row: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> None:
    """Commits a table with each row as `row` makes it; without those of which it makes none."""
    table = root.read(asset, key)
    rows = [r for r in map(row, table.to_pylist()) if r is not None]
    made = pa.Table.from_pylist(rows, schema=table.schema).sort_by([(k, "ascending") for k in SCHEMAS[asset].key])
    root.commit(asset, key, made, Provenance("2"))


def found(
    roots: tuple[TableStore, TableStore], tolerance: Tolerance | None = None
) -> dict[str, tuple[Differences, int]]:
    told = compare_roots(roots, list(SCHEMAS), tolerance or Tolerance())
    return {asset: (one, moved) for asset, one, moved in told if one.any or moved}


def test_roots_that_say_the_same_do_not_differ_and_what_changed_is_named(roots: tuple[TableStore, TableStore]) -> None:
    assert found(roots) == {}
    other = roots[1]
    scores = {"v1_0_500": 0.61, "v0_0_500": None}
    change(
        other,
        "motion_scores",
        SHARDS[0],
        lambda r: r | {"motion": scores.get(r["clip_id"], r["motion"])} | {"estimator": "f"},
    )
    change(other, "quality_scores", SHARDS[1], lambda r: None if r["clip_id"] == "v2_0_500" else r)
    told = found(roots)
    assert told.keys() == {"motion_scores", "quality_scores"}
    motion = told["motion_scores"][0]
    assert (motion.rows_a, motion.rows_b, motion.changed, motion.vanished, motion.appeared) == (16, 16, 8, 0, 0)
    column = motion.columns["motion"]
    assert (column.rows, column.differ) == (16, 2), (
        "of all rows that both have, also of shards whose tables are the same"
    )
    assert (column.measured, column.mean) == (1, pytest.approx(0.01)), "of those that differ and that both know"
    assert [(c.row.split()[-1], c.a and round(c.a, 2), c.b and round(c.b, 2)) for c in column.largest] == [
        ("v0_0_500", 0.02, None), ("v1_0_500", 0.6, 0.61)
    ]  # fmt: skip
    assert (column.up, column.down) == (1, 0), "what is not known any more went nowhere"
    assert told["quality_scores"][0].examples == ("- v2 v2_0_500",)
    loose = found(roots, Tolerance(0.02, {"estimator": float("inf")}))
    assert loose["motion_scores"][0].columns["motion"].beyond == 1, "what is not known any more is beyond any tolerance"
    assert found((roots[1], roots[0]))["quality_scores"][0].examples == ("+ v2 v2_0_500",)


def test_clips_whose_boundaries_moved_are_compared_with_what_they_were(roots: tuple[TableStore, TableStore]) -> None:
    """A clip begins 100 ms later: everywhere it is called otherwise, and nothing else of it changed but one score."""
    old, new = "v0_500_1000", "v0_600_1000"
    for asset in ("clips", "frames", "motion_scores", "quality_scores", "dedup"):
        more: dict[str, Any] = (
            {"start_ms": 600} if asset == "clips" else {"motion": 0.5} if asset == "motion_scores" else {}
        )
        change(
            roots[1], asset, SHARDS[0], lambda r, more=more: r | {"clip_id": new, **more} if r["clip_id"] == old else r
        )
    change(
        roots[1],
        "curated_clips",
        "toy-hq",
        lambda r: r | {"clip_id": new, "start_ms": 600} if r["clip_id"] == old else r,
    )
    told = found(roots)
    assert {asset: moved for asset, (_, moved) in told.items()} == dict.fromkeys(
        ("clips", "frames", "motion_scores", "quality_scores", "dedup", "curated_clips"), 1
    )
    assert all(one.appeared == one.vanished == 0 for one, _ in told.values())
    changed = {asset: {n: c.differ for n, c in one.columns.items()} for asset, (one, _) in told.items() if one.any}
    assert changed == {"clips": {"start_ms": 1}, "motion_scores": {"motion": 1}, "curated_clips": {"start_ms": 1}}


def test_a_video_may_lie_in_another_shard(roots: tuple[TableStore, TableStore]) -> None:
    """The second root has the videos of both shards the other way round."""
    for asset in ("clips", "motion_scores"):
        tables = {shard: roots[1].read(asset, shard) for shard in SHARDS}
        for shard, other in zip(SHARDS, reversed(SHARDS), strict=True):
            roots[1].commit(asset, shard, tables[other], Provenance("2"))
    assert found(roots) == {}
    change(roots[1], "motion_scores", SHARDS[0], lambda r: r | {"motion": 2.0} if r["clip_id"] == "v3_0_500" else r)
    one, _ = found(roots)["motion_scores"]
    assert (one.rows_a, one.rows_b, one.changed) == (16, 16, 1)
    assert [(c.row, c.clip, c.b) for c in one.columns["motion"].largest] == [("v3 v3_0_500", "v3_0_500", 2.0)]


VALUES = st.one_of(st.none(), st.lists(st.one_of(st.none(), st.integers(-3, 3)), max_size=3))


@given(st.lists(st.tuples(VALUES, VALUES), max_size=8), st.integers(1, 3))
@example([([None, 0], [None, 1])], 1)
def test_lists_of_numbers_are_as_far_apart_as_their_numbers(
    pairs: list[tuple[list[int | None] | None, list[int | None] | None]], depth: int
) -> None:
    kind: pa.DataType = pa.float32()
    columns: list[list[Any]] = [[p[0] for p in pairs], [p[1] for p in pairs]]
    for level in range(depth):
        kind = pa.list_(kind)
        if level:
            columns = [[[v] for v in column] for column in columns]
    away, sizes = distances(*(pa.chunked_array([pa.array(c, kind)]) for c in columns))
    assert away is not None
    for (a, b), one, size in zip(pairs, away, sizes, strict=True):
        if a is None or b is None or len(a) != len(b) or [x is None for x in a] != [x is None for x in b]:
            assert size == (0.0 if a is b is None else np.inf)
            continue
        known = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
        most = max((abs(x - y) for x, y in known), default=0)
        largest = max((max(abs(x), abs(y)) for x, y in known), default=0)
        assert (one, size) == (most, pytest.approx(most / largest if largest else 0.0))


def clips(*spans: tuple[str, int, int]) -> pa.Table:
    rows = [{"video_id": v, "clip_id": f"{v}_{a}_{b}", "start_ms": a, "end_ms": b} for v, a, b in spans]
    return pa.Table.from_pylist(rows)


def test_a_clip_is_the_one_that_it_shares_most_with() -> None:
    a = clips(("v", 0, 1000), ("v", 1000, 2000), ("w", 0, 1000), ("v", 5000, 6000))
    b = clips(("v", 0, 1100), ("v", 1100, 2000), ("w", 600, 1600), ("v", 5000, 6000), ("x", 0, 1000))
    assert moved_clips(a, b) == {"v_0_1100": "v_0_1000", "v_1100_2000": "v_1000_2000"}
    split = clips(("v", 0, 600), ("v", 600, 1000))
    assert moved_clips(clips(("v", 0, 1000)), split) == {"v_0_600": "v_0_1000"}
    assert moved_clips(split, clips(("v", 0, 1000))) == {"v_0_1000": "v_0_600"}


@given(
    st.dictionaries(st.integers(0, 20), st.tuples(FLOATS, FLOATS), max_size=12),
    st.sets(st.integers(0, 20)),
    st.floats(0, 1),
)
def test_differences_are_those_of_the_rows(
    values: dict[int, tuple[float | None, float | None]], gone: set[int], share: float
) -> None:
    a = pa.table(
        {"id": pa.array([str(i) for i in values]), "x": pa.array([v for v, _ in values.values()], pa.float32())}
    )
    kept = {i: v for i, (_, v) in values.items() if i not in gone}
    b = pa.table(
        {
            "id": pa.array([str(i) for i in reversed(kept)], pa.string()),
            "x": pa.array(list(reversed(kept.values())), pa.float32()),
        }
    )
    told = differences((a, b), ["id"], frozenset(), Tolerance(share))
    assert (told.vanished, told.appeared) == (len(values) - len(kept), 0)
    beyond = 0
    for i, new in kept.items():
        old = values[i][0]
        if old is None or new is None:
            beyond += (old is None) != (new is None)
        else:
            x, y = np.float64(np.float32(old)), np.float64(np.float32(new))
            beyond += bool(max(abs(x), abs(y)) and abs(x - y) / max(abs(x), abs(y)) > share)
    assert told.changed == beyond
    assert not differences((a, a), ["id"], frozenset(), Tolerance()).any


def test_the_command_says_it_and_ends_as_the_tolerance_has_it(
    roots: tuple[TableStore, TableStore], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = (str(tmp_path / name) for name in "ab")
    assert main(["compare", a, b]) == 0
    assert "they say the same" in capsys.readouterr().out
    change(roots[1], "motion_scores", SHARDS[0], lambda r: r | {"motion": r["motion"] and r["motion"] * 1.01})
    assert main(["compare", a, b, "--table", "motion_scores"]) == 1
    assert "motion: 7 of 16 (7 up), 0.00" in capsys.readouterr().out
    assert main(["compare", a, b, "--tolerance", "motion=0.02"]) == 0
    assert main(["compare", a, b, "--only", "other"]) == 0
    capsys.readouterr()
    assert main(["compare", a, b, "--json"]) == 1
    told = {t["table"]: t for t in map(json.loads, capsys.readouterr().out.splitlines())}
    assert told["motion_scores"]["columns"]["motion"]["differ"] == 7
    for wrong, said in (
        (["--table", "motoin_scores"], "no table is called so; did you mean motion_scores?"),
        (["--tolerance", "much"], "--tolerance much: a share of 0 or more is wanted"),
    ):
        assert main(["compare", a, b, *wrong]) == 2
        assert said in capsys.readouterr().err
    (tmp_path / "c").mkdir()
    assert main(["compare", a, str(tmp_path / "c")]) == 2
    assert "there are no tables; name a storage root" in capsys.readouterr().err
