"""A subset that is judged from what its table keeps has the table, the numbers and the hash that judging all candidates from their tables gives."""

from __future__ import annotations

import gzip
import io
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from curation_assets.engine.run import Run
from curation_assets.publish import curated_maker
from curation_assets.publish.curated_maker import CuratedMaker
from curation_assets.publish.curating import candidate_spool, rejudging
from curation_assets.publish.curating.choice_marks import MARKS
from curation_assets.publish.curating.funnels import shown
from curation_assets.publish.writing import kept_track_lines, track_lists
from curation_assets.publish.writing.track_versions import tracks_path
from curation_assets.recipes import Recipe
from curation_assets.schemas import SCHEMAS, schema
from curation_assets.settings import Settings
from curation_assets.showing.clips import MOST
from curation_assets_tests.publish.curating.test_curating import Store, recipe
from curation_resources import sealed_parquet
from curation_resources.parquet_columns import with_columns
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.table_headers import TableHeader
from curation_resources.tables import TableStore

SPENT = ("cpu_s", "wall_s", "peak_rss_mb", "cost", "gpu_s")


def shards(chance: random.Random, letters: str = "abcxyz") -> Store:
    """Shards of two datasets with scores, nulls and clusters among them, and two tracks a clip."""
    made = Store()
    for number in range(5):
        dataset = chance.choice(["d", "e"])
        rows = [
            {
                "clip_id": f"{chance.choice(letters)}{number}{video}_{clip}",
                "start_ms": 100 * clip,
                "end_ms": 100 * clip + chance.randrange(1, 3000),
                "width": chance.choice([320, 640]),
                "height": chance.choice([180, None]),
                "motion": chance.choice([None, round(chance.random(), 2), 0.5]),
                "sharpness": 10 * chance.random(),
                "keep": chance.random() < 0.9,
                "cluster_id": chance.choice([None, "c1", "c2"]),
                "text_area": chance.random(),
                "aesthetic": chance.choice([None, chance.random()]),
                "caption": 'words, "quoted"',
                "language": chance.choice([None, "en", "de"]),
            }
            for video in range(chance.randrange(1, 9))
            for clip in range(chance.randrange(1, 6))
        ]
        shard = f"{dataset}-{number:05d}"
        made.clips(shard, rows)
        made.put("tracks", shard, [track(r, n, chance) for r in rows for n in range(2)])
    return made


def track(clip: dict[str, Any], number: int, chance: random.Random) -> dict[str, Any]:
    return {
        "video_id": clip["clip_id"].split("_")[0], "clip_id": clip["clip_id"], "track_id": f"{clip['clip_id']}_{number:04d}",
        "label": chance.choice(["dog", "cat"]), "score": chance.random(), "start_ms": 100, "end_ms": 100 + chance.randrange(900),
        "top_labels": ["dog"], "top_scores": [0.5], "top_scores_std": [0.0], "frame_ms": [0], "boxes": [[1.0, 1, 2, 2]], "box_scores": [0.9],
        "box_labels": ["dog"], "box_label_scores": [0.9], "width": 320, "height": 180,
    }  # fmt: skip


RULES = [
    "keep", "motion >= 0.3", "motion >= 0.5", "motion < 0.8 or aesthetic > 0.5", "aesthetic >= p30", "motion >= p50", "sharpness between 2 and 9",
    "duration_s >= 1", "aspect is not null and aspect > 1", "text_area <= 0.7", "language in ['en', 'de']", "width > 400", "cluster_id is null",
]  # fmt: skip
TRACK_RULES = ["score >= 0.4", "label = 'dog'", "duration_s >= 0.3", "score >= p50"]
SELECTS = [
    {"criterion": "all"}, {"criterion": "random", "count": 7}, {"criterion": "video_balanced", "count": 9, "per_video": 2},
    {"criterion": "class_balanced", "class_by": "language", "count": 8}, {"criterion": "cluster_balanced", "count": 8},
    {"criterion": "max_motion", "count": 5, "seed": 3},
]  # fmt: skip


def subset(chance: random.Random, of: str, exclude: Path) -> dict[str, Any]:
    found: dict[str, Any] = {
        "of": of,
        "datasets": ["d", "e"],
        "split": {"train": 0.5, "val": 0.5, "seed": chance.randrange(3)},
        "exclude": [str(exclude)] if chance.random() < 0.4 else [],
    }
    if of == "tracks":
        select = chance.choice([SELECTS[0], SELECTS[1], {"criterion": "class_balanced", "per_class": 4}])
        return {**found, "where_tracks": chance.sample(TRACK_RULES, chance.randrange(3)), "select": select}
    return {**found, "where": chance.sample(RULES, chance.randrange(5)), "select": chance.choice(SELECTS)}


SECTIONS: dict[str, Any] = {"text": {}, "captions": {"backend": "source"}, "aesthetic": {"head": "head.pt"}}
"""With these, the table of a subset has the columns of all tables above, whatever its rules name."""


class Installation:
    def __init__(self, root: Path, tables: Store) -> None:
        self.store = TableStore(Storage(str(root)), SCHEMAS)
        for (asset, shard), table in tables.tables.items():
            self.store.commit(asset, shard, table, Provenance("1"))
        empty = {s.rpartition("-")[0] for _, s in tables.tables}
        self.datasets = sorted(empty)

    def recipes(self, declared: dict[str, Any]) -> dict[str, Recipe]:
        declared = {**declared, "datasets": [d for d in declared["datasets"] if d in self.datasets]}
        made = recipe(declared, **SECTIONS)
        return {"d": made, "e": made.model_copy(update={"dataset": "e", "subsets": {}})}

    def publish(self, declared: dict[str, Any], force: bool = False) -> TableHeader:
        run = Run(self.store, self.recipes(declared), Settings(storage=self.store.storage.root), force=force)
        (outcome,) = CuratedMaker(declared["of"]).bring(run, "d-s", [])
        return outcome.header


@pytest.mark.parametrize("of", ["clips", "tracks"])
@pytest.mark.parametrize("seed", range(6))
def test_judged_from_what_is_kept_as_from_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, of: str
) -> None:
    monkeypatch.setattr("curation_assets.publish.curated_maker.lacks", lambda *_: [])
    monkeypatch.setattr(candidate_spool, "BATCH_ROWS", 11)
    chance = random.Random(seed)
    tables, exclude = shards(chance), tmp_path / "exclude.txt"
    exclude.write_text("\n".join(t["clip_id"][0].as_py() for (a, _), t in tables.tables.items() if a == "clips"))
    first, second = Installation(tmp_path / "first", tables), Installation(tmp_path / "second", tables)
    again = []
    judge_again = rejudging.judge_again
    monkeypatch.setattr(rejudging, "judge_again", lambda *a: again.append(a) or judge_again(*a))
    shown_first: list[dict[str, tuple[str, str]]] = []
    monkeypatch.setattr(
        curated_maker, "shown", lambda store, found: shown_first.append(found.first) or shown(store, found)
    )
    asset = f"curated_{of}"
    for number in range(5):
        declared = subset(chance, of, exclude)
        shown_first.clear()
        header, whole = first.publish(declared), second.publish(declared, force=True)
        selected = second.store.read(asset, "d-s").filter(pc.field("selected")).to_pylist()
        clips = {r["clip_id"]: (r["shard"], r["split"]) for r in selected}
        assert all(list(f.items()) == list(clips.items())[:MOST] for f in shown_first)
        assert header.content_hash == whole.content_hash, declared
        assert header.fingerprint == whole.fingerprint
        assert header.rows == whole.rows
        assert {k: v for k, v in header.stats.items() if k in whole.stats and k not in SPENT} == {
            k: v for k, v in whole.stats.items() if k not in SPENT
        }
        assert first.store.read(asset, "d-s").equals(second.store.read(asset, "d-s"))
        assert first.store.header(asset, "d-s") == header
        assert first.store.read_with_hash(asset, "d-s")[1] == header.content_hash
        first.store.check(asset, "d-s")
        assert len(again) <= number
    assert len(again) >= 3, "all but the first, where the same came out twice"


@pytest.mark.parametrize("rules", [124, 126, 300])
def test_what_many_rules_leave_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rules: int) -> None:
    """More than a number of one byte counts; rules that are the same have one name."""
    monkeypatch.setattr("curation_assets.publish.curated_maker.lacks", lambda *_: [])
    tables = shards(random.Random(1))
    first, second = Installation(tmp_path / "first", tables), Installation(tmp_path / "second", tables)
    select = {"criterion": "class_balanced", "class_by": "language", "count": 8}
    where = [f"sharpness < {100 + n // 2}" for n in range(rules - 1)]
    for last in ("motion >= 0.5", "motion >= 0.3"):
        declared = {"of": "clips", "datasets": ["d", "e"], "where": [*where, last], "select": select}
        header, whole = first.publish(declared), second.publish(declared, force=True)
        assert header.content_hash == whole.content_hash
        made = first.store.read("curated_clips", "d-s")
        assert made.equals(second.store.read("curated_clips", "d-s"))
        assert {last, "select: class_balanced", "no class"} < set(made["drop_reason"].to_pylist())


EXPORTS: list[dict[str, Any]] = [
    {},
    {"tracks": {"layout": "videos"}},
    {"clips": {"tracks": True, "format": "folder"}},
    {"clips": {"tracks": True, "format": "folder"}, "tracks": {"layout": "videos"}},
]


@pytest.mark.parametrize("export", EXPORTS)
def test_the_list_of_tracks_is_the_same_file_whether_lines_are_taken_over_or_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, export: dict[str, Any]
) -> None:
    """Thresholds go up and down, other splits and criteria are asked for; ids are in the order of their bytes, not of a language."""
    monkeypatch.setattr("curation_assets.publish.curated_maker.lacks", lambda *_: [])
    monkeypatch.setattr(candidate_spool, "BATCH_ROWS", 11)
    monkeypatch.setattr(kept_track_lines, "AT_ONCE", 7)
    chance = random.Random(len(str(export)))
    tables = shards(chance, letters="aZ-_é\U0001f600中")
    first, second = Installation(tmp_path / "first", tables), Installation(tmp_path / "second", tables)
    made: list[tuple[str, int]] = []
    record_line = track_lists.record_line

    def counted(row: dict[str, Any], *rest: Any) -> bytes:
        made.append((row["track_id"], len(made)))
        return record_line(row, *rest)

    monkeypatch.setattr(track_lists, "record_line", counted)
    before: dict[str, str | None] = {}
    taken_over = 0
    for threshold, seed, select in [
        (0.3, 0, {"criterion": "all"}), (0.5, 0, {"criterion": "all"}), (0.2, 0, {"criterion": "all"}), (0.2, 1, {"criterion": "all"}),
        (0.2, 1, {"criterion": "random", "count": 12}), (0.9, 1, {"criterion": "class_balanced", "per_class": 4}), (2.0, 1, {"criterion": "all"}),
        (0.1, 2, {"criterion": "all"}),
    ]:  # fmt: skip
        declared = {
            "of": "tracks", "datasets": ["d", "e"], "where_tracks": [f"score >= {threshold}"], "select": select, "export": export,
            "split": {"train": 0.5, "val": 0.5, "seed": seed},
        }  # fmt: skip
        made.clear()
        header = first.publish(declared)
        lines = len(made)
        assert second.publish(declared, force=True).content_hash == header.content_hash
        assert files(tmp_path / "first") == files(tmp_path / "second")
        rows = first.store.read("curated_tracks", "d-s").filter(pc.field("selected")).to_pylist()
        now = {r["track_id"]: r["split"] for r in rows}
        path = tmp_path / "first" / tracks_path(first.store, first.recipes(declared), "d-s", header)
        assert [json.loads(line)["track_id"] for line in gzip.decompress(path.read_bytes()).splitlines()] == list(now)
        assert lines == sum(before.get(t, "none") != split for t, split in now.items()), "only what is new is made"
        taken_over += len(now) - lines
        before = dict(now)
    assert taken_over > 30


def files(root: Path) -> dict[str, bytes]:
    """What lies beside the table of tracks, by where it lies."""
    folder = root / "curated_tracks" / "d-s"
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("fault", ["cut", "bytes", "fewer", "more", "gone"])
def test_a_published_list_that_is_not_what_was_selected_is_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr("curation_assets.publish.curated_maker.lacks", lambda *_: [])
    tables = shards(random.Random(3))
    first, second = Installation(tmp_path / "first", tables), Installation(tmp_path / "second", tables)
    declared = {"of": "tracks", "datasets": ["d", "e"], "where_tracks": ["score >= 0.5"]}
    first.publish(declared)
    (path,) = (tmp_path / "first" / "curated_tracks").rglob("tracks.jsonl.gz")
    data = path.read_bytes()
    lines = gzip.decompress(data).splitlines(keepends=True)
    spoiled = {
        "cut": data[: len(data) // 2],
        "bytes": data[:40] + bytes(8) + data[48:],
        "fewer": gzip.compress(b"".join(lines[:-1])),
        "more": gzip.compress(b"".join([*lines, lines[0]])),
    }
    path.unlink()
    if fault in spoiled:
        path.write_bytes(spoiled[fault])
    for threshold in (0.6, 0.3):
        declared = {**declared, "where_tracks": [f"score >= {threshold}"]}
        header = first.publish(declared)
        assert second.publish(declared, force=True).content_hash == header.content_hash
        made, whole = (files(tmp_path / name) for name in ("first", "second"))
        listed = f"{header.content_hash[:12]}/tracks.jsonl.gz"
        assert made[listed] == whole[listed]


def test_only_what_the_table_keeps_as_it_is_now_is_judged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curation_assets.publish.curated_maker.lacks", lambda *_: [])
    again: list[Any] = []
    judge_again = rejudging.judge_again
    monkeypatch.setattr(rejudging, "judge_again", lambda *a: again.append(a) or judge_again(*a))
    tables = shards(random.Random(1))
    made = Installation(tmp_path, tables)
    plain = {"of": "clips", "datasets": made.datasets, "where": ["motion >= 0.2"]}

    def judged_again(declared: dict[str, Any], force: bool = False) -> bool:
        again.clear()
        made.publish(declared, force)
        return bool(again)

    assert not judged_again(plain), "there is no table yet"
    assert judged_again({**plain, "where": ["motion >= 0.3"]})
    assert not judged_again({**plain, "where": ["motion >= 0.4"]}, force=True)
    assert not judged_again({**plain, "where": ["text_area_mean > 0.5"]}), "the table has no such column"
    assert judged_again(plain)
    shard = next(s for a, s in tables.tables if a == "motion_scores")
    rows = [{**r, "motion": 0.25} for r in tables.tables["motion_scores", shard].to_pylist()]
    made.store.commit(
        "motion_scores", shard, pa.Table.from_pylist(rows, schema=schema("motion_scores").arrow), Provenance("2")
    )
    assert not judged_again({**plain, "where": ["motion >= 0.3"]}), "scores are others"
    made.store.storage.remove(made.store.path("text_scores", shard))
    assert not judged_again({**plain, "where": ["motion >= 0.5"]})
    header = made.store.header("curated_clips", "d-s")
    assert header is not None
    assert header.stats["missing_shards"] == {}
    assert not judged_again({**plain, "where": ["text_area < 0.5"]}), "a shard without the table is not judged"
    header = made.store.header("curated_clips", "d-s")
    assert header is not None
    assert list(header.stats["missing_shards"]) == [shard]
    assert not judged_again({**plain, "where": ["motion >= 0.5"]}), "its clips are not in the table"


def test_columns_are_replaced_and_all_other_bytes_stay() -> None:
    chance = random.Random(0)
    names = ["id", "why", "kept", "nested"]
    table = pa.table(
        {
            "id": [f"v{n:06d}" for n in range(5000)],
            "why": [chance.choice([None, "motion"]) for _ in range(5000)],
            "kept": [chance.random() for _ in range(5000)],
            "nested": pa.array([{"why": [str(n)] * (n % 3)} for n in range(5000)]),
        }
    )
    other = pa.table({"why": [chance.choice(["x", None, "a longer word"]) for _ in range(5000)]})
    files = [io.BytesIO() for _ in range(3)]
    for part, file in zip((table.replace_schema_metadata({"a": "1", "b": "1"}), other), files, strict=False):
        pq.write_table(part, file, row_group_size=777, **sealed_parquet.WRITING)
    with_columns(files[0], files[1], files[2], {b"b": b"2"})
    assert sealed_parquet.verify_bytes(files[2].getvalue())
    found = sealed_parquet.read_bytes(files[2].getvalue())
    assert found.schema.metadata == {b"a": b"1", b"b": b"2"}
    assert found.replace_schema_metadata(None).equals(table.set_column(names.index("why"), "why", other["why"]))
    before, after = (pq.read_metadata(f) for f in (files[0], files[2]))
    for group in range(before.num_row_groups):
        for column in (0, 2, 3):
            old, new = (m.row_group(group).column(column) for m in (before, after))
            bytes_of = [
                f.getvalue()[c.dictionary_page_offset or c.data_page_offset :][: c.total_compressed_size]
                for f, c in ((files[0], old), (files[2], new))
            ]
            assert bytes_of[0] == bytes_of[1]
            assert old.statistics == new.statistics
    short = io.BytesIO()
    pq.write_table(other, short, row_group_size=700)
    with pytest.raises(ValueError, match="row groups"):
        with_columns(files[0], short, io.BytesIO(), {})
    assert MARKS == ("selected", "drop_reason", "split")
