"""Which table each column of a rule comes from, and the joined facts of a shard's clips."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.ingest.source_words import extras_of, licence_of
from curation_assets.registry import COMPONENTS
from curation_assets.rules.evaluation import passing
from curation_assets.rules.language import DERIVED, LABEL, SOURCE, Rule, RuleError, parse_rule
from curation_assets.rules.measured import MEASURED
from curation_assets.schemas import SCHEMAS
from curation_assets.showing.text import listed, nearest
from curation_resources.provenance import canonical_json

if TYPE_CHECKING:
    from curation_assets.contracts.component import Component
    from curation_assets.recipes import Recipe

CLIP_TABLES = tuple(c.asset for c in COMPONENTS if c.one_row_per_clip)
"""Tables with one row per clip, in the order in which a column name is looked up."""
VIDEO_COLUMNS = ("licence", "channel", "title", "upload_date", "container", "video_codec", "audio_codec")
"""Columns of raw_shards that rules may name. The licence of a clip's given span goes before that of its video."""
MEASURES = {"probability": "probability", "match": "score"}
"""What a rule may name of a category, as in `<set>.<category>.match` -> the column of category_scores; by itself it is the probability."""
SPAN_COLUMNS = ("source_span", "origin", "requested_start_ms", "requested_end_ms")
"""Columns of clips that tell which given span a clip comes from."""


def columns_known(recipe: Recipe) -> list[str]:
    """Every name that a rule about clips may use, in the order in which they are looked up."""
    categories = [n for name, s in recipe.categories.items() for n in (name, *(f"{name}.{c}" for c in s.prompts))]
    return [
        *DERIVED,
        *MEASURED,
        *categories,
        *dict.fromkeys(c for a in CLIP_TABLES for c in SCHEMAS[a].names),
        *VIDEO_COLUMNS,
    ]


def table_of(column: str, recipe: Recipe) -> str:
    """The asset whose table holds `column`.

    Raises:
        RuleError: no table has it.
    """
    if column in DERIVED:
        return "clips"
    if column in MEASURED:
        return MEASURED[column].asset
    if column.startswith(SOURCE) and "source" not in recipe.categories:
        return "video_metadata"
    if column.startswith(LABEL) and "label" not in recipe.categories:
        if not recipe.labels.file:
            raise RuleError(
                f"{column} is a label, and the recipe has no file of labels; add `labels: {{file: labels.jsonl}}`"
            )
        return "labels"
    if column in recipe.categories or ("." in column and category_measure(column, recipe)):
        return "category_scores"
    for asset in CLIP_TABLES:
        if column in SCHEMAS[asset].names:
            return asset
    if column in VIDEO_COLUMNS:
        return "raw_shards"
    names = columns_known(recipe)
    near = nearest(column, names, "") if get_close_matches(column, names, 1) else "see docs/reference/tables.md"
    raise RuleError(f"no table has the column {column!r}; {near}")


def category_measure(column: str, recipe: Recipe) -> tuple[str, str, str]:
    """Set, category and column of category_scores that a name stands for: `<set>.<category>`, with `.match` or `.probability` after it.

    Raises:
        RuleError: the recipe has no such set, or the set no such category; the message lists those that there are.
    """
    category_set, _, category = column.partition(".")
    prompt_set = recipe.categories.get(category_set)
    if prompt_set is None:
        raise RuleError(f"{column!r} names the prompt set {category_set!r}; {listed(category_set, recipe.categories)}")
    if category in prompt_set.prompts:
        return category_set, category, MEASURES["probability"]
    name, _, measure = category.rpartition(".")
    if name in prompt_set.prompts:
        if measure not in MEASURES:
            raise RuleError(f"{column!r}: of a category rules know {' and '.join(MEASURES)}, not {measure!r}")
        return category_set, name, MEASURES[measure]
    wrong = name if measure in MEASURES and name else category
    raise RuleError(f"the prompt set {category_set!r} has no category {wrong!r}; {listed(wrong, prompt_set.prompts)}")


def tables_of_rules(rules: Iterable[str], recipe: Recipe) -> list[str]:
    """Assets that must exist before the rules can be applied, in graph order."""
    return tables_of_columns({c for text in rules for c in parse_rule(text).columns}, recipe)


def tables_of_columns(columns: Collection[str], recipe: Recipe) -> list[str]:
    """Assets that hold the columns, as rules name them, in graph order."""
    wanted = {table_of(c, recipe) for c in columns}
    if "licence" in columns and spans_have_licences(recipe):
        wanted.add("video_metadata")
    return [a for a in SCHEMAS if a in wanted]


def inputs_of(component: Component, recipe: Recipe) -> tuple[str, ...]:
    """All tables of the same shard that a table is made from for this recipe: those declared, and those that its rules name."""
    return tuple(dict.fromkeys([*component.inputs, *tables_of_rules(component.rules_of(recipe), recipe)]))


def spans_have_licences(recipe: Recipe) -> bool:
    """Whether the source may give a span a licence of its own."""
    source = recipe.source
    of_spans = source.columns.start or source.columns.clips or source.columns.clip_name
    return source.format == "hdvila" or bool(source.format == "table" and of_spans)


def columns_of(asset: str, columns: Iterable[str], recipe: Recipe) -> list[str]:
    """Columns of `asset` that must be read for `clip_facts` to give `columns`, keys included."""
    of_table = [c for c in columns if c not in DERIVED and table_of(c, recipe) == asset]
    own = {name for c in of_table for name in (MEASURED[c].needs if c in MEASURED else (c,))}
    if asset == "category_scores":
        own = {"category_set", "category", *MEASURES.values()}
    if asset == "clips":
        own |= {"dataset", "video_id", "status", "start_ms", "end_ms", "width", "height"}
        if any(c == "licence" or c.startswith(SOURCE) for c in columns):
            own |= {*SPAN_COLUMNS}
    if asset == "video_metadata":
        own |= {"spans", "extra"}
    if asset == "labels":
        own = {"labels"}
    own.add("video_id" if asset in ("raw_shards", "video_metadata") else "clip_id")
    return [n for n in SCHEMAS[asset].names if n in own]


def clip_facts(columns: Sequence[str], recipe: Recipe, read: Callable[[str], pa.Table]) -> pa.Table:
    """`dataset`, `video_id`, `clip_id` and the given columns for every usable clip of a shard, null where a table has no row for it.

    Args:
        columns: rule columns.
        recipe: recipe of the shard's dataset.
        read: asset -> its table for the shard.
    """
    clips = read("clips")
    clips = clips.filter(pc.equal(clips["status"], "ok"))
    facts = clips.select(["dataset", "video_id", "clip_id"])
    rows: dict[str, pa.Array | pa.ChunkedArray] = {}
    for column in columns:
        if column in facts.column_names:
            continue
        asset = table_of(column, recipe)
        if column in DERIVED:
            values = derived(column, clips)
        elif asset == "video_metadata":
            values = _of_source(column, clips, read(asset))
        elif asset == "labels":
            values = holds_label(column, facts["clip_id"], read(asset))
        elif asset == "category_scores":
            values = _category(column, facts["clip_id"], read(asset), recipe)
        else:
            table = read(asset)
            if asset not in rows:
                by = "video_id" if asset == "raw_shards" else "clip_id"
                rows[asset] = pc.index_in(facts[by], value_set=table[by])
            found = MEASURED[column].of(table) if column in MEASURED else table[column]
            values = pc.take(found, rows[asset])
            if column == "licence" and spans_have_licences(recipe):
                values = _span_licences(values, clips, read)
        facts = facts.append_column(column, values)
    return facts


def derived(column: str, clips: pa.Table) -> pa.ChunkedArray:
    """A column of `DERIVED`, of a table with the clips' bounds and sizes."""
    if column == "duration_s":
        return pc.divide(pc.subtract(clips["end_ms"], clips["start_ms"]).cast(pa.float64()), 1000.0)
    if column == "pixels":
        return pc.multiply(clips["width"].cast(pa.int64()), clips["height"].cast(pa.int64()))
    return pc.divide(clips["width"].cast(pa.float64()), clips["height"].cast(pa.float64()))


def _videos(clips: pa.Table, metadata: pa.Table) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each clip with what the source says of its video."""
    names = [n for n in ("video_id", "spans", "extra") if n in metadata.column_names]
    videos = {row["video_id"]: row for row in metadata.select(names).to_pylist()}
    known = clips.select([n for n in ("video_id", *SPAN_COLUMNS) if n in clips.column_names])
    for clip in known.to_pylist():
        yield clip, videos.get(clip["video_id"], {})


def _of_source(column: str, clips: pa.Table, metadata: pa.Table) -> pa.Array:
    name = column.removeprefix(SOURCE)
    values = (extras_of(clip, video).get(name) for clip, video in _videos(clips, metadata))
    return pa.array([v if v is None or isinstance(v, str) else canonical_json(v) for v in values], pa.string())


def holds_label(column: str, ids: pa.ChunkedArray, labels: pa.Table) -> pa.Array:
    """bool (n,): whether each clip has the label that a name of the form `label.<name>` stands for; false for clips that nobody labelled."""
    lists = labels["labels"].combine_chunks()
    rows = pc.list_parent_indices(lists).filter(pc.equal(lists.flatten(), column.removeprefix(LABEL)))
    return pc.is_in(ids, value_set=labels["clip_id"].combine_chunks().take(rows))


def _span_licences(
    licences: pa.ChunkedArray, clips: pa.Table, read: Callable[[str], pa.Table]
) -> pa.Array | pa.ChunkedArray:
    """`licences` of the clips' videos, with those of their spans before them."""
    try:
        metadata = read("video_metadata")
    except LookupError:
        return licences
    own = pa.array([licence_of(clip, video, None) for clip, video in _videos(clips, metadata)], pa.string())
    return pc.coalesce(own, licences)


def _lookup(ids: pa.ChunkedArray, table: pa.Table, by: str, column: str) -> pa.Array | pa.ChunkedArray:
    return pc.take(table[column], pc.index_in(ids, value_set=table[by]))


def _category(column: str, ids: pa.ChunkedArray, table: pa.Table, recipe: Recipe) -> pa.Array | pa.ChunkedArray:
    if column not in recipe.categories:
        category_set, category, measure = category_measure(column, recipe)
        of_set = pc.equal(table["category_set"], category_set)
        return _lookup(ids, table.filter(pc.and_(of_set, pc.equal(table["category"], category))), "clip_id", measure)
    rows = table.filter(pc.equal(table["category_set"], column))
    best = rows.sort_by([("probability", "descending"), ("category", "ascending")])
    return _lookup(ids, best, "clip_id", "category")


def select_clips(rules: Sequence[str], recipe: Recipe, read: Callable[[str], pa.Table]) -> set[str]:
    """clip_ids of the shard that pass all rules, for the pre-filters of expensive stages."""
    parsed: list[Rule] = [parse_rule(r) for r in rules]
    facts = clip_facts(sorted({c for r in parsed for c in r.columns}), recipe, read)
    columns: Mapping[str, pa.ChunkedArray] = {n: facts[n] for n in facts.column_names}
    mask: pa.Array | pa.ChunkedArray = pa.chunked_array([pa.repeat(True, facts.num_rows)])
    for rule in parsed:
        if rule.percentiles:
            raise RuleError(
                f"rule {rule.text!r}: percentiles are for subsets, where all clips are at hand; give a number"
            )
        mask = pc.and_(mask, passing(rule, columns))
    return set(facts.filter(mask)["clip_id"].to_pylist())
