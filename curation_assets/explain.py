"""The whole history of one video or clip: where it came from, what was measured, what every subset decided, where its bytes lie.

What belongs here: in which order it is told. What does not: what a table says of a video or clip, which its component declares (`told`, `explained`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow.dataset as ds

from curation_assets.contracts.telling import Lines, Row, Subject, Told, UnknownId
from curation_assets.decode.clip_history import in_time
from curation_assets.decode.clips import TABLE as CLIPS
from curation_assets.finding import by_id, by_name, was_taken_down
from curation_assets.publish.curating.rule_values import RuleValues, said
from curation_assets.recipes import Recipe, subsets
from curation_assets.registry import COMPONENTS, EXPORTS
from curation_assets.schemas import SCHEMAS
from curation_assets.showing.telling import bytes_of, lines_of
from curation_resources.tables import MissingTable, TableStore


def explain(store: TableStore, recipes: Mapping[str, Recipe], given: str) -> Iterator[Told]:
    """Sections of (name, value) lines, in the order in which things happened.

    Args:
        given: a video_id or clip_id of any dataset; or the key or file of a published sample, the file of a source, or an address.
            What several datasets have gives the sections of each.

    Raises:
        UnknownId: nothing is called so, or a video has no such clip.
    """
    found, of_clip = by_id(store, given)
    if not found and of_clip:
        shards = ", ".join(v["shard"] for v in of_clip)
        raise UnknownId(
            f"{given}: {shards} has the video, but no such clip; explain {of_clip[0]['video_id']} lists its clips"
        )
    found = found or list(by_name(store, given))
    if not found:
        if said := was_taken_down(store, given, recipes):
            raise UnknownId(f"{said}: nothing of it is stored here, and it is kept out of what comes")
        raise UnknownId(
            f"{given} is neither a video nor a clip of the index, no published sample, and no file or address of a source; "
            "ids are case-sensitive, and a clip's is <video_id>_<start_ms>_<end_ms>"
        )
    for one in found:
        yield from _history(store, recipes, one.video, one.clip, one.because)


def _rows(store: TableStore, asset: str, partition: str, column: str, value: str) -> list[Row]:
    """The rows of a table that have a value in a column; none of a table that is not there."""
    try:
        return list(store.read(asset, partition, filters=ds.field(column) == value).to_pylist())
    except MissingTable:
        return []


def _history(
    store: TableStore, recipes: Mapping[str, Recipe], video: Row, clip: str | None, because: str
) -> Iterator[Told]:
    shard, video_id, dataset = video["shard"], video["video_id"], video["dataset"]

    def rows(asset: str) -> list[Row]:
        if clip and "clip_id" in SCHEMAS[asset].names:
            return _rows(store, asset, shard, "clip_id", clip)
        return _rows(store, asset, shard, "video_id", video_id)

    error = [("error", str(video["error"]))] if video["error"] else []
    found = [("shard", shard), ("source", _place(video, recipes)), ("status", video["status"]), *error]
    asked = [("asked for", because)] if because else []
    yield f"video {video_id} of {dataset}", [*asked, *found]
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
        values = RuleValues(store, recipes, key)
        lines: Lines = []
        for row in _read(store, values.asset, key, mine, place):
            lines.append((row.get("track_id") or row["clip_id"], _verdict(values, row)))
        for asset in EXPORTS:
            for row in _read(store, asset, key, mine, place):
                where = bytes_of(store, row) if row["status"] == "ok" else f"failed: {row['error']}"
                lines.append((f"{asset} {row['sample_key']}", where))
        if lines:
            yield f"subset {key}", lines


def _verdict(values: RuleValues, row: Row) -> str:
    """Selected, or what dropped it and what it has there."""
    if row["selected"]:
        return f"selected, {row['split']}"
    rule = values.rule(row["drop_reason"])
    text = f"dropped by: {values.resolved.get(row['drop_reason'], row['drop_reason'])}"
    found = values.of_row(row, *rule) if rule else {}
    measured = said({n: v for n, v in found.items() if v is not False})  # that `keep` is false, the rule itself says
    return f"{text}; it has {measured}" if measured else text


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
