"""Curated subsets over small shards: rules, reasons, percentiles, lists, splits, categories, tracks, missing shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation_assets.publish.curating.criteria import hash_order
from curation_assets.publish.curating.curating import Curation, curate
from curation_assets.publish.curating.splits import SPLITS, SplitOfVideos, given_splits
from curation_assets.publish.curating.subset_tables import tables_needed
from curation_assets.publish.curating.thresholds import Example
from curation_assets.publish.subsets import Splits
from curation_assets.recipes import Recipe
from curation_assets.rules.language import RuleError
from curation_assets.schemas import SCHEMAS, schema
from curation_resources.table_contracts import conform

Row = dict[str, Any]
FILL: Mapping[str, Any] = {
    "status": "ok",
    "estimator": "e",
    "head": "h",
    "model": "m",
    "backend": "source",
    "detector": "d",
    "samples": 1,
}


class Store:
    """Tables in memory, by (asset, shard)."""

    def __init__(self) -> None:
        self.tables: dict[tuple[str, str], pa.Table] = {}

    def put(self, asset: str, shard: str, rows: Sequence[Row]) -> None:
        contract = schema(asset)
        full = [
            {**{n: FILL.get(n) for n in contract.names}, "dataset": shard.rpartition("-")[0], **row} for row in rows
        ]
        self.tables[asset, shard] = conform(pa.Table.from_pylist(full, schema=contract.arrow), contract)

    def clips(self, shard: str, rows: Sequence[Row]) -> None:
        """Clips of one second, or as `start_ms` and `end_ms` say, with columns of any table; a table is put if any row names one of its columns."""
        facts = [{"start_ms": 0, "end_ms": 1000, "video_id": r["clip_id"].split("_")[0], **r} for r in rows]
        self.put("clips", shard, [{k: v for k, v in r.items() if k in SCHEMAS["clips"].names} for r in facts])
        for asset in ("motion_scores", "quality_scores", "dedup", "text_scores", "aesthetic_scores", "captions"):
            own = set(SCHEMAS[asset].names) - set(SCHEMAS["clips"].names)
            if any(own & r.keys() for r in rows):
                self.put(
                    asset,
                    shard,
                    [{k: v for k, v in r.items() if k in SCHEMAS[asset].names and k != "status"} for r in facts],
                )

    def read(self, asset: str, shard: str, columns: Sequence[str] | None = None) -> pa.Table:
        table = self.tables.get((asset, shard))
        if table is None:
            raise LookupError(f"no {asset} for {shard}")
        return table if columns is None else table.select(list(columns))


def recipe(subset: Row, **sections: Any) -> Recipe:
    return Recipe.model_validate(
        {"dataset": "d", "source": {"format": "ids", "path": "x"}, "subsets": {"s": subset}, **sections}
    )


def run(
    store: Store, folder: Path, subset: Row, shards: Sequence[str] = (), **sections: Any
) -> tuple[Curation, list[Row]]:
    made = recipe(subset, **sections)
    keys = list(shards) or sorted({k for _, k in store.tables})
    recipes = {k.rpartition("-")[0]: made for k in keys} | {"d": made}
    folder.mkdir(parents=True, exist_ok=True)
    found = curate("d-s", made.subsets["s"], recipes, [(k.rpartition("-")[0], k) for k in keys], store.read, folder)
    table = pq.read_table(found.path)
    contract = schema("curated_clips" if made.subsets["s"].of == "clips" else "curated_tracks")
    assert conform(table, contract).equals(table), "fits its contract and is sorted by key"
    return found, table.to_pylist()


def reasons(rows: Sequence[Row], key: str = "clip_id") -> dict[str, str | None]:
    assert all(r["selected"] == (r["drop_reason"] is None) == (r["split"] is not None) for r in rows)
    return {r[key]: r["drop_reason"] for r in rows}


def examples(found: Curation) -> dict[str, list[Example]]:
    return {threshold.text: clips for threshold, clips in found.examples.items()}


def test_the_first_rule_that_fails_is_the_reason_and_unknown_values_never_pass(tmp_path: Path) -> None:
    store = Store()
    store.clips(
        "d-00000",
        [
            {"clip_id": "a_1", "aesthetic": 5.0, "motion": 0.1, "keep": True},
            {"clip_id": "a_2", "aesthetic": 3.0, "motion": 9.0, "keep": True},
            {"clip_id": "b_1", "aesthetic": None, "motion": 0.1, "keep": True},
            {"clip_id": "c_1", "aesthetic": 5.0, "motion": None, "keep": False},
            {"clip_id": "e_1", "aesthetic": 5.0, "motion": 0.3, "keep": False, "end_ms": 5000},
            {"clip_id": "f_1", "aesthetic": 9.0, "motion": 0.1, "keep": True, "status": "rejected"},
        ],
    )
    rules = ["aesthetic >= 4.5", "motion is null or motion between 0.05 and 0.2", "keep"]
    found, rows = run(store, tmp_path, {"where": rules})
    assert reasons(rows) == {"a_1": None, "a_2": rules[0], "b_1": rules[0], "c_1": "keep", "e_1": rules[1]}
    assert [(s.rule, s.rows) for s in found.funnel] == [
        ("candidates", 5),
        (rules[0], 3),
        (rules[1], 2),
        ("keep", 1),
        ("select: all", 1),
    ]
    assert found.funnel[0].hours == pytest.approx(9 / 3600)
    assert found.funnel[-1].hours == pytest.approx(1 / 3600)
    assert {r["shard"] for r in rows} == {"d-00000"}
    assert found.splits == {"train": 1}
    assert examples(found)["aesthetic >= 4.5"] == [
        ("a_1", "d-00000", 5.0, True), ("c_1", "d-00000", 5.0, True), ("e_1", "d-00000", 5.0, True), ("a_2", "d-00000", 3.0, False)
    ]  # fmt: skip


def test_rules_calculate_with_columns_of_several_tables_and_name_what_follows_from_a_row(tmp_path: Path) -> None:
    def box(time: int, size: float) -> Row:
        corners = [0.0, 0.0, size, 0.0, size, size, 0.0, size]
        return {"time_ms": time, "polygon": corners, "text": None, "confidence": 1.0}

    boxes = {"a": [box(0, 0.5), box(9, 0.1), box(9, 0.1)], "b": [], "c": None, "e": [box(5, 1.0)]}
    store = Store()
    store.clips(
        "d-00000",
        [
            {
                "clip_id": f"{v}_1",
                "width": 1280,
                "height": h,
                "start_frame": 5,
                "end_frame": 5 + h,
                "text_boxes": boxes[v],
            }
            for v, h in zip("abce", (720, 300, 400, 391), strict=True)
        ],
    )
    media = {"a": (10_000, 1000), "b": (5_000, 1000), "c": (5_000, 0), "e": (None, 1000)}
    store.put(
        "raw_shards",
        "d-00000",
        [{"video_id": v, "size": size, "duration_ms": ms, "video_codec": "h264"} for v, (size, ms) in media.items()],
    )

    def passing(number: int, *rules: str) -> str:
        _, rows = run(store, tmp_path / str(number), {"where": list(rules)})
        return "".join(r["video_id"] for r in rows if r["selected"])

    assert passing(0, "width * height >= 500000") == passing(1, "pixels >= 500000") == "ace"
    assert passing(2, "text_box_count <= 1") == "be"
    assert passing(3, "text_box_count = 2 and text_box_area = 0.25") == "a"
    assert passing(4, "text_box_area > 0.9 or text_box_count = 0") == "be"
    assert passing(5, "frame_count >= 400", "video_codec = 'h264'") == "ac"
    assert passing(6, "bit_rate >= 80000") == "a"
    assert passing(7, "file_size / duration_s <= 5000") == "bc"
    assert passing(8, "width * height >= p50") == "ac", "the middle of 384000, 500480, 512000 and 921600 is 506240"
    chosen = {"select": {"criterion": "class_balanced", "count": 2, "class_by": "video_codec", "order_by": "pixels"}}
    _, rows = run(store, tmp_path / "9", chosen)
    assert [r["video_id"] for r in rows if r["selected"]] == ["a", "c"]


def test_both_ends_of_a_range_have_their_nearest_clips(tmp_path: Path) -> None:
    store = Store()
    store.clips("d-00000", [{"clip_id": f"v{i:03d}_1", "motion": i / 100} for i in range(100)])
    found, rows = run(store, tmp_path, {"where": ["motion between 0.2 and 0.5"]})
    assert sum(r["selected"] for r in rows) == 31
    low, high = examples(found)["motion >= 0.2"], examples(found)["motion <= 0.5"]
    assert sorted(c for c, _, _, side in low if side) == [f"v{i:03d}_1" for i in range(20, 26)]
    assert sorted(c for c, _, _, side in low if not side) == [f"v{i:03d}_1" for i in range(14, 20)]
    assert sorted(c for c, _, _, side in high if not side) == [f"v{i:03d}_1" for i in range(51, 57)]


def test_percentiles_are_over_all_candidates_with_a_value_in_all_shards(tmp_path: Path) -> None:
    store = Store()
    values = [float(v) if v % 10 else None for v in range(100)]
    for s in range(4):
        store.clips(f"d-{s:05d}", [{"clip_id": f"v{s}x{i}_1", "aesthetic": v} for i, v in enumerate(values[s::4])])
    store.put("clips", "d-00009", [{"video_id": "lost", "clip_id": "lost_1", "start_ms": 0, "end_ms": 1}])
    found, rows = run(store, tmp_path, {"where": ["aesthetic >= p80"]})
    threshold = np.percentile([v for v in values if v is not None], 80)
    assert {r["aesthetic"] for r in rows if r["selected"]} == {v for v in values if v is not None and v >= threshold}
    assert found.funnel[1].rule == f"aesthetic >= p80 (= {threshold:.4g})"
    assert {r["drop_reason"] for r in rows} == {None, "aesthetic >= p80"}, "as the recipe has it"
    assert list(found.missing) == ["d-00009"]
    assert "aesthetic_scores" in found.missing["d-00009"]
    assert found.shards == [f"d-{s:05d}" for s in range(4)]


def test_lists_exclude_clips_and_whole_videos(tmp_path: Path) -> None:
    store = Store()
    store.clips("d-00000", [{"clip_id": c, "keep": False} for c in ("a_1", "a_2", "b_1", "b_2", "-c_1")])
    (tmp_path / "eval.txt").write_text("\ufeff# evaluation videos\na\n\n")
    (tmp_path / "takedown.txt").write_text("b_2\n-c\nunknown\n")
    lists = [str(tmp_path / "eval.txt"), str(tmp_path / "takedown.txt")]
    found, rows = run(store, tmp_path / "out", {"exclude": lists, "where": ["keep"]})
    assert reasons(rows) == dict.fromkeys(("a_1", "a_2", "b_2", "-c_1"), "excluded by list") | {"b_1": "keep"}
    assert [(s.rule, s.rows) for s in found.funnel[:2]] == [("candidates", 5), ("exclusion lists", 1)]
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt does not exist"):
        run(store, tmp_path / "out", {"exclude": [str(tmp_path / "nowhere.txt")]})


def test_splits_never_divide_a_video_follow_lists_and_their_shares(tmp_path: Path) -> None:
    store = Store()
    for s in range(3):
        store.clips(f"d-{s:05d}", [{"clip_id": f"v{s}x{i}_{k}"} for i in range(200) for k in range(3)])
    (tmp_path / "test.txt").write_text("v0x1\nv2x199\n")
    split = {"train": 0.7, "val": 0.2, "test": 0.1, "lists": {"test": str(tmp_path / "test.txt")}}
    found, rows = run(store, tmp_path / "out", {"split": split})
    videos: dict[str, set[str]] = {}
    for row in rows:
        videos.setdefault(row["video_id"], set()).add(row["split"])
    assert all(len(names) == 1 for names in videos.values())
    assert videos["v0x1"] == videos["v2x199"] == {"test"}
    shares = Counter(next(iter(names)) for names in videos.values())
    assert abs(shares["val"] / 600 - 0.2) < 0.06
    assert abs(shares["test"] / 600 - 0.1) < 0.06
    assert found.splits == {name: 3 * n for name, n in shares.items()}
    _, fewer = run(store, tmp_path / "fewer", {"split": split}, shards=["d-00001"])
    assert {r["clip_id"]: r["split"] for r in fewer}.items() <= {r["clip_id"]: r["split"] for r in rows}.items(), (
        "for ever"
    )
    (tmp_path / "val.txt").write_text("v0x1\n")
    twice = recipe(
        {"split": {**split, "lists": {"test": str(tmp_path / "test.txt"), "val": str(tmp_path / "val.txt")}}}
    )
    with pytest.raises(ValueError, match="'v0x1' is in the lists of both"):
        given_splits(twice.subsets["s"].split)


def test_a_split_depends_on_the_seed_the_dataset_and_the_video_alone() -> None:
    def splits(dataset: str, seed: int) -> list[str]:
        made = Splits(train=0.5, val=0.25, test=0.25, seed=seed)
        return [SPLITS[n] for n in SplitOfVideos(made, {}).of(dataset, pa.array([f"v{i}" for i in range(64)]))]

    assert splits("d", 0) == splits("d", 0)
    assert len({tuple(splits(d, s)) for d in ("d", "other") for s in (0, 1)}) == 4


SPREAD: list[Row] = [
    {"criterion": "random", "count": 20},
    {"criterion": "max_motion", "count": 20},
    {"criterion": "video_balanced", "count": 20, "per_video": 1},
    {"criterion": "video_balanced", "count": 50, "per_video": 2},
    {"criterion": "cluster_balanced", "count": 20},
    {"criterion": "class_balanced", "count": 23, "temperature": 0.5, "class_by": "language"},
    {"criterion": "class_balanced", "per_class": 5, "class_by": "language", "order_by": "motion"},
]


@pytest.mark.parametrize("chosen", SPREAD, ids=str)
def test_how_videos_are_divided_into_shards_changes_nothing(tmp_path: Path, chosen: Row) -> None:
    chance = np.random.default_rng(5)
    videos = [
        [
            {
                "clip_id": f"v{v:02d}_{i}",
                "motion": float(chance.integers(0, 9)),
                "language": "enfrdezh"[2 * (v % 4) :][:2],
                "keep": True,
                "cluster_id": f"c{v % 6}" if i else None,
            }
            for i in range(1 + v % 4)
        ]
        for v in range(24)
    ]
    found = []
    for name, order in (("one", [range(24)]), ("many", [range(v, 24, 5) for v in (4, 1, 0, 3, 2)])):
        store = Store()
        for s, part in enumerate(order):
            store.clips(f"d-{s:05d}", [clip for v in part for clip in videos[v]])
        curation, rows = run(store, tmp_path / name, {"select": chosen})
        found.append([{k: x for k, x in r.items() if k != "shard"} for r in rows])
        assert 0 < sum(r["selected"] for r in rows) < len(rows)
        if chosen["criterion"] == "cluster_balanced":
            assert curation.report["clusters"] == 6 + 24, "a clip without near-duplicates is a cluster of its own"
        if chosen["criterion"] == "class_balanced":
            assert list(curation.report["per_class"]) == ["de", "en", "fr", "zh"]
    assert found[0] == found[1]


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_what_a_new_shard_displaces_is_what_its_clips_come_before(tmp_path: Path, seed: int, count: int) -> None:
    store = Store()
    for s in range(3):
        store.clips(f"d-{s:05d}", [{"clip_id": f"v{s}x{i:02d}_1"} for i in range(12)])
    subset = {"select": {"criterion": "random", "count": count, "seed": seed}, "split": {"train": 0.5, "val": 0.5}}
    _, before = run(store, tmp_path, subset, shards=["d-00000", "d-00002"])
    _, after = run(store, tmp_path, subset)
    place = {
        r["clip_id"]: p for r, p in zip(after, hash_order([f"d/{r['clip_id']}" for r in after], seed), strict=True)
    }
    old, new = ({r["clip_id"]: r["split"] for r in rows if r["selected"]} for rows in (before, after))
    added = {c for c in new if c.startswith("v1x")}
    assert new.keys() - added <= old.keys(), "nothing is selected that was not, but for new clips"
    assert all(old[c] == new[c] for c in new.keys() - added), "splits stay"
    gone = old.keys() - new.keys()
    assert len(gone) == max(0, len(added) - (len(new) - len(old)))
    assert not gone or min(place[c] for c in gone) > max(place[c] for c in new), "the last go"


def test_categories_are_columns_and_classes(tmp_path: Path) -> None:
    store = Store()
    store.clips("d-00000", [{"clip_id": f"{v}_1"} for v in "abcd"])
    chances = {"a": (0.9, 0.1), "b": (0.2, 0.8), "c": (0.5, 0.5)}
    store.put(
        "category_scores",
        "d-00000",
        [
            {
                "video_id": v,
                "clip_id": f"{v}_1",
                "category_set": "style",
                "category": c,
                "probability": p,
                "score": 10 * p,
            }
            for v, both in chances.items()
            for c, p in zip(("cartoon", "photo"), both, strict=True)
        ],
    )
    prompts = {"style": {"cartoon": "a cartoon", "photo": "a photo"}}
    rule = "style.cartoon < 0.5"
    _, rows = run(store, tmp_path, {"where": [rule]}, categories=prompts)
    assert reasons(rows) == {"a_1": rule, "b_1": None, "c_1": rule, "d_1": rule}
    maps = {r["clip_id"]: r["categories"] and dict(r["categories"]) for r in rows}
    assert maps["b_1"] == pytest.approx({"style.cartoon": 0.2, "style.photo": 0.8})
    assert maps["d_1"] is None
    assert dict(next(r for r in rows if r["clip_id"] == "a_1")["category_matches"])["style.photo"] == 1.0
    both = ["style.photo.match >= 5", "style.photo.probability < 0.7"]
    _, rows = run(store, tmp_path / "match", {"where": both}, categories=prompts)
    assert reasons(rows) == {"a_1": both[0], "b_1": both[1], "c_1": None, "d_1": both[0]}
    chosen = {"select": {"criterion": "class_balanced", "per_class": 5, "class_by": "style"}}
    found, rows = run(store, tmp_path / "classes", chosen, categories=prompts)
    assert found.report["per_class"] == {"cartoon": 2, "photo": 1}, "of equal chances the first name"
    assert reasons(rows)["d_1"] == "no class"
    with pytest.raises(RuleError, match="no table has the column 'beauty'"):
        run(store, tmp_path, {"where": ["beauty > 1"]})


def test_the_criterion_is_a_reason_and_equal_ids_of_two_datasets_are_two_candidates(tmp_path: Path) -> None:
    store = Store()
    for dataset in ("d", "other"):
        store.clips(
            f"{dataset}-00000", [{"clip_id": f"v{i:02d}_1", "cluster_id": None, "keep": True} for i in range(20)]
        )
    subset = {"datasets": ["d", "other"], "select": {"criterion": "random", "count": 15, "seed": 7}}
    found, rows = run(store, tmp_path, subset)
    assert len(rows) == 40
    assert {(r["dataset"], r["clip_id"]) for r in rows} == {
        (d, f"v{i:02d}_1") for d in ("d", "other") for i in range(20)
    }
    assert {r["drop_reason"] for r in rows} == {None, "select: random"}
    assert {r["cluster_size"] for r in rows} == {1}
    order = hash_order([f"{r['dataset']}/{r['clip_id']}" for r in rows], 7)
    assert {i for i, r in enumerate(rows) if r["selected"]} == set(np.argsort(order)[:15].tolist())
    assert found.funnel[-1].rows == 15
    assert found.funnel[-1].hours == pytest.approx(15 / 3600)


def test_cluster_sizes_count_candidates_and_are_unknown_without_dedup(tmp_path: Path) -> None:
    store = Store()
    store.clips("d-00000", [{"clip_id": "a_1", "keep": True, "cluster_id": "k"}, {"clip_id": "a_2", "keep": True}])
    store.clips("d-00001", [{"clip_id": "b_1", "keep": False, "cluster_id": "k"}])
    store.clips("d-00002", [{"clip_id": "c_1"}])
    subset = {"select": {"criterion": "random", "count": 9}}
    _, rows = run(store, tmp_path, subset)
    assert {r["clip_id"]: r["cluster_size"] for r in rows} == {"a_1": 2, "a_2": 1, "b_1": 2, "c_1": None}
    balanced, rows = run(store, tmp_path / "b", {"select": {"criterion": "cluster_balanced", "count": 9}})
    assert list(balanced.missing) == ["d-00002"], "clusters are needed then"
    assert balanced.report["clusters"] == 2


def embedded(store: Store, shard: str, vectors: Mapping[str, Sequence[float] | None]) -> None:
    store.clips(shard, [{"clip_id": c} for c in vectors])
    rows = [
        {"video_id": c.split("_")[0], "clip_id": c, "time_ms": t, "embedding": np.asarray(v, np.float16), "frame": t}
        for c, v in vectors.items()
        if v is not None
        for t in (0, 500)
    ]
    store.put("frame_embeddings", shard, rows)


def test_minimum_redundancy_reads_embeddings_shard_by_shard_and_excludes_clips_without(tmp_path: Path) -> None:
    store, unit = Store(), np.eye(4)
    embedded(store, "d-00000", {"a_1": None, "a_2": None})
    embedded(store, "d-00001", {f"b_{i}": unit[0] for i in range(8)} | {"c_1": unit[1], "c_2": None})
    embedded(store, "d-00002", {"e_1": unit[2], "e_2": unit[3]})
    store.clips("d-00003", [{"clip_id": "f_1"}])
    found, rows = run(store, tmp_path, {"select": {"criterion": "min_redundancy", "per_class": 4}})
    assert Counter(reasons(rows).values()) == {None: 4, "no embedding": 3, "select: min_redundancy": 7}
    selected = {r["clip_id"] for r in rows if r["selected"]}
    assert {"c_1", "e_1", "e_2"} < selected, "one of each direction"
    assert found.report["excluded"] == {"no embedding": 3}
    assert found.report["per_class"] == {"all": 4}
    assert list(found.missing) == ["d-00003"]


def test_tracks_obey_rules_about_their_clip_and_about_themselves(tmp_path: Path) -> None:
    store = Store()
    clips = [
        {"clip_id": c, "video_id": c[0], "motion": m, "aesthetic": a, "end_ms": 9000}
        for c, m, a in (("a_1", 0.1, 5), ("b_1", 0.9, 5), ("c_1", 0.1, 1))
    ]
    store.clips("d-00000", [*clips, {"clip_id": "x_1", "status": "rejected", "motion": 0.1, "aesthetic": 5}])
    tracks = [("a_1", "0", "cat", 4000, 0.9), ("a_1", "1", "dog", 500, 0.1), ("b_1", "0", "cat", 4000, 0.1), ("c_1", "0", "cat", 4000, 0.1), ("a_1", "2", None, 3000, 0.1), ("x_1", "0", "cat", 4000, 0.1)]  # fmt: skip
    store.put("tracks", "d-00000", [{"video_id": c[0], "clip_id": c, "track_id": f"{c}_{n}", "label": label, "start_ms": 0, "end_ms": end, "motion": motion, "embedding": None} for c, n, label, end, motion in tracks])  # fmt: skip
    subset = {
        "of": "tracks",
        "where": ["motion < 0.5"],
        "where_tracks": ["duration_s >= 1", "aesthetic >= 2"],
        "select": {"criterion": "class_balanced", "per_class": 3},
    }
    found, rows = run(store, tmp_path, subset)
    assert reasons(rows, "track_id") == {
        "a_1_0": None,
        "a_1_1": "duration_s >= 1",
        "a_1_2": "no class",
        "b_1_0": "motion < 0.5",
        "c_1_0": "aesthetic >= 2",
    }
    assert {r["track_id"]: r["motion"] for r in rows}["a_1_0"] == pytest.approx(0.9), "the track's own motion"
    assert found.report["shortfalls"] == {"cat": 2}
    assert found.funnel[-1].hours == pytest.approx(4 / 3600)
    halved, _ = run(
        store, tmp_path / "p", {"of": "tracks", "where": ["motion <= p50"], "where_tracks": ["motion <= p0"]}
    )
    assert [s.rows for s in halved.funnel] == [5, 4, 3, 3], "percentiles over the clips, then over the tracks"


def test_tables_that_rules_and_criteria_need_are_asked_for() -> None:
    def needed(**subset: Any) -> list[str]:
        made = recipe(subset, categories={"style": ["a", "b"]})
        return tables_needed(made.subsets["s"], made)

    assert needed() == ["clips"]
    assert needed(where=["text_area < 1", "licence = 'x'"]) == ["raw_shards", "clips", "text_scores"]
    assert needed(select={"criterion": "cluster_balanced", "count": 1}) == ["clips", "dedup"]
    assert needed(select={"criterion": "class_balanced", "per_class": 1, "class_by": "style", "order_by": "aesthetic"}) == ["clips", "aesthetic_scores", "category_scores"]  # fmt: skip
    assert needed(of="tracks", where=["motion > 0"], where_tracks=["motion > 0", "sharpness > 1"]) == ["clips", "motion_scores", "quality_scores", "tracks"]  # fmt: skip
    assert needed(of="tracks", select={"criterion": "max_motion", "count": 1}) == ["clips", "tracks"]
    assert needed(of="tracks", select={"criterion": "min_redundancy", "per_class": 1}) == ["clips", "tracks"]


@given(st.lists(st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.floats(0, 10, width=32))), max_size=12), min_size=1, max_size=4), st.integers(1, 20), st.integers(0, 9))  # fmt: skip
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_every_candidate_is_accounted_for_once(
    tmp_path: Path, shards: list[list[tuple[int, float | None]]], count: int, seed: int
) -> None:
    store = Store()
    for s, clips in enumerate(shards):
        store.clips(
            f"d-{s:05d}",
            [{"clip_id": f"v{s}x{video}_{i}", "aesthetic": score} for i, (video, score) in enumerate(clips)] or [],
        )
        if not clips:
            store.put("aesthetic_scores", f"d-{s:05d}", [])
    subset = {
        "where": ["aesthetic >= 2", "aesthetic < 9"],
        "select": {"criterion": "video_balanced", "count": count, "seed": seed},
    }
    found, rows = run(store, tmp_path, subset, shards=[f"d-{s:05d}" for s in range(len(shards))])
    given_in = {f"v{s}x{video}_{i}": score for s, clips in enumerate(shards) for i, (video, score) in enumerate(clips)}
    why = reasons(rows)
    if any(v is not None for v in given_in.values()) or not given_in:
        assert why.keys() == given_in.keys()
    expected = {
        c: "aesthetic >= 2" if v is None or v < 2 else "aesthetic < 9" if v >= 9 else None
        for c, v in given_in.items()
        if c in why
    }
    assert all(why[c] == e or (e is None and why[c] == "select: video_balanced") for c, e in expected.items())
    passed = sum(e is None for e in expected.values())
    assert [s.rows for s in found.funnel] == [
        len(why),
        sum(e != "aesthetic >= 2" for e in expected.values()),
        passed,
        min(count, passed),
    ]
    assert sum(found.splits.values()) == min(count, passed)


def test_sorting_in_ranges_on_disk_gives_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from curation_assets.publish.curating import candidate_spool

    store = Store()
    for s in range(3):
        rows = [
            {"clip_id": f"{(i * 37 + s * 11) % 97:02d}v{s}_{k}", "keep": True, "cluster_id": f"c{i % 5}"}
            for i in range(97)
            for k in range(2)
        ]
        store.clips(f"d-{s:05d}", rows)
    subset = {"select": {"criterion": "random", "count": 200}}
    _, whole = run(store, tmp_path / "whole", subset)
    for name, value in (("BUCKET_ROWS", 50), ("KEY_STRIDE", 3), ("BATCH_ROWS", 64)):
        monkeypatch.setattr(candidate_spool, name, value)
    _, ranges = run(store, tmp_path / "ranges", subset)
    assert ranges == whole
    assert len(whole) == 582
