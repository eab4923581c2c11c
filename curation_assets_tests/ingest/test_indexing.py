from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from curation_assets.engine.shard_keys import parse_shard_key
from curation_assets.ingest import index_database, index_file, spilled_rows
from curation_assets.ingest.fetch_urls import publish_secrets, read_fetch_urls
from curation_assets.ingest.index_file import IndexFile
from curation_assets.ingest.index_plan import IndexPlan
from curation_assets.ingest.index_recovery import index_rows
from curation_assets.ingest.indexing import IndexWorkspace, plan_index, plan_indexes
from curation_assets.ingest.normal_form import video_metadata_table
from curation_assets.ingest.sources import SourceError
from curation_assets.ingest.sources.rows import RowError, SourceRow
from curation_assets.recipes import Recipe
from curation_assets.schemas import schema
from curation_assets_tests.shared_data import shared
from curation_resources.sealed_parquet import rows_with
from curation_resources.storage import Storage


def recipe(source: dict[str, Any], videos: int = 3, dataset: str = "d") -> Recipe:
    return Recipe.model_validate({"dataset": dataset, "source": source, "shard": {"videos": videos}})


class Index:
    """An index that is made again and again from one list file."""

    def __init__(self, folder: Path, format: str = "ids", videos: int = 3, **source: Any) -> None:
        self.folder, self.list, self.videos = folder, folder / "list.txt", videos
        self.source = {"format": format, "path": str(self.list), **source}
        self.runs = 0
        self.table: pa.Table | None = None

    def run(self, lines: Iterable[str] | None = None) -> IndexPlan:
        """Indexes `lines`, or the source as it is."""
        if lines is not None:
            self.list.write_text("".join(line + "\n" for line in lines))
        self.runs += 1
        out = self.folder / f"index{self.runs}.parquet"
        plan = plan_index(recipe(self.source, self.videos), self.table, out)
        self.table = pq.read_table(out)
        return plan

    def rows(self, *columns: str) -> list[tuple[Any, ...]]:
        assert self.table is not None
        return list(zip(*(self.table[c].to_pylist() for c in columns), strict=True))

    def shards(self) -> dict[str, str]:
        return dict(self.rows("video_id", "shard"))


def test_videos_fill_shards_in_source_order(tmp_path: Path) -> None:
    index = Index(tmp_path)
    plan = index.run(["z", "-y", "x", "w", "-v", "x"])
    assert plan.new_shards == plan.shards == ("d-00000", "d-00001")
    assert (plan.rows_read, plan.present, plan.added, plan.rejected) == (6, 5, 5, 0)
    assert index.rows("shard", "video_id") == [
        ("d-00000", "-y"),
        ("d-00000", "x"),
        ("d-00000", "z"),
        ("d-00001", "-v"),
        ("d-00001", "w"),
    ]
    assert index.table is not None
    assert index.table.schema.equals(schema("dataset_index").arrow)


def test_a_second_run_changes_nothing_and_new_rows_top_up_the_last_shard(tmp_path: Path) -> None:
    index = Index(tmp_path)
    index.run("abcd")
    before = index.table
    plan = index.run("abcd")
    assert index.table is not None
    assert index.table.equals(before)
    assert (plan.added, plan.changed, plan.removed, plan.restored, plan.new_shards) == (0, 0, 0, 0, ())
    plan = index.run("0123abcd")
    assert (plan.added, plan.new_shards) == (4, ("d-00002",))
    assert index.shards() | {} == dict.fromkeys("abc", "d-00000") | dict.fromkeys("d01", "d-00001") | dict.fromkeys(
        "23", "d-00002"
    )


def test_removed_videos_keep_their_place_and_come_back_to_it(tmp_path: Path) -> None:
    index = Index(tmp_path)
    index.run("abcd")
    plan = index.run("acdef")
    assert (plan.removed, plan.added) == (1, 2)
    assert dict(index.rows("video_id", "status"))["b"] == "removed"
    assert index.shards()["b"] == "d-00000"
    assert index.shards()["e"] == index.shards()["f"] == "d-00001"
    plan = index.run("facbde")
    assert (plan.removed, plan.restored, plan.added) == (0, 1, 0)
    assert index.shards()["b"] == "d-00000"
    assert dict(index.rows("video_id", "status"))["b"] == "present"


def test_the_size_of_shards_may_change(tmp_path: Path) -> None:
    index = Index(tmp_path, videos=4)
    index.run("abc")
    index.videos = 2
    index.run("abcdef")
    assert [index.shards()[v] for v in "def"] == ["d-00001", "d-00001", "d-00002"]
    index.videos = 3
    index.run("abcdefghi")
    assert [index.shards()[v] for v in "ghi"] == ["d-00002", "d-00002", "d-00003"]


def test_rows_of_one_video_are_merged(tmp_path: Path) -> None:
    index = Index(tmp_path, "acav")
    first = ['s0,v_1.mp4,v,"[1, 11]"', 's0,w.mp4,w,"[2, 12]"', 's1,v_5.mp4,v,"[5, 15]"', 's1,v_1.mp4,v,"[1, 11]"']
    plan = index.run(first)
    assert (plan.rows_read, plan.present) == (4, 2)
    records = dict(index.rows("video_id", "record"))
    assert json.loads(records["v"])["spans"] == [
        ["v_1.mp4", 1000, 11_000, {"extra": {"SHARD_NAME": "s0"}}],
        ["v_5.mp4", 5000, 15_000, {"extra": {"SHARD_NAME": "s1"}}],
    ]
    assert "extra" not in json.loads(records["v"]), "its rows say different things"
    assert plan.contradictions == {"SHARD_NAME": 1}, "two rows say different things of the span from 1 to 11 s"
    assert dict(index.rows("video_id", "line")) == {"v": 1, "w": 2}
    plan = index.run([*first, 's2,w_9.mp4,w,"[9, 19]"'])
    assert (plan.changed, plan.added) == (1, 0)


def test_gaps_are_filled_from_later_files(tmp_path: Path) -> None:
    (tmp_path / "1.jsonl").write_text('{"id": "v", "url": "https://x.test/1", "a": 1}\n')
    (tmp_path / "2.jsonl").write_text('{"id": "v", "url": "https://x.test/2", "text": "later", "a": 2, "b": 3}\n')
    source = {
        "format": "table",
        "path": str(tmp_path / "*.jsonl"),
        "columns": {"id": "id", "url": "url", "caption": "text"},
    }
    plan_index(recipe(source), None, tmp_path / "out.parquet")
    (row,) = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert json.loads(row["record"]) == {"url": "https://x.test/1", "caption": "later", "extra": {"a": 1, "b": 3}}
    assert row["source"] == str(tmp_path / "1.jsonl")


def test_rejected_lines_lie_in_the_open_shard_and_take_no_place(tmp_path: Path) -> None:
    index = Index(tmp_path)
    plan = index.run(["a b", "a", "b", "c", "a b", "x y", "d", "e f", "e"])
    assert (plan.rejected, plan.present, plan.shards) == (4, 5, ("d-00000", "d-00001"))
    rejected = [
        (shard, line, record)
        for shard, line, record, status in index.rows("shard", "line", "record", "status")
        if status == "rejected"
    ]
    assert sorted(rejected, key=lambda r: r[1]) == [
        ("d-00000", 1, "a b"),
        ("d-00000", 5, "a b"),
        ("d-00000", 6, "x y"),
        ("d-00001", 8, "e f"),
    ]
    assert all(
        v.startswith("rejected-") and e for v, s, e in index.rows("video_id", "status", "error") if s == "rejected"
    )
    before = index.table
    index.run()
    assert index.table is not None
    assert index.table.equals(before)
    plan = index.run(["a", "b", "c", "x y", "d", "e", "f"])
    assert (plan.rejected, plan.removed) == (1, 0)
    assert index.shards()["f"] == "d-00001"
    assert [(s, r) for s, r, status in index.rows("shard", "record", "status") if status == "rejected"] == [
        ("d-00000", "x y")
    ]


def test_a_source_of_bad_lines_only(tmp_path: Path) -> None:
    index = Index(tmp_path)
    plan = index.run(["x y"] * 10)
    assert (plan.rejected, plan.present, plan.shards) == (10, 0, ("d-00000",))
    assert len(set(index.rows("video_id"))) == 10
    plan = index.run("abcd")
    assert (plan.rejected, plan.new_shards) == (0, ("d-00001",))


def test_a_source_that_is_empty_or_missing(tmp_path: Path) -> None:
    index = Index(tmp_path)
    assert index.run("").shards == ()
    index.run("ab")
    assert index.run("").removed == 2
    index.list.unlink()
    with pytest.raises(SourceError, match=r"list\.txt: no such file"):
        index.run()
    assert not (tmp_path / f"index{index.runs}.parquet").exists()


def test_the_limit_counts_videos(tmp_path: Path) -> None:
    index = Index(tmp_path, limit=2)
    plan = index.run(["a", "x y", "a", "b", "a", "c", "b", "d"])
    assert (plan.present, plan.rejected, plan.rows_read) == (2, 1, 5)


def test_text_that_no_table_can_hold_is_a_rejected_row(tmp_path: Path) -> None:
    index = Index(tmp_path, "hdvila")
    plan = index.run(
        [
            '{"video_id": "a", "note": "\\ud800"}',
            '{"video_id": "b", "note": 123456789012345678901234567890}',
            '{"video_id": "c", "x": {"y": NaN}}',
        ]
    )
    assert (plan.present, plan.rejected) == (2, 1)
    (error,) = (e for (e,) in index.rows("error") if e)
    assert "no valid Unicode" in error


def test_several_recipes_share_one_index(tmp_path: Path) -> None:
    lists = {name: tmp_path / f"{name}.txt" for name in ("a", "a0", "a_b")}
    for path in lists.values():
        path.write_text("x\ny\nz\nw\n")
    recipes = [recipe({"format": "ids", "path": str(path)}, dataset=name) for name, path in lists.items()]
    plans = plan_indexes(recipes, None, IndexFile(tmp_path / "1.parquet"))
    assert [p.dataset for p in plans] == ["a", "a0", "a_b"]
    first = pq.read_table(tmp_path / "1.parquet")
    assert first.num_rows == 12
    assert first.equals(first.sort_by([("shard", "ascending"), ("video_id", "ascending")]))

    lists["a"].unlink()  # a source that is gone, one that grew, and one that no recipe declares any more
    lists["a_b"].write_text("x\ny\nz\nw\nv\n")
    plans = plan_indexes([recipes[0], recipes[2]], str(tmp_path / "1.parquet"), IndexFile(tmp_path / "2.parquet"))
    second = pq.read_table(tmp_path / "2.parquet")
    assert [(p.dataset, p.added, p.shards) for p in plans] == [
        ("a", 0, ("a-00000", "a-00001")),
        ("a_b", 1, ("a_b-00000", "a_b-00001")),
    ]
    assert plans[0].error is not None
    assert "a.txt: no such file" in plans[0].error
    assert plans[1].error is None
    for name in ("a", "a0"):
        kept = pc.field("dataset") == name
        assert second.filter(kept).equals(first.filter(kept))


def test_the_previous_index_may_be_a_stream_or_a_uri(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a\nb\n")
    this = recipe({"format": "ids", "path": str(tmp_path / "list.txt")})
    plan_index(this, None, tmp_path / "1.parquet")
    memory = Storage("memory://index-test")
    memory.write("dataset_index.parquet", (tmp_path / "1.parquet").read_bytes())
    with open(tmp_path / "1.parquet", "rb") as stream:
        assert plan_index(this, stream, tmp_path / "2.parquet").added == 0
    assert plan_index(this, memory.uri("dataset_index.parquet"), tmp_path / "3.parquet", storage=memory).added == 0
    assert plan_index(this, "dataset_index.parquet", tmp_path / "4.parquet", storage=memory).added == 0


def test_one_shard_is_read_by_its_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_file, "ROW_GROUP", 50)
    (tmp_path / "list.txt.gz").write_bytes(gzip.compress("".join(f"{n:06d}\n" for n in range(5000)).encode()))
    plan = plan_index(
        recipe({"format": "ids", "path": str(tmp_path / "list.txt.gz")}, videos=7), None, tmp_path / "i.parquet"
    )
    file = pq.ParquetFile(tmp_path / "i.parquet")
    assert file.num_row_groups >= 40
    for shard in (plan.shards[0], plan.shards[333], plan.shards[-1]):
        number = parse_shard_key(shard)[1]
        assert rows_with(file, "shard", shard)["video_id"].to_pylist() == [
            f"{n:06d}" for n in range(7 * number, min(7 * number + 7, 5000))
        ]
    assert rows_with(file, "shard", "d-99999").num_rows == 0


def test_more_than_a_hundred_thousand_shards_stay_sorted_as_text(tmp_path: Path) -> None:
    index = Index(tmp_path, videos=1)
    index.run(["a"])
    assert index.table is not None
    index.table = index.table.set_column(2, index.table.schema.field(2), pa.array(["d-99999"]))
    plan = index.run(["a", "b"])
    assert plan.new_shards == ("d-100000",)
    assert index.rows("shard", "video_id") == [("d-100000", "b"), ("d-99999", "a")]


def stored(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def locations(index: Index) -> dict[str, str]:
    """Location -> id of the present videos."""
    return {
        json.loads(r)["extra"]["path"]: v for v, r, s in index.rows("video_id", "record", "status") if s == "present"
    }


def test_ids_of_files_are_stems_where_these_are_unique_and_never_change(tmp_path: Path) -> None:
    media = tmp_path / "media"
    index = Index(tmp_path, "folder")
    index.source["path"] = str(media)
    stored(media, "a/x.mp4", "a/y.mp4", "b/y.mp4", "c/z.mp4")
    index.run()
    first = locations(index)
    assert first["a/x.mp4"] == "x"
    assert first["c/z.mp4"] == "z"
    assert first["a/y.mp4"].startswith("y-")
    assert first["b/y.mp4"].startswith("y-")
    assert first["a/y.mp4"] != first["b/y.mp4"]

    stored(media, "0/x.mp4")  # comes before a/x.mp4, but later
    index.run()
    second = locations(index)
    assert second.items() > first.items()
    assert second["0/x.mp4"].startswith("x-")

    (media / "a/x.mp4").unlink()
    (media / "a/y.mp4").unlink()
    stored(media, "d/x.mp4")
    index.run()
    third = locations(index)
    assert third["0/x.mp4"] == second["0/x.mp4"]
    assert third["b/y.mp4"] == first["b/y.mp4"]
    assert third["d/x.mp4"].startswith("x-")

    stored(media, "a/x.mp4")
    assert index.run().restored == 1
    assert locations(index)["a/x.mp4"] == "x"

    index.source["path"] = [str(media), str(tmp_path / "more")]  # locations now begin with the folder's name
    stored(tmp_path / "more", "b/y.mp4")
    plan = index.run()
    assert (plan.added, plan.removed) == (1, 1)
    assert set(locations(index).values()) >= set(third.values())

    media.rename(tmp_path / "moved")
    index.source["path"] = str(media)
    (tmp_path / "moved").rename(media)
    assert index.run().added == 0


def test_a_folder_that_moves_is_the_same_folder(tmp_path: Path) -> None:
    stored(tmp_path / "old", "a/x.mp4", "b/x.mp4", "y.mp4")
    index = Index(tmp_path, "folder")
    index.source["path"] = str(tmp_path / "old")
    index.run()
    before = locations(index)
    (tmp_path / "old").rename(tmp_path / "new")
    index.source["path"] = str(tmp_path / "new")
    plan = index.run()
    assert (plan.added, plan.removed, plan.changed) == (0, 0, 3)
    assert locations(index) == before


def test_the_real_samples_are_indexed_twice_alike(tmp_path: Path) -> None:
    counts = {}
    for source in (
        {"format": "hdvila", "path": str(shared("metadata/hdvila_readme_row.jsonl"))},
        {"format": "acav", "path": f"{shared('metadata')}/acav*.csv"},
        {
            "format": "table",
            "path": str(shared("metadata/webvid_rows.csv")),
            "columns": {"id": "videoid", "url": "contentUrl"},
        },
        {"format": "folder", "path": [str(shared("videos")), str(shared("panda"))]},
    ):
        first = plan_index(recipe(source, 5), None, tmp_path / "1.parquet")
        second = plan_index(recipe(source, 5), tmp_path / "1.parquet", tmp_path / "2.parquet")
        assert pq.read_table(tmp_path / "1.parquet").equals(pq.read_table(tmp_path / "2.parquet"))
        assert first.present == second.present
        assert second.added == first.rejected == 0
        counts[source["format"]] = first.present
    assert counts == {"hdvila": 1, "acav": 43, "table": 20, "folder": 52}


class Edits(RuleBasedStateMachine):
    """Any sequence of edits of a source: rows are appended, inserted, removed, brought back, changed, repeated, reordered, broken."""

    folder: Path
    ids = st.integers(0, 30).map(lambda n: f"-id{n}")

    @initialize(videos=st.integers(1, 4))
    def begin(self, videos: int) -> None:
        self.index = Index(self.folder, "table", videos, columns={"id": "id", "url": "url"})
        self.index.list = self.folder / "list.jsonl"
        self.index.source["path"] = str(self.index.list)
        self.lines: list[str] = []
        self.seen: dict[str, str] = {}
        self.largest = videos
        self.dirty = True

    @rule(ids=st.lists(ids, max_size=8), front=st.booleans())
    def add(self, ids: list[str], front: bool) -> None:
        new = [json.dumps({"id": i, "url": f"https://x.test/{i}"}) for i in ids]
        self.lines = new + self.lines if front else self.lines + new
        self.dirty = True

    @rule(where=st.floats(0, 1), count=st.integers(1, 4))
    def remove(self, where: float, count: int) -> None:
        at = int(where * len(self.lines))
        del self.lines[at : at + count]
        self.dirty = True

    @rule(order=st.randoms(use_true_random=False))
    def reorder(self, order: Any) -> None:
        order.shuffle(self.lines)
        self.dirty = True

    @rule(where=st.floats(0, 0.99), value=st.integers())
    def change(self, where: float, value: int) -> None:
        if self.lines:
            at = int(where * len(self.lines))
            self.lines[at] = self.lines[at].rstrip("}") + f', "v": {value}}}'
            self.dirty = True

    @rule(where=st.floats(0, 1), text=st.sampled_from(["broken", "{", "[1]", "\0", "\x7f\u2028\U0001f3ac", "'; DROP"]))
    def spoil(self, where: float, text: str) -> None:
        self.lines.insert(int(where * len(self.lines)), text)
        self.dirty = True

    @rule(videos=st.integers(1, 4))
    def resize(self, videos: int) -> None:
        self.index.videos = videos
        self.largest = max(self.largest, videos)

    @invariant()
    def holds(self) -> None:
        if not getattr(self, "dirty", False):
            return
        self.dirty = False
        plan = self.index.run(self.lines)
        listed = [json.loads(line)["id"] for line in self.lines if line.startswith('{"')]
        rows = self.index.rows("video_id", "shard", "status", "source", "line")
        status = {v: s for v, _, s, _, _ in rows}
        assert len(status) == len(rows), "a video twice"
        assert {v for v, s in status.items() if s == "present"} == set(listed)
        assert {v for v, s in status.items() if s == "removed"} == self.seen.keys() - set(listed)
        assert sorted(line for _, _, s, _, line in rows if s == "rejected") == [
            n for n, line in enumerate(self.lines, 1) if not line.startswith('{"')
        ]
        places = {v: shard for v, shard, s, _, _ in rows if s != "rejected"}
        assert places.items() >= self.seen.items(), "a video moved"
        assert all(n <= self.largest for n in Counter(places.values()).values()), "a shard is too full"
        fresh = [v for v in dict.fromkeys(listed) if v not in self.seen]
        assert [places[v] for v in fresh] == sorted(places[v] for v in fresh), "not in source order"
        assert len(fresh) == plan.added
        assert min((places[v] for v in fresh), default="~") >= max(self.seen.values(), default="")
        assert [parse_shard_key(k)[1] for k in plan.shards] == list(range(len(plan.shards))), "a shard is left out"
        self.seen = places


def test_no_sequence_of_edits_moves_a_video(tmp_path: Path) -> None:
    Edits.folder = tmp_path
    checks = settings(max_examples=15, stateful_step_count=8, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Edits, settings=checks)


@pytest.mark.parametrize(("at_once", "scattered"), [(1, 4), (1, 0), (300, 0)])
def test_an_index_is_the_same_however_it_is_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int, scattered: int
) -> None:
    """Lists in other orders, with rows of one video in several places, videos gone and come back: piece by piece, and put in order on disk first."""
    random = Random(at_once + scattered)
    ids = [f"id{n:03}" for n in range(120)]
    lists = []
    for _ in range(4):
        chosen = random.sample(ids, 80)
        rows = [{"id": i, "url": f"https://x.test/{i}", "v": random.randrange(3)} for i in chosen]
        rows += [{"id": i, "url": f"https://x.test/{i}", "w": 1} for i in random.sample(chosen, 20)]
        random.shuffle(rows)
        lists.append([*map(json.dumps, rows), "broken", "broken"])
    tables = []
    for folder in (tmp_path / "usual", tmp_path / "other"):
        folder.mkdir()
        index = Index(folder, "table", 7, columns={"id": "id", "url": "url"})
        index.list = tmp_path / "list.jsonl"
        index.source["path"] = str(index.list)
        plans = [index.run(lines) for lines in lists]
        tables.append((index.table, [(p.added, p.removed, p.restored, p.changed, p.contradictions) for p in plans]))
        monkeypatch.setattr(index_database, "SORTED_BYTES", at_once)
        monkeypatch.setattr(index_database, "SCATTERED", scattered)
    (usual, said), (other, also) = tables
    assert usual is not None
    assert usual.equals(other)
    assert said == also
    assert all(changed and removed for _, removed, _, changed, _ in said[1:])


NAMES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.sampled_from(["mp4", "webm"])).map(
        lambda t: f"{t[0]}/{t[1]}.{t[2]}"
    ),
    max_size=8,
    unique=True,
)


@settings(max_examples=15)
@given(st.lists(NAMES.filter(bool), min_size=2, max_size=4))
def test_no_sequence_of_files_changes_an_id(
    tmp_path_factory: pytest.TempPathFactory, contents: list[list[str]]
) -> None:
    folder = tmp_path_factory.mktemp("files")
    media = folder / "media"
    index = Index(folder, "folder", 2)
    index.source["path"] = str(media)
    known: dict[str, tuple[str, str]] = {}
    for names in contents:
        for old in media.glob("*/*"):
            old.unlink()
        stored(media, *names)
        index.run()
        now = {location: (video_id, index.shards()[video_id]) for location, video_id in locations(index).items()}
        assert now.keys() == set(names)
        assert len({v for v, _ in now.values()}) == len(now)
        assert all(known.get(location, place) == place for location, place in now.items())
        assert not {place for location, place in now.items() if location not in known} & set(known.values())
        known |= now


def test_secrets_of_urls_go_to_the_side_file_and_a_list_signed_anew_changes_no_record(tmp_path: Path) -> None:
    source = tmp_path / "list.csv"
    made = recipe(
        {"format": "table", "path": str(source), "columns": {"id": "id", "url": "url", "caption": "caption"}}, videos=2
    )
    out, secrets = tmp_path / "index.parquet", tmp_path / "secrets"
    secrets.mkdir()

    def run(token: str, previous: pa.Table | None) -> IndexPlan:
        rows = [
            f"plain,https://h/plain.mp4,a,https://h/a.jpg?token={token}",
            f"signed,https://h/v.mp4?sig={token}&t=1,see https://h/?token={token},",
            f"user,https://me:{token}@h/u.mp4,b,",
            f"signed,https://h/other.mp4?sig=later-{token},c,",
        ]
        source.write_text("id,url,caption,thumbnail\n" + "\n".join(rows) + "\n")
        return plan_index(made, previous, out, workspace=IndexWorkspace(secrets=secrets))

    first = run("hush-1", None)
    table = pq.read_table(out)
    assert "hush" not in json.dumps(table.to_pylist())
    assert first.secrets == 2
    expected = [
        {"shard": "d-00000", "video_id": "signed", "url": "https://h/v.mp4?sig=hush-1&t=1"},
        {"shard": "d-00001", "video_id": "user", "url": "https://me:hush-1@h/u.mp4"},
    ]
    assert pq.read_table(secrets / "d.parquet").to_pylist() == expected
    again = run("hush-2", table)
    assert (again.changed, again.added, again.removed) == (0, 0, 0)
    assert pq.read_table(out).equals(table)
    assert "hush-1" not in repr(pq.read_table(secrets / "d.parquet").to_pylist())

    storage = Storage(str(tmp_path / "root"))
    publish_secrets(storage, "d", secrets / "d.parquet")
    assert read_fetch_urls(storage, "d-00001") == {"user": "https://me:hush-2@h/u.mp4"}
    assert read_fetch_urls(storage, "d-00002") == read_fetch_urls(storage, "other-00000") == {}


def test_a_folder_named_with_a_password_is_rejected_because_tables_would_repeat_it(tmp_path: Path) -> None:
    row = SourceRow(
        "v",
        "https://u:hush@h/v.mp4",
        "s",
        1,
        location="v.mp4",
        extra={"media": {"tar": "https://u:hush@h/v.mp4", "offset": None}},
    )
    with pytest.raises(RowError, match="holds a password"):
        spilled_rows._accepted(0, row)


def test_a_list_that_cannot_be_fetched_is_named_without_its_password(tmp_path: Path) -> None:
    source = {"format": "ids", "path": "http://me:hush@127.0.0.1:9/list.txt?sig=hush"}
    with pytest.raises(SourceError, match=r"list\.txt") as raised:
        plan_index(recipe(source), None, tmp_path / "x.parquet")
    assert "hush" not in str(raised.value)


def recovered(index: pa.Table) -> pa.Table:
    """The index, from what `video_metadata` says of each of its shards."""
    shards = sorted(set(index["shard"].to_pylist()))
    tables = [index_rows(s, video_metadata_table(index.filter(pc.equal(index["shard"], s)))) for s in shards]
    return pa.concat_tables(tables).sort_by([("shard", "ascending"), ("video_id", "ascending")])


def test_the_index_can_be_made_again_from_video_metadata(tmp_path: Path) -> None:
    """Of rows with everything that a source can say, removed and rejected ones among them, byte by byte."""
    columns = {"id": "id", "url": "url", "title": "title", "clips": "clips", "clip_id": "clip", "caption": "text"}
    index = Index(tmp_path, "table", columns={**columns, "licence": "licence"})
    index.list = tmp_path / "list.csv"
    index.source["path"] = str(index.list)
    header = "id,url,title,clips,clip,text,licence,views"
    rows = [
        header,
        'a,https://x.test/a,T,"[[1, 2.5]]",c1,one,CC0,7',
        'a,https://x.test/a,T,"[[3, 4]]",,two,CC0,8',
        'a,https://x.test/a,T,"[[3, 4]]",,three,CC0,8',
        "b,https://x.test/b,,,,,,",
        "c,https://x.test/c,,[[1],c,,,",
        "d,https://x.test/d,Ein Fuß,,,viele Wörter,,",
        "d,https://x.test/d,Ein Fuß,,,andere Wörter,MIT,9",
    ]
    index.run(rows)
    index.run([r for r in rows if not r.startswith("b,")])
    assert index.table is not None
    assert set(index.table["status"].to_pylist()) == {"present", "removed", "rejected"}
    again = recovered(index.table)
    assert again.to_pylist() == index.table.to_pylist()
    stored(tmp_path / "videos", "x/a.mp4", "y/a.mp4")
    plan_index(recipe({"format": "folder", "path": str(tmp_path / "videos")}), None, tmp_path / "files.parquet")
    files = pq.read_table(tmp_path / "files.parquet")
    assert recovered(files).to_pylist() == files.to_pylist()
