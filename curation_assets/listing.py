"""Which clips or tracks were selected or dropped, and what failed: the rows behind the counts of `curation report`.

What belongs here: which rows, and what is said of each. What does not: printing them (`commands/listing.py`), the values of a rule (`publish/curating/rule_values.py`).
Rows come a part of a table at a time, so that memory does not grow with their number.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from curation_assets.contracts.component import Component
from curation_assets.publish.curating.rule_values import RuleValues
from curation_assets.recipes import Recipe, RecipeError, subsets
from curation_assets.registry import COMPONENTS, EXPORTS
from curation_resources.tables import MissingTable, TableStore

WORDS = ("dropped", "failed", "selected")
REMOVED = "removed"
"""Status and class of videos that their source lists no more: no failures."""
JUDGED_FIELDS = {"subset": pa.string(), "dataset": pa.string(), "video_id": pa.string(), "clip_id": pa.string()} | {
    "track_id": pa.string(),
    "shard": pa.string(),
    "start_ms": pa.int64(),
    "end_ms": pa.int64(),
}
FORMS: Mapping[str, pa.Schema] = {
    "dropped": pa.schema({**JUDGED_FIELDS, "why": pa.string(), "values": pa.string()}),
    "selected": pa.schema({**JUDGED_FIELDS, "split": pa.string(), "sample_key": pa.string()}),
    "failed": pa.schema(
        {n: pa.string() for n in ("table", "partition", "dataset", "video_id", "clip_id", "why", "error")}
    ),
}
"""Columns of each list. `values` is a JSON object of the columns that the rule names; `why` of failures is the class, or the status where there is none."""


@dataclass(frozen=True)
class Listing:
    """Which rows are listed.

    Attributes:
        what: of `WORDS`.
        datasets: whose videos, and whose recipes' subsets.
        subsets: keys of subsets; empty is all of those recipes.
        why: a rule as it stands in the recipe, or a column that it names; of failures, their class or the table; empty is all.
    """

    what: str
    datasets: Collection[str]
    subsets: Collection[str] = ()
    why: str = ""


def listed_rows(store: TableStore, recipes: Mapping[str, Recipe], wanted: Listing) -> Iterator[pa.Table]:
    """The rows, in parts of the form `FORMS[wanted.what]`.

    Raises:
        RecipeError: no subset is called as wanted, or none was judged yet.
    """
    if wanted.what == "failed":
        yield from _failed(store, wanted)
        return
    chosen = {k: rs for k, rs in subsets(recipes).items() if rs[0].dataset in wanted.datasets}
    unknown = [k for k in wanted.subsets if k not in chosen]
    if unknown:
        raise RecipeError(f"no recipe declares the subset {unknown[0]!r}; there are {', '.join(chosen) or 'none'}")
    for key in wanted.subsets or chosen:
        values = RuleValues(store, recipes, key)
        try:
            groups = store.groups(values.asset, [*values.columns(), "selected", "split"], key)
            for rows in groups:
                yield from _judged(store, values, rows, wanted)
        except MissingTable as error:
            if wanted.subsets:
                raise RecipeError(f"{key} was not judged yet; `curation run` does it") from error


def reasons(store: TableStore, recipes: Mapping[str, Recipe], wanted: Listing) -> list[str]:
    """All that dropped something, or all classes of failures, of what is listed: for a `why` that none of them is."""
    found: dict[str, None] = {}
    everything = Listing(wanted.what, wanted.datasets, wanted.subsets)
    for rows in listed_rows(store, recipes, everything):
        found |= dict.fromkeys(pc.unique(rows["why"]).to_pylist())
    return list(found)


def _judged(store: TableStore, values: RuleValues, rows: pa.Table, wanted: Listing) -> Iterator[pa.Table]:
    rows = rows.filter(rows["selected"] if wanted.what == "selected" else pc.invert(rows["selected"]))
    if wanted.what == "selected":
        if rows.num_rows:
            yield _in_form(
                wanted, values.key, rows, {"split": rows["split"], "sample_key": _samples(store, values, rows)}
            )
        return
    for reason in pc.unique(rows["drop_reason"]).to_pylist():
        found = values.rule(reason)
        if wanted.why and not _same(wanted.why, reason) and wanted.why not in (found[0].columns if found else ()):
            continue
        own = rows.filter(pc.equal(rows["drop_reason"], reason))
        why = pa.array([values.resolved.get(reason, reason)] * own.num_rows, pa.string())
        told = pa.nulls(own.num_rows, pa.string())
        if found:
            told = pa.array(
                [json.dumps(v, ensure_ascii=False, default=str) for v in values.of(own, *found)], pa.string()
            )
        yield _in_form(wanted, values.key, own, {"why": why, "values": told})


def _same(given: str, reason: str) -> bool:
    return "".join(given.split()) == "".join(reason.split())


def _in_form(wanted: Listing, key: str, rows: pa.Table, more: Mapping[str, pa.Array | pa.ChunkedArray]) -> pa.Table:
    form = FORMS[wanted.what]
    columns = {"subset": pa.array([key] * rows.num_rows, pa.string()), **more}
    columns |= {n: rows[n] for n in form.names if n not in columns and n in rows.column_names}
    return pa.table([columns.get(f.name, pa.nulls(rows.num_rows, f.type)) for f in form], schema=form)


def _samples(store: TableStore, values: RuleValues, rows: pa.Table) -> pa.Array | pa.ChunkedArray:
    """The key of each clip's sample in the first of the subset's exports that has one; null for tracks, whose clips may be in several samples."""
    nothing = pa.nulls(rows.num_rows, pa.string())
    if values.subset.of != "clips":
        return nothing
    for asset in EXPORTS:
        try:
            these = ds.field("clip_id").isin(rows["clip_id"].combine_chunks())
            found = store.read(asset, values.key, ["dataset", "clip_id", "sample_key"], these)
        except MissingTable:
            continue
        named, asked = (pc.binary_join_element_wise(t["dataset"], t["clip_id"], "\0") for t in (found, rows))
        return found["sample_key"].take(pc.index_in(asked, value_set=named))
    return nothing


Place = tuple[Component, str | None]
"""A table that may have failures, and of which partition."""


def places_of_failures(store: TableStore, wanted: Listing) -> list[Place]:
    """The tables that may have failures, in the order in which they are looked through."""
    with_errors = (c for c in COMPONENTS if "error" in c.table.names)
    return [(c, partition) for c in with_errors for partition in _partitions(store, c, wanted)]


def _failed(store: TableStore, wanted: Listing) -> Iterator[pa.Table]:
    """Rows with an error: a video once, with the first table in which it failed; a clip with each."""
    told: set[tuple[str, str]] = set()
    for place in places_of_failures(store, wanted):
        kept = failures_in(store, wanted, place, told)
        if kept:
            yield pa.Table.from_pylist(kept, schema=FORMS["failed"])


def failures_in(store: TableStore, wanted: Listing, place: Place, told: set[tuple[str, str]]) -> list[dict[str, Any]]:
    """The failures of one table.

    Args:
        told: (dataset, video) of the videos that failed in tables before, which are left out of tables of videos; those of this one are added.
    """
    component, partition = place
    rows = [r for r in _failures(store, component, partition) if r["dataset"] in wanted.datasets]
    if "clip_id" not in component.table.names:
        rows = [r for r in rows if (r["dataset"], r["video_id"]) not in told]
        told |= {(r["dataset"], r["video_id"]) for r in rows}
    kept = [r for r in rows if wanted.why in ("", component.asset, r["why"])]
    return [{"table": component.asset, "partition": partition, **r} for r in kept]


def _partitions(store: TableStore, component: Component, wanted: Listing) -> Iterator[str | None]:
    if component.partitioned == "whole":
        if store.exists(component.asset):
            yield None
        return
    for key in store.partitions(component.asset):
        if component.partitioned == "subset" and wanted.subsets:
            asked = key in wanted.subsets
        else:
            asked = key.partition("-")[0] in wanted.datasets
        if asked:
            yield key


def _failures(store: TableStore, component: Component, partition: str | None) -> list[dict[str, Any]]:
    names = component.table.names
    columns = [n for n in ("dataset", "video_id", "clip_id", "status", "error_class", "error") if n in names]
    where = ds.field("error").is_valid()
    found = []
    for row in store.read(component.asset, partition, columns, where).to_pylist():
        why = row.pop("error_class", None) or row.get("status") or "failed"
        row.pop("status", None)
        if why != REMOVED:
            found.append({**row, "why": why})
    return found
