"""What is to be taken down, and how things stood before: written down until all of it is done, so that a run that was killed is gone on with.

The file of the plan holds the ids in clear, since they are needed to find what is left; it is removed when nothing is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from curation_assets.contracts.component import Component
from curation_assets.engine.declared import indexed
from curation_assets.engine.shard_keys import parse_shard_key
from curation_assets.engine.slices import is_sliced, slice_hashes
from curation_assets.engine.staleness import OF_SUBSET, SHARDED
from curation_assets.ingest.forgotten import (
    channel_key,
    domain_keys,
    id_key,
    place_key,
    url_keys,
)
from curation_assets.ingest.sources.rows import youtube_id
from curation_assets.recipes import Recipe
from curation_assets.registry import CLUSTERS, COMPONENTS, DOWNLOADS, GATHERED, INDEX, component
from curation_assets.schemas import SCHEMAS
from curation_assets.selection import SUBSET_ASSETS, UNPARTITIONED
from curation_resources.file_facts import is_uri
from curation_resources.markdown import escape
from curation_resources.tables import MissingTable, TableStore

PATH = "forgetting.json"
SHARD_ASSETS = tuple(a for a in SCHEMAS if a not in SUBSET_ASSETS and a not in UNPARTITIONED)
"""In graph order."""
LEAST_WORD = 8
"""Shorter titles, captions and channels are looked for in records of the video's own shard only: they could be anybody's."""


class NothingFound(LookupError):
    """No video is what was asked for; the message says where was looked.

    Attributes:
        lost: what was asked for.
    """

    def __init__(self, message: str, lost: Sequence[str]) -> None:
        super().__init__(message)
        self.lost = lost


@dataclass(frozen=True)
class Video:
    """A video to be taken down.

    Attributes:
        dataset, video_id, shard: which.
        keys: what its tombstones hash.
        words: title, captions, channel and addresses, as far as tables have them: what records are searched for.
        sources: where its bytes lie outside the storage root: referenced in place, or the address it came from.
        copies: other videos with clips that are near-duplicates of its clips, `<dataset> <video_id>`.
    """

    dataset: str
    video_id: str
    shard: str
    keys: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()


@dataclass
class TakedownPlan:
    """What is to be done.

    Attributes:
        videos: the videos.
        keys: tombstones beyond those of the videos (domains, channels).
        reason: what the operator gave as reason.
        hashes: asset -> shard -> content hash before.
        slices: unpartitioned asset -> shard -> content hash of its rows before.
        fresh: (asset, subset) of the subsets' tables that were up to date before.
        changed: (asset, shard) of tables that lost more than rows of the videos, so that what is made from them is stale.
        absent: ids and addresses that were asked for and are of no video here; `keys` has their tombstones.
    """

    videos: list[Video]
    keys: list[str] = field(default_factory=list)
    reason: str = ""
    hashes: dict[str, dict[str, str]] = field(default_factory=dict)
    slices: dict[str, dict[str, str]] = field(default_factory=dict)
    fresh: list[tuple[str, str]] = field(default_factory=list)
    changed: list[tuple[str, str]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    @property
    def names(self) -> set[tuple[str, str]]:
        """(dataset, video) of the videos."""
        return {(v.dataset, v.video_id) for v in self.videos}

    @property
    def shards(self) -> list[str]:
        return sorted({v.shard for v in self.videos})

    @property
    def datasets(self) -> set[str]:
        return {v.dataset for v in self.videos}

    def ids(self, dataset: str) -> set[str]:
        return {v.video_id for v in self.videos if v.dataset == dataset}

    def of(self, table: pa.Table) -> pa.ChunkedArray:
        """Which rows of a table with `dataset` and `video_id` are of the videos."""
        gone = pa.chunked_array([pa.array([False] * table.num_rows, pa.bool_())])
        for dataset in sorted(self.datasets):
            mine = pc.is_in(table["video_id"], value_set=pa.array(sorted(self.ids(dataset)), pa.string()))
            gone = pc.or_(gone, pc.and_(pc.equal(table["dataset"], dataset), mine))
        return gone

    def save(self, store: TableStore) -> None:
        store.storage.write(PATH, json.dumps(asdict(self)).encode())

    @staticmethod
    def load(store: TableStore) -> TakedownPlan | None:
        """The plan of a takedown that was not finished; None if there is none."""
        if not store.storage.exists(PATH):
            return None
        saved = json.loads(store.storage.read(PATH))
        lists = ("keys", "words", "sources", "copies")
        videos = [
            Video(r["dataset"], r["video_id"], r["shard"], *(tuple(r[n]) for n in lists)) for r in saved["videos"]
        ]
        fresh, changed = ([(a, b) for a, b in saved[name]] for name in ("fresh", "changed"))
        return TakedownPlan(
            videos,
            saved["keys"],
            saved["reason"],
            saved["hashes"],
            saved["slices"],
            fresh,
            changed,
            saved.get("absent", []),
        )


@dataclass(frozen=True)
class Query:
    """What is asked for; a video that any of it names is meant.

    Attributes:
        ids: ids and addresses. An id must be of a video that is stored, since a slip in it would keep out another one.
        listed: the same from a list, as holders of rights send them: most of it may be of no video here, or be taken down already.
    """

    ids: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    removed: bool = False
    dataset: str | None = None

    @property
    def names_something(self) -> bool:
        """Whether videos are asked for."""
        return bool(self.ids or self.listed or self.channels or self.domains or self.removed)


def make_plan(store: TableStore, recipes: Mapping[str, Recipe], query: Query, reason: str) -> TakedownPlan:
    """Finds the videos and notes how the tables stand.

    Raises:
        NothingFound: an id that no table knows and no list holds.
    """
    found, absent = _find(store, query)
    videos = [_described(store, *key) for key in sorted(found)]
    keys = [channel_key(c) for c in query.channels] + [f"domain {d.strip().lower()}" for d in query.domains]
    datasets = [query.dataset] if query.dataset else sorted({*recipes, *indexed(store)})
    keys += [k for name in absent for k in (url_keys(name) if "://" in name else (id_key(d, name) for d in datasets))]
    plan = TakedownPlan(videos, keys, reason, absent=absent)
    for asset in SHARD_ASSETS:
        plan.hashes[asset] = {
            k: h.content_hash for k, h in store.headers(asset, _all(store, asset, plan.datasets)).items()
        }
    for asset in filter(is_sliced, UNPARTITIONED):
        plan.slices[asset] = dict(slice_hashes(store, asset))
    for asset, expected in OF_SUBSET.items():
        for key in store.partitions(asset):
            header = store.header(asset, key)
            try:
                if header is not None and header.fingerprint == expected(store, recipes, key).fingerprint:
                    plan.fresh.append((asset, key))
            except (LookupError, ValueError, OSError):
                continue  # no recipe declares it any more, or it names what is not there: it is not up to date
    return plan


def _all(store: TableStore, asset: str, datasets: Collection[str]) -> list[str]:
    """Shards of an asset; of one that is made of a table over all shards those of all datasets, since that spans them."""
    keys = store.partitions(asset)
    return (
        keys if set(GATHERED) & set(component(asset).slices) else [k for k in keys if parse_shard_key(k)[0] in datasets]
    )


Key = tuple[str, str, str]


def _find(store: TableStore, query: Query) -> tuple[set[Key], list[str]]:
    """(dataset, video_id, shard) of the videos that are meant, and what is of none of them."""
    found: set[Key] = set()
    known: set[str] = set()
    wanted = {*query.ids, *query.listed}
    urls = {k: given for given in wanted if "://" in given for k in url_keys(given)}
    domains = {f"domain {d.strip().lower()}" for d in query.domains}
    columns = ["dataset", "video_id", "shard", "status", *(["record"] if urls or domains else [])]
    for batch in store.batches(INDEX, columns) if store.exists(INDEX) else ():
        for row in batch.to_pylist():
            if query.dataset is not None and row["dataset"] != query.dataset:
                continue
            key = (row["dataset"], row["video_id"], row["shard"])
            if row["video_id"] in wanted:
                found.add(key)
                known.add(row["video_id"])
            if query.removed and row["status"] == "removed":
                found.add(key)
            if (urls or domains) and row["status"] != "rejected":
                url = orjson.loads(row["record"]).get("url") or ""
                named = {urls[k] for k in url_keys(url) if k in urls} if url else set()
                known |= named
                if named or (url and domains and domains & set(domain_keys(url))):
                    found.add(key)
    for key, asked in _in_tables(store, query, wanted - known):
        found.add(key)
        known |= {asked} if asked else set()
    absent = sorted(wanted - known)
    lost = [w for w in absent if "://" not in w and w not in query.listed]
    if lost:
        where = f"dataset {query.dataset}" if query.dataset else "any dataset"
        raise NothingFound(
            f"{', '.join(lost[:10])}{' and others' if len(lost) > 10 else ''}: no video of {where} has this id or address; "
            "ids are case-sensitive, and are given as tables have them (`curation explain ID`)",
            lost,
        )
    return found, absent


def _in_tables(store: TableStore, query: Query, unknown: Collection[str]) -> Iterator[tuple[Key, str | None]]:
    """Videos that only a shard's own tables tell: ids that the index no longer has, and channels, which stand on the page of a video."""
    channels = {c.strip().casefold() for c in query.channels}
    if not channels and not unknown:
        return
    for shard in store.partitions(DOWNLOADS):
        dataset = parse_shard_key(shard)[0]
        if query.dataset is not None and dataset != query.dataset:
            continue
        table = store.read(DOWNLOADS, shard, columns=["video_id", "channel"])
        for row in table.to_pylist():
            if row["video_id"] in unknown:
                yield (dataset, row["video_id"], shard), row["video_id"]
            elif channels and (row["channel"] or "").strip().casefold() in channels:
                yield (dataset, row["video_id"], shard), None


def _described(store: TableStore, dataset: str, video_id: str, shard: str) -> Video:
    """The video with what its tables say of it."""

    def rows(asset: str, partition: str | None, *columns: str) -> list[dict[str, Any]]:
        where = (ds.field("video_id") == video_id) & (ds.field("dataset") == dataset)
        try:
            return list(store.read(asset, partition, columns=list(columns), filters=where).to_pylist())
        except MissingTable:
            return []

    keys: dict[str, None] = {id_key(dataset, video_id): None}
    words: dict[str, None] = {}
    sources: dict[str, None] = {}

    def address(url: str | None) -> None:
        if url:
            words[url] = None
            keys.update(dict.fromkeys(url_keys(url)))

    for row in rows(INDEX, None, "record", "status"):
        if row["status"] == "rejected":
            continue
        record = orjson.loads(row["record"])
        extra = record.get("extra") or {}
        media = extra.get("media") if isinstance(extra, dict) else None
        if isinstance(media, dict):
            if extra.get("path"):
                keys[place_key(dataset, str(extra["path"]))] = None
            sources[str(media.get("tar"))] = None
            if media.get("offset") is None:
                address(record.get("url"))
        else:
            address(record.get("url"))
        words.update(dict.fromkeys(_texts({k: v for k, v in record.items() if k != "url"})))
    for row in rows(DOWNLOADS, shard, "url", "page_url", "tar", "etag", "info", "subtitles"):
        in_place = bool(row["tar"] and is_uri(row["tar"]))
        if in_place:
            sources[row["tar"]] = None
        elif not sources:
            address(row["url"])
            address(row["page_url"])
        words.update(dict.fromkeys(c["text"] for t in row["subtitles"] or () for c in t["cues"] or ()))
    for spoken in (c for c in COMPONENTS if c.words and c.partitioned == "shard"):
        for row in rows(spoken.asset, shard, *spoken.words):
            words.update(dict.fromkeys(filter(None, (row[name] for name in spoken.words))))
    for source in [s for s in words if youtube_id(s)]:
        sources.setdefault(source)
    clusters = {r["cluster_id"] for r in rows(CLUSTERS, None, "cluster_id")}
    return Video(
        dataset,
        video_id,
        shard,
        tuple(keys),
        tuple(words),
        tuple(sources),
        tuple(_copies(store, dataset, video_id, clusters)),
    )


def _texts(value: Any) -> Iterator[str]:
    """All texts that a source says of a video, those of its spans included; short ones are numbers, languages and codes."""
    if isinstance(value, str):
        if len(value) >= LEAST_WORD:
            yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _copies(store: TableStore, dataset: str, video_id: str, clusters: Collection[str]) -> list[str]:
    """Other videos in the clusters."""
    if not clusters:
        return []
    columns = ["dataset", "video_id"]
    others = store.read(CLUSTERS, columns=columns, filters=ds.field("cluster_id").isin(sorted(clusters)))
    named = {(r["dataset"], r["video_id"]) for r in others.to_pylist()} - {(dataset, video_id)}
    return [f"{d} {v}" for d, v in sorted(named)]


def token(identifier: str) -> str:
    """A pattern for an id as a word of its own, or at the head of a clip's or track's id. Quantifiers are bounded."""
    return rf"(?<![A-Za-z0-9_-]){re.escape(identifier)}(?![A-Za-z0-9-])(?!_(?!\d{{1,12}}))"


def pattern(plan: TakedownPlan, own: bool) -> re.Pattern[str]:
    """What is searched for in records: ids, addresses and words.

    Args:
        own: whether the record is of one of the videos' shards, where short words count too.
    """
    least = 3 if own else LEAST_WORD
    parts = [token(i) for v in plan.videos for i in (v.video_id, escape(v.video_id))]
    parts += [re.escape(t) for v in plan.videos for w in v.words if len(w) >= least for t in (w, escape(w)) if t]
    return re.compile("|".join(sorted(set(parts), key=len, reverse=True)))


def part_of(asset: str) -> Component:
    return SHARDED[asset]


Say = Callable[[str], None]


def lines(names: Iterable[str], most: int = 8) -> str:
    """The first names, and how many there are more."""
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
