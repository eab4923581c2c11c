"""A version of a subset's export: its folder, its card, and what goes when it was never finished.

Files lie in `<asset>/<subset>/<version>/`; README.md is written last. What lies in it is the business of `clip_versions.py`, `embedding_versions.py` and
`track_versions.py`, which rows are exported that of `subset_inputs.Selection`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curation_assets.ingest.source_words import SPAN_WORDS, by_clip
from curation_assets.publish.curating.subset_inputs import EMBEDDING_INPUTS, LEFT_OUT, Selection, sharded_inputs
from curation_assets.publish.writing.dataset_card import MS_PER_HOUR, CardFacts, card, croissant
from curation_assets.publish.writing.public_paths import PublicPaths, without_paths
from curation_assets.publish.writing.version_rows import VersionRows
from curation_assets.recipes import Recipe
from curation_resources import presence
from curation_resources.provenance import Provenance
from curation_resources.table_headers import TableHeader
from curation_resources.tables import MissingTable, TableStore
from curation_resources.urls import public_settings

PIECES = "pieces"
CARD = "README.md"
"""Written last: a version without it is not finished."""


def rows_if_any(store: TableStore, name: str, shard: str) -> list[dict[str, Any]]:
    """Rows of a table; none if it does not exist."""
    try:
        rows: list[dict[str, Any]] = store.read(name, shard).to_pylist()
    except MissingTable:
        return []
    return rows


def span_words(store: TableStore, shard: str) -> dict[str, dict[str, Any]]:
    """clip_id -> what the source says of the clip's given span; empty where it says nothing of any."""
    header = store.header("video_metadata", shard)
    if header is None or not header.stats.get(SPAN_WORDS):
        return {}
    return by_clip(store.read("clips", shard).to_pylist(), store.read("video_metadata", shard, ["video_id", "spans"]))


def unfinished_versions(store: TableStore, header: TableHeader) -> list[str]:
    """Folders of versions of an export that were never finished, so that they have no card."""
    folder, storage = store.folder(header.asset, header.partition), store.storage
    versions = [v for v in storage.folders(folder) if v not in (PIECES, header.stats.get("version"))]
    return [f"{folder}/{v}" for v in versions if not storage.exists(f"{folder}/{v}/{CARD}")]


def sweep_versions(store: TableStore, header: TableHeader) -> None:
    """Removes versions of an export that were never finished, unless another run at work may be writing one."""
    unfinished = unfinished_versions(store, header)
    if unfinished and not presence.others(store.storage, header.partition):
        for folder in unfinished:
            store.storage.remove_tree(folder)


@dataclass(frozen=True)
class Published:
    """A version that was written.

    Attributes:
        rows: of its table, written to the local disk.
        stats: numbers kept with the table.
        by_split: (split, samples, hours) in order.
        files: card and lists, which no row of the table names: path -> size.
    """

    rows: VersionRows
    stats: Mapping[str, Any]
    by_split: Sequence[tuple[str, int, float]]
    files: Mapping[str, int]


def public_paths_of(selection: Selection, recipes: Mapping[str, Recipe]) -> PublicPaths:
    """How local paths of the version's datasets are published."""
    return PublicPaths(recipes[d] for d in sorted(set(selection.shards.values())))


@dataclass(frozen=True)
class VersionForm:
    """What kind of version is written.

    Attributes:
        kind: `clip_dataset` or `embedding_dataset`.
        name: of the version's folder.
        layout: how its files lie, in the recipe's words.
        members: endings of the files of a sample.
    """

    kind: str
    name: str
    layout: str
    members: Sequence[str]


def card_facts(
    store: TableStore, recipes: Mapping[str, Recipe], selection: Selection, form: VersionForm, provenance: Provenance
) -> CardFacts:
    """What the card says before any sample is counted."""
    curated = store.header(selection.asset, selection.key)
    assert curated is not None
    upstream = sharded_inputs(selection.subset, recipes, selection.recipe.dataset)
    extra = EMBEDDING_INPUTS if form.kind == "embedding_dataset" else ()
    models: dict[str, dict[str, str]] = {}
    for name in dict.fromkeys([*(a for tables in upstream.values() for a in tables), *extra]):
        for header in store.headers(name, list(selection.shards)).values():
            models.setdefault(name, {}).update(header.provenance.weights)
    models[form.kind] = dict(provenance.weights)
    funnel = [(str(r), int(n), float(h)) for r, n, h in curated.stats.get("funnel", [])]
    said = selection.recipe.model_dump(mode="json", by_alias=True, exclude_unset=True)
    recipe = without_paths(public_settings(said))
    inputs = {_named(k): v for k, v in {**curated.provenance.inputs, **provenance.inputs}.items()}
    lacking = list(dict.fromkeys([*curated.stats.get(LEFT_OUT, ()), *provenance.params.get(LEFT_OUT, ())]))
    return CardFacts(
        selection.key,
        form.kind,
        form.name,
        selection.recipe.description,
        recipe,
        form.layout,
        form.members,
        funnel,
        models={k: v for k, v in models.items() if v},
        inputs=inputs,
        left_out=lacking,
    )


def _named(name: str) -> str:
    """An input's name in a card: of a list of ids not where it lies here."""
    kind, mark, path = name.partition(":")
    return f"{kind}:{without_paths(path)}" if kind == "list" and mark else name


def finish_version(store: TableStore, folder: str, facts: CardFacts, rows: VersionRows) -> Published:
    """Writes the card, README.md last; `rows` are written already."""
    files = {f.name: f.size for f in facts.files if not f.name.endswith(".tar")}
    for name, text in (("croissant.json", croissant(facts)), (CARD, card(facts))):
        data = text.encode()
        store.storage.write(f"{folder}/{name}", data)
        files[name] = len(data)
    stats = {
        "version": facts.version,
        "folder": store.storage.uri(folder),
        "samples": facts.samples.total(),
        "failed": facts.failed,
        LEFT_OUT: list(facts.left_out),
        "hours": round(facts.hours, 4),
        "splits": dict(facts.samples),
        "bytes": sum(f.size for f in facts.files),
    }
    by_split = [(s, facts.samples[s], facts.ms[s] / MS_PER_HOUR) for s in sorted(facts.samples)]
    return Published(rows, stats, by_split, {f"{folder}/{name}": size for name, size in files.items()})
