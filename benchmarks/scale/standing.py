"""Step `stale`: how all tables of a root of HD-VILA's size stand, as `curation stale` and the gap sensor see them.

Every shard has its sixteen tables, with all columns of their contracts, true fingerprints and content hashes, hashes of a hundred videos in the
stats and the names of tars; of each table there is one row, of the tars nothing but their length: neither is read to tell how a table stands. The
index has a hundred videos a shard, the index of duplicates knows all shards, and the subsets are published. A table is a template in which the
places that differ from shard to shard are filled in, a file a table; 33,000 shards have 9 GB.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from benchmarks.ingest import measured
from benchmarks.scale.rows import Line, Row
from curation_assets.engine.shard_keys import shard_key
from curation_assets.engine.slices import write_slices
from curation_assets.recipes import Recipe
from curation_assets.registry import COMPONENTS
from curation_assets.schemas import SCHEMAS, schema
from curation_assets.settings import Settings
from curation_resources import sealed_parquet
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.table_headers import TableHeader, footer_metadata
from curation_resources.tables import TableStore

SHARDS = 33_000
VIDEOS = 100
"""Videos of a shard."""
TARS = {"raw_shards": 4, "frames": 1}
"""Tars of a shard."""
MOST_READ = 5000
"""Shards whose footers are read, rather than known."""
BYTES = 1_000_000
"""Length of a tar; nothing of it takes room on the disk."""
KEY, OWN = "bench-99999", "f" * 32
"""What stands in a template for the shard's key and its content hash."""


def recipe() -> Recipe:
    """Everything, with a subset of clips and one of tracks."""
    return Recipe.model_validate(
        {
            "dataset": "bench",
            "source": {"format": "hdvila", "path": "list.jsonl"},
            "shard": {"videos": VIDEOS},
            "text": {},
            "tracks": {},
            "aesthetic": {},
            "categories": {"style": {"prompts": {"photo": ["a photo"], "drawing": ["a drawing"]}}},
            "captions": {"backend": "source", "where": []},
            "subsets": {
                "all": {
                    "where": ["keep", "aesthetic > 3", "match > 0.1", "loudness > -60"],
                    "export": {"clips": {}, "embeddings": {}},
                },
                "followed": {"of": "tracks"},
            },
        }
    )


def content_of(asset: str, shard: str) -> str:
    """The content hash of a generated table."""
    return hashlib.sha256(f"{asset} {shard}".encode()).hexdigest()[:32]


class Template:
    """A table of an asset as it is for every shard, in pieces between the places that differ."""

    def __init__(
        self, asset: str, way: Provenance, columns: pa.Schema, places: Mapping[str, str], stats: Mapping[str, Any]
    ) -> None:
        media = {f"{asset}/{KEY}/0123456789ab-{n:05d}.tar": BYTES for n in range(TARS.get(asset, 0))}
        made = Provenance(way.code_version, way.params, dict(places), way.weights)
        header = TableHeader(asset, KEY, 1, made, "e" * 32, OWN, stats, media=media if asset in TARS else None)
        row = pa.table(
            [pa.nulls(1, f.type) for f in columns], schema=pa.schema([f.with_nullable(True) for f in columns])
        )
        file = io.BytesIO()
        sealed_parquet.write_table(row.replace_schema_metadata(footer_metadata(header)), file)
        data = file.getvalue()
        self._at = data.index(sealed_parquet.SEAL)
        self._pages = data[: self._at + len(sealed_parquet.SEAL) + sealed_parquet.DIGEST]
        footer = data[self._at + sealed_parquet.SEAL_BYTES : -8]
        self._end = data[-8:]
        self.places = [KEY, OWN, "e" * 32, *places.values()]
        self._pieces = re.split(b"(" + b"|".join(p.encode() for p in self.places) + b")", footer)

    def write(self, folder: Path, shard: str, values: Mapping[str, str]) -> None:
        """The table of a shard; `values` says what stands at each place."""
        known = {k.encode(): v.encode() for k, v in values.items()}
        footer = b"".join(known.get(p, p) for p in self._pieces)
        pages = self._pages[-sealed_parquet.DIGEST :]
        seal = hashlib.blake2b(footer + pages, digest_size=sealed_parquet.DIGEST).digest()
        with open(folder / f"{shard}.parquet", "wb") as file:
            file.write(self._pages + seal + footer + self._end)


def _stats(asset: str, by_video: bool) -> dict[str, Any]:
    """Stats as such a table has them."""
    stats: dict[str, Any] = {
        "cpu_s": 12.5,
        "wall_s": 14.25,
        "rows_in": VIDEOS,
        "rows_out": 3100,
        "cpu_s_per_clip": 0.004,
    }
    if by_video:
        ids = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(VIDEOS)]
        stats |= {"videos_made": VIDEOS, "videos_kept": 0, "videos": {i[:11]: i[11:27] for i in ids}}
    if asset == "raw_shards":
        stats |= {"errors": {"removed": 3, "private": 2}, "transient": 0}
    return stats


def generate(root: str, shards: int, known: bool = False) -> None:
    """Writes the root.

    Args:
        root: a folder.
        shards: how many there are.
        known: whether this machine knows the heads of all tables, as if it had read them: half a million footers take minutes.
    """
    from curation_assets.engine.staleness import OF_SUBSET, RETRIED, SHARDED, Graph, open_heads
    from curation_assets.registry import CLUSTERS, INDEX
    from curation_assets.rules.columns import inputs_of

    if known:
        _environment(root)
    store, plain = TableStore(Storage(root), SCHEMAS), TableStore(Storage(root), {})
    one, settings = recipe(), Settings(storage=root)
    recipes = {one.dataset: one}
    keys = [shard_key("bench", n) for n in range(shards)]
    slices = {INDEX: _write_index(store, keys), CLUSTERS: {k: content_of(CLUSTERS, k) for k in keys}}
    retried = {*RETRIED, "video_metadata"}
    for asset, part in SHARDED.items():
        if asset == "dedup":
            _write_clusters(store, plain, recipes, settings, slices[CLUSTERS])
        inputs = [*inputs_of(part, one), *part.slices]
        way = Provenance(part.code_version, part.params(one), dict.fromkeys(inputs, ""), dict(part.weights(one)))
        places = {name: f"{n:x}" * 32 for n, name in enumerate(inputs)}
        template = Template(asset, way, schema(asset).arrow, places, _stats(asset, asset in retried))
        fingerprint = way.fingerprinter()
        folder = Path(root) / asset
        folder.mkdir(parents=True, exist_ok=True)
        heads: dict[str, str] = {}
        for key in keys:
            made_of = {n: slices[n][key] if n in slices else content_of(n, key) for n in inputs}
            values = {places[n]: made_of[n] for n in inputs}
            heads[key] = fingerprint(made_of)
            values |= {KEY: key, OWN: content_of(asset, key), "e" * 32: heads[key]}
            template.write(folder, key, values)
            for number in range(TARS.get(asset, 0)):
                (folder / key).mkdir(exist_ok=True)
                with open(folder / key / f"0123456789ab-{number:05d}.tar", "wb") as file:
                    file.truncate(BYTES)
        if known:
            _remember(store, asset, heads, _stats(asset, asset in retried))
    found = open_heads(store, remember=known)
    found.look(list(SHARDED))
    graph = Graph(store, recipes, settings, found, why=False)
    for asset in OF_SUBSET:
        for state in graph.states([asset]):
            made_from = OF_SUBSET[asset](graph.known, recipes, str(state.partition))
            rows = pa.table({"shard": keys, "selected": [True] * len(keys)})
            plain.commit(asset, state.partition, rows, made_from)


def _remember(store: TableStore, asset: str, fingerprints: Mapping[str, str], stats: Mapping[str, Any]) -> None:
    """Keeps the heads of an asset's tables on this machine, as a look would that has read them."""
    from curation_assets.engine.head_columns import Head, HeadColumns, keep
    from curation_assets.engine.heads import STATS, cache_path, listing
    from curation_resources.provenance import canonical_json

    folder = cache_path(store.storage, "heads")
    assert folder is not None, "DAGSTER_HOME is set"
    tags, said = listing(store.storage, asset), {k: v for k, v in stats.items() if k in STATS}
    heads = {}
    for key, fingerprint in fingerprints.items():
        media = {f"{asset}/{key}/0123456789ab-{n:05d}.tar": BYTES for n in range(TARS.get(asset, 0))}
        texts = (canonical_json(d) if d else "" for d in (said, media))
        heads[key] = Head(tags[key], 1, fingerprint, content_of(asset, key), *texts)
    keep(folder / f"{asset}.arrow", HeadColumns.of(heads).table())


def _write_index(store: TableStore, keys: list[str]) -> dict[str, str]:
    """The index, a hundred videos a shard; shard -> content hash of its rows."""
    from curation_assets.ingest.index_file import IndexFile

    form = schema("dataset_index").arrow
    at = 1000
    with tempfile.TemporaryDirectory() as scratch:
        local = Path(scratch) / "index.parquet"
        with IndexFile(local) as file:
            for start in range(0, len(keys), at):
                shards = keys[start : start + at]
                ids = [f"{k[-5:]}-{n:05d}" for k in shards for n in range(VIDEOS)]
                columns: dict[str, Any] = {name: pa.nulls(len(ids), form.field(name).type) for name in form.names}
                columns |= {
                    "dataset": pa.array(["bench"] * len(ids)),
                    "shard": pa.array([k for k in shards for _ in range(VIDEOS)]),
                    "video_id": pa.array(ids),
                    "status": pa.array(["present"] * len(ids)),
                    "source": pa.array(["list.txt"] * len(ids)),
                    "line": pa.array(range(start * VIDEOS, start * VIDEOS + len(ids)), form.field("line").type),
                    "record": pa.array([f'{{"url":"https://www.youtube.com/watch?v={i}"}}' for i in ids]),
                }
                file.write(pa.table(columns, schema=form))
        write_slices(store, "dataset_index", file.content_hash, file.slices)
        store.commit_file("dataset_index", None, local, Provenance("1"), file.content_hash)
        found = file.slices
    return dict(zip(found["shard"].to_pylist(), found["content_hash"].to_pylist(), strict=True))


def _write_clusters(
    store: TableStore, plain: TableStore, recipes: Mapping[str, Recipe], settings: Settings, slices: Mapping[str, str]
) -> None:
    """The duplicate clusters, with the slices of all shards beside an empty table, and the manifest of the index."""
    from curation_assets.dedup.comparison import clusters_provenance
    from curation_assets.dedup.duplicate_clusters import CLUSTER_INDEX
    from curation_assets.dedup.index_files import write_manifest
    from curation_assets.engine.slices import FORM

    provenance, seen = clusters_provenance(store, recipes, settings)
    header = store.commit("duplicate_clusters", None, schema("duplicate_clusters").empty(), provenance)
    table = pa.table(
        {"shard": list(slices), "rows": [3100] * len(slices), "content_hash": list(slices.values())}, schema=FORM
    )
    write_slices(store, "duplicate_clusters", header.content_hash, table)
    entries = {
        k: {"file": f"parts/{k}-{h[:12]}.blocks", "content_hash": h, "hash": h, "seen": n}
        for n, (k, h) in enumerate(seen.items())
    }
    write_manifest(
        store.storage, CLUSTER_INDEX, {"format": 9, "update": 1, "shards": entries, "matches": "matches-0.arrow"}
    )


# --- what is measured ------------------------------------------------------------------------------------------------------------


def stale(root: str, *more: str) -> None:
    """`curation stale`, the whole command."""
    from curation_assets.cli import main

    _environment(root)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main(["stale", *more])
    assert code == 0, out.getvalue()
    print(out.getvalue(), file=sys.stderr)


def tick(root: str, more: int = 0, behind: bool = False) -> None:
    """Evaluations of the gap sensor by a new process, on an instance that knows all shards: one, and `more`; with `behind` by a recipe by which
    all clips, and what is made of them, are to be made again."""
    from dagster import DagsterInstance, build_sensor_context

    from curation_assets.engine.staleness import open_heads
    from curation_assets.orchestration.sensors import close_gaps
    from curation_assets.stores import table_store

    _environment(root)
    settings = Settings(storage=root)
    store, one = table_store(settings), recipe()
    if behind:
        one = one.model_copy(update={"clips": one.clips.model_copy(update={"min_s": 0.9})})
    with DagsterInstance.local_temp(f"{root}-home") as instance:
        _register(instance, store)
        heads = open_heads(store)
        for _ in range(1 + more):
            context, before = build_sensor_context(instance=instance), time.process_time()
            found = close_gaps(context, settings, {"bench": one}, store, heads)
            said = found.skip_reason.skip_message if found.skip_reason else f"{len(found.run_requests or [])} requests"
            print(f"{time.process_time() - before:.1f} CPU s: {said[:120]}", file=sys.stderr)


def ticks(root: str) -> None:
    """Two more evaluations by a process that has made one."""
    tick(root, 2)


def tick_behind(root: str) -> None:
    """An evaluation when nearly everything is behind."""
    tick(root, behind=True)


def _environment(root: str) -> None:
    """Settings of an installation at the root, with a recipe file and a Dagster home beside it."""
    home = Path(f"{root}-home")
    home.mkdir(exist_ok=True)
    file = home / "bench.yaml"
    file.write_text(yaml.safe_dump(recipe().model_dump(mode="json", exclude_unset=True)))
    os.environ |= {"DAGSTER_HOME": str(home), "CURATION_STORAGE": root, "CURATION_RECIPES": str(file)}


def _register(instance: Any, store: TableStore) -> None:
    from curation_assets.engine.slices import slice_hashes
    from curation_assets.orchestration.partitions import SHARDS

    name = SHARDS.name or ""
    if not instance.get_dynamic_partitions(name):
        instance.add_dynamic_partitions(name, sorted(slice_hashes(store, "dataset_index")))


def standing(folder: Path, share: float) -> Iterator[Line]:
    """The command with nothing known, again in a new process, and ticks of the gap sensor. Of more than `MOST_READ` shards everything is known, since
    their footers take too long to read."""
    shards, root = max(10, int(SHARDS * share)), f"{folder}/standing"
    measured(generate, root, shards, shards > MOST_READ)
    for what, step in (
        *(() if shards > MOST_READ else (("curation stale, nothing known", stale),)),
        ("curation stale", stale),
        ("gap sensor, first tick of a process", tick),
        ("gap sensor, three ticks of a process", ticks),
        ("gap sensor, nearly everything behind", tick_behind),
    ):
        yield Row(f"{what}, {len(COMPONENTS)} assets", shards, SHARDS, measured(step, root))
