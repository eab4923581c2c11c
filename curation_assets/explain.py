"""The whole history of one video or clip: where it came from, what was measured, what every subset decided, where its bytes lie.

What belongs here: in which order it is told. What does not: what a table says of a video or clip, which its component declares (`told`, `explained`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import pyarrow.dataset as ds

from curation_assets.contracts.telling import Lines, Row, Subject, Told, UnknownId
from curation_assets.decode.clip_history import in_time
from curation_assets.decode.clips import TABLE as CLIPS
from curation_assets.recipes import Recipe, subsets
from curation_assets.registry import COMPONENTS, EXPORTS, INDEX, JUDGED
from curation_assets.schemas import SCHEMAS
from curation_assets.showing.telling import bytes_of, lines_of
from curation_resources.tables import MissingTable, TableStore

SPAN = re.compile(r"(?P<video>.+)_(?P<start>\d+)_(?P<end>\d+)")


def explain(store: TableStore, recipes: Mapping[str, Recipe], given: str) -> Iterator[Told]:
    """Sections of (name, value) lines, in the order in which things happened.

    Args:
        given: a video_id or clip_id of any dataset; ids of several datasets give the sections of each.

    Raises:
        UnknownId: the index has no such video, or the video no such clip.
    """
    match = SPAN.fullmatch(given)
    videos = _index(store, given)
    of_clip = _index(store, match["video"]) if match else []
    with_clip = [v for v in of_clip if _rows(store, CLIPS.asset, v["shard"], "clip_id", given)]
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
    return _rows(store, INDEX, None, "video_id", video)


def _rows(store: TableStore, asset: str, partition: str | None, column: str, value: str) -> list[Row]:
    """The rows of a table that have a value in a column; none of a table that is not there."""
    try:
        if partition is None:
            return list(store.rows_with(asset, column, value).to_pylist())
        return list(store.read(asset, partition, filters=ds.field(column) == value).to_pylist())
    except MissingTable:
        return []


def _history(store: TableStore, recipes: Mapping[str, Recipe], video: Row, clip: str | None) -> Iterator[Told]:
    shard, video_id, dataset = video["shard"], video["video_id"], video["dataset"]

    def rows(asset: str) -> list[Row]:
        if clip and "clip_id" in SCHEMAS[asset].names:
            return _rows(store, asset, shard, "clip_id", clip)
        return _rows(store, asset, shard, "video_id", video_id)

    error = [("error", str(video["error"]))] if video["error"] else []
    found = [("shard", shard), ("source", _place(video, recipes)), ("status", video["status"]), *error]
    yield f"video {video_id} of {dataset}", found
    subject = Subject(store, shard, video_id, clip, rows)
    for component in COMPONENTS:
        if component.partitioned != "shard":
            continue
        if component.told is not None:
            yield from component.told(subject)
        elif clip and "clip_id" in component.table.names and not component.silent:
            own = rows(component.asset)
            lines = component.explained(own) if component.explained else _columns(own, component.unexplained)
            if lines:
                yield component.heading or component.asset, lines
    order = [row["clip_id"] for row in in_time(rows(CLIPS.asset))]
    yield from _verdicts(subject, recipes, dataset, order)


def _place(video: Row, recipes: Mapping[str, Recipe]) -> str:
    """Where in its source a video was found: a file, in lists a line of it, in webdataset tars a sample."""
    recipe = recipes.get(video["dataset"])
    layout = recipe.source.format if recipe is not None else ""
    if layout == "folder":
        return str(video["source"])
    return f"{video['source']} {'sample' if layout == 'webdataset' else 'line'} {video['line']}"


def _columns(rows: Sequence[Row], skip: frozenset[str]) -> Lines:
    return [line for row in rows for line in lines_of(row, skip)]


def _verdicts(subject: Subject, recipes: Mapping[str, Recipe], dataset: str, order: Sequence[str]) -> Iterator[Told]:
    """What each subset decided and published, in the order of the clips; clips that are no longer among them come last."""
    place = {clip: i for i, clip in enumerate(order)}
    store, clip = subject.store, subject.clip
    mine = (ds.field("dataset") == dataset) & (ds.field("video_id") == subject.video_id)
    if clip:
        mine = mine & (ds.field("clip_id") == clip)
    for key, (recipe, subset) in subsets(recipes).items():
        if dataset not in (subset.datasets or [recipe.dataset]):
            continue
        lines: Lines = []
        for row in _read(store, JUDGED[subset.of], key, mine, place):
            verdict = f"selected, {row['split']}" if row["selected"] else f"dropped by: {row['drop_reason']}"
            lines.append((row.get("track_id") or row["clip_id"], verdict))
        for asset in EXPORTS:
            for row in _read(store, asset, key, mine, place):
                where = bytes_of(store, row) if row["status"] == "ok" else f"failed: {row['error']}"
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


def render(sections: Iterator[Told]) -> str:
    """Sections as indented text."""
    out: list[str] = []
    for title, lines in sections:
        width = max((len(n) for n, _ in lines), default=0)
        out += [title, *(f"  {n.ljust(width)}  {v}" for n, v in lines), ""]
    return "\n".join(out).rstrip()
