"""Thrift's compact protocol, as far as the footers of Parquet files use it: structures read and written without knowing what their fields mean.

A structure is a mapping from the number of a field to its type and value, so that one may change some fields and leave the rest as it is. Source:
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

TRUE: Final = 1
FALSE: Final = 2
BYTE: Final = 3
I32: Final = 5
I64: Final = 6
DOUBLE: Final = 7
BINARY: Final = 8
LIST: Final = 9
SET: Final = 10
STRUCT: Final = 12
INTEGERS: Final = (4, I32, I64)

Struct = dict[int, tuple[int, Any]]
"""Number of the field -> (type, value). A list's value is (type of its items, items); structures and lists that lie deeper than was asked for are `Whole`."""


class Whole(bytes):
    """A structure or list as it lies in the bytes, which is written as it was read."""


class Reader:
    """Reads values from bytes, one after the other.

    Args:
        data: the bytes.
        depth: structures and lists within so many others are left `Whole`: reading and writing what nobody looks at takes most of the time.
    """

    def __init__(self, data: bytes, depth: int = 1 << 30) -> None:
        self._data, self._at, self._left = data, 0, depth

    def _varint(self) -> int:
        data, at = self._data, self._at
        byte = data[at]
        at += 1
        value, shift = byte & 127, 7
        while byte > 127:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
        self._at = at
        return value

    def _integer(self) -> int:
        coded = self._varint()
        return (coded >> 1) ^ -(coded & 1)

    def _value(self, kind: int) -> Any:
        if kind in INTEGERS:
            return self._integer()
        if kind == BINARY:
            length = self._varint()
            self._at += length
            return self._data[self._at - length : self._at]
        if kind in (STRUCT, LIST, SET):
            if not self._left:
                begin, self._at = self._at, self._end(kind, self._at)
                return Whole(self._data[begin : self._at])
            self._left -= 1
            if kind == STRUCT:
                found: Any = self.struct()
            else:
                items, _, values = self.items()
                found = (items, list(values))
            self._left += 1
            return found
        if kind in (TRUE, FALSE, BYTE):  # in a list; a field has its truth in its type
            self._at += 1
            return self._data[self._at - 1]
        if kind == DOUBLE:
            self._at += 8
            return self._data[self._at - 8 : self._at]
        raise ValueError(f"type {kind} of the compact protocol is not known here")

    def _end(self, kind: int, at: int) -> int:
        """Where the value that begins at a place ends."""
        data = self._data
        if kind in INTEGERS or kind == BINARY:
            value = shift = 0
            while data[at] > 127:
                value |= (data[at] & 127) << shift
                shift += 7
                at += 1
            return at + 1 + (value | data[at] << shift if kind == BINARY else 0)
        if kind == STRUCT:
            while head := data[at]:
                at = at + 1 if head >> 4 else self._end(I64, at + 1)
                if head & 15 not in (TRUE, FALSE):
                    at = self._end(head & 15, at)
            return at + 1
        if kind in (LIST, SET):
            head, size, at = data[at], data[at] >> 4, at + 1
            if size == 15:
                size, end = 0, self._end(I64, at)
                for place in range(at, end):
                    size |= (data[place] & 127) << 7 * (place - at)
                at = end
            for _ in range(size):
                at = self._end(head & 15, at)
            return at
        if kind not in (TRUE, FALSE, BYTE, DOUBLE):
            raise ValueError(f"type {kind} of the compact protocol is not known here")
        return at + (8 if kind == DOUBLE else 1)

    def value(self, kind: int) -> Any:
        """The value that comes next."""
        return self._value(kind)

    def items(self) -> tuple[int, int, Iterator[Any]]:
        """Of the list that comes next: type and number of its items, and they themselves, each read when it is asked for."""
        head = self._data[self._at]
        self._at += 1
        size = head >> 4 if head >> 4 < 15 else self._varint()
        return head & 15, size, (self._value(head & 15) for _ in range(size))

    def struct(self, after: int = 0, until: int | None = None) -> Struct:
        """The structure that comes next; of one that was begun, the fields after one whose value was read, or up to one whose value comes next then."""
        found: Struct = {}
        number = after
        while True:
            head = self._data[self._at]
            self._at += 1
            if not head:
                return found
            kind = head & 15
            number = number + (head >> 4) if head >> 4 else self._integer()
            if number == until:
                return found
            found[number] = (kind, None if kind in (TRUE, FALSE) else self._value(kind))


def encoded(struct: Struct) -> bytes:
    """The bytes of a structure, its fields in order of their numbers."""
    out = bytearray()
    _put_struct(out, struct)
    return bytes(out)


def with_list(struct: Struct, number: int, items: tuple[int, int, bytes]) -> bytes:
    """As `encoded`, with one more field: a list whose items have been encoded already, one after the other.

    Args:
        struct: the other fields.
        number: of the field.
        items: type and number of the items, and their bytes.
    """
    out = bytearray()
    kind, size, data = items
    _put_fields(out, {n: v for n, v in struct.items() if n < number}, 0)
    _put_head(out, LIST, number, max((n for n in struct if n < number), default=0))
    _put_size(out, kind, size)
    out += data
    _put_fields(out, {n: v for n, v in struct.items() if n > number}, number)
    out.append(0)
    return bytes(out)


def _put_varint(out: bytearray, value: int) -> None:
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def _put(out: bytearray, kind: int, value: Any) -> None:
    if isinstance(value, Whole):
        out += value
    elif kind in INTEGERS:
        _put_varint(out, value << 1 if value >= 0 else (-value << 1) - 1)
    elif kind == BINARY:
        _put_varint(out, len(value))
        out += value
    elif kind == STRUCT:
        _put_struct(out, value)
    elif kind in (LIST, SET):
        items, values = value
        _put_size(out, items, len(values))
        for item in values:
            _put(out, items, item)
    elif kind == DOUBLE:
        out += value
    else:
        out.append(value)


def _put_size(out: bytearray, items: int, size: int) -> None:
    out.append(min(size, 15) << 4 | items)
    if size >= 15:
        _put_varint(out, size)


def _put_head(out: bytearray, kind: int, number: int, before: int) -> None:
    if 0 < number - before < 16:
        out.append(number - before << 4 | kind)
    else:
        out.append(kind)
        _put_varint(out, number << 1)


def _put_fields(out: bytearray, struct: Struct, before: int) -> None:
    for number, (kind, value) in sorted(struct.items()):
        _put_head(out, kind, number, before)
        before = number
        if kind not in (TRUE, FALSE):
            _put(out, kind, value)


def _put_struct(out: bytearray, struct: Struct) -> None:
    _put_fields(out, struct, 0)
    out.append(0)
