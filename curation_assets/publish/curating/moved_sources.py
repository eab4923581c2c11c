"""Sources that lie elsewhere now: whether a version that was published of them says and holds what one of today would.

A version is published without the absolute paths of the machine (`writing/public_paths.py`), so that one that differs in nothing but where its videos lie has the same
samples. What belongs here: telling that. What does not: versions that are made otherwise for other reasons, which their provenance tells.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from curation_assets.ingest.raw_shards import TABLE as RAW_SHARDS
from curation_assets.ingest.video_metadata import TABLE as VIDEO_METADATA
from curation_assets.publish.writing.public_paths import LOCATIONS, PublicPaths
from curation_resources.provenance import Provenance, canonical_json
from curation_resources.table_headers import TableHeader
from curation_resources.tables import MissingTable, TableStore

if TYPE_CHECKING:
    from curation_assets.publish.curating.subset_inputs import Selection
    from curation_assets.recipes import Recipe

SOURCES = "sources"
"""Where the stats of an export's table hold `said_of_sources`; versions of before have none, and are published again once their sources move."""
LOCATED = (RAW_SHARDS.asset, VIDEO_METADATA.asset)
"""The tables that say where videos lie."""
NOT_SAID = ("attempts", "tar", "offset", "row_fingerprint")
"""Columns that say where bytes lie, or how they were asked for; which bytes they are, `sha256`, `etag` and `size` say."""


def said_of_sources(
    store: TableStore, recipes: Mapping[str, Recipe], selection: Selection, tables: Collection[str]
) -> str:
    """A hash of what a version can say of its videos: the rows of `tables`, as far as they are among those that say where videos lie, in the shards of the selection.

    Returns:
        Empty if nothing of the sources lies on a machine: then nothing is published otherwise than it stands in the tables.
    """
    paths = PublicPaths(recipes[d] for d in sorted(set(selection.shards.values())))
    if not paths:
        return ""
    summed = hashlib.sha256()
    for asset in (a for a in LOCATED if a in tables):
        for shard in selection.shards:
            try:
                rows = store.read(asset, shard)
            except MissingTable:
                continue
            for row in rows.drop_columns([c for c in NOT_SAID if c in rows.column_names]).to_pylist():
                summed.update(canonical_json({name: _said(paths, name, value) for name, value in row.items()}).encode())
    return summed.hexdigest()[:32]


def as_published(
    store: TableStore,
    recipes: Mapping[str, Recipe],
    selection: Selection,
    now: Provenance,
    header: TableHeader | None,
    made: Provenance | None,
) -> Provenance:
    """What an export would be made from now, or what the version in force was made from, if it differs from that only in where its sources lie.

    Args:
        now: what it would be made from now.
        header: of the table in force.
        made: what that was made from, with nothing left out.
    """
    if header is None or made is None or not header.stats.get(SOURCES) or made.fingerprint == now.fingerprint:
        return now
    located = {name: made.inputs[name] for name in LOCATED if name in now.inputs and name in made.inputs}
    then = replace(now, inputs={**now.inputs, **located})
    if (
        then.fingerprint != made.fingerprint
        or said_of_sources(store, recipes, selection, now.inputs) != header.stats[SOURCES]
    ):
        return now
    return then


def _said(paths: PublicPaths, name: str, value: Any) -> Any:
    if name in LOCATIONS and isinstance(value, str):
        return paths.location(value)
    if isinstance(value, str) and value.startswith(("{", "[")):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    return _without_places(paths.said(value))


def _without_places(value: Any) -> Any:
    """What a source says, without where the bytes of its files lie."""
    if isinstance(value, Mapping):
        return {k: _without_places(v) for k, v in value.items() if not (k in NOT_SAID and "etag" in value)}
    return [_without_places(v) for v in value] if isinstance(value, list) else value
