"""Which clips are kept, the tables that say so, and the pairs worth looking at.

Clips are taken best first. A clip is dropped exactly if it directly matches a clip that is kept, so every duplicate names a clip it
was compared with, no clip is dropped along a chain of resemblances, and the result depends on the set of clips alone.
A longer clip is dropped for a better excerpt of it only if the excerpt overlaps at least `MIN_OVERLAP` of it; else both are kept, because
dropping it would lose what only it shows. Crops come after all others, so that the whole picture stays.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.dedup.align import Altered, Matches
from curation_assets.dedup.bits import Ints
from curation_assets.dedup.chosen import concerned
from curation_assets.dedup.cluster_rows import SIGNATURE, ClusterRows, in_order, with_other_rows, write_rows
from curation_assets.dedup.cluster_table import cluster_table
from curation_assets.dedup.connected import CLIP_BYTES, VECTOR_BYTES, facts_and_matches, groups, involved
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.index import MEANS, Index, ShardInput, keep_chosen, update_index
from curation_assets.dedup.index_files import DamagedIndex
from curation_assets.dedup.search import Means
from curation_assets.dedup.segments import among
from curation_assets.dedup.survivors import NONE, survivors
from curation_assets.dedup.table_spool import TableSpool
from curation_assets.schemas import schema
from curation_resources.scratch import scratch_folder
from curation_resources.storage import Storage

log = logging.getLogger(__name__)

MIN_OVERLAP: Final = 0.5
"""Least share of a longer clip that a better, shorter one must overlap for the longer one to be dropped."""

Cosine = Callable[[pa.Table, pa.Table], NDArray[np.float64]]
"""Cosine of mean embeddings for two tables (dataset, clip_id) of equal length; NaN where a clip has none."""

AUDIT_PAIRS: Final = 8
"""Closest and doubtful pairs that are shown."""

AUDIT: Final = pa.schema(
    [
        ("kind", pa.string()),
        *(
            (f"{name}_{side}", pa.string())
            for side in ("a", "b")
            for name in ("shard", "dataset", "video_id", "clip_id")
        ),
        ("similarity", pa.float32()),
        ("coverage", pa.float32()),
        ("matched", pa.int64()),
        ("altered", pa.string()),
        ("accepted", pa.bool_()),
        ("times_a", pa.list_(pa.int64())),
        ("times_b", pa.list_(pa.int64())),
    ]
)
"""A pair to look at: `kind` closest or doubtful, `altered` how the first is of the other (null if it is not), `times_*` the same moments in both videos, milliseconds."""


@dataclass(frozen=True)
class Duplicates:
    """What `build_clusters` returns.

    Attributes:
        rows: those of the `duplicate_clusters` table, which the next update of the index may remove.
        audit: pairs to look at, as `AUDIT`.
        stats: the index's figures; clusters, dropped, dropped_<relation>, unconfirmed (pairs that embeddings contradict), shards (those that were
            seen).
    """

    rows: ClusterRows
    audit: pa.Table
    stats: dict[str, Any]

    @property
    def clusters(self) -> pa.Table:
        """The whole table in memory."""
        return self.rows.table()


def build_clusters(
    storage: Storage,
    folder: str,
    shards: Iterable[ShardInput],
    params: Dedup,
    cosine: Cosine | None = None,
    means: Means = MEANS,
    *,
    check: bool = False,
) -> Duplicates:
    """Finds the near-duplicates among the clips of all shards.

    Args:
        folder: folder of the index in storage, as `duplicate_clusters/index`.
        shards: fingerprints of the shards that there are; a missing one blocks nothing.
        cosine: confirms pairs if `params.confirm_cosine` is set.
        means, check: as `update_index` has them.

    Raises:
        ValueError: a shard that was given twice, or fingerprints that are not whole; the message names it.
    """
    index = update_index(storage, folder, shards, params, means, check=check)
    most = means.memory_bytes // (CLIP_BYTES + (VECTOR_BYTES if cosine is not None else 0))
    try:
        rows, unconfirmed = _decided(storage, folder, index, params, cosine, most)
    except DamagedIndex as error:
        if index.earlier is None or error.path not in index.earlier.rows.paths:
            raise
        log.warning("%s; all is chosen anew", error)
        anew = replace(index, earlier=None)
        rows, unconfirmed = _decided(storage, folder, anew, params, cosine, most)
    keep_chosen(storage, folder, index, params, rows)
    relations = rows.relations
    dropped = sum(relations.values())
    stats = {
        **index.stats,
        "clusters": len(rows) - dropped,
        "dropped": dropped,
        "unconfirmed": unconfirmed,
        **{f"dropped_{name}": count for name, count in relations.items()},
        "shards": index.shards,
    }
    return Duplicates(rows, audit(index, AUDIT_PAIRS), stats)


@dataclass(frozen=True)
class _Edges:
    """Pairs of nodes, each in both directions, grouped by the node that may be dropped.

    Attributes:
        dropped, kept: numbers of the nodes.
        match: row in the matches; -1 for exact copies that the fingerprints do not show.
    """

    dropped: Ints
    kept: Ints
    match: Ints


def _rank(clips: pa.Table, survivor: str) -> Ints:
    """Place of each clip in the order in which survivors are chosen, 0 is the best."""
    quality = pc.fill_null(clips["quality"], -np.inf).to_numpy().astype(np.float64)
    keys = pa.table(
        {
            "seen": clips["seen"] if survivor == "first_seen" else pa.array(np.zeros(len(clips), np.int64)),
            "height": pc.fill_null(clips["height"], 0),
            "duration": pc.fill_null(clips["duration_ms"], 0),
            "quality": pa.array(np.nan_to_num(quality, nan=-np.inf)),
            "clip_id": clips["clip_id"],
            "dataset": clips["dataset"],
        }
    )
    descending = {"height", "duration", "quality"}
    order = pc.sort_indices(
        keys, [(name, "descending" if name in descending else "ascending") for name in keys.column_names]
    ).to_numpy()
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank


def _decided(
    storage: Storage, folder: str, index: Index, params: Dedup, cosine: Cosine | None, most: int
) -> tuple[ClusterRows, int]:
    """The rows, written, and how many matches embeddings contradict.

    Args:
        most: so many clips are chosen among at a time, if they are not all connected with each other.
    """
    accepted = index.matches.take(index.matches.accepted)
    earlier = index.earlier if cosine is None else None
    again = concerned(index.library, accepted, earlier.new) if earlier is not None else None
    choice = _Choice(params, cosine, most)
    with scratch_folder("clusters-") as scratch:
        if earlier is not None and again is not None:
            rows = index.library.rows_with("signature", again)
            mine = accepted.take(among(accepted.short, again))
            others = _chosen(index, rows, mine, choice, Path(scratch))
            return write_rows(storage, folder, with_other_rows(earlier.rows, again, others)), 0
        rows = involved(index.library, accepted)
        items = _chosen(index, rows, accepted, choice, Path(scratch))
        return write_rows(storage, folder, items), choice.unconfirmed


@dataclass
class _Choice:
    """How survivors are chosen, and what is counted while they are.

    Attributes:
        params, cosine: as `build_clusters` has them.
        most: clips of a group of connected ones.
        unconfirmed: matches that embeddings contradict.
    """

    params: Dedup
    cosine: Cosine | None
    most: int
    unconfirmed: int = 0


def _chosen(
    index: Index,
    rows: Ints,
    matches: Matches,
    choice: _Choice,
    scratch: Path,
) -> Iterator[pa.Table]:
    """The rows of the table of some clips, in order, with signatures; one group of connected clips is held at a time, and then one range of shards.

    Args:
        rows: of the clips, ascending.
        matches: accepted pairs of them, by signatures.
        scratch: an empty folder of this machine.
    """
    library = index.library
    found = groups(library, rows, matches, choice.most)
    each = facts_and_matches(library, found, matches, scratch / "facts")
    if found.count <= 1:
        for facts, mine in each:
            yield _chosen_among(index, facts, mine, choice)
        return
    counts = np.bincount(library.shard_of(rows), minlength=len(index.shards))
    range_of = (np.cumsum(counts) - counts) // -(-len(rows) // found.count)
    with TableSpool(scratch / "rows") as spool:
        for facts, mine in each:
            table = _chosen_among(index, facts, mine, choice)
            shard = pc.index_in(table["shard"], pa.array(index.shards, pa.string())).to_numpy()
            spool.divide(table, range_of[shard])
        for number in range(int(range_of[-1]) + 1):
            table = spool.take(number)
            if table is not None:
                yield in_order(table)


def _chosen_among(index: Index, clips: pa.Table, matches: Matches, choice: _Choice) -> pa.Table:
    """The rows of some clips that match each other alone, with their signatures."""
    rank = _rank(clips, choice.params.survivor)
    by_rank = np.argsort(rank)
    signature, exact = clips["signature"].to_numpy(), clips["exact"].to_numpy()
    nodes, first = np.unique(signature[by_rank], return_index=True)
    leader = by_rank[first]
    node = np.searchsorted(nodes, signature)

    cosines = np.full(len(matches.short), np.nan)
    short, long = np.searchsorted(nodes, matches.short), np.searchsorted(nodes, matches.long)
    if choice.cosine is not None and len(short):
        ids = clips.select(["dataset", "clip_id"])
        cosines = np.asarray(choice.cosine(ids.take(leader[short]), ids.take(leader[long])), np.float64)
    confirmed = np.ones(len(short), np.bool_)
    if choice.params.confirm_cosine is not None:
        confirmed = ~(cosines < choice.params.confirm_cosine)

    edges = _edges(matches, confirmed, short, long, _exact_copies(exact, node, rank))
    order = rank[leader]
    if choice.params.survivor == "best":
        order = order + len(rank) * np.isin(np.arange(len(nodes)), short[confirmed & matches.cropped])
    chosen = _choose(edges, order, matches)
    table, rows = cluster_table(index.shards, clips, matches, cosines, leader[chosen[0][node]], chosen[1][node])
    choice.unconfirmed += int((~confirmed).sum())
    return table.append_column(SIGNATURE, pa.array(signature[rows]))


def _exact_copies(exact: NDArray[np.uint64], node: Ints, rank: Ints) -> tuple[Ints, Ints]:
    """Nodes with the same source span but different fingerprints, each with that of the best clip of the span."""
    order = np.lexsort((rank, exact))
    group = exact[order]
    starts = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
    best = np.repeat(order[starts], np.diff(np.append(starts, len(order))))
    pairs = np.stack([node[order], node[best]], axis=1)[(group != 0) & (node[order] != node[best])]
    pairs = np.unique(pairs, axis=0)
    return pairs[:, 0], pairs[:, 1]


def _edges(
    matches: Matches, confirmed: NDArray[np.bool_], short: Ints, long: Ints, copies: tuple[Ints, Ints]
) -> _Edges:
    rows = np.arange(len(short))
    longer = confirmed & (matches.overlap >= MIN_OVERLAP)
    none = np.full(len(copies[0]), -1)
    dropped = np.concatenate([short[confirmed], long[longer], *copies])
    kept = np.concatenate([long[confirmed], short[longer], copies[1], copies[0]])
    match = np.concatenate([rows[confirmed], rows[longer], none, none])
    order = np.argsort(dropped, kind="stable")
    return _Edges(dropped[order], kept[order], match[order])


def _choose(edges: _Edges, place: Ints, matches: Matches) -> tuple[Ints, Ints]:
    """For each node the kept node that it is most similar to, itself if it is kept, and the match (-1: none, or an exact copy).

    Args:
        place: of each node in the order in which survivors are chosen.
    """
    start = np.searchsorted(edges.dropped, np.arange(len(place) + 1))
    connected = np.flatnonzero(np.diff(start))
    similarity = np.append(matches.similarity, 1.0)[edges.match].astype(np.float64)
    chosen = survivors(start, edges.kept, edges.match, similarity, place, connected[np.argsort(place[connected])])
    to_node, by_match = np.arange(len(place)), np.full(len(place), NONE)
    dropped = chosen != NONE
    to_node[dropped], by_match[dropped] = edges.kept[chosen[dropped]], edges.match[chosen[dropped]]
    return to_node, by_match


def dedup_view(clusters: pa.Table, clips: pa.Table) -> pa.Table:
    """The `dedup` table of one shard: every clip, and whether it is kept.

    Args:
        clusters: `duplicate_clusters`.
        clips: the shard's clips: at least dataset, video_id, clip_id.
    """
    contract = schema("dedup")
    mine = clusters.filter(pc.is_in(clusters["clip_id"], clips["clip_id"].combine_chunks()))
    found = {
        (row["dataset"], row["clip_id"]): row
        for row in mine.select(
            ["dataset", "clip_id", "keep", "duplicate_of", "survivor_dataset", "similarity", "cluster_id", "relation"]
        ).to_pylist()
    }
    rows = []
    for key in clips.select(["dataset", "video_id", "clip_id"]).to_pylist():
        row = found.get((key["dataset"], key["clip_id"]))
        view = dict.fromkeys(contract.names) | key | {"keep": True}
        if row is not None:
            view |= {name: row[name] for name in ("keep", "duplicate_of", "similarity", "cluster_id", "relation")}
            view["duplicate_dataset"] = None if row["keep"] else row["survivor_dataset"]
        rows.append(view)
    return pa.Table.from_pylist(rows, contract.arrow).sort_by([(name, "ascending") for name in contract.key])


def audit(index: Index, pairs: int = 8) -> pa.Table:
    """The closest accepted pairs and the most doubtful ones: accepted with the least agreement, or nearly accepted.

    Returns:
        Up to `pairs` rows of each kind, as `AUDIT`: closest first, then doubtful, each by how plainly they are so.
    """
    matches = index.matches
    certainty = matches.coverage.astype(np.float64) * matches.similarity
    accepted = np.flatnonzero(matches.accepted)
    closest = accepted[np.lexsort((accepted, -certainty[accepted]))][:pairs]
    weakest = accepted[np.lexsort((accepted, certainty[accepted]))][: (pairs + 1) // 2]
    refused = np.flatnonzero(~matches.accepted)
    refused = refused[np.lexsort((refused, -certainty[refused]))][: pairs - len(weakest)]
    chosen = np.concatenate([closest, weakest, refused])
    kinds = ["closest"] * len(closest) + ["doubtful"] * (len(weakest) + len(refused))

    shown = matches.take(chosen)
    library = index.library
    wanted = np.unique(np.concatenate([shown.short, shown.long]))
    rows = library.rows(library.numbers(wanted))
    facts = library.take("facts", rows, ("dataset", "video_id", "clip_id", "start_ms", "duration_ms"))
    facts = facts.append_column("shard", pa.array([library.shards[k] for k in library.shard_of(rows)], pa.string()))
    by_signature = dict(zip(wanted.tolist(), facts.to_pylist(), strict=True))
    records = []
    for k in range(len(chosen)):
        sides = [by_signature[int(s)] for s in (shown.short[k], shown.long[k])]
        scale, offset = float(shown.scale[k]), int(shown.offset_ms[k])
        begin = max(0.0, -offset / scale)
        end = min(sides[0]["duration_ms"], (sides[1]["duration_ms"] - offset) / scale)
        moments = [begin + (end - begin) * share for share in (0.1, 0.5, 0.9)]
        record: dict[str, Any] = {"kind": kinds[k]}
        for side, name in zip(sides, "ab", strict=True):
            record |= {f"{key}_{name}": side[key] for key in ("dataset", "video_id", "clip_id")}
            record[f"shard_{name}"] = side["shard"]
        record |= {key: getattr(shown, key)[k].item() for key in ("similarity", "coverage", "matched", "accepted")}
        altered = Altered(shown.altered[k])
        record["altered"] = altered.name.lower() if altered else None
        backwards = altered is Altered.REVERSED
        own = [sides[0]["duration_ms"] - t if backwards else t for t in moments]
        record["times_a"] = [round(sides[0]["start_ms"] + t) for t in own]
        record["times_b"] = [round(sides[1]["start_ms"] + scale * t + offset) for t in moments]
        records.append(record)
    return pa.Table.from_pylist(records, AUDIT)
