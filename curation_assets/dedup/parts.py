"""What the index keeps of a shard: its clips in compact form, in blocks that are read apart.

`facts` (a row of the shard's clips each: ids, what decides who survives, signatures), `search` (the hashes that are looked up), `samples` (all hashes
with their times), and `pictures` in blocks of `PICTURES_ROWS` rows (courses and stills), of which only those are read that a pair asks for.

What belongs here: the columns and how they are made from `clip_fingerprints`. What does not: bytes (`index_files`), all shards together (`library`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.decode.measures import windows
from curation_assets.dedup.align import Samples
from curation_assets.dedup.bits import Ints

PICTURES_ROWS: Final = 64
"""About half a megabyte of pictures, which is read as a whole for one of them."""

MOST_FRAMES: Final = 256
"""Of clips with more frames that can be compared only those that hold longest are searched: a pair of them with one near frame is compared."""

_LIST: Final = pa.list_(pa.uint64())

BLOCKS: Final[Mapping[str, pa.Schema]] = {
    "facts": pa.schema(
        [
            ("dataset", pa.string()),
            ("video_id", pa.string()),
            ("clip_id", pa.string()),
            ("method", pa.string()),
            ("start_ms", pa.int64()),
            ("duration_ms", pa.int64()),
            ("height", pa.int32()),
            ("quality", pa.float32()),
            ("exact", pa.uint64()),
            ("signature", pa.uint64()),
            ("seen", pa.int64()),
        ]
    ),
    "search": pa.schema(
        [
            ("frames", _LIST),
            ("flipped_frames", _LIST),
            ("indexed", pa.uint8()),
            ("comparable", pa.int32()),
            ("center_frames", _LIST),
            ("center_indexed", pa.uint8()),
            ("center_comparable", pa.int32()),
        ]
    ),
    "samples": pa.schema(
        [
            ("hashes", _LIST),
            ("flipped_hashes", _LIST),
            ("blank", pa.list_(pa.bool_())),
            ("center_hashes", _LIST),
            ("center_blank", pa.list_(pa.bool_())),
            ("time_ms", pa.list_(pa.int64())),
            ("window_ms", pa.list_(pa.int64())),
            ("picture_aspect", pa.float32()),
        ]
    ),
    "windows": pa.schema([("window_hashes", _LIST)]),
    "pictures": pa.schema(
        [
            ("course", pa.binary()),
            ("still", pa.binary()),
            ("content_box", pa.struct([(side, pa.float32()) for side in "xywh"])),
        ]
    ),
}
"""Columns of each block. `exact` hashes the source file and the span (0 if unknown), `signature` the fingerprint, `seen` counts the updates of the index
at which the clip was new; times are from the clip's start. `frames` are the hashes of a clip that can be compared, the `indexed` ones first, and
`comparable` is how many there are (-1 if `frames` holds the indexed ones alone)."""

_MIX_1, _MIX_2, _STEP = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB), np.uint64(0x9E3779B97F4A7C15)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Bijective scrambling of 64-bit integers (the finalizer of SplitMix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    return values ^ (values >> np.uint64(31))


def _text_hash(values: pa.ChunkedArray) -> NDArray[np.uint64]:
    """64 bits of BLAKE2 of each string; 0 for null."""
    encoded = values.combine_chunks().dictionary_encode()
    codes = [
        int.from_bytes(hashlib.blake2b(v.encode(), digest_size=8).digest(), "little")
        for v in encoded.dictionary.to_pylist()
    ]
    table = np.array([*codes, 0], np.uint64)
    return np.asarray(table[pc.fill_null(encoded.indices, len(codes)).to_numpy(zero_copy_only=False)])


def _bytes_hash(values: pa.ChunkedArray) -> NDArray[np.uint64]:
    """64 bits of BLAKE2 of each value; 0 for null."""
    if values.null_count == len(values):
        return np.zeros(len(values), np.uint64)
    digests = (b"" if v is None else hashlib.blake2b(v, digest_size=8).digest() for v in values.to_pylist())
    return np.array([int.from_bytes(d, "little") for d in digests], np.uint64)


def _sums(values: NDArray[Any], start: Ints) -> NDArray[np.uint64]:
    """Sums (modulo 2^64) of the runs of values that begin at `start`."""
    totals = np.append(np.uint64(0), np.cumsum(values, dtype=np.uint64))
    return totals[start[1:]] - totals[start[:-1]]


def _placed(values: NDArray[np.uint64], start: Ints) -> NDArray[np.uint64]:
    """Each value scrambled together with its place in its run."""
    place = np.arange(len(values)) - np.repeat(start[:-1], np.diff(start))
    return _mix(_mix(values) + place.astype(np.uint64))


def flat(column: pa.ChunkedArray, dtype: Any) -> tuple[NDArray[Any], Ints]:
    """The values of a list column one after the other, and where each row's begin, (rows + 1,); null rows are empty."""
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)
    flattened = pc.list_flatten(column)
    values = flattened.to_numpy(zero_copy_only=False) if hasattr(flattened, "to_numpy") else np.asarray(flattened)
    return values.astype(dtype, copy=False), np.append(0, np.cumsum(lengths))


def _lists(values: NDArray[Any], start: Ints) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(start.astype(np.int32)), pa.array(values))


def _searched(
    hashes: NDArray[np.uint64], start: Ints, blank: NDArray[np.bool_], times: Ints, duration: Ints
) -> tuple[Ints, Ints, NDArray[np.uint8], NDArray[np.int32]]:
    """Of some clips: indexes of the hashes that are searched, those to be looked up first; where each clip's begin; how many are looked up;
    and how many can be compared."""
    rows = len(duration)
    has = np.diff(start) > 0
    known = Samples(
        np.append(0, np.cumsum(np.diff(start)[has])),
        hashes,
        times,
        blank,
        duration[has],
        np.zeros(int(has.sum()), np.uint64),
    )
    owner = np.repeat(np.arange(rows), np.diff(start))
    looked_up = known.anchors() if len(hashes) else np.zeros(0, np.bool_)
    comparable = np.bincount(owner[~blank], minlength=rows)
    indexed = np.bincount(owner[looked_up], minlength=rows)
    kept = np.flatnonzero(~blank & (looked_up | (comparable <= MOST_FRAMES)[owner]))
    kept = kept[np.argsort(2 * owner[kept] + ~looked_up[kept], kind="stable")]
    counts = np.where(comparable <= MOST_FRAMES, comparable, indexed)
    return (
        kept,
        np.append(0, np.cumsum(counts)),
        indexed.astype(np.uint8),
        np.where(comparable <= MOST_FRAMES, comparable, -1).astype(np.int32),
    )


def make_part(shard: str, table: pa.Table, earlier: pa.Table | None, update: int) -> dict[str, pa.Table]:
    """A shard's clips in the index's form, from its `clip_fingerprints`: the tables of `BLOCKS`, of one number of rows.

    Args:
        earlier: the shard's facts before, from which clips keep `seen`.
        update: number of this update.

    Raises:
        ValueError: lists of different lengths in a row; the message names shard and clip.
    """
    table = table.sort_by([("dataset", "ascending"), ("video_id", "ascending"), ("clip_id", "ascending")])
    hashes, start = flat(table["hashes"], np.uint64)
    blank, blank_start = flat(table["blank"], np.bool_)
    times, time_start = flat(table["hash_ms"], np.int64)
    center, center_start = flat(table["center_hashes"], np.uint64)
    center_blank, center_blank_start = flat(table["center_blank"], np.bool_)
    flipped, flipped_start = flat(table["flipped_hashes"], np.uint64)
    window_hashes, window_hash_start = flat(table["window_hashes"], np.uint64)
    window_times, window_start = flat(table["window_ms"], np.int64)
    counts, center_counts, flipped_counts = np.diff(start), np.diff(center_start), np.diff(flipped_start)
    wrong = np.flatnonzero(
        (counts != np.diff(blank_start))
        | (counts != np.diff(time_start))
        | ((counts != center_counts) & (center_counts > 0))
        | ((counts != flipped_counts) & (flipped_counts > 0))
        | (center_counts != np.diff(center_blank_start))
        | (np.diff(window_hash_start) != windows.COUNT * np.diff(window_start))
    )
    if len(wrong):
        clip = table["clip_id"][int(wrong[0])].as_py()
        raise ValueError(
            f"clip_fingerprints of shard {shard}: clip {clip} has lists of hashes, times and blank marks of different lengths; "
            "materialize clip_fingerprints of the shard again"
        )
    owner = np.repeat(np.arange(len(table)), np.diff(start))
    begin = pc.fill_null(table["start_ms"], 0).to_numpy()
    duration = pc.fill_null(table["duration_ms"], 0).to_numpy()
    times = times - begin[owner]
    window_times = window_times - np.repeat(begin, np.diff(window_start))

    sha = _text_hash(table["video_sha256"])
    exact = _mix(_mix(_mix(sha) + begin.astype(np.uint64)) + duration.astype(np.uint64))
    exact = np.where(sha == 0, np.uint64(0), exact)
    position = (np.arange(len(owner)) - start[:-1][owner]).astype(np.uint64)
    sample = _mix(hashes ^ _mix(times.astype(np.uint64) * _STEP + position * np.uint64(2) + blank))
    signature = _mix(_sums(sample, start) + _mix(duration.astype(np.uint64)))
    central = _placed(center, center_start) * (2 * center_blank.astype(np.uint64) + 1)
    signature = _mix(signature + _sums(central, center_start))
    signature = _mix(signature + _mix(_sums(_placed(flipped, flipped_start), flipped_start)))
    signature = _mix(signature + _sums(_placed(window_hashes, window_hash_start), window_hash_start))
    signature ^= _text_hash(table["method"])
    signature = _mix(signature + _bytes_hash(table["course"]))
    signature = _mix(signature + _bytes_hash(table["still"]))
    empty = (_sums(~blank, start) == 0) & (_sums(~center_blank, center_start) == 0)
    own = _mix(_text_hash(table["dataset"]) + _mix(_text_hash(table["clip_id"]))) if empty.any() else signature
    signature = np.where(empty, np.where(exact != 0, exact, own), signature)

    seen = np.full(len(table), update, np.int64)
    if earlier is not None:
        before = dict(zip(_names(earlier), earlier["seen"].to_pylist(), strict=True))
        seen = np.array([before.get(name, update) for name in _names(table)], np.int64)
    frames, frames_start, indexed, comparable = _searched(hashes, start, blank, times, duration)
    mirrored = np.repeat(flipped_counts > 0, counts)[frames]
    every = np.zeros(len(hashes), np.uint64)
    every[np.repeat(flipped_counts > 0, counts)] = flipped
    mirrored_counts = np.diff(frames_start) * (flipped_counts > 0)
    held = center_counts > 0
    center_times = times[np.repeat(held, counts)]
    middle, middle_start, middle_indexed, middle_comparable = _searched(
        center, center_start, center_blank, center_times, duration
    )
    columns = {name: table[name] for name in table.column_names}
    columns |= {
        "exact": pa.array(exact),
        "signature": pa.array(signature),
        "seen": pa.array(seen),
        "time_ms": _lists(times, start),
        "window_ms": _lists(window_times, window_start),
        "frames": _lists(hashes[frames], frames_start),
        "flipped_frames": _lists(every[frames][mirrored], np.append(0, np.cumsum(mirrored_counts))),
        "indexed": pa.array(indexed),
        "comparable": pa.array(comparable),
        "center_frames": _lists(center[middle], middle_start),
        "center_indexed": pa.array(middle_indexed),
        "center_comparable": pa.array(middle_comparable),
    }
    return {
        name: pa.table([columns[f.name].cast(f.type) for f in kinds], schema=kinds).combine_chunks()
        for name, kinds in BLOCKS.items()
    }


def _names(table: pa.Table) -> list[tuple[str, str]]:
    return list(zip(table["dataset"].to_pylist(), table["clip_id"].to_pylist(), strict=True))


def blocks_of(part: Mapping[str, pa.Table]) -> list[tuple[str, pa.Table]]:
    """The blocks of a shard's file. Pictures that no clip has take one block, of columns without a type, for as many clips as follow each other."""
    blocks = [(name, table) for name, table in part.items() if name != "pictures"]
    pictures, without = part["pictures"], 0
    for begin in range(0, max(1, len(pictures)), PICTURES_ROWS):
        rows = pictures.slice(begin, PICTURES_ROWS)
        if len(rows) and all(column.null_count == len(rows) for column in rows.columns):
            without += len(rows)
            continue
        blocks += _nothing(without)
        without = 0
        blocks.append(("pictures", rows))
    return blocks + _nothing(without)


def _nothing(rows: int) -> list[tuple[str, pa.Table]]:
    return [("pictures", pa.table({name: pa.nulls(rows) for name in BLOCKS["pictures"].names}))] if rows else []
