"""The content hash of a table: what its rows say, whatever their order, chunks, Arrow version or compression.

Every column is hashed as a stream of values, lengths and validity, so that batches can be fed one after another and the result does
not depend on where they were split. Columns and fields of structs that a table got later are left out where they hold nothing, so
that rows which say what they said before keep their hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Feed = dict[str, Any]
Stream = tuple[str, np.ndarray, np.ndarray, np.ndarray | None]
"""Part of a column, its values, where among them each run of rows begins and the last one ends, and the same among what they belong to, if a run
that has nothing of it is hashed without the part."""


def _streams(path: str, array: pa.Array, cuts: np.ndarray) -> Iterator[Stream]:
    """What is hashed of an array whose runs of rows begin at `cuts`."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if pa.types.is_map(kind):
        array = array.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])))
        kind = array.type
    yield f"{path}/valid", np.asarray(pc.is_valid(array).to_numpy(zero_copy_only=False), dtype=np.uint8), cuts, None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype("<i8")
        yield f"{path}/length", lengths, cuts, None
        yield from _streams(f"{path}[]", array.flatten(), _ends(lengths)[cuts])
    elif pa.types.is_struct(kind):
        for i in range(kind.num_fields):
            yield from _streams(f"{path}.{kind.field(i).name}", pc.struct_field(array, [i]), cuts)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        filled = pc.fill_null(array.cast(pa.large_binary()), b"")
        yield f"{path}/length", pc.binary_length(filled).to_numpy(zero_copy_only=False).astype("<i8"), cuts, None
        _, offsets, data = filled.buffers()
        if len(filled) and data is not None:
            ends = np.frombuffer(offsets, "<i8")[filled.offset : filled.offset + len(filled) + 1]
            yield (
                f"{path}/data",
                np.frombuffer(data, np.uint8) if data.size else np.empty(0, np.uint8),
                ends[cuts],
                cuts,
            )
    elif pa.types.is_float16(kind):
        values = pc.fill_null(array.view(pa.uint16()), 0).to_numpy(zero_copy_only=False).astype("<u2")
        yield f"{path}/data", values, cuts, None
    elif pa.types.is_boolean(kind):
        yield f"{path}/data", pc.fill_null(array, False).to_numpy(zero_copy_only=False).astype(np.uint8), cuts, None
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        values = pc.fill_null(array, 0).to_numpy(zero_copy_only=False)
        yield f"{path}/data", values.astype(values.dtype.newbyteorder("<"), copy=False), cuts, None
    elif not pa.types.is_null(kind):
        raise TypeError(f"column {path}: a content hash is not defined for {kind}")


def _ends(lengths: np.ndarray) -> np.ndarray:
    """Where each of the values of lists of these lengths begins, and where the last ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def _has_value(array: pa.Array, steps: Sequence[str]) -> bool:
    """Whether what `steps` lead to within the array holds anything."""
    for step in steps:
        array = array.flatten() if step == "[]" else pc.struct_field(array, step) if _has(array.type, step) else None
        if array is None:
            return False
    return array.null_count < len(array)


def _has(kind: pa.DataType, name: str) -> bool:
    return pa.types.is_struct(kind) and kind.get_field_index(name) >= 0


def _without(kind: pa.DataType, steps: Sequence[str]) -> pa.DataType:
    """The type without the field that `steps` lead to."""
    if steps[0] == "[]":
        return pa.list_(_without(kind.value_type, steps[1:]))
    fields = [f for f in kind if f.name != steps[0]]
    if len(steps) > 1:
        fields = [f.with_type(_without(f.type, steps[1:])) if f.name == steps[0] else f for f in kind]
    return pa.struct(fields)


@dataclass(frozen=True)
class HashParts:
    """What a content hash is made of, so that it can be made again for other values of some columns.

    Attributes:
        rows: of the table.
        types: column that counts -> its type.
        digests: part of a column -> 32 hexadecimal digits.
    """

    rows: int
    types: Mapping[str, str]
    digests: Mapping[str, str]

    def hexdigest(self) -> str:
        """32 hexadecimal digits."""
        total = hashlib.blake2b(digest_size=16)
        total.update(f"rows {self.rows}\n".encode())
        for name, kind in sorted(self.types.items()):
            total.update(f"{name} {kind}\n".encode())
        for part, digest in sorted(self.digests.items()):
            total.update(f"{part} ".encode() + bytes.fromhex(digest))
        return total.hexdigest()

    def replaced(self, columns: HashParts) -> HashParts:
        """With other values of some columns, as many of each."""
        own = {p: d for p, d in self.digests.items() if re.split(r"[/.\[]", p, maxsplit=1)[0] not in columns.types}
        return HashParts(self.rows, {**self.types, **columns.types}, {**own, **columns.digests})


class ContentHasher:
    """Hashes a table that is fed in batches, in key order.

    Args:
        schema: columns that count, in any order.
        skip: columns that do not (tar names, offsets, attempts).
        later: columns, and fields within one (`spans[].caption`), that count only where one of their values is not null.

    Attributes:
        rows: how many were fed.
        names, types: the columns that count, sorted, and their types.
        silent: of `later`, those of which no value was fed: how they are reached.
    """

    def __init__(self, schema: pa.Schema, skip: Collection[str] = (), later: Collection[str] = ()) -> None:
        self.names = sorted(set(schema.names) - set(skip))
        self.types = {n: schema.field(n).type for n in self.names}
        self._feed: Feed = {}
        self.rows = 0
        self.silent = {p: tuple(re.findall(r"[^.\[\]]+|\[\]", p)) for p in later}

    def update(self, batch: pa.RecordBatch | pa.Table) -> None:
        batches: Sequence[pa.RecordBatch] = batch.to_batches() if isinstance(batch, pa.Table) else [batch]
        for part in batches:
            _hash_runs([self], part, np.array([0, part.num_rows]))

    def put(self, part: str, values: np.ndarray) -> None:
        """Feeds values of a part of a column."""
        hasher = self._feed.get(part)
        if hasher is None:
            hasher = self._feed[part] = hashlib.blake2b(digest_size=16)
        hasher.update(np.ascontiguousarray(values).data)

    def hexdigest(self) -> str:
        """32 hexadecimal digits."""
        return self.parts().hexdigest()

    def parts(self) -> HashParts:
        """What was fed, column by column."""
        types = {name: self._type(name) for name in self.names if name not in self.silent}
        digests = {}
        for part in sorted(self._feed):
            path = part.rpartition("/")[0]
            if not any(path == s or path.startswith((f"{s}.", f"{s}[")) for s in self.silent):
                digests[part] = self._feed[part].hexdigest()
        return HashParts(self.rows, types, digests)

    def _type(self, name: str) -> str:
        kind = self.types[name]
        for first, *steps in self.silent.values():
            if first == name and _reaches(kind, steps):
                kind = _without(kind, steps)
        return str(kind)


def _reaches(kind: pa.DataType, steps: Sequence[str]) -> bool:
    """Whether the type has what `steps` lead to."""
    for step in steps:
        if step == "[]" and pa.types.is_list(kind):
            kind = kind.value_type
        elif _has(kind, step):
            kind = kind.field(step).type
        else:
            return False
    return bool(steps)


def _hash_runs(hashers: Sequence[ContentHasher], batch: pa.RecordBatch, cuts: np.ndarray) -> None:
    """Feeds each of `hashers` its run of rows; the runs begin at `cuts`, whose last is the number of rows."""
    for hasher, rows in zip(hashers, np.diff(cuts).tolist(), strict=True):
        hasher.rows += rows
    for name in hashers[0].names:
        for part, values, edges, of in _streams(name, batch.column(name), cuts):
            for i, hasher in enumerate(hashers):
                if of is None or of[i + 1] > of[i]:
                    hasher.put(part, values[edges[i] : edges[i + 1]])
    for i, hasher in enumerate(hashers):
        for path, (name, *steps) in list(hasher.silent.items()):
            run = slice(int(cuts[i]), int(cuts[i + 1]))
            if name in hasher.types and _has_value(batch.column(name)[run], steps):
                del hasher.silent[path]


def content_hashes(
    table: pa.Table, starts: Sequence[int], skip: Collection[str] = (), later: Collection[str] = ()
) -> list[str]:
    """The content hash of each run of a table's rows, in key order; the runs begin at `starts`, the first at 0."""
    if not starts:
        return []
    hashers = [ContentHasher(table.schema, skip, later) for _ in starts]
    (batch,) = table.combine_chunks().to_batches()
    _hash_runs(hashers, batch, np.array([*starts, table.num_rows]))
    return [h.hexdigest() for h in hashers]


def content_hash(
    table: pa.Table, key: Sequence[str] = (), skip: Collection[str] = (), later: Collection[str] = ()
) -> str:
    """The content hash of a whole table; rows are put in `key` order first if `key` is given."""
    if key:
        table = table.sort_by([(k, "ascending") for k in key])
    hasher = ContentHasher(table.schema, skip, later)
    hasher.update(table)
    return hasher.hexdigest()
