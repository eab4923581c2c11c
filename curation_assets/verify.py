"""Whether what lies in a storage root is what was committed: tables, the media that they name, published versions; and what nobody names.

Each fault says which shard, which file, what is wrong, and the command that repairs it. What belongs here: looking. What does not:
repairing, which is the next run's work, and whether tables are up to date (`staleness.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.contracts.tables import BESIDE, beside
from curation_assets.dedup.duplicate_clusters import CLUSTER_INDEX
from curation_assets.dedup.index_files import MANIFEST, DamagedIndex, check_file, files_of, read_manifest
from curation_assets.engine.redrawing import can_be_redrawn
from curation_assets.engine.shard_keys import parse_shard_key
from curation_assets.engine.sheets import sheet_hash, sheet_path
from curation_assets.ingest.raw_shards import TABLE as RAW_SHARDS
from curation_assets.ingest.referenced_videos import References
from curation_assets.publish.writing.versions import CARD, PIECES
from curation_assets.recipes import Recipe, subset_key
from curation_assets.registry import CLUSTERS, EXPORTS
from curation_assets.schemas import SCHEMAS, schema
from curation_assets.selection import SUBSET_ASSETS, UNPARTITIONED
from curation_resources import presence
from curation_resources.content_hash import ContentHasher
from curation_resources.media import MediaRef
from curation_resources.storage import Storage
from curation_resources.storage_errors import READ_ERRORS, StorageError
from curation_resources.sweep import unfinished_files, unfinished_uploads
from curation_resources.table_contracts import remedy
from curation_resources.table_headers import KEPT_FILE, TableHeader
from curation_resources.tables import READERS, DamagedTable, TableStore
from curation_resources.words import plural

BATCH_ROWS = 65_536
"""Rows of a table that are looked at at a time."""
DAMAGE, LEFT_OVER, UNSHOWN = "damage", "left over", "not shown"
REDRAWN = "draw it again with: curation pictures --redraw"
SWEPT = "the next run of it removes it, once no other run is at work on it"
UNSEEN = "remove the file, then {again}"
"""The remedy where a run looks no further than at the file's length."""
PUT_BACK = "put it back, or let the source be read again: curation run {file}"


@dataclass(frozen=True)
class Discrepancy:
    """Something that is not as it should be.

    Attributes:
        kind: damage; or left over: a file that nobody names and that costs nothing but space; or not shown: a contact sheet is gone, and nothing else with it.
        asset, partition: of which table; None for an unpartitioned one.
        file: path below the root.
        what: what is wrong with it.
        repair: the command, or what becomes of it by itself.
    """

    kind: str
    asset: str
    partition: str | None
    file: str
    what: str
    repair: str

    def line(self) -> str:
        where = ": ".join(p for p in (self.kind, self.partition or self.asset, self.file) if p)
        return f"{where}: {self.what}; {self.repair}"


@dataclass
class Counts:
    """What was looked at."""

    tables: int = 0
    media: int = 0
    members: int = 0
    versions: int = 0
    referenced: int = 0


class Verifier:
    """Looks at the tables of a store.

    Args:
        store: the tables.
        recipes: dataset -> recipe, by which subsets are known; tables of other datasets are looked at too.
        file: of the recipe, for the commands.
        datasets: only tables of these; None is all.
        deep: whether every byte is read: tables against their seals and content hashes, members of tars and published files against
            their SHA-256. Otherwise footers and sizes are. Videos that are referenced where they lie are asked for, whether they are there and what they were: those of
            this machine always, others only if `deep`.
    """

    def __init__(
        self,
        store: TableStore,
        recipes: Mapping[str, Recipe],
        datasets: Collection[str] | None = None,
        deep: bool = False,
        file: str = "RECIPE",
    ) -> None:
        self.store, self.storage, self.datasets, self.deep, self.file = store, store.storage, datasets, deep, file
        self.counts, self._references = Counts(), References(store, remote=deep)
        self._subsets = {subset_key(n, s): n for n, r in recipes.items() for s in r.subsets}

    def faults(self) -> Iterator[Discrepancy]:
        """Every fault, table by table in graph order, then what lies outside tables."""
        with ThreadPoolExecutor(READERS) as pool:
            for asset in SCHEMAS:
                keys: list[str | None] = [None] if asset in UNPARTITIONED else list(self._partitions(asset))
                for found in pool.map(partial(self._table, asset), keys):
                    yield from found
                yield from self._without_table(asset, keys)
        yield from self._index()
        if self.datasets is None:
            yield from self._unfinished()

    def stored(self) -> set[str]:
        """The datasets of which there are tables; of subsets that no recipe names, their keys."""
        assets = [a for a in SCHEMAS if a not in UNPARTITIONED]
        return {self._dataset(asset, key) for asset in assets for key in self.store.partitions(asset)}

    @property
    def passed_over(self) -> int:
        """Files of other machines that were not asked for."""
        return self._references.passed_over

    def looks_at(self, asset: str, key: str) -> bool:
        """Whether a partition is of a dataset that is looked at."""
        return self.datasets is None or self._dataset(asset, key) in self.datasets

    def _partitions(self, asset: str) -> Iterator[str]:
        return (key for key in self.store.partitions(asset) if self.looks_at(asset, key))

    def _dataset(self, asset: str, key: str) -> str:
        if asset in SUBSET_ASSETS:
            return self._subsets.get(key, key)
        return parse_shard_key(key)[0]

    def _fault(self, asset: str, key: str | None, file: str, what: str, repair: str = "{again}") -> Discrepancy:
        again = remedy(asset, key, schema(asset)).replace("RECIPE", self.file)
        return Discrepancy(DAMAGE, asset, key, file, what, repair.format(again=again))

    def _left(self, asset: str, key: str | None, file: str, what: str = "no table names it") -> Discrepancy:
        return Discrepancy(LEFT_OVER, asset, key, file, what, SWEPT)

    def _table(self, asset: str, key: str | None) -> list[Discrepancy]:
        """The faults of one table, of the media that it names and of what lies beside them."""
        path = self.store.path(asset, key)
        try:
            header = self.store.header(asset, key)
            if header is None:
                return []
            self.counts.tables += 1
            found = list(self._content(header)) if self.deep else []
            return [*found, *self._media(header), *(self._referenced(key) if asset == RAW_SHARDS.asset and key else ())]
        except DamagedTable as error:
            return [self._fault(asset, key, path, _reason(error))]
        except (StorageError, *READ_ERRORS) as error:
            return [self._fault(asset, key, path, f"cannot be read: {error}")]

    def _content(self, header: TableHeader) -> Iterator[Discrepancy]:
        contract, asset, key = schema(header.asset), header.asset, header.partition
        self.store.check(asset, key)  # every byte, against the seal
        if set(contract.names) - set(self.store.form(asset, key).names):
            return  # of an earlier version of the schema; its bytes fit its seal
        hasher = ContentHasher(contract.arrow, contract.volatile, contract.later)
        for batch in self.store.batches(asset, contract.names, BATCH_ROWS, key):
            hasher.update(pa.Table.from_batches([batch]).select(contract.names).cast(contract.arrow))
        # cast: the hash counts types, and Parquet names the items of lists anew
        if hasher.hexdigest() != header.content_hash:
            yield self._fault(asset, key, self.store.path(asset, key), "its rows are not those of its content hash")

    def _media(self, header: TableHeader) -> Iterator[Discrepancy]:
        asset, key = header.asset, header.partition
        found = self.store.files(asset, key)
        looked = self.store.looked_at(header, found)
        self.counts.media += looked.count - len(header.files)
        lost = set(looked.lost)
        for tar in sorted(lost):
            size = found[tar] if tar in found else self.storage.size(tar) if self.storage.exists(tar) else None
            said = "is gone" if size is None else f"has {size} bytes where {looked.lost[tar]} are named"
            yield self._fault(asset, key, tar, said)
        if self.deep and "sha256" in schema(asset).names and "tar" in schema(asset).names:
            yield from self._members(header, lost)
        if asset in EXPORTS:
            yield from self._versions(header, lost)
        sheet = sheet_path(self.store, asset, key)
        for path in sorted(set(found) - looked.named - {sheet, f"{self.store.folder(asset, key)}/{KEPT_FILE}"}):
            yield self._left(asset, key, path)
        there = sheet in found or (key is None and self.storage.exists(sheet))
        if header.sheet and not there:
            again = REDRAWN if can_be_redrawn(asset) else "the next making of its table draws another"
            yield Discrepancy(UNSHOWN, asset, key, sheet, "the contact sheet is gone; the table is whole", again)
        elif there and not header.sheet:
            yield Discrepancy(LEFT_OVER, asset, key, sheet, "its table names no contact sheet", "remove it")
        elif there and self.deep and sheet_hash(self.storage.read(sheet)) != header.sheet:
            what = "it is not the contact sheet that its table names, and is shown to nobody"
            yield Discrepancy(UNSHOWN, asset, key, sheet, what, f"remove it, then {REDRAWN}")

    def _referenced(self, shard: str) -> Iterator[Discrepancy]:
        """Videos that lie elsewhere and are gone or others now."""
        for lost in self._references.lost(shard):
            yield self._fault(RAW_SHARDS.asset, shard, lost.file, lost.what, PUT_BACK.format(file=self.file))
        self.counts.referenced = self._references.asked

    def _members(self, header: TableHeader, lost: Collection[str]) -> Iterator[Discrepancy]:
        """Members of the table's tars whose bytes are not those of their SHA-256; of videos in place, whether they changed."""
        columns = [c for c in ("tar", "offset", "size", "sha256", "etag", BESIDE) if c in schema(header.asset).names]
        ids = [k for k in schema(header.asset).key if k != "dataset"]
        for batch in self.store.batches(header.asset, [*ids, *columns], BATCH_ROWS, header.partition):
            table = pa.Table.from_batches([batch])
            table = table.filter(pc.and_(pc.is_valid(table["tar"]), pc.is_valid(table["sha256"])))
            for row in table.sort_by([("tar", "ascending"), ("offset", "ascending")]).to_pylist():
                if row["tar"] in lost:
                    continue
                for member in (row, *beside(row)):
                    yield from self._member(header, " ".join(str(row[k]) for k in ids), member)

    def _member(self, header: TableHeader, who: str, member: Mapping[str, Any]) -> Iterator[Discrepancy]:
        self.counts.members += 1
        ref = MediaRef(member["tar"], member["offset"], member["size"], member.get("etag"))
        try:
            with self.storage.open_media(ref) as file:
                whole = hashlib.file_digest(file, "sha256").hexdigest() == member["sha256"]  # type: ignore[arg-type]
        except (StorageError, *READ_ERRORS) as error:
            yield self._fault(header.asset, header.partition, ref.tar, f"{who} cannot be read: {error}")
            return
        if not whole:
            what = f"the bytes of {who} at {ref.offset} are not those that the table names"
            yield self._fault(header.asset, header.partition, ref.tar, what, UNSEEN)

    def _versions(self, header: TableHeader, lost: Collection[str]) -> Iterator[Discrepancy]:
        """The version in force against its manifest, but for files that are `lost`; versions that were never finished, and pieces."""
        folder = self.store.folder(header.asset, header.partition)
        mine = header.stats.get("version")
        for version in self.storage.folders(folder):
            there = self.storage.find(f"{folder}/{version}")
            if version == PIECES:
                for path in there:
                    yield self._left(
                        header.asset, header.partition, path, "a piece of an export that was not published"
                    )
            elif f"{folder}/{version}/{CARD}" not in there:
                if f"{folder}/{version}/{CARD}" in lost:
                    continue
                if version == mine:
                    yield self._fault(header.asset, header.partition, f"{folder}/{version}/{CARD}", "is gone")
                else:
                    yield self._left(
                        header.asset, header.partition, f"{folder}/{version}", "a version that was never finished"
                    )
            else:
                self.counts.versions += 1
                yield from self._manifest(header, f"{folder}/{version}", there, lost, version == mine)
        if mine and mine not in self.storage.folders(folder):
            yield self._fault(header.asset, header.partition, f"{folder}/{mine}", "the version in force is gone")

    def _manifest(
        self, header: TableHeader, folder: str, there: Mapping[str, int], lost: Collection[str], in_force: bool
    ) -> Iterator[Discrepancy]:
        path = f"{folder}/croissant.json"
        if path in lost:
            return
        try:
            listed = json.loads(self.storage.read(path)).get("distribution", [])
        except (ValueError, *READ_ERRORS) as error:
            yield self._fault(header.asset, header.partition, path, f"cannot be read: {error}")
            return
        for entry in listed:
            if "sha256" not in entry or "contentUrl" not in entry:
                continue
            file = f"{folder}/{entry['contentUrl']}"
            if file in lost:
                continue
            size = int(str(entry.get("contentSize", "0")).split()[0])
            said = None
            if file not in there:
                said = "is gone"
            elif there[file] != size:
                said = f"has {there[file]} bytes where its manifest says {size}"
            elif self.deep and _sha256(self.storage, file) != entry["sha256"]:
                said = "its bytes are not those of its manifest"
            if said and in_force:
                repair = UNSEEN if file in there else "{again}"
                yield self._fault(header.asset, header.partition, file, said, repair)
            elif said:
                old = "it is not the version in force: take it from a copy, or remove the version"
                yield Discrepancy(DAMAGE, header.asset, header.partition, file, said, old)

    def _without_table(self, asset: str, keys: Collection[str | None]) -> Iterator[Discrepancy]:
        """Folders of partitions that have no table: what killed first runs left for the next to take over."""
        if asset in UNPARTITIONED:
            return
        for key in self.storage.folders(asset):
            if key in keys or not self.looks_at(asset, key):
                continue
            for path in self.storage.find(f"{asset}/{key}"):
                yield self._left(asset, key, path, "its partition has no table yet")

    def _index(self) -> Iterator[Discrepancy]:
        """The index of fingerprints against its manifest."""
        there = self.storage.find(CLUSTER_INDEX) if self.store.exists(CLUSTERS) else {}
        path = f"{CLUSTER_INDEX}/{MANIFEST}"
        again = f"it is made again by: curation run {self.file} --select {CLUSTERS}"
        try:
            manifest = read_manifest(self.storage, CLUSTER_INDEX) if there else None
            named = dict(files_of(manifest)) if manifest else {}
        except (DamagedIndex, KeyError, *READ_ERRORS) as error:
            yield Discrepancy(DAMAGE, CLUSTERS, None, path, f"is damaged: {error}", again)
            return
        for name, digest in sorted(named.items()):
            said = None
            if f"{CLUSTER_INDEX}/{name}" not in there:
                said = "is gone"
            elif self.deep:
                try:
                    check_file(self.storage, f"{CLUSTER_INDEX}/{name}", digest)
                except DamagedIndex as error:
                    said = f"is damaged: {error}"
            if said:
                yield Discrepancy(DAMAGE, CLUSTERS, None, f"{CLUSTER_INDEX}/{name}", said, f"{again} --force")
        for file in sorted(set(there) - {path, *(f"{CLUSTER_INDEX}/{n}" for n in named)}):
            yield self._left(CLUSTERS, None, file, "the index does not name it")

    def _unfinished(self) -> Iterator[Discrepancy]:
        """Files and uploads that were never finished, and runs that are dead."""
        for path in unfinished_files(self.storage):
            yield Discrepancy(LEFT_OVER, "", None, path, "an unfinished file of a dead run", "the next run removes it")
        for asset in ("", *SCHEMAS):
            for name in self.storage.list(asset) if asset or self.storage.is_local else ():
                if name.startswith(".") and name.endswith(".tmp"):
                    path = f"{asset}/{name}".lstrip("/")
                    yield Discrepancy(
                        LEFT_OVER, asset, None, path, "an unfinished file of an earlier version", "remove it"
                    )
        try:
            for path, _ in unfinished_uploads(self.storage):
                yield Discrepancy(
                    LEFT_OVER, "", None, path, "an upload that was never finished", "the next run aborts it"
                )
        except (NotImplementedError, *READ_ERRORS):
            return  # not every store lists them


def _reason(error: DamagedTable) -> str:
    """What is wrong, without name and command, which a fault has in places of their own."""
    return f"is damaged: {error.__cause__}"


def _sha256(storage: Storage, path: str) -> str:
    with storage.open(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def report(verifier: Verifier, as_json: bool, further: Iterable[Discrepancy] = ()) -> tuple[str, int]:
    """(text, exit code: 1 if anything is damaged); `further` is what others found in the root."""
    faults = [*verifier.faults(), *further]
    damaged = [f for f in faults if f.kind == DAMAGE]
    living = [name for name, _ in presence.at_work_now(verifier.storage)]
    if as_json:
        found = {
            "faults": [asdict(f) for f in faults],
            "looked_at": asdict(verifier.counts),
            "deep": verifier.deep,
            "runs_at_work": living,
        }
        return json.dumps(found, indent=1, ensure_ascii=False), int(bool(damaged))
    c = verifier.counts
    looked = f"{plural(c.tables, 'table')}, {plural(c.media, 'file')} of media, {plural(c.referenced, 'video')} where they lie, {plural(c.versions, 'published version')}"
    looked += f", {plural(c.members, 'member')} read" if verifier.deep else "; --deep reads every byte"
    if verifier.passed_over:
        looked += f", and asks after {plural(verifier.passed_over, 'video')} in buckets and on other machines"
    lines = [f.line() for f in faults]
    unshown = sum(f.kind == UNSHOWN for f in faults)
    said = f", {plural(unshown, 'table')} without their contact sheet" if unshown else ""
    lines.append(f"{len(damaged)} damaged, {len(faults) - len(damaged) - unshown} left over{said}; looked at {looked}")
    if living:
        lines.append(
            f"{plural(len(living), 'run is', 'runs are')} at work: what they write now may be listed as left over"
        )
    return "\n".join(lines), int(bool(damaged))
