"""The copies of clips, as the clusters of near-duplicates have them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.dataset as ds

from curation_assets.decode.clips import TABLE as CLIPS
from curation_assets.look.views import Plain
from curation_assets.registry import CLUSTERS
from curation_resources.tables import MissingTable, TableStore

COPIES = 8
"""Other clips of a cluster that are shown."""
SHOWN = ("dataset", "video_id", "clip_id", "shard", "keep", "relation", "similarity")


def copies_of(store: TableStore, dataset: str, shard: str, clip: str) -> list[Plain]:
    """The other clips of a clip's cluster, each with its span; the one that is kept first, then the most alike."""
    me = (ds.field("shard") == shard) & (ds.field("dataset") == dataset) & (ds.field("clip_id") == clip)
    mine = _rows(store, me)
    if not mine:
        return []
    cluster = _rows(store, ds.field("cluster_id") == mine[0]["cluster_id"])
    others = [o for o in cluster if (o["dataset"], o["clip_id"]) != (dataset, clip)]
    others.sort(key=lambda o: (not o["keep"], -(o["similarity"] or 0), o["clip_id"]))
    if others and not others[0]["relation"]:  # how the two relate is said of the one that was dropped
        others[0] |= {n: mine[0][n] for n in ("relation", "similarity")}
    return [{**{n: o[n] for n in SHOWN}, **_span(store, o)} for o in others[:COPIES]]


def with_copies(store: TableStore, items: Sequence[Plain]) -> None:
    """Gives each of some clips the one that it is a copy of, as `copy`; those that are of none have none."""
    mine = {(r["dataset"], r["clip_id"]): r for r in _rows(store, _of_items(items))}
    clusters = _rows(store, _one_of("cluster_id", [r["cluster_id"] for r in mine.values()]))
    named = {(r["cluster_id"], r["clip_id"]): r for r in clusters}
    for item in items:
        row = mine.get((item["dataset"], item["clip_id"]))
        other = named.get((row["cluster_id"], row["duplicate_of"] or "")) if row else None
        if row and other:
            item["copy"] = {
                **{n: other[n] for n in SHOWN},
                "relation": row["relation"],
                "similarity": row["similarity"],
            }
            item["copy"] |= _span(store, other)


def _of_items(items: Sequence[Plain]) -> ds.Expression:
    """The rows of some clips; by shard too, in order of which they lie."""
    return _one_of("shard", sorted({i["shard"] for i in items})) & _one_of("clip_id", [i["clip_id"] for i in items])


def _one_of(column: str, values: Sequence[str]) -> ds.Expression:
    return ds.field(column).isin(pa.array(values, pa.string()))  # a list without any has no type


def _rows(store: TableStore, where: ds.Expression) -> list[Plain]:
    try:
        return list(store.read(CLUSTERS, None, filters=where).to_pylist())
    except MissingTable:
        return []


def _span(store: TableStore, clip: Plain) -> Plain:
    try:
        own = ds.field("clip_id") == clip["clip_id"]
        found = store.read(CLIPS.asset, clip["shard"], ["start_ms", "end_ms"], own).to_pylist()
    except MissingTable:
        found = []
    return dict(found[0]) if found else {"start_ms": 0, "end_ms": 0}
