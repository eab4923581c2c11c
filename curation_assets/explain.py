"""The whole history of one video or clip: where it came from, what was measured, what every subset decided, where its bytes lie."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow.dataset as ds

from curation_assets.ingest.source_words import span_of
from curation_assets.recipes import Recipe, subsets
from curation_assets.registry import COMPONENTS
from curation_assets.schemas import SCHEMAS
from curation_assets.showing.text import as_text
from curation_resources.tables import MissingTable, TableStore

SPAN = re.compile(r"(?P<video>.+)_(?P<start>\d+)_(?P<end>\d+)")
NEAR_MS = 2000
"""Cuts so near to a clip's boundaries are shown."""
IDS = ("dataset", "video_id", "clip_id", "track_id")
HIDDEN = frozenset({"row_fingerprint", "refine_fingerprint", *IDS})

Row = Mapping[str, Any]
Section = tuple[str, list[tuple[str, str]]]


class UnknownId(LookupError):
    """No table knows the id; the message says where was looked."""


def explain(store: TableStore, recipes: Mapping[str, Recipe], given: str) -> Iterator[Section]:
    """Sections of (name, value) lines, in the order in which things happened.

    Args:
        given: a video_id or clip_id of any dataset; ids of several datasets give the sections of each.

    Raises:
        UnknownId: the index has no such video, or the video no such clip.
    """
    match = SPAN.fullmatch(given)
    videos = _index(store, given)
    of_clip = _index(store, match["video"]) if match else []
    with_clip = [v for v in of_clip if _rows(store, "clips", v["shard"], "clip_id", given)]
    if of_clip and not videos and not with_clip:
        shards = ", ".join(v["shard"] for v in of_clip)
        raise UnknownId(
            f"{given}: {shards} has the video, but no such clip; explain {of_clip[0]['video_id']} lists its clips"
        )
    if not videos and not with_clip:
        raise UnknownId(
            f"{given} is neither a video nor a clip of the index; ids are case-sensitive, and a clip's is <video_id>_<start_ms>_<end_ms>"
        )
    for video in videos:
        yield from _history(store, recipes, video, None)
    for video in with_clip:
        yield from _history(store, recipes, video, given)


def _index(store: TableStore, video: str) -> list[Row]:
    return _rows(store, "dataset_index", None, "video_id", video)


def _rows(store: TableStore, asset: str, partition: str | None, column: str, value: str) -> list[Row]:
    """The rows of a table that have a value in a column; none of a table that is not there."""
    try:
        return list(store.read(asset, partition, filters=ds.field(column) == value).to_pylist())
    except MissingTable:
        return []


def _history(store: TableStore, recipes: Mapping[str, Recipe], video: Row, clip: str | None) -> Iterator[Section]:
    shard, video_id, dataset = video["shard"], video["video_id"], video["dataset"]

    def rows(asset: str) -> list[Row]:
        if clip and "clip_id" in SCHEMAS[asset].names:
            return _rows(store, asset, shard, "clip_id", clip)
        return _rows(store, asset, shard, "video_id", video_id)

    error = [("error", str(video["error"]))] if video["error"] else []
    found = [("shard", shard), ("source", _place(video, recipes)), ("status", video["status"]), *error]
    yield f"video {video_id} of {dataset}", found
    metadata = rows("video_metadata")
    for row in metadata:
        yield "metadata", _lines(row, skip={"source", "line", "status", *(["spans"] if clip else [])})
    for row in rows("raw_shards"):
        extra = [("bytes", _bytes(store, row))]
        yield "download", [*_lines(row, skip={"tar", "offset", "size", "subtitles", "info"}), *extra]
    clips = _in_time(rows("clips"))
    yield from _clips(store, shard, video_id, clips, clip)
    if clip:
        yield from _said(clips[0], metadata)
        yield from _pictures(store, rows)
        yield from _measured(store, rows)
    yield from _verdicts(store, recipes, dataset, video_id, clip, [c["clip_id"] for c in clips])


def _place(video: Row, recipes: Mapping[str, Recipe]) -> str:
    """Where in its source a video was found: a file, in lists a line of it, in webdataset tars a sample."""
    recipe = recipes.get(video["dataset"])
    layout = recipe.source.format if recipe is not None else ""
    if layout == "folder":
        return str(video["source"])
    return f"{video['source']} {'sample' if layout == 'webdataset' else 'line'} {video['line']}"


def _in_time(rows: Iterable[Row], *more: str) -> list[Row]:
    """Rows by their start, then by `more` columns; those without a start last."""
    return sorted(rows, key=lambda r: (r["start_ms"] is None, r["start_ms"] or 0, *(r[c] for c in more)))


def _clips(store: TableStore, shard: str, video_id: str, clips: list[Row], clip: str | None) -> Iterator[Section]:
    if not clip:
        lines = [
            (r["clip_id"], f"{r['start_ms']} to {r['end_ms']} ms, {r['origin']}" if r["status"] == "ok" else r["error"])
            for r in clips
        ]
        if lines:
            yield "clips", lines
        return
    (row,) = clips
    lines = _lines(row, skip={"cut_list"})
    lists = store.read("clips", shard, filters=ds.field("video_id") == video_id)["cut_list"].to_pylist()
    cuts = sorted((c for cut_list in lists for c in cut_list or []), key=lambda c: c["time_ms"])
    for edge in ("start", "end"):
        near = [c for c in cuts if row[f"{edge}_ms"] is not None and abs(c["time_ms"] - row[f"{edge}_ms"]) <= NEAR_MS]
        for c in near:
            verdict = "a boundary" if c["accepted"] else "not taken"
            score = "" if c["score"] is None else f", score {c['score']:.3g}"
            lines.append(
                (f"cut near the {edge}", f"{c['kind']} at {c['time_ms']} ms (frame {c['frame']}){score}: {verdict}")
            )
    yield "clip", lines


def _said(clip: Row, metadata: Sequence[Row]) -> Iterator[Section]:
    """What the source says of the given span that the clip comes from."""
    for row in metadata:
        span = span_of(clip, row.get("spans"))
        if span is not None:
            yield "its span in the source", _lines(span)


def _measured(store: TableStore, rows: Callable[[str], list[Row]]) -> Iterator[Section]:
    """What each table says of the clip, in graph order."""
    for component in COMPONENTS:
        if component.partitioned != "shard" or "clip_id" not in component.table.names or component.silent:
            continue
        found = rows(component.asset)
        lines = component.explained(found) if component.explained else _columns(found, component.unexplained)
        if component.asset == "dedup":
            lines = [*lines, *(line for row in found for line in _cluster(store, row))]
        if lines:
            yield component.heading or component.asset, lines


def _columns(rows: Sequence[Row], skip: frozenset[str]) -> list[tuple[str, str]]:
    return [line for row in rows for line in _lines(row, skip)]


def _cluster(store: TableStore, row: Row) -> Iterator[tuple[str, str]]:
    if row["cluster_id"] is None:
        return
    try:
        members = store.read("duplicate_clusters", filters=ds.field("cluster_id") == row["cluster_id"])
    except MissingTable:
        return
    for member in members.to_pylist():
        if member["clip_id"] != row["clip_id"] or member["dataset"] != row["dataset"]:
            role = "kept" if member["keep"] else f"{member['relation']} of {member['duplicate_of']}"
            alike = "" if member["similarity"] is None else f", similarity {as_text(member['similarity'])}"
            yield "also in the cluster", f"{member['dataset']} {member['clip_id']}: {role}{alike}"


def _pictures(store: TableStore, rows: Callable[[str], list[Row]]) -> Iterator[Section]:
    frames = sorted(rows("frames"), key=lambda r: r["time_ms"])
    lines = [(f"at {r['time_ms']} ms", _bytes(store, r)) for r in frames]
    if lines:
        yield "sampled frames", lines


def _verdicts(
    store: TableStore,
    recipes: Mapping[str, Recipe],
    dataset: str,
    video_id: str,
    clip: str | None,
    clips: Sequence[str],
) -> Iterator[Section]:
    """What each subset decided and published, in the order of `clips`; clips that are no longer among them come last."""
    place = {c: i for i, c in enumerate(clips)}
    mine = (ds.field("dataset") == dataset) & (ds.field("video_id") == video_id)
    if clip:
        mine = mine & (ds.field("clip_id") == clip)
    for key, (recipe, subset) in subsets(recipes).items():
        if dataset not in (subset.datasets or [recipe.dataset]):
            continue
        lines: list[tuple[str, str]] = []
        for row in _read(store, f"curated_{subset.of}", key, mine, place):
            verdict = f"selected, {row['split']}" if row["selected"] else f"dropped by: {row['drop_reason']}"
            lines.append((row.get("track_id") or row["clip_id"], verdict))
        for asset in ("clip_dataset", "embedding_dataset"):
            for row in _read(store, asset, key, mine, place):
                where = _bytes(store, row) if row["status"] == "ok" else f"failed: {row['error']}"
                lines.append((f"{asset} {row['sample_key']}", where))
        if lines:
            yield f"subset {key}", lines


def _read(store: TableStore, asset: str, key: str, mine: ds.Expression, place: Mapping[str, int]) -> list[Row]:
    try:
        table = store.read(asset, key, filters=mine)
    except MissingTable:
        return []
    rows = table.sort_by([(k, "ascending") for k in SCHEMAS[asset].key]).to_pylist()
    return sorted(rows, key=lambda r: (place.get(r["clip_id"], len(place)), r.get("start_ms") or 0))


def _bytes(store: TableStore, row: Row) -> str:
    if row["tar"] is None:
        return "none"
    uri = store.storage.uri(row["tar"])
    if row["size"] is None:
        return uri
    return f"{uri}, {row['size']} bytes from {row['offset'] or 0}"


def _lines(row: Row, skip: set[str] | frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    return [
        (n, as_text(v)) for n, v in row.items() if n not in HIDDEN and n not in skip and v not in (None, [], "", "{}")
    ]


def render(sections: Iterator[Section]) -> str:
    """Sections as indented text."""
    out: list[str] = []
    for title, lines in sections:
        width = max((len(n) for n, _ in lines), default=0)
        out += [title, *(f"  {n.ljust(width)}  {v}" for n, v in lines), ""]
    return "\n".join(out).rstrip()
