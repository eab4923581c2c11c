"""Removing a dataset, or giving it another name, with all that was paid for.

Both go by the files: what is finished stays finished, so that a command that was killed is simply given again. The commands see to it that no
run is at work meanwhile (`orchestration/alone.py`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from curation_assets.engine.declared import FOLDER, indexed
from curation_assets.engine.making import VIDEOS, video_hashes
from curation_assets.engine.shard import Shard
from curation_assets.engine.shard_keys import parse_shard_key, shard_key
from curation_assets.engine.slices import SliceHashes, drop_old_slices
from curation_assets.engine.staleness import SHARDED
from curation_assets.engine.unread import FAULTS
from curation_assets.ingest.fetch_urls import FORM, secrets_path
from curation_assets.ingest.renamed_rows import rewrite_index, rows_of_dataset
from curation_assets.orchestration.instance import Instance
from curation_assets.orchestration.partitions import SHARDS, register_shards
from curation_assets.publish.clip_dataset import TABLE as CLIP_DATASET
from curation_assets.publish.curating.ordered_rows import OrderedRows
from curation_assets.recipes import Recipe, RecipeError, subsets
from curation_assets.registry import CLUSTERS, INDEX, STAGES, component
from curation_assets.rules.columns import inputs_of
from curation_assets.schemas import SCHEMAS
from curation_assets.selection import SUBSET_ASSETS, UNPARTITIONED
from curation_assets.settings import Settings
from curation_resources.provenance import Provenance
from curation_resources.scratch import scratch_folder
from curation_resources.storage import Storage
from curation_resources.table_contracts import conform
from curation_resources.table_headers import SHEET_FILE, TableHeader
from curation_resources.tables import GROUP_ROWS, TableStore
from curation_resources.words import plural
from curation_resources.written_table import WrittenTable


@dataclass
class Holdings:
    """What there is of a dataset, or of one subset.

    Attributes:
        name: as it was asked for.
        tables: (asset, partition), what is made last first.
        folders: of media and published versions, relative to the root.
        bytes: of the files in them.
        files: other files.
        index_rows: of `dataset_index`.
        indexed: whether `dataset_index` has it, be it without rows.
        partitions: shard keys that the instance knows.
    """

    name: str
    tables: list[tuple[str, str]] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    bytes: int = 0
    files: list[str] = field(default_factory=list)
    index_rows: int = 0
    indexed: bool = False
    partitions: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.tables or self.folders or self.files or self.indexed or self.partitions)

    def lines(self) -> Iterator[str]:
        """What there is, a line each."""
        for asset in SCHEMAS:
            own = [k for a, k in self.tables if a == asset]
            if own:
                yield f"{asset}: {plural(len(own), 'table')} ({', '.join(own[:3])}{', ...' if len(own) > 3 else ''})"
        if self.folders:
            yield f"{plural(len(self.folders), 'folder')} with {self.bytes / 1e6:.1f} MB of media and published versions"
        if self.indexed:
            yield f"{INDEX}: {plural(self.index_rows, 'row')}"
        if self.files:
            yield f"{len(self.files)} side files"
        if self.partitions:
            yield f"{len(self.partitions)} shard keys in Dagster"


def _of(name: str, key: str, asset: str) -> bool:
    """Whether a partition belongs to a dataset, or is the subset of that name."""
    if "-" in name:
        return asset in SUBSET_ASSETS and key == name
    return key.split("-")[0] == name


def _subfolders(storage: Storage, folder: str) -> list[str]:
    fs, name = storage.filesystem(folder)
    try:
        entries = fs.ls(name, detail=True, refresh=True) if "s3" in str(fs.protocol) else fs.ls(name, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(e["name"].rstrip("/").rsplit("/", 1)[-1] for e in entries if e["type"] == "directory")


def holdings(store: TableStore, instance: Instance, name: str) -> Holdings:
    """What there is of a dataset, or of the subset `<dataset>-<subset>`."""
    found = Holdings(name)
    for asset in reversed(list(SCHEMAS)):
        if asset in UNPARTITIONED:
            continue
        found.tables += [(asset, k) for k in store.partitions(asset) if _of(name, k, asset)]
        found.folders += [f"{asset}/{k}" for k in _subfolders(store.storage, asset) if _of(name, k, asset)]
    for folder in found.folders:
        fs, path = store.storage.filesystem(folder)
        found.bytes += int(fs.du(path))
    if "-" not in name:
        sides = (secrets_path(name), f"{FOLDER}/{name}.json")
        found.files = [f for f in sides if store.storage.exists(f)]
        if name in indexed(store):
            found.indexed = True
            column = store.read(INDEX, columns=["dataset"])["dataset"]
            found.index_rows = pc.sum(pc.equal(column, name)).as_py() or 0
        order = instance.get_dynamic_partitions(SHARDS.name or "")
        found.partitions = [k for k in order if parse_shard_key(k)[0] == name]
    return found


def remove(store: TableStore, instance: Instance, found: Holdings) -> None:
    """Removes all of it: tables before the media that they name, the index last, so that a removal that was killed is found again."""
    for asset, key in found.tables:
        store.storage.remove(store.path(asset, key))
    for folder in found.folders:
        fs, path = store.storage.filesystem(folder)
        fs.rm(path, recursive=True)
    for key in found.partitions:
        instance.delete_dynamic_partition(SHARDS.name or "", key)
    if found.indexed:
        rewrite_index(store, found.name)
    for file in found.files:
        store.storage.remove(file)
    if "-" not in found.name and (index := store.header(INDEX)) is not None:
        drop_old_slices(store, index)  # of a removal that was killed once the index was written


def _renamed(column: pa.ChunkedArray, old: str, new: str) -> pa.ChunkedArray:
    """A column of dataset names or of keys that begin with `<dataset>-`."""
    changed = pc.replace_substring_regex(column, rf"^{old}(-|$)", rf"{new}\1")
    return changed.cast(column.type)


@dataclass
class _Renaming:
    store: TableStore
    recipe: Recipe
    settings: Settings
    old: str
    new: str
    say: Callable[[str], Any]

    def key(self, key: str) -> str:
        return shard_key(self.new, parse_shard_key(key)[1])

    def table(self, asset: str, key: str) -> pa.Table:
        """The table of an old shard as the new dataset has it."""
        return self.store.prepare(asset, self._rows(asset, key, self.store.read(asset, key)))

    def _rows(self, asset: str, key: str, table: pa.Table) -> pa.Table:
        """Rows of a table as the new dataset has them."""
        names = {n: _renamed(table[n], self.old, self.new) for n in ("dataset", "shard") if n in table.column_names}
        if "tar" in table.column_names:
            own = rf"^{asset}/{self.old}-"
            names["tar"] = pc.replace_substring_regex(table["tar"], own, f"{asset}/{self.new}-").cast(table["tar"].type)
        if CLUSTERS in component(asset).slices:
            names["cluster_id"] = self._clusters(key, table["cluster_id"])
        for name, column in names.items():
            at = table.column_names.index(name)
            table = table.set_column(at, table.schema.field(name), column)
        return table

    def _clusters(self, shard: str, ids: pa.ChunkedArray) -> pa.ChunkedArray:
        """Ids of clusters of a shard's clips, which are hashes of their survivor and its dataset, as the next comparison will give them."""
        if not self.store.exists(CLUSTERS):
            return ids
        clusters = self.store.rows_with(CLUSTERS, "shard", shard)
        own = clusters.filter(pc.equal(clusters["survivor_dataset"], self.old))
        to = {
            row["cluster_id"]: hashlib.blake2b(f"{self.new}/{row['survivor']}".encode(), digest_size=8).hexdigest()
            for row in own.to_pylist()
        }
        return pa.chunked_array([pa.array([to.get(i, i) for i in ids.to_pylist()], ids.type)])

    def index(self) -> dict[str, tuple[str, str]]:
        """Shard -> (old, new) content hash of its rows in the index."""
        old, new = SliceHashes(INDEX), SliceHashes(INDEX)
        for rows in rows_of_dataset(self.store, self.old):
            old.update(rows)
            new.update(self._index_rows(rows))
        hashes = zip(*(found["content_hash"].to_pylist() for found in (old.table(), new.table())), strict=True)
        return dict(zip(old.table()["shard"].to_pylist(), hashes, strict=True))

    def _index_rows(self, table: pa.Table) -> pa.Table:
        for name in ("dataset", "shard"):
            at = table.column_names.index(name)
            table = table.set_column(at, table.schema.field(name), _renamed(table[name], self.old, self.new))
        return table

    def finish_index(self) -> None:
        """Puts the new name into the index and the side file with full URLs."""
        path = secrets_path(self.old)
        if self.store.storage.exists(path):
            with self.store.storage.open(path) as file:
                secrets = pq.read_table(file, schema=FORM)
            at = secrets.column_names.index("shard")
            secrets = secrets.set_column(at, FORM.field("shard"), _renamed(secrets["shard"], self.old, self.new))
            with self.store.storage.publish(secrets_path(self.new)) as target:
                pq.write_table(secrets, target, compression="zstd")
        if self.old in indexed(self.store):
            rewrite_index(self.store, self.old, self.new, self._index_rows)

    def provenance(self, asset: str, header: TableHeader, inputs: Mapping[str, tuple[str, str]]) -> Provenance:
        """What the renamed table is made from: an input that was as it is now is so under its new name; what was stale stays stale."""
        made = header.provenance
        changed = {
            name: inputs[name][1] if name in inputs and inputs[name][0] == digest else digest
            for name, digest in made.inputs.items()
        }
        return replace(made, inputs=changed)

    def shard(self, key: str, index: Mapping[str, tuple[str, str]]) -> None:
        """Makes the tables of a shard anew under the new name, inputs first."""
        new = self.key(key)
        hashes: dict[str, tuple[str, str]] = {INDEX: index[key]} if key in index else {}
        before = Shard(key, self.recipe, self.store, self.settings, None)
        after = Shard(new, self.recipe, self.store, self.settings, None)
        waiting = [a for a in SHARDED if self.store.exists(a, key)]
        while waiting:
            asset = next(a for a in waiting if not set(inputs_of(SHARDED[a], self.recipe)) & set(waiting) - {a})
            waiting.remove(asset)
            header = self.store.header(asset, key)
            assert header is not None
            made = self.store.header(asset, new)
            if made is None:
                beside = [n for n in self.store.storage.list(f"{asset}/{key}") if n.endswith(".tar") or n == SHEET_FILE]
                self._link(f"{asset}/{key}", f"{asset}/{new}", beside)
                stats = {k: v for k, v in header.stats.items() if k != FAULTS}
                needed = inputs_of(SHARDED[asset], self.recipe)
                if header.stats.get(VIDEOS) and all(a in hashes for a in needed):
                    reads = next(s for s in STAGES if asset in {p.asset for p in s.parts}).reads
                    old, now = video_hashes(before, needed, reads), video_hashes(after, needed, reads)
                    kept = header.stats[VIDEOS]
                    stats[VIDEOS] = {v: now.get(v, h) if old.get(v) == h else h for v, h in kept.items()}
                if header.stats.get(FAULTS):
                    stats[FAULTS] = {v: {**f, "inputs": None} for v, f in header.stats[FAULTS].items()}
                table = self.table(asset, key)
                made = self.store.commit(asset, new, table, self.provenance(asset, header, hashes), stats)
            hashes[asset] = (header.content_hash, made.content_hash)

    def _link(self, old: str, new: str, names: Sequence[str]) -> None:
        """Files of a folder in another too: local ones as further names of the same bytes."""
        fs, source = self.store.storage.filesystem(old)
        _, target = self.store.storage.filesystem(new)
        for name in names:
            if fs.exists(f"{target}/{name}"):
                continue
            fs.makedirs(fs._parent(f"{target}/{name}"), exist_ok=True)
            try:
                if not isinstance(fs, LocalFileSystem):
                    raise OSError("only local files have several names")
                os.link(f"{source}/{name}", f"{target}/{name}")
            except OSError:
                fs.copy(f"{source}/{name}", f"{target}/{name}")

    def exports(self) -> None:
        """What was exported, so that no clip is cut again; the next publication writes a version under the new name."""
        for key in self.store.partitions(CLIP_DATASET.asset):
            if key.split("-")[0] != self.old:
                continue
            new = f"{self.new}-{key.split('-', 1)[1]}"
            if new not in subsets({self.new: self.recipe}) or self.store.exists(CLIP_DATASET.asset, new):
                continue
            header = self.store.header(CLIP_DATASET.asset, key)
            assert header is not None
            version = header.stats.get("version")
            if not version:
                continue
            self._export(key, new, str(version), header)

    def _export(self, key: str, new: str, version: str, header: TableHeader) -> None:
        """A version and its table, of which some row groups are held at a time: it has a row for each clip."""
        asset, contract = CLIP_DATASET.asset, self.store.contracts[CLIP_DATASET.asset]
        folder, names = f"{asset}/{key}/{version}", self.store.form(asset, key).names
        with scratch_folder("rename-") as scratch:
            local = Path(scratch) / "version.parquet"
            rows = OrderedRows(Path(scratch), contract.arrow, contract.key, len(contract.key))
            for part in self.store.groups(asset, names, key):
                media = [t.removeprefix(f"{folder}/") for t in pc.unique(part["tar"].drop_null()).to_pylist()]
                self._link(folder, f"{asset}/{new}/{version}", media)
                rows.add(conform(self._rows(asset, key, part), contract))
            with WrittenTable(local, contract) as written:
                for part in rows:
                    written.add(part, GROUP_ROWS)
            self.store.commit_file(asset, new, local, header.provenance, written.parts.hexdigest(), header.stats)


def _unpublished(found: Holdings) -> Holdings:
    """What there is of a dataset but for its subsets and what they have published."""
    return replace(
        found,
        tables=[(a, k) for a, k in found.tables if a in SHARDED],
        folders=[f for f in found.folders if f.split("/")[0] in SHARDED],
    )


def rename(
    store: TableStore,
    instance: Instance,
    recipes: Mapping[str, Recipe],
    settings: Settings,
    old: str,
    new: str,
    say: Callable[[str], Any] = print,
) -> None:
    """Gives all shards of a dataset another name; nothing is fetched or computed again. Given again after it was killed, it goes on.

    The recipe must declare the new name already. Subset tables are made anew by the next publication, with the clips that were cut; what
    was published under the old name stays where it is until `curation remove` of the old name.

    Raises:
        RecipeError: the old name is still declared, the new one is not, or there is nothing to rename.
    """
    if old in recipes:
        raise RecipeError(
            f"{old} is still declared by {recipes[old].declared_in}; change its `dataset:` to {new} first"
        )
    if new not in recipes:
        raise RecipeError(f"no recipe declares {new}; change `dataset: {old}` to `dataset: {new}` in its recipe first")
    tables = [(a, k) for a in SHARDED for k in store.partitions(a) if parse_shard_key(k)[0] == old]
    if not tables and old not in indexed(store):
        rest = _unpublished(holdings(store, instance, old))
        if not rest or new not in indexed(store):
            raise RecipeError(f"nothing of {old} is stored here")
        remove(store, instance, rest)  # of a renaming that was killed when it removed the last
        return
    if new in indexed(store) and old in indexed(store):
        raise RecipeError(
            f"{new} has been indexed already beside {old}; `curation remove {new}` if nothing of it is worth keeping, then rename again"
        )
    work = _Renaming(store, recipes[new], settings, old, new, say)
    index = work.index() if old in indexed(store) else {}
    keys = sorted({k for _, k in tables}, key=parse_shard_key)
    for number, key in enumerate(keys, 1):
        work.shard(key, index)
        say(f"{key} -> {work.key(key)} ({number} of {len(keys)})")
    work.exports()
    work.finish_index()
    register_shards(instance, [work.key(k) for k in keys])
    remove(store, instance, _unpublished(holdings(store, instance, old)))
