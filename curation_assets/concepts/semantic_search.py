"""The search for semantic duplicates over all shards, in bounded memory: clips are spooled to this machine's disk by concept, then compared concept by concept.

A concept that got no clip and lost none that had a duplicate keeps its rows; in the others only clips that came are compared with all. Memory holds the
embeddings of some concepts, and of each clip that was dropped before, in a concept that is looked at again, twenty bytes; rows are divided by shard on the disk as they come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation_assets.concepts.semantic_inputs import Compared, clips_seen, put_clips_seen
from curation_assets.concepts.semdedup import Nearest, compare, survivors
from curation_assets.dedup.table_spool import TableSpool
from curation_assets.schemas import schema
from curation_resources.growing_array import GrowingArray
from curation_resources.progress import told
from curation_resources.tables import TableStore

RECORD = np.dtype(
    [
        ("concept", "<i4"),
        ("shard", "<i4"),
        ("row", "<i4"),
        ("name", "<u8"),
        ("distance", "<f4"),
        ("seen", "<i4"),
        ("fresh", "?"),
    ]
)
"""A clip on disk: its shard as an index into the spool's, its row there, and a hash of dataset and id that stands for it."""
MOST_FILES = 256
PAIRS = 8
"""Pairs of each kind that are shown."""


@dataclass(frozen=True)
class ComparedPair:
    """Two clips of a concept, to look at: `a` goes before `b`. Each is (shard key, clip_id)."""

    cosine: float
    dropped: bool
    a: tuple[str, str]
    b: tuple[str, str]


@dataclass
class SemanticSearch:
    """One comparison.

    Attributes:
        store: the tables.
        shards: shard -> how it is to be compared.
        fresh: those of them that were not compared before as they are.
        before: shard -> how it was compared before.
        survivor: order of the clips, see `SemanticDedup`.
        threshold: cosine above which clips are duplicates.
        memory: bytes of embeddings that are held at once, about.
        compared: clips that were compared with all others of their concept.
    """

    store: TableStore
    shards: Mapping[str, Compared]
    fresh: frozenset[str]
    before: Mapping[str, Compared]
    survivor: str
    threshold: float
    memory: int
    compared: int = 0
    _found: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    _pairs: list[tuple[float, bool, tuple[int, int], tuple[int, int]]] = field(default_factory=list)

    def run(self, before: Callable[[], Iterable[pa.Table]], folder: Path) -> tuple[Path, list[ComparedPair]]:
        """The `semantic_duplicates` table, as a local Parquet file in key order, and the pairs worth looking at.

        Args:
            before: gives the table that was made from `shards` without the fresh ones, and of shards that are gone, part by part; it may have no rows.
            folder: local, for what is spooled and the table.
        """
        stays = pa.array([*(self.shards.keys() - self.fresh)], pa.string())
        touched: set[int] = set()
        for rows in before():
            lost = rows.filter(pc.invert(pc.is_in(rows["shard"], value_set=stays)))
            touched.update(lost["concept"].unique().to_pylist())
        spool = _Spool(folder, self.store, [*self.shards], self._files())
        for key in told(sorted(self.fresh), len(self.fresh), "shards that came"):
            touched.update(spool.add(key, self._seen, True, None))
        rest = sorted(self.shards.keys() - self.fresh) if touched else []
        for key in told(rest, len(rest), "shards"):
            spool.add(key, self._seen, False, touched)
        again, verdicts = pa.array(sorted(touched), pa.int32()), _Verdicts()
        with _RowsOfShards(folder / "rows", [*self.shards]) as found:
            for rows in before():
                known = rows.filter(pc.is_in(rows["shard"], value_set=stays))
                once_more = pc.is_in(known["concept"], value_set=again)
                verdicts.add(known.filter(once_more))
                found.add(known.filter(pc.invert(once_more)))
            for records, vectors in spool.buckets():
                self._bucket(records, vectors, verdicts)
                found.add(self._table(spool))
            found.write(folder / "table.parquet")
        return folder / "table.parquet", self._shown(spool)

    def _seen(self, key: str, names: np.ndarray) -> np.ndarray | int:
        """In which comparison clips of a shard came first, where it matters; of those that come now it is noted."""
        if self.survivor != "first_seen":
            return 0
        now, was = self.shards[key], self.before.get(key)
        known = clips_seen(self.store, key, was.content_hash) if was is not None else None
        if known is None:
            known = dict.fromkeys(names.tolist(), was.seen) if was is not None and key not in self.fresh else {}
        found = {name: known.get(name, now.seen) for name in names.tolist()}
        if key in self.fresh:
            put_clips_seen(self.store, key, now.content_hash, found)
        return np.array([*found.values()], np.int32)

    def _files(self) -> int:
        """Into how many files clips are spooled, so that one fits into memory."""
        headers = self.store.headers("clip_concepts", [*self.shards])
        first = next((k for k, h in headers.items() if h.rows), None)
        if first is None:
            return 1
        sample = self.store.read("clip_concepts", first, columns=["clip_embedding"])["clip_embedding"].drop_null()
        numbers = pc.list_value_length(sample[:1])[0].as_py() if len(sample) else 0
        needed = sum(h.rows for h in headers.values()) * (numbers * 6 + RECORD.itemsize)
        return min(MOST_FILES, max(1, -(-needed // max(1, self.memory))))

    def _bucket(self, records: np.ndarray, vectors: np.ndarray, verdicts: _Verdicts) -> None:
        away = records["distance"] if self.survivor == "nearest" else -records["distance"]
        seen = records["seen"] if self.survivor == "first_seen" else np.zeros(len(records), np.int32)
        order = np.lexsort((records["name"], away, seen, records["concept"]))
        ends = np.flatnonzero(np.diff(records["concept"][order])) + 1
        for own in np.split(order, ends):
            if len(own):
                self._concept(records[own], vectors[own], verdicts)

    def _concept(self, records: np.ndarray, vectors: np.ndarray, verdicts: _Verdicts) -> None:
        known, fresh = Nearest.unknown(len(records)), records["fresh"].copy()
        rows, of, cosine = verdicts.of(np.where(fresh, 0, records["name"]))
        rows, of, cosine = (part[~fresh[rows]] for part in (rows, of, cosine))
        by = np.argsort(records["name"])
        at = np.minimum(np.searchsorted(records["name"][by], of), len(by) - 1)
        there = records["name"][by][at] == of
        known.cosine[rows[there]], known.of[rows[there]] = cosine[there], by[at[there]]
        fresh[rows[~there]] = True  # what it was dropped for is gone
        self.compared += int(fresh.sum())
        found = compare(vectors, fresh, known)
        dropped, kept = survivors(found, self.threshold)
        self._note_pairs(records, found, dropped)
        involved = np.unique(np.concatenate([np.flatnonzero(dropped), kept[dropped]]))
        if len(involved):
            own = records[involved]
            like, to = (
                np.searchsorted(involved, places[involved]) for places in (np.where(dropped, found.of, kept), kept)
            )
            first = sum(len(part[0]) for part in self._found)
            self._found.append((own, dropped[involved], like + first, to + first, found.cosine[involved]))

    def _note_pairs(self, records: np.ndarray, found: Nearest, dropped: np.ndarray) -> None:
        for which, ends in ((dropped, (1, -1)), (~dropped & (found.of >= 0), (-1,))):
            rows = np.flatnonzero(which)
            rows = rows[np.argsort(found.cosine[rows], kind="stable")]
            for end in ends:
                for b in (rows[:PAIRS] if end == 1 else rows[-PAIRS:]).tolist():
                    a = int(found.of[b])
                    sides = [(int(records["shard"][i]), int(records["row"][i])) for i in (a, b)]
                    self._pairs.append((float(found.cosine[b]), bool(dropped[b]), sides[0], sides[1]))
        self._pairs = [pair for kind in _kinds(self._pairs) for pair in kind]

    def _table(self, spool: _Spool) -> pa.Table:
        """The rows of what was found since it was last asked for."""
        contract = schema("semantic_duplicates")
        if not self._found:
            return contract.empty()
        records, dropped, of, kept, cosine = (np.concatenate(parts) for parts in zip(*self._found, strict=True))
        self._found.clear()
        ids = spool.ids(records)
        survivor = ids.take(pa.array(kept))
        names = [
            hashlib.blake2b(f"{d}/{c}".encode(), digest_size=8).hexdigest()
            for d, c in zip(survivor["dataset"].to_pylist(), survivor["clip_id"].to_pylist(), strict=True)
        ]
        like = ids.take(pa.array(np.where(dropped, of, 0)))
        none = pa.array(~dropped)
        columns = {
            **{name: ids[name] for name in ("dataset", "video_id", "clip_id", "shard")},
            "concept": pa.array(records["concept"]),
            "semantic_cluster_id": pa.array(names, pa.string()),
            "semantic_keep": none,
            "survivor": survivor["clip_id"],
            "survivor_dataset": survivor["dataset"],
            "semantic_duplicate_of": pc.if_else(none, None, like["clip_id"]),
            "semantic_duplicate_dataset": pc.if_else(none, None, like["dataset"]),
            "semantic_similarity": pa.array(np.clip(cosine, 0, 1), mask=~dropped),
        }
        return pa.table([columns[f.name] for f in contract.arrow], names=contract.names).cast(contract.arrow)

    def _shown(self, spool: _Spool) -> list[ComparedPair]:
        pairs = list(dict.fromkeys(self._pairs))
        sides = np.zeros(2 * len(pairs), RECORD)
        for n, (_, _, a, b) in enumerate(pairs):
            sides["shard"][2 * n], sides["row"][2 * n] = a
            sides["shard"][2 * n + 1], sides["row"][2 * n + 1] = b
        names = [(r["shard"], r["clip_id"]) for r in spool.ids(sides).to_pylist()]
        return [
            ComparedPair(cosine, dropped, names[2 * n], names[2 * n + 1])
            for n, (cosine, dropped, _, _) in enumerate(pairs)
        ]


def _kinds(
    pairs: Sequence[tuple[float, bool, tuple[int, int], tuple[int, int]]],
) -> list[list[tuple[float, bool, tuple[int, int], tuple[int, int]]]]:
    """The most similar pairs that were dropped, those that hardly were, and those that hardly were not."""
    dropped = sorted((p for p in dict.fromkeys(pairs) if p[1]), key=lambda p: -p[0])
    not_dropped = sorted((p for p in dict.fromkeys(pairs) if not p[1]), key=lambda p: -p[0])
    return [dropped[:PAIRS], dropped[PAIRS:][-PAIRS:], not_dropped[:PAIRS]]


class _Verdicts:
    """What an earlier comparison found, by names: of a clip that was dropped, the one that it was dropped for and their cosine."""

    def __init__(self) -> None:
        self._names, self._of, self._cosines = (
            GrowingArray(np.uint64),
            GrowingArray(np.uint64),
            GrowingArray(np.float32),
        )
        self._sorted: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def add(self, known: pa.Table) -> None:
        """Notes rows of the table."""
        rows = known.filter(pc.invert(known["semantic_keep"]))
        self._names.add(names_of(rows["dataset"], rows["clip_id"]))
        self._of.add(names_of(rows["semantic_duplicate_dataset"], rows["semantic_duplicate_of"]))
        self._cosines.add(rows["semantic_similarity"].to_numpy())

    def of(self, names: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(which of some clips were dropped, what for, cosine). None are added after that."""
        if self._sorted is None:
            order = np.argsort(self._names.whole(), kind="stable")
            self._sorted = (self._names.whole()[order], self._of.whole()[order], self._cosines.whole()[order])
        known, of, cosines = self._sorted
        if not len(known):
            return np.empty(0, np.int64), of, cosines
        at = np.minimum(np.searchsorted(known, names), len(known) - 1)
        rows = np.flatnonzero(known[at] == names)
        return rows, of[at[rows]], cosines[at[rows]]


class _RowsOfShards:
    """Rows of the table that come in any order, divided by ranges of shards on the disk.

    Args:
        folder: local, of its own.
        shards: all that may come.
    """

    def __init__(self, folder: Path, shards: Sequence[str]) -> None:
        self._shards = pa.array(sorted(shards), pa.string())
        self._ranges = max(1, min(MOST_FILES, len(shards)))
        self._spool = TableSpool(folder)

    def __enter__(self) -> _RowsOfShards:
        return self

    def __exit__(self, *error: Any) -> None:
        self._spool.__exit__(*error)

    def add(self, rows: pa.Table) -> None:
        """Adds rows."""
        if rows.num_rows:
            number = pc.index_in(rows["shard"], value_set=self._shards).to_numpy().astype(np.int64)
            self._spool.divide(rows, number * self._ranges // len(self._shards))

    def write(self, path: Path) -> None:
        """Writes all of them in key order."""
        contract = schema("semantic_duplicates")
        with pq.ParquetWriter(path, contract.arrow, compression="lz4") as writer:
            for number in range(self._ranges):
                if (rows := self._spool.take(number)) is not None:
                    writer.write_table(rows.sort_by([(k, "ascending") for k in contract.key]))


def names_of(datasets: pa.ChunkedArray, clips: pa.ChunkedArray) -> np.ndarray:
    """uint64 (n,): a hash that stands for each clip."""
    pairs = zip(datasets.to_pylist(), clips.to_pylist(), strict=True)
    digests = [hashlib.blake2b(f"{d}/{c}".encode(), digest_size=8).digest() for d, c in pairs]
    return np.frombuffer(b"".join(digests), "<u8")


class _Spool:
    """The clips of some concepts on disk, in files by concept.

    Args:
        folder: local.
        store: the tables.
        shards: keys of all shards that may be added.
        files: into how many files.
    """

    def __init__(self, folder: Path, store: TableStore, shards: Sequence[str], files: int) -> None:
        self._folder, self._store, self._files = folder, store, files
        self._number = {key: n for n, key in enumerate(shards)}
        self._keys, self._dimension = list(shards), 0

    def add(
        self, key: str, seen: Callable[[str, np.ndarray], np.ndarray | int], fresh: bool, concepts: set[int] | None
    ) -> set[int]:
        """Adds the clips of a shard that have an embedding, of some concepts if they are given; gives back their concepts."""
        columns = ["dataset", "video_id", "clip_id", "concept", "concept_distance", "clip_embedding"]
        table = self._store.read("clip_concepts", key, columns=columns)
        table = table.filter(pc.is_valid(table["concept"]))
        if concepts is not None:
            table = table.filter(pc.is_in(table["concept"], value_set=pa.array(sorted(concepts), pa.int32())))
        if not len(table):
            return set()
        records = np.zeros(len(table), RECORD)
        records["concept"], records["distance"] = table["concept"].to_numpy(), table["concept_distance"].to_numpy()
        records["shard"], records["row"] = self._number[key], np.arange(len(table))
        records["name"] = names_of(table["dataset"], table["clip_id"])
        records["seen"], records["fresh"] = seen(key, records["name"]), fresh
        vectors = table["clip_embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        vectors = vectors.reshape(len(table), -1).astype(np.float16)
        self._dimension = vectors.shape[1]
        for file in np.unique(records["concept"] % self._files).tolist():
            chosen = records["concept"] % self._files == file
            for name, part in (("records", records), ("vectors", vectors)):
                with open(self._folder / f"{file}.{name}", "ab") as out:
                    out.write(part[chosen].tobytes())
        ids = table.select(columns[:3])
        with pa.OSFile(str(self._ids(key)), "wb") as out, pa.ipc.new_file(out, ids.schema) as to:
            to.write_table(ids)
        return set(table["concept"].unique().to_pylist())

    def _ids(self, key: str) -> Path:
        return self._folder / f"{self._number[key]}.ids"

    def buckets(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Records and embeddings of length 1 of each file that has some."""
        for file in range(self._files):
            if (path := self._folder / f"{file}.records").exists():
                records = np.fromfile(path, RECORD)
                vectors = np.fromfile(path.with_suffix(".vectors"), np.float16).reshape(len(records), self._dimension)
                vectors = vectors.astype(np.float32)
                yield records, vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def ids(self, records: np.ndarray) -> pa.Table:
        """dataset, video_id, clip_id and shard of each record, in their order."""
        names = [("dataset", pa.string()), ("video_id", pa.string()), ("clip_id", pa.string()), ("shard", pa.string())]
        parts, places = [pa.schema(names).empty_table()], [np.zeros(0, np.int64)]
        for number in np.unique(records["shard"]).tolist():
            at = np.flatnonzero(records["shard"] == number)
            key = self._keys[number]
            with pa.OSFile(str(self._ids(key)), "rb") as file:
                table = pa.ipc.open_file(file).read_all().take(pa.array(records["row"][at]))
            parts.append(table.append_column("shard", pa.array([key] * len(at), pa.string())).cast(pa.schema(names)))
            places.append(at)
        return pa.concat_tables(parts).take(pa.array(np.argsort(np.concatenate(places), kind="stable")))
