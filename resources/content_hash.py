"""The content hash of a table: what its rows say, whatever their order, chunks, Arrow version or compression.

Every column is hashed as a stream of values, lengths and validity, so that batches can be fed one after another and the result does
not depend on where they were split. Columns and fields of structs that a table got later are left out where they hold nothing, so
that rows which say what they said before keep their hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Feed = dict[str, Any]


def _update(feed: Feed, path: str, array: pa.Array) -> None:
    def put(part: str, values: np.ndarray | bytes | memoryview) -> None:
        hasher = feed.get(f"{path}/{part}")
        if hasher is None:
            hasher = feed[f"{path}/{part}"] = hashlib.blake2b(digest_size=16)
        hasher.update(np.ascontiguousarray(values).data if isinstance(values, np.ndarray) else values)

    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if pa.types.is_map(kind):
        array = array.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])))
        kind = array.type
    put("valid", np.asarray(pc.is_valid(array).to_numpy(zero_copy_only=False), dtype=np.uint8))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        put("length", pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype("<i8"))
        _update(feed, f"{path}[]", array.flatten())
    elif pa.types.is_struct(kind):
        for i in range(kind.num_fields):
            _update(feed, f"{path}.{kind.field(i).name}", pc.struct_field(array, [i]))
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        filled = pc.fill_null(array.cast(pa.large_binary()), b"")
        put("length", pc.binary_length(filled).to_numpy(zero_copy_only=False).astype("<i8"))
        _, offsets, data = filled.buffers()
        if len(filled) and data is not None:
            ends = np.frombuffer(offsets, "<i8")[filled.offset : filled.offset + len(filled) + 1]
            put("data", memoryview(data)[ends[0] : ends[-1]])
    elif pa.types.is_float16(kind):
        put("data", pc.fill_null(array.view(pa.uint16()), 0).to_numpy(zero_copy_only=False).astype("<u2"))
    elif pa.types.is_boolean(kind):
        put("data", pc.fill_null(array, False).to_numpy(zero_copy_only=False).astype(np.uint8))
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        values = pc.fill_null(array, 0).to_numpy(zero_copy_only=False)
        put("data", values.astype(values.dtype.newbyteorder("<"), copy=False))
    elif not pa.types.is_null(kind):
        raise TypeError(f"column {path}: a content hash is not defined for {kind}")


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


class ContentHasher:
    """Hashes a table that is fed in batches, in key order.

    Args:
        schema: columns that count, in any order.
        skip: columns that do not (tar names, offsets, attempts).
        later: columns, and fields within one (`spans[].caption`), that count only where one of their values is not null.
    """

    def __init__(self, schema: pa.Schema, skip: Collection[str] = (), later: Collection[str] = ()) -> None:
        self._names = sorted(set(schema.names) - set(skip))
        self._types = {n: schema.field(n).type for n in self._names}
        self._feed: Feed = {}
        self._rows = 0
        self._silent = {p: tuple(re.findall(r"[^.\[\]]+|\[\]", p)) for p in later}

    def update(self, batch: pa.RecordBatch | pa.Table) -> None:
        batches: Sequence[pa.RecordBatch] = batch.to_batches() if isinstance(batch, pa.Table) else [batch]
        for part in batches:
            self._rows += part.num_rows
            for name in self._names:
                _update(self._feed, name, part.column(name))
            for path, (name, *steps) in list(self._silent.items()):
                if name in self._types and _has_value(part.column(name), steps):
                    del self._silent[path]

    def hexdigest(self) -> str:
        """32 hexadecimal digits."""
        total = hashlib.blake2b(digest_size=16)
        total.update(f"rows {self._rows}\n".encode())
        for name in self._names:
            if name not in self._silent:
                total.update(f"{name} {self._type(name)}\n".encode())
        for part in sorted(self._feed):
            path = part.rpartition("/")[0]
            if not any(path == s or path.startswith((f"{s}.", f"{s}[")) for s in self._silent):
                total.update(f"{part} ".encode() + self._feed[part].digest())
        return total.hexdigest()

    def _type(self, name: str) -> str:
        kind = self._types[name]
        for first, *steps in self._silent.values():
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


def content_hash(
    table: pa.Table, key: Sequence[str] = (), skip: Collection[str] = (), later: Collection[str] = ()
) -> str:
    """The content hash of a whole table; rows are put in `key` order first if `key` is given."""
    if key:
        table = table.sort_by([(k, "ascending") for k in key])
    hasher = ContentHasher(table.schema, skip, later)
    hasher.update(table)
    return hasher.hexdigest()
