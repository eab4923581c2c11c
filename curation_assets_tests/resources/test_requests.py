"""How many requests a shard costs on S3, as the server counts them."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from werkzeug.serving import WSGIRequestHandler

from curation_assets.engine.narrowing import Narrowing
from curation_assets.engine.plan import PlanStep
from curation_assets.engine.run import Run
from curation_assets.engine.run_tables import RunTables
from curation_assets.engine.staleness import looked_at
from curation_assets.engine.steps import StepFailed, carry_out
from curation_assets.makers import MAKERS
from curation_assets.recipes import parse_recipe
from curation_assets.schemas import SCHEMAS, schema
from curation_assets.settings import Settings
from curation_assets_tests.conftest import S3Server
from curation_assets_tests.sample_video import sample_video
from curation_resources.provenance import Provenance
from curation_resources.replace import Superseded
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

EIGHT = (
    "video_metadata",
    "raw_shards",
    "clips",
    "frames",
    "motion_scores",
    "quality_scores",
    "clip_fingerprints",
    "audio_scores",
)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the server was asked for: method, or LIST, and path or prefix."""
    seen: list[str] = []

    def count(self: WSGIRequestHandler, *_: object) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        seen.append(f"LIST {query['prefix'][0]}" if "list-type" in query else f"{self.command} {unquote(parts.path)}")

    monkeypatch.setattr(WSGIRequestHandler, "log_request", count)
    return seen


class Bucket:
    """An installation in a bucket, one video a shard."""

    def __init__(self, folder: Path, server: S3Server, shards: int) -> None:
        (folder / "videos").mkdir()
        for n in range(shards):
            (folder / f"videos/v{n}.mp4").write_bytes(sample_video(4.0, seed=n))
        text = f"dataset: d\nsource: {{format: folder, path: {folder / 'videos'}}}\nshard: {{videos: 1}}\nclips: {{detector: content}}\n"
        root = server.bucket()
        self.recipes = {"d": parse_recipe(text, "recipe")}
        self.store = TableStore(Storage(root, server.options), SCHEMAS)
        self.settings = Settings(storage=root, workers=1)
        self.carry_out(PlanStep("index", ("dataset_index",)))

    def carry_out(self, *steps: PlanStep) -> None:
        run = Run(self.store, self.recipes, self.settings, logging.getLogger("bucket"))
        failed = [e for e in carry_out(steps, run, MAKERS) if isinstance(e, StepFailed)]
        assert failed == []


def of_one_more(first: list[str], others: list[str]) -> int:
    """Requests for each of two shards, without those that are made once a run: what two shards cost more than one."""
    return len(others) - len(first)


def test_a_shard_takes_few_requests_and_lists_nothing_but_its_own_media(
    tmp_path: Path, s3_server: S3Server, requests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Bucket(tmp_path, s3_server, 3)
    runs: dict[tuple[str, int], list[str]] = {}
    for what in ("make", "look"):
        for keys in (("d-00000",), ("d-00001", "d-00002")):
            requests.clear()
            bucket.carry_out(PlanStep("curate", EIGHT, keys))
            runs[what, len(keys)] = list(requests)
    shown = {n: [r for r in runs["make", n] if r.startswith("GET") and r.endswith(".tar")] for n in (1, 2)}
    made = {n: [r for r in runs["make", n] if r not in shown[n]] for n in (1, 2)}
    assert of_one_more(made[1], made[2]) <= 40, "pictures apart that are shown and checked, a request each"
    assert 0 < of_one_more(shown[1], shown[2]) <= 8
    assert of_one_more(runs["look", 1], runs["look", 2]) <= 10
    assert all(bucket.store.read("frames", f"d-{n:05d}")["tar"].null_count == 0 for n in range(3))
    assert bucket.store.read("frames", "d-00001").num_rows
    listed = {r for made in runs.values() for r in made if r.startswith("LIST")}
    own = {f"LIST {asset}/d-{n:05d}/" for asset in ("raw_shards", "frames") for n in range(3)}
    assert listed == own | {"LIST .runs/"}
    assert not any(r.startswith(("PUT", "POST")) and ".runs/" not in r for n in (1, 2) for r in runs["look", n])

    # What `curation run` asks before it makes a step: the folders are listed, and no shard is asked for by itself.
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    asked = EIGHT[:7]  # what the recipe asks for
    for _ in range(2):
        requests.clear()
        graph = looked_at(bucket.store, bucket.recipes, bucket.settings, why=False)
        narrowing = Narrowing(graph, graph.known.hashes)
        keys = tuple(f"d-{n:05d}" for n in range(3))
        assert narrowing.left(PlanStep("shards", asked, keys), MAKERS) is None
    assert narrowing.unchanged == dict.fromkeys(asked, 3)
    assert not [r for r in requests if "d-0" in r]
    assert len(requests) <= 40, "however many shards there are, up to a thousand"
    bucket.store.storage.remove("frames/d-00001.parquet")
    graph = looked_at(bucket.store, bucket.recipes, bucket.settings, why=False)
    left = Narrowing(graph, graph.known.hashes).left(PlanStep("shards", asked, keys), MAKERS)
    assert left == PlanStep("shards", ("frames",), keys[1:2])
    narrowing = Narrowing(graph, lambda asset: {} if asset == "raw_shards" else graph.known.hashes(asset))
    left = narrowing.left(PlanStep("shards", asked, keys[:1]), MAKERS)
    assert left is not None
    assert set(asked) - set(left.assets) == {"video_metadata"}, "what is made from a table that is made is not left out"


def test_the_clusters_are_opened_once_a_run(tmp_path: Path, s3_server: S3Server, requests: list[str]) -> None:
    """Each shard's rows of a table over all shards are read from a file that is open; where nothing is to be done, it is not opened."""
    bucket = Bucket(tmp_path, s3_server, 3)
    keys = tuple(f"d-{n:05d}" for n in range(3))
    bucket.carry_out(PlanStep("curate", EIGHT[:7], keys), PlanStep("clusters", ("duplicate_clusters",)))

    def asked(*shards: str) -> int:
        requests.clear()
        bucket.carry_out(PlanStep("curate", ("dedup",), shards))
        return sum("duplicate_clusters" in r for r in requests)

    one, two = asked(keys[0]), asked(*keys[1:])
    assert one == two, "what it costs is of the run, not of the shard"
    assert asked(*keys) <= 2, "its footer, and the hashes of the slices"
    assert asked(*keys) == asked(keys[0])


def test_a_file_that_is_open_is_that_of_the_slices(tmp_path: Path) -> None:
    """Rows of a table over all shards, and the hash that says what they were made from, are never of two versions of it."""
    plain = TableStore(Storage(str(tmp_path)), {"duplicate_clusters": schema("duplicate_clusters")})

    def commit(keep: bool) -> None:
        row = dict.fromkeys(schema("duplicate_clusters").names)
        ids = {"shard": "d-00000", "dataset": "d", "video_id": "v", "clip_id": "v_0", "keep": keep, "cluster_id": "c"}
        ids |= {"survivor": "v_0", "survivor_dataset": "d"}
        table = pa.Table.from_pylist([{**row, **ids}], schema=schema("duplicate_clusters").arrow)
        plain.commit("duplicate_clusters", None, table, Provenance(str(keep)))

    def kept() -> list[bool]:
        return list(tables.rows_with("duplicate_clusters", "shard", "d-00000")["keep"].to_pylist())

    commit(True)
    tables = RunTables(plain)
    first = tables.slice_hash("duplicate_clusters", "d-00000")
    commit(False)
    with pytest.raises(Superseded):
        kept()
    assert tables.slice_hash("duplicate_clusters", "d-00000") != first
    assert kept() == [False]
    commit(True)
    assert kept() == [False], "of the file that is open, which the hash is of"
    tables.forget("d-00000")
    assert kept() == [True]
    assert tables.slice_hash("duplicate_clusters", "d-00000") == first


def test_a_table_that_another_run_has_made_meanwhile_is_noticed(tmp_path: Path) -> None:
    """What a run remembers of a table is never put beside the rows of another."""
    plain = TableStore(Storage(str(tmp_path)), {})
    tables = RunTables(plain)
    plain.commit("clips", "d-00000", pa.table({"n": [1]}), Provenance("1"))
    first = tables.header("clips", "d-00000")
    assert first is not None
    assert tables.read("clips", "d-00000")["n"].to_pylist() == [1]
    plain.commit("clips", "d-00000", pa.table({"n": [2]}), Provenance("2"))
    assert tables.header("clips", "d-00000") == first
    with pytest.raises(Superseded):
        tables.read("clips", "d-00000")
    now = tables.header("clips", "d-00000")
    assert now is not None
    assert now.provenance.code_version == "2"
    plain.commit("clips", "d-00000", pa.table({"n": [3]}), Provenance("3"))
    with pytest.raises(Superseded):
        tables.commit("clips", "d-00000", pa.table({"n": [4]}), Provenance("4"), None, now)
    assert tables.read("clips", "d-00000")["n"].to_pylist() == [3]
    tables.commit("clips", "d-00000", pa.table({"n": [5]}), Provenance("5"))
    assert tables.read("clips", "d-00000", columns=["n"])["n"].to_pylist() == [5]
    assert plain.header("clips", "d-00000") == tables.header("clips", "d-00000")


def test_a_table_that_a_run_wrote_from_a_file_is_there_for_it(tmp_path: Path) -> None:
    """Also if the run had looked for it before, and found none or another."""
    contract = schema("curated_clips")
    tables = RunTables(TableStore(Storage(str(tmp_path / "data")), {"curated_clips": contract}))
    assert tables.header("curated_clips", "d-all") is None
    local = tmp_path / "rows.parquet"
    pq.write_table(contract.empty(), local)
    for version in ("1", "2"):
        header = tables.commit_file("curated_clips", "d-all", local, Provenance(version), f"digest {version}")
        assert tables.header("curated_clips", "d-all") == header
        assert header.provenance.code_version == version
