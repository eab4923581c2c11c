"""The rows of duplicates in blocks, and choosing among groups of clips: whatever is written when, the rows are those of all at once, and what is connected stays
together."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from curation_assets.dedup import cluster_rows, connected
from curation_assets.dedup.cluster_rows import SIGNATURE, in_order, with_other_rows, write_rows
from curation_assets.dedup.clusters import build_clusters
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.index import update_index
from curation_assets.dedup.index_files import read_manifest, write_blocks, write_manifest
from curation_assets.dedup.segments import among
from curation_assets.schemas import schema
from curation_assets_tests.dedup.fingerprint_rows import clip, near, random_hashes, shard
from curation_resources.storage import Storage


def _rows(clusters: list[int], rng: np.random.Generator) -> pa.Table:
    """Two or three rows of each cluster in any of four shards, in order, with signatures that say which cluster they are of."""
    columns: dict[str, list[object]] = {name: [] for name in (*schema("duplicate_clusters").names, SIGNATURE)}
    for number in clusters:
        for k in range(int(rng.integers(2, 4))):
            row = dict.fromkeys(columns) | {
                "dataset": "d",
                "video_id": f"v{number}",
                "clip_id": f"v{number}-{k}",
                "cluster_id": f"{number * 0x9E3779B97F4A7C15 % (1 << 64):016x}",
                "shard": f"d-{int(rng.integers(4)):05d}",
                "survivor": f"v{number}-0",
                "survivor_dataset": "d",
                "keep": k == 0,
                "relation": None if k == 0 else "copy",
                SIGNATURE: number * 8 + k,
            }
            for name, value in row.items():
                columns[name].append(value)
    form = schema("duplicate_clusters").arrow.append(pa.field(SIGNATURE, pa.uint64()))
    table = pa.table([pa.array(columns[f.name], f.type) for f in form], schema=form)
    return in_order(table.sort_by([(name, "ascending") for name in schema("duplicate_clusters").key]))


@settings(max_examples=25, phases=[Phase.generate])
@given(st.integers(0, 10_000), st.integers(0, 40), st.integers(1, 30), st.integers(1, 9))
def test_rows_that_come_into_blocks_lie_as_if_all_were_written_at_once(
    seed: int, count: int, block: int, steps: int
) -> None:
    rng = np.random.default_rng(seed)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(cluster_rows, "BLOCK_ROWS", block)
        storage = Storage(folder)
        whole = _rows(list(range(count)), rng)
        held = write_rows(storage, "i", [whole] if count else [])
        for step in range(steps):
            gone = [k for k in range(count) if rng.random() < 0.1]
            again = np.array(sorted(k * 8 + j for k in gone for j in range(3)), np.uint64)
            others = _rows([*gone[1:], 1000 + step], rng)
            cut = int(rng.integers(0, len(others) + 1))
            held = write_rows(storage, "i", with_other_rows(held, again, iter([others[:cut], others[cut:]])))
            stay = whole.filter(pa.array(~among(whole[SIGNATURE].to_numpy(), again)))
            whole = in_order(pa.concat_tables([stay, others]))
            assert held.table().equals(whole.drop_columns([SIGNATURE]).combine_chunks())
            assert len(held) == len(whole)
            assert sum(held.relations.values()) == sum(not keep for keep in whole["keep"].to_pylist())
            sizes = [entry["rows"] for entry in held.entries]
            assert all(size <= 2 * block for size in sizes)
            nothing = with_other_rows(held, np.empty(0, np.uint64), iter([]))
            assert list(nothing) == list(held.entries), "what does not change is not written"


def test_a_block_in_which_nothing_changes_stays_the_file_that_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update of the index writes the blocks of what is new, and no others."""
    monkeypatch.setattr(cluster_rows, "BLOCK_ROWS", 4)
    rng = np.random.default_rng(4)
    shards = []
    for k in range(7):
        frames = [random_hashes(rng, 5) for _ in range(4)]
        rows = [clip(f"v{k}x{i}", f) for i, f in enumerate(frames)]
        rows += [clip(f"w{k}x{i}", near(rng, f, 2), height=240) for i, f in enumerate(frames)]
        shards.append(shard(f"d-{k:05d}", rows))
    storage = Storage(str(tmp_path))

    def files() -> set[str]:
        manifest = read_manifest(storage, "index")
        assert manifest is not None
        return {entry["file"] for entry in manifest["chosen"]["blocks"]}

    build_clusters(storage, "index", shards[:6], Dedup())
    before = files()
    found = build_clusters(storage, "index", shards, Dedup())
    assert before < files()
    assert {f"chosen/{name}" for name in storage.list("index/chosen")} == files()
    assert found.clusters.equals(build_clusters(storage, "anew", shards[::-1], Dedup()).clusters)


def test_an_index_whose_rows_lie_in_one_file_goes_on(tmp_path: Path) -> None:
    """As before there were blocks: all is chosen anew, and that file is removed with the next update."""
    rng = np.random.default_rng(5)
    frames = [random_hashes(rng, 5) for _ in range(3)]
    rows = [
        clip(f"{name}{k}", near(rng, f, 2), height=h)
        for k, f in enumerate(frames)
        for name, h in (("v", 720), ("w", 240))
    ]
    shards = [shard("d-00000", rows[:4]), shard("d-00001", rows[4:])]
    storage = Storage(str(tmp_path))
    build_clusters(storage, "index", shards[:1], Dedup())
    manifest = read_manifest(storage, "index")
    assert manifest is not None
    table = pa.table({"rows": [1]})
    digest = write_blocks(storage, "index/chosen-0.blocks", [("chosen", table)])
    before = {"file": "chosen-0.blocks", "hash": digest, "of": manifest["matches"], "survivor": "best"}
    write_manifest(storage, "index", manifest | {"chosen": before})
    for _ in range(2):
        found = build_clusters(storage, "index", shards, Dedup(), check=True)
        assert found.clusters.equals(build_clusters(storage, "anew", shards, Dedup()).clusters)
    assert found.clusters.num_rows == 6
    assert not storage.exists("index/chosen-0.blocks")


@settings(max_examples=10)
@given(st.integers(0, 10_000), st.integers(1, 20))
def test_what_is_connected_is_in_one_group(seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(30):
        frames = random_hashes(rng, 4)
        family = range(int(rng.integers(1, 4)))
        rows += [clip(f"v{k}x{j}", near(rng, frames, 2) if j else frames) for j in family]
    shards = [shard(f"d-{k:05d}", rows[k::3]) for k in range(3)]
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(connected, "LEAST_CLIPS", 1)
        index = update_index(Storage(folder), "index", shards, Dedup())
        matches = index.matches.take(index.matches.accepted)
        found = connected.groups(index.library, connected.involved(index.library, matches), matches, most)
        signatures = index.library.of_rows("signature", found.rows)
        of = dict(zip(signatures.tolist(), found.of_row.tolist(), strict=True))
        for short, long, group in zip(matches.short, matches.long, found.of_match, strict=True):
            assert of[int(short)] == of[int(long)] == group
        assert set(of.values()) <= set(range(found.count))
        sizes = np.bincount(found.of_row)
        assert found.count == 1 or sizes.max() < most + 3, "a family has three clips"
