"""What each shard has in a table over all shards: the content hash of its rows, by which what is made from them is compared.

Whoever writes such a table has all of its rows in hand, so the hashes are worked out then and lie beside the table in
`<asset>/slices/<content hash>.parquet`, a row for each shard. The name binds them to what the table says: a table that somebody wrote without them, or with
another contract, has none, and they are worked out in batches by whoever asks. The file belongs to no asset and may be deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.schemas import schema
from curation_resources import sealed_parquet
from curation_resources.content_hash import content_hashes
from curation_resources.provenance import canonical_json
from curation_resources.sealed_parquet import Damaged
from curation_resources.table_headers import TableHeader
from curation_resources.tables import DamagedTable, MissingTable, TableStore

FORM = pa.schema([("shard", pa.string()), ("rows", pa.int64()), ("content_hash", pa.string())])
BATCH_ROWS = 16_384
PASS_ROWS = 1_000_000
"""Rows that are held at once of a table that is not in order of shards."""


class SliceHashes:
    """Works out the slices of a table that is fed in order of shards, and of each shard in key order.

    Args:
        asset: whose contract the rows have.
    """

    def __init__(self, asset: str) -> None:
        self._contract = schema(asset)
        self._open = self._contract.arrow.empty_table()
        self._found: list[tuple[str, int, str]] = []

    def update(self, rows: pa.Table) -> None:
        """Feeds rows. Those of the last shard are held until the next one begins."""
        rows = pa.concat_tables([self._open, rows.cast(self._contract.arrow)])
        if rows.num_rows:
            *starts, last = _starts(rows["shard"])
            self._hash(rows.slice(0, last), starts)
            self._open = rows.slice(last)

    def _hash(self, rows: pa.Table, starts: list[int]) -> None:
        hashes = content_hashes(rows, starts, self._contract.volatile, self._contract.later)
        shards = rows["shard"].take(pa.array(starts, pa.int64())).to_pylist()
        counts = np.diff([*starts, rows.num_rows]).tolist()
        self._found += zip(shards, counts, hashes, strict=True)

    def table(self) -> pa.Table:
        """The slices of all that was fed (`FORM`)."""
        if self._open.num_rows:
            self._hash(self._open, [0])
            self._open = self._open.slice(0, 0)
        columns = zip(*self._found, strict=True) if self._found else [()] * len(FORM)
        return pa.table([pa.array(c, f.type) for c, f in zip(columns, FORM, strict=True)], schema=FORM)


def _starts(shards: pa.ChunkedArray) -> list[int]:
    """Where each run of equal values begins."""
    ends = pc.run_end_encode(shards.combine_chunks()).run_ends.to_pylist()
    return [0, *ends[:-1]]


def identity(asset: str, content_hash: str) -> str:
    """What changes when the slices of a table may: its content, or which columns its contract counts."""
    contract = schema(asset)
    kept = hashlib.sha256(canonical_json([contract.names, sorted(contract.volatile)]).encode()).hexdigest()[:8]
    return f"{content_hash}-{kept}"


def _path(asset: str, content_hash: str) -> str:
    return f"{asset}/slices/{identity(asset, content_hash)}.parquet"


def write_slices(store: TableStore, asset: str, content_hash: str, slices: pa.Table) -> None:
    """Puts the slices of a table that is about to be committed beside it."""
    with store.storage.publish(_path(asset, content_hash)) as file:
        sealed_parquet.write_table(slices, file)


def drop_old_slices(store: TableStore, header: TableHeader) -> None:
    """Removes the slices of tables that were in force before."""
    kept = _path(header.asset, header.content_hash)
    old = [f"{header.asset}/slices/{name}" for name in store.storage.list(f"{header.asset}/slices")]
    store.storage.remove_all([path for path in old if path != kept])


def read_slices(store: TableStore, header: TableHeader) -> pa.Table:
    """The slices of the table in force: `FORM`, sorted by shard."""
    try:
        found = sealed_parquet.read_bytes(store.storage.read(_path(header.asset, header.content_hash)))
    except (FileNotFoundError, Damaged):
        found = _computed(store, header.asset)
    return found.sort_by("shard")


def is_sliced(asset: str) -> bool:
    """Whether each shard has rows of its own in a table over all shards; else all of them use all of it."""
    return "shard" in schema(asset).names


class ForEach(Mapping[str, str]):
    """What is the same for every shard, however many there are; none is counted."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __getitem__(self, shard: str) -> str:
        return self._value

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def slice_hashes(store: TableStore, asset: str) -> Mapping[str, str]:
    """Shard -> content hash of its rows in a table over all shards, or of all rows where it is not sliced; empty if there is no such table, or it is
    damaged."""
    return hashes_in(store, store.usable_header(asset))


def hashes_in(store: TableStore, header: TableHeader | None) -> Mapping[str, str]:
    """`slice_hashes` of the table in force, whose header is known."""
    if header is not None and not is_sliced(header.asset):
        return ForEach(header.content_hash)
    try:
        found = read_slices(store, header) if header is not None else FORM.empty_table()
    except (MissingTable, DamagedTable):
        found = FORM.empty_table()
    return dict(zip(found["shard"].to_pylist(), found["content_hash"].to_pylist(), strict=True))


def _computed(store: TableStore, asset: str) -> pa.Table:
    """The slices of a table, in memory that does not grow with it but for the column `shard`."""
    encoded = [b["shard"].dictionary_encode() for b in store.batches(asset, ["shard"], BATCH_ROWS)]
    shards = pa.chunked_array(encoded, pa.dictionary(pa.int32(), pa.string())).unify_dictionaries()
    if not len(shards):
        return FORM.empty_table()
    names = shards.chunk(0).dictionary.to_pylist()
    codes = np.concatenate([c.indices.to_numpy() for c in shards.chunks])
    hashes = SliceHashes(asset)
    runs = np.count_nonzero(np.diff(codes)) + 1
    if runs == len(names):
        for batch in store.batches(asset, None, BATCH_ROWS):
            hashes.update(pa.Table.from_batches([batch]))
        return hashes.table()
    key = [(k, "ascending") for k in dict.fromkeys(["shard", *schema(asset).key])]
    for group in _groups(np.bincount(codes, minlength=len(names))):
        chosen = pa.array([names[i] for i in group])
        parts = [b.filter(pc.is_in(b["shard"], value_set=chosen)) for b in store.batches(asset, None, BATCH_ROWS)]
        hashes.update(pa.Table.from_batches(parts).sort_by(key))
    return hashes.table()


def _groups(counts: np.ndarray) -> Iterator[list[int]]:
    """Numbers of shards that are held at once."""
    group: list[int] = []
    for number, count in enumerate(counts.tolist()):
        if group and sum(counts[group]) + count > PASS_ROWS:
            yield group
            group = []
        group.append(number)
    yield group
