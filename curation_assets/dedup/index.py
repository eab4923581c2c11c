"""The stored index of duplicates: each shard's fingerprints in compact form, and the pairs of them that were compared.

Comparisons are stored by *signature*, a hash of a clip's fingerprint alone. Clips with one signature are compared once, and a
shard that is new or has changed is compared with the rest without reading the others' tables or repeating their comparisons. What
is stored is a function of the set of shards, not of the order in which they came.

Layout of the folder: `manifest.json` (written last), `parts/<shard>-<digest>.blocks`, `segments/<digest>.arrays` (columns of the parts of many shards),
`common-<digest>.arrays` (hashes that many clips show), `matches-<digest>.arrow`, `chosen/*.blocks` (which clips survive). A file that is damaged is made again: of a shard from its fingerprints, whose clips
then count as seen when the shard first was.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from curation_assets.dedup import index_files as dedup_files
from curation_assets.dedup.align import Matches
from curation_assets.dedup.chosen import Earlier
from curation_assets.dedup.cluster_rows import FOLDER as CHOSEN
from curation_assets.dedup.cluster_rows import ClusterRows
from curation_assets.dedup.common import SharedHashes
from curation_assets.dedup.crops import cropped
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.hash_matches import Comparison
from curation_assets.dedup.index_files import Blocks, DamagedIndex
from curation_assets.dedup.index_segments import updated_common, updated_segments
from curation_assets.dedup.library import Library
from curation_assets.dedup.match_lists import best_of_pair, in_order, worth_keeping
from curation_assets.dedup.parts import blocks_of, make_part
from curation_assets.dedup.search import Means, Plan, promised
from curation_assets.dedup.second_look import Courses, without_unlike
from curation_assets.dedup.segments import KINDS, Kind, among
from curation_resources import presence
from curation_resources.progress import told
from curation_resources.storage import Storage

log = logging.getLogger(__name__)
T = TypeVar("T")
FORMAT: Final = 16
"""Changes when the code finds other pairs or stores them otherwise: an index of another format is made anew."""

COMPARING: Final = frozenset(
    {
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
        "search",
    }
)
"""Parameters on which it depends what is compared, and how."""

MORE_DAMAGE: Final = 3
"""Files of the index beyond those of shards that are made again before an update gives up: segments, hashes that many clips show, and the table that was chosen."""

OPEN: Final = 256
"""Parts whose directories are kept in memory."""

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


MEANS: Final = Means()


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
        library: the clips.
        matches: pairs that match or nearly do; `short` and `long` are signatures.
        stats: figures of the update.
        file: that of the matches.
        earlier: what was chosen before; None if that does not help.
    """

    library: Library
    matches: Matches
    stats: dict[str, Any]
    file: str
    earlier: Earlier | None

    @property
    def shards(self) -> Sequence[str]:
        """Keys of the shards, sorted."""
        return self.library.shards


def _matches_table(matches: Matches) -> pa.Table:
    return pa.table({name: pa.array(getattr(matches, name), kind) for name, kind in _MATCH_TYPES.items()})


def _matches(table: pa.Table | None) -> Matches:
    if table is None:
        table = pa.table({name: pa.array([], kind) for name, kind in _MATCH_TYPES.items()})
    return Matches(**{f.name: table[f.name].to_numpy() for f in fields(Matches)})


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=12).hexdigest()


def update_index(
    storage: Storage,
    folder: str,
    inputs: Iterable[ShardInput],
    params: Dedup,
    means: Means = MEANS,
    *,
    check: bool = False,
) -> Index:
    """Brings the index up to date with exactly these shards and stores it.

    Shards whose content hash is known are not read. Shards that are not among the inputs leave the index. Changed parameters, and a number of
    hashes of another magnitude, repeat the comparisons, not the reading.

    Args:
        folder: folder of the index in storage.
        inputs: the shards; for `first_seen`, those that are new count as seen in this order.
        means: what the search may use.
        check: read all that is stored, and make anew what is damaged; else damage is noticed in what is read.

    Returns:
        The index, with in `stats`: clips, new_shards, kept_shards, removed_shards, comparable_clips, distinct_clips, hashes, pairs_compared,
        pairs_accepted, pairs_doubtful, pairs_unlike (refused for what changes in them), common_hashes, common_pairs_left_out, recall_one_frame,
        recall_two_frames (chance to find a pair of which one or two frames lie at exactly the largest distance), recall_promised (of the least
        pair that `search` promises).
    """
    given = list(inputs)
    if check:
        _remove_damaged(storage, folder)
    most = len(given) + MORE_DAMAGE
    for attempt in range(most + 1):
        try:
            return _updated(storage, folder, given, params, means)
        except DamagedIndex as error:
            if attempt == most or not error.path.startswith(f"{folder}/"):
                raise
            log.warning("%s; it is made again", error)
            storage.remove_all([error.path])
    raise AssertionError


def _remove_damaged(storage: Storage, folder: str) -> None:
    manifest = _sound(lambda: dedup_files.read_manifest(storage, folder))
    for file, digest in dedup_files.files_of(manifest) if manifest else ():
        try:
            dedup_files.check_file(storage, f"{folder}/{file}", digest)
        except DamagedIndex as error:
            log.warning("%s; it is made again", error)
            storage.remove_all([f"{folder}/{file}"])


def _updated(
    storage: Storage,
    folder: str,
    given: Sequence[ShardInput],
    params: Dedup,
    means: Means,
) -> Index:
    manifest: dict[str, Any] = {"format": FORMAT, "update": 0, "shards": {}}
    stored = _sound(lambda: dedup_files.read_manifest(storage, folder))
    if stored is not None and stored["format"] == FORMAT:
        manifest = stored
    known: dict[str, dict[str, Any]] = manifest["shards"]
    replaced, shards, update = _parts(storage, folder, given, known, manifest["update"])
    names = sorted(shards)

    @lru_cache(OPEN)
    def opened(shard: str, _: str) -> Blocks:
        return _opened(storage, folder, shards[shard])

    segments, files, rows = updated_segments(storage, folder, manifest.get("segments", ()), shards, opened)
    library = Library(segments, opened)
    kept = None if rows is None else library.distinct_before(rows)
    kinds = [kind for kind in KINDS if library.hashes(kind)]
    common, common_file = updated_common(storage, folder, manifest.get("common"), library, kinds, kept, means)

    wanted = _digest(str(FORMAT), str(library.key_bits), params.model_dump_json(include=set(COMPARING)))
    before = None
    if manifest.get("params") == wanted:
        path = f"{folder}/{manifest['matches']}"
        before = _sound(lambda: dedup_files.read_table(storage, path, manifest.get("matches_hash")))
    fresh = np.ones(library.distinct, np.bool_)
    held = _matches(before)
    if before is not None and kept is not None:
        fresh[:kept] = False
    elif before is not None:
        same = [name for name in names if known.get(name) == shards[name]]
        fresh, held = _still_known(library, held, [opened(n, shards[n]["file"]) for n in same], replaced)
    matches, stats = _compare_new(library, fresh, held, common, params, means)

    file = f"matches-{_digest(wanted, *(f'{n} {shards[n]}' for n in names))}.arrow"
    written = dedup_files.write_table(storage, f"{folder}/{file}", _matches_table(matches))
    document = {
        "format": FORMAT,
        "params": wanted,
        "update": update,
        "shards": shards,
        "segments": files,
        "common": common_file,
        "matches": file,
        "matches_hash": written,
    }
    earlier, chosen = None, manifest.get("chosen") or {}
    only_more = kept is not None and before is not None
    alike = "blocks" in chosen and chosen["of"] == manifest["matches"] and chosen["how"] == _how(params) is not None
    if only_more and alike:
        new = _new_signatures(library, rows or 0, fresh, matches)
        earlier = Earlier(ClusterRows(storage, folder, chosen["blocks"]), new)
    dedup_files.write_manifest(storage, folder, document | ({"chosen": chosen} if chosen else {}))
    _sweep(storage, folder)
    made = sum(known.get(n) != shards[n] for n in names)
    plan = Plan.of(library.key_bits, library.methods[0] if library.methods else params.method, params)
    stats |= {
        "clips": library.clips,
        "new_shards": made,
        "kept_shards": len(names) - made,
        "removed_shards": len(set(known) - set(names)),
        "recall_one_frame": plan.recall(params.distance, 1),
        "recall_two_frames": plan.recall(params.distance, 2),
        "recall_promised": plan.recall(*promised(params)),
    }
    return Index(library, matches, stats, file, earlier)


def _new_signatures(library: Library, rows: int, fresh: NDArray[np.bool_], matches: Matches) -> NDArray[np.uint64]:
    """Signatures, sorted, of rows from one on, and of clips that match a fresh one."""
    first = library.of_rows("signature", np.arange(rows, library.clips))
    new = np.sort(library.tie(np.flatnonzero(fresh)))
    touched = matches.accepted & (among(matches.short, new) | among(matches.long, new))
    return np.unique(np.concatenate([first, matches.short[touched], matches.long[touched]]))


def _how(params: Dedup) -> str | None:
    """How survivors are chosen from matches; None if it depends on embeddings, too, which the index does not have."""
    return params.survivor if params.confirm_cosine is None else None


def keep_chosen(storage: Storage, folder: str, index: Index, params: Dedup, chosen: ClusterRows) -> None:
    """Keeps what was chosen from an index, beside it."""
    manifest = dedup_files.read_manifest(storage, folder)
    if manifest is not None and manifest["matches"] == index.file:
        entry = {"of": index.file, "how": _how(params), "blocks": list(chosen.entries)}
        dedup_files.write_manifest(storage, folder, manifest | {"chosen": entry})
        _sweep(storage, folder, (CHOSEN,))


def _still_known(
    library: Library, held: Matches, same: Sequence[Blocks], replaced: Sequence[NDArray[np.uint64]]
) -> tuple[NDArray[np.bool_], Matches]:
    """Which distinct clips were not compared before, and the matches of the others."""
    signatures = [part.read("facts")["signature"].to_numpy() for part in same]
    old = np.sort(np.concatenate([*signatures, *replaced, np.empty(0, np.uint64)]))
    tie = library.ties(0, library.distinct)
    fresh = ~among(tie, old)
    known = np.sort(tie[~fresh])
    return fresh, held.take(among(held.short, known) & among(held.long, known))


def _parts(
    storage: Storage,
    folder: str,
    given: Sequence[ShardInput],
    known: Mapping[str, Mapping[str, Any]],
    update: int,
) -> tuple[list[NDArray[np.uint64]], dict[str, dict[str, Any]], int]:
    """Brings the parts of the shards up to date.

    Returns:
        Signatures that changed shards had; the manifest's entry of each shard; the number of the last update.
    """
    replaced: list[NDArray[np.uint64]] = []
    shards: dict[str, dict[str, Any]] = {}
    there = set(storage.list(f"{folder}/parts"))
    for item in told(given, len(given), "shards"):
        if item.shard in shards:
            raise ValueError(f"shard {item.shard} was given twice")
        entry = known.get(item.shard)
        stands = entry is not None and entry["file"].rsplit("/", 1)[-1] in there
        if entry is not None and stands and entry["content_hash"] == item.content_hash:
            shards[item.shard] = dict(entry)
            continue
        part = _sound(partial(_opened, storage, folder, entry)) if entry is not None and stands else None
        earlier = None if part is None else _sound(partial(part.read, "facts"))
        if earlier is not None:
            replaced.append(earlier["signature"].to_numpy().copy())
        update += 1
        first = entry.get("first", update) if entry else update
        made = make_part(item.shard, item.read(), earlier, update if earlier is not None else first)
        file = f"parts/{item.shard}-{_digest(item.shard, item.content_hash, str(update))}.blocks"
        written = dedup_files.write_blocks(storage, f"{folder}/{file}", blocks_of(made))
        shards[item.shard] = {"content_hash": item.content_hash, "file": file, "hash": written, "first": first}
    return replaced, shards, update


def _opened(storage: Storage, folder: str, entry: Mapping[str, Any]) -> Blocks:
    return dedup_files.open_blocks(storage, f"{folder}/{entry['file']}", entry["hash"])


def _sound(read: Callable[[], T | None]) -> T | None:
    """What `read` gives; None, as if it had never been, of what is damaged."""
    try:
        return read()
    except DamagedIndex as error:
        log.warning("%s; it is made again", error)
        return None


def _sweep(storage: Storage, folder: str, within: Sequence[str] = ("", "parts", "segments")) -> None:
    """Removes what the index in force does not name, unless another run is at work on it: what this one replaced, and what killed ones left."""
    there = [f"{part}/{name}".lstrip("/") for part in within for name in storage.list(f"{folder}/{part}".rstrip("/"))]
    if presence.others(storage, folder.split("/")[0]):
        return
    stored = dedup_files.read_manifest(storage, folder)
    if stored is None:
        return
    live = {dedup_files.MANIFEST, *(file for file, _ in dedup_files.files_of(stored))}
    storage.remove_all([f"{folder}/{name}" for name in there if name not in live])


# Products of stills are just large enough for OpenBLAS to share them among threads, which then wait for each other: most of the processor time.
@threadpool_limits.wrap(limits=1, user_api="blas")
def _compare_new(
    library: Library,
    fresh: NDArray[np.bool_],
    held: Matches,
    common: Mapping[tuple[str, Kind], SharedHashes],
    params: Dedup,
    means: Means,
) -> tuple[Matches, dict[str, Any]]:
    """The earlier matches, which hold, and those of clips that are fresh."""
    counted = (
        "comparable_clips",
        "hashes",
        "pairs_compared",
        "pairs_windows",
        "common_hashes",
        "common_pairs_left_out",
    )
    stats: dict[str, Any] = dict.fromkeys(counted, 0) | {"distinct_clips": library.distinct}
    comparison = Comparison(library, params, fresh, means, common, stats)
    methods = range(len(library.methods))
    found = [matches for method in methods for matches in comparison.matches(method)]
    new = best_of_pair(Matches.join([Matches.of([]), *found]), apart=True)
    courses = Courses(library)
    decided = new.accepted
    if params.course:
        new, other_stands = without_unlike(new, courses)
        stats["pairs_unlike"] = int(decided.sum() - new.accepted.sum())
        decided = new.accepted | other_stands
    crops = [cropped(comparison, method, courses, new, decided) for method in methods] if params.crops else []
    matches = worth_keeping(in_order(Matches.join([held, best_of_pair(Matches.join([new, *crops]))])))
    stats["pairs_accepted"] = int(matches.accepted.sum())
    stats["pairs_doubtful"] = int((~matches.accepted).sum())
    return matches, stats
