"""The segments of a stored index, and the hashes that many clips show, brought up to date with its shards.

Shards that are new are put into a segment of their own behind the others; if one has changed or gone, all segments are made again from the parts.

What belongs here: which segments are kept, made and written. What does not: their columns (`segments`), the parts (`index`).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curation_assets.dedup import common
from curation_assets.dedup.arrays import open_arrays, write_arrays
from curation_assets.dedup.common import SharedHashes
from curation_assets.dedup.hash_matches import blocks
from curation_assets.dedup.index_files import Blocks, DamagedIndex
from curation_assets.dedup.library import Library
from curation_assets.dedup.search import Means
from curation_assets.dedup.segments import ROWS, Kind, Segment, among, columns
from curation_resources.progress import told
from curation_resources.storage import Storage

log = logging.getLogger(__name__)

_SMALL: Final = 4
"""A last segment that is not full, and has at most so many times the rows of those that are new, is made again together with them."""

Opened = Callable[[str, str], Blocks]
Named = Mapping[str, Any]


class _Seen:
    """Signatures that there are, in sorted runs of which each has more than twice as many as the next one."""

    def __init__(self, kept: Sequence[Segment]) -> None:
        self._kept, self._runs = kept, list[NDArray[np.uint64]]()

    def add(self, signatures: NDArray[np.uint64]) -> None:
        self._runs.append(np.sort(signatures))
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            last = self._runs.pop()
            self._runs[-1] = np.sort(np.concatenate([self._runs[-1], last]), kind="stable")

    def known(self, signatures: NDArray[np.uint64]) -> NDArray[np.bool_]:
        found = np.zeros(len(signatures), np.bool_)
        for segment in self._kept:
            found |= among(signatures, segment.arrays.read("signature.sorted"))
        for run in self._runs:
            found |= among(signatures, run)
        return found


def updated_segments(
    storage: Storage, folder: str, stored: Sequence[Named], shards: Mapping[str, Named], opened: Opened
) -> tuple[list[Segment], list[dict[str, str]], int | None]:
    """The segments of exactly these shards; what is missing is written.

    Args:
        stored: file and hash of each segment that there is.
        shards: the manifest's entry of each shard.
        opened: opens a part.

    Returns:
        The segments; file and hash of each; and how many of their rows, from the first on, are those that there were, None if they were made again.
    """
    kept = _kept(storage, folder, stored, shards)
    entries = [dict(entry) for entry in stored] if kept is not None else []
    segments = kept or []
    before = None if kept is None else sum(segment.rows for segment in segments)
    have = {shard for segment in segments for shard, _ in segment.parts}
    waiting = [(name, shards[name]["file"]) for name in sorted(shards) if name not in have]
    rows = {name: sum(opened(name, file).rows("facts")) for name, file in waiting}
    while waiting and segments and segments[-1].rows < min(ROWS, _SMALL * sum(rows.values())):
        last = segments.pop()
        entries.pop()
        waiting = [(shard, file) for shard, file in last.parts] + waiting
        rows |= {shard: count for (shard, _), count in zip(last.parts, last.part_rows, strict=True)}
    seen = _Seen(list(segments))
    for group in told(_groups(waiting, rows), len(_groups(waiting, rows)), "segments of the index"):
        arrays, about = columns([(shard, file, opened(shard, file)) for shard, file in group], seen.known)
        name = hashlib.blake2b("\n".join(map("/".join, group)).encode(), digest_size=12).hexdigest()
        entry = {"file": f"segments/{name}.arrays"}
        entry["hash"] = write_arrays(storage, f"{folder}/{entry['file']}", arrays, about)
        seen.add(np.concatenate(arrays["signature"]))
        del arrays
        entries.append(entry)
        segments.append(Segment(open_arrays(storage, f"{folder}/{entry['file']}", entry["hash"])))
    return segments, entries, before


def _kept(storage: Storage, folder: str, stored: Sequence[Named], shards: Mapping[str, Named]) -> list[Segment] | None:
    """The stored segments; None if one is damaged, or has shards that are not as they were."""
    segments = []
    for entry in stored:
        try:
            segment = Segment(open_arrays(storage, f"{folder}/{entry['file']}", entry["hash"]))
        except DamagedIndex as error:
            log.warning("%s; it is made again", error)
            return None
        if any(shards.get(shard, {}).get("file") != file for shard, file in segment.parts):
            return None
        segments.append(segment)
    return segments or None


def _groups(waiting: Sequence[tuple[str, str]], rows: Mapping[str, int]) -> list[list[tuple[str, str]]]:
    """Shards that come into one segment each."""
    groups: list[list[tuple[str, str]]] = []
    count = ROWS
    for shard, file in waiting:
        if count >= ROWS:
            groups.append([])
            count = 0
        groups[-1].append((shard, file))
        count += rows[shard]
    return groups


def updated_common(
    storage: Storage,
    folder: str,
    stored: Named | None,
    library: Library,
    kinds: Sequence[Kind],
    before: int | None,
    means: Means,
) -> tuple[dict[tuple[str, Kind], SharedHashes], dict[str, Any] | None]:
    """The hashes that many clips show, by method and kind, and the manifest's entry of their file.

    Args:
        stored: that entry before.
        before: how many distinct clips, from the first on, were counted then; None if they are others now.
    """
    known: dict[tuple[str, Kind], SharedHashes] = {}
    if stored is not None and before is not None:
        try:
            known = _read(storage, f"{folder}/{stored['file']}", stored["hash"])
        except DamagedIndex as error:
            log.warning("%s; it is made again", error)
    changed = before != library.distinct
    for number, method in enumerate(library.methods):
        for kind in kinds:
            held = known.get((method, kind))
            if held is not None and changed and before is not None:
                values = common.looked_up(library, kind, number, before, library.distinct)
                held = held.with_more(values, exactly=kind == "window_hashes")
            if held is None:
                divided = blocks(library, [kind], means)
                held = common.count_all(library, kind, number, divided, means.memory_bytes)
                changed = True
            known[method, kind] = held
    if not changed and stored is not None:
        return known, dict(stored)
    arrays = {
        f"{method}/{kind}.{name}": [getattr(held, name)]
        for (method, kind), held in known.items()
        for name in ("hashes", "counts")
    }
    about = {f"{method}/{kind}": held.unknown for (method, kind), held in known.items()}
    digest = hashlib.blake2b(digest_size=12)
    for name, (values,) in arrays.items():
        digest.update(name.encode() + values.tobytes())
    file = f"common-{digest.hexdigest()}.arrays"
    return known, {"file": file, "hash": write_arrays(storage, f"{folder}/{file}", arrays, about)}


def _read(storage: Storage, path: str, digest: str) -> dict[tuple[str, Kind], SharedHashes]:
    arrays = open_arrays(storage, path, digest)
    out: dict[tuple[str, Kind], SharedHashes] = {}
    for name, unknown in arrays.about.items():
        method, kind = name.rsplit("/", 1)
        out[method, kind] = SharedHashes(arrays.read(f"{name}.hashes"), arrays.read(f"{name}.counts"), unknown)
    return out
