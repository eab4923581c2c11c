"""The stored index of duplicates: each shard's fingerprints in compact form, and the pairs of them that were compared.

Comparisons are stored by *signature*, a hash of a clip's fingerprint alone. Clips with one signature are compared once, and a
shard that is new or has changed is compared with the rest without reading the others' tables or repeating their comparisons. What
is stored is a function of the set of shards, not of the order in which they came.

Layout of the folder: `manifest.json` (written last), `parts/<shard>-<digest>.arrow`, `matches-<digest>.arrow`. A file that is damaged
is made again: of a shard from its fingerprints, whose clips then count as seen when the shard first was.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.decode.measures import windows
from curation_assets.dedup import altered
from curation_assets.dedup import index_files as dedup_files
from curation_assets.dedup.align import Ints, Matches
from curation_assets.dedup.crops import cropped
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.hash_matches import compare, gather, uncontradicted
from curation_assets.dedup.index_files import DamagedIndex
from curation_assets.dedup.postings import flat
from curation_assets.dedup.search import expected_recall
from curation_assets.dedup.second_look import Courses, without_unlike
from curation_resources import presence
from curation_resources.storage import Storage

log = logging.getLogger(__name__)
T = TypeVar("T")
FORMAT: Final = 7
"""Changes when the code finds other pairs or stores them otherwise: an index of another format is made anew."""

PART: Final = pa.schema(
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
        ("hashes", pa.list_(pa.uint64())),
        ("flipped_hashes", pa.list_(pa.uint64())),
        ("blank", pa.list_(pa.bool_())),
        ("center_hashes", pa.list_(pa.uint64())),
        ("center_blank", pa.list_(pa.bool_())),
        ("time_ms", pa.list_(pa.int64())),
        ("window_hashes", pa.list_(pa.uint64())),
        ("window_ms", pa.list_(pa.int64())),
        ("picture_aspect", pa.float32()),
        ("course", pa.binary()),
        ("still", pa.binary()),
        ("content_box", pa.struct([(side, pa.float32()) for side in "xywh"])),
    ]
)
"""A shard's clips: `exact` hashes the source file and the span (0 if unknown), `signature` the fingerprint, `seen` counts the
updates of the index at which the clip was new; times are from the clip's start."""

_MATCH_TYPES: Final = {
    "short": pa.uint64(),
    "long": pa.uint64(),
    "similarity": pa.float32(),
    "matched": pa.int64(),
    "coverage": pa.float32(),
    "overlap": pa.float32(),
    "scale": pa.float32(),
    "offset_ms": pa.int64(),
    "altered": pa.uint8(),
    "center": pa.bool_(),
    "cropped": pa.bool_(),
    "accepted": pa.bool_(),
}
_MIX_1, _MIX_2, _STEP = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB), np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class ShardInput:
    """A shard's `clip_fingerprints` table.

    Attributes:
        shard: its key.
        content_hash: content hash of the table; a shard is read again only if it has changed.
        read: reads the table.
    """

    shard: str
    content_hash: str
    read: Callable[[], pa.Table]


@dataclass(frozen=True)
class Index:
    """The fingerprints of all shards and the compared pairs.

    Attributes:
        shards: keys of the shards, sorted.
        clips: rows of `PART`, shard after shard, with `shard` as a number added.
        matches: pairs that match or nearly do; `short` and `long` are signatures.
        stats: figures of the update.
    """

    shards: list[str]
    clips: pa.Table
    matches: Matches
    stats: dict[str, Any]


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


def make_part(shard: str, table: pa.Table, earlier: pa.Table | None, update: int) -> pa.Table:
    """A shard's clips in the index's form, from its `clip_fingerprints`.

    Args:
        earlier: the shard's part before, from which clips keep `seen`.
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
    columns = {name: table[name] for name in PART.names if name in table.column_names}
    columns |= {
        "exact": pa.array(exact),
        "signature": pa.array(signature),
        "seen": pa.array(seen),
        "time_ms": pa.ListArray.from_arrays(pa.array(start.astype(np.int32)), pa.array(times)),
        "window_ms": pa.ListArray.from_arrays(pa.array(window_start.astype(np.int32)), pa.array(window_times)),
    }
    part = pa.table([columns[name].cast(PART.field(name).type) for name in PART.names], schema=PART)
    return part.combine_chunks()


def _names(table: pa.Table) -> list[tuple[str, str]]:
    return list(zip(table["dataset"].to_pylist(), table["clip_id"].to_pylist(), strict=True))


def _matches_table(matches: Matches) -> pa.Table:
    return pa.table({name: pa.array(getattr(matches, name), kind) for name, kind in _MATCH_TYPES.items()})


def _matches(table: pa.Table | None) -> Matches:
    if table is None:
        table = pa.table({name: pa.array([], kind) for name, kind in _MATCH_TYPES.items()})
    return Matches(**{f.name: table[f.name].to_numpy() for f in fields(Matches)})


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=12).hexdigest()


def update_index(storage: Storage, folder: str, inputs: Iterable[ShardInput], params: Dedup, threads: int = 2) -> Index:
    """Brings the index up to date with exactly these shards and stores it.

    Shards whose content hash is known are not read. Shards that are not among the inputs leave the index. Changed parameters repeat the
    comparisons, not the reading.

    Args:
        folder: folder of the index in storage.
        inputs: the shards; for `first_seen`, those that are new count as seen in this order.
        threads: tables searched at the same time.

    Returns:
        The index, with in `stats`: clips, new_shards, kept_shards, removed_shards, comparable_clips, distinct_clips, hashes, pairs_compared,
        pairs_accepted, pairs_doubtful, pairs_unlike (refused for what changes in them), common_hashes, common_pairs_left_out, recall_one_frame, recall_two_frames (chance to
        find a pair of which one or two frames lie at exactly the largest distance).
    """
    wanted = _digest(
        str(FORMAT),
        params.model_dump_json(
            include={
                "distance",
                "matches",
                "agree",
                "coverage",
                "center",
                "flipped",
                "reversed",
                "negative",
                "course",
                "crops",
            }
        ),
    )
    manifest: dict[str, Any] = {"format": FORMAT, "update": 0, "shards": {}}
    stored = _sound(lambda: dedup_files.read_manifest(storage, folder))
    if stored is not None and stored["format"] == FORMAT:
        manifest = stored
    update = manifest["update"]
    known: dict[str, dict[str, Any]] = manifest["shards"]
    old_signatures: list[NDArray[np.uint64]] = []
    before = None
    if manifest.get("params") == wanted:
        path = f"{folder}/{manifest['matches']}"
        before = _sound(lambda: dedup_files.read_table(storage, path, manifest.get("matches_hash")))
    repeat = before is None

    parts: dict[str, pa.Table] = {}
    shards: dict[str, dict[str, Any]] = {}
    fresh = 0
    for item in inputs:
        if item.shard in shards:
            raise ValueError(f"shard {item.shard} was given twice")
        entry = known.get(item.shard)
        earlier = _part(storage, folder, entry) if entry else None
        if earlier is not None:
            old_signatures.append(earlier["signature"].to_numpy())
        if entry is None or earlier is None or entry["content_hash"] != item.content_hash:
            update += 1
            fresh += 1
            first = entry.get("first", update) if entry else update
            part = make_part(item.shard, item.read(), earlier, update if earlier is not None else first)
            file = f"parts/{item.shard}-{_digest(item.shard, item.content_hash, str(update))}.arrow"
            written = dedup_files.write_table(storage, f"{folder}/{file}", part)
            entry = {"content_hash": item.content_hash, "file": file, "hash": written, "first": first}
        else:
            part = earlier
        parts[item.shard], shards[item.shard] = part, entry

    names = sorted(shards)
    clips = pa.concat_tables(
        [
            parts[name].append_column("shard", pa.array(np.full(len(parts[name]), i, np.int32)))
            for i, name in enumerate(names)
        ]
        or [PART.append(pa.field("shard", pa.int32())).empty_table()]
    )
    old = np.unique(np.concatenate(old_signatures)) if old_signatures and not repeat else np.empty(0, np.uint64)
    matches, stats = _compare_new(clips, old, _matches(before), params, threads)

    file = f"matches-{_digest(wanted, *(f'{n} {shards[n]}' for n in names))}.arrow"
    written = dedup_files.write_table(storage, f"{folder}/{file}", _matches_table(matches))
    document = {
        "format": FORMAT,
        "params": wanted,
        "update": update,
        "shards": shards,
        "matches": file,
        "matches_hash": written,
    }
    dedup_files.write_manifest(storage, folder, document)
    _sweep(storage, folder)
    stats |= {
        "clips": len(clips),
        "new_shards": fresh,
        "kept_shards": len(names) - fresh,
        "removed_shards": len(set(known) - set(names)),
        "recall_one_frame": expected_recall(params.distance, 1),
        "recall_two_frames": expected_recall(params.distance, 2),
    }
    return Index(names, clips, matches, stats)


def _part(storage: Storage, folder: str, entry: Mapping[str, Any]) -> pa.Table | None:
    return _sound(lambda: dedup_files.read_table(storage, f"{folder}/{entry['file']}", entry.get("hash")))


def _sound(read: Callable[[], T | None]) -> T | None:
    """What `read` gives; None, as if it had never been, of what is damaged."""
    try:
        return read()
    except DamagedIndex as error:
        log.warning("%s; it is made again", error)
        return None


def _sweep(storage: Storage, folder: str) -> None:
    """Removes what the index in force does not name, unless another run is at work on it: what this one replaced, and what killed ones left."""
    there = [*storage.list(folder), *(f"parts/{name}" for name in storage.list(f"{folder}/parts"))]
    if presence.others(storage, folder.split("/")[0]):
        return
    stored = dedup_files.read_manifest(storage, folder)
    if stored is None:
        return
    live = {dedup_files.MANIFEST, *(file for file, _ in dedup_files.files_of(stored))}
    storage.remove_all([f"{folder}/{name}" for name in there if name not in live])


def _compare_new(
    clips: pa.Table, old: NDArray[np.uint64], before: Matches, params: Dedup, threads: int
) -> tuple[Matches, dict[str, Any]]:
    """The earlier matches that still hold, and those of signatures that are not among `old`."""
    signatures, row = np.unique(clips["signature"].to_numpy(), return_index=True)
    new = ~np.isin(signatures, old, assume_unique=True)
    known = signatures[~new]
    found = [before.take(np.isin(before.short, known) & np.isin(before.long, known))]
    counted = ("comparable_clips", "hashes", "pairs_compared", "pairs_windows", "common_hashes")
    stats: dict[str, Any] = dict.fromkeys(counted, 0)
    stats |= {"distinct_clips": len(signatures), "common_pairs_left_out": 0}
    courses, kinds = Courses(clips, signatures, row), []
    methods = pc.unique(clips["method"]).to_pylist() if len(clips) else []
    code = pc.index_in(clips["method"], pa.array(methods, pa.string())).to_numpy()[row] if methods else row
    for number, _ in enumerate(methods):
        mine = np.flatnonzero(code == number)
        whole = gather(clips, row[mine], signatures[mine])
        changed = altered.variants(clips, row[mine], whole, methods[number], params)
        matched = compare(whole, changed, new[mine], params, threads, stats)
        if params.center:
            central = gather(clips, row[mine], signatures[mine], center=True)
            matched = [uncontradicted(m, central, params) for m in matched]
            is_new = new[np.searchsorted(signatures, central.tie)]
            matched += compare(central, [], is_new, params, threads, stats)
        found += matched
        kinds.append((whole, np.searchsorted(signatures, whole.tie)))
    matches = _best_of_pair(Matches.join(found), apart=True)
    if params.course:
        fresh = ~(np.isin(matches.short, known) & np.isin(matches.long, known))
        by_hashes = int(matches.accepted.sum())
        matches = without_unlike(matches, fresh, courses)
        stats["pairs_unlike"] = by_hashes - int(matches.accepted.sum())
    crops: list[Matches] = []
    if params.crops:
        crops = [
            cropped(clips, row[place], whole, new[place], courses, matches, params, threads, stats)
            for whole, place in kinds
        ]
    matches = _best_of_pair(Matches.join([matches, *crops]))
    stats["pairs_accepted"] = int(matches.accepted.sum())
    stats["pairs_doubtful"] = int((~matches.accepted).sum())
    return matches, stats


def _best_of_pair(matches: Matches, *, apart: bool = False) -> Matches:
    """Of the matches of a pair the one that says most, sorted by pair; accepted ones of clips that are not altered come first.

    Args:
        apart: one for each way in which a clip is altered, since which of them holds is still to be seen.
    """
    m = matches
    low, high = np.minimum(m.short, m.long), np.maximum(m.short, m.long)
    kind = m.altered if apart else np.zeros(len(low), np.uint8)
    says_most = (m.cropped, m.center, m.short, -m.similarity, -m.coverage, m.altered, ~m.accepted)
    order = np.lexsort((*says_most, kind, high, low))
    first = np.ones(len(order), np.bool_)
    first[1:] = (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0) | (np.diff(kind[order]) != 0)
    return m.take(order[first])
