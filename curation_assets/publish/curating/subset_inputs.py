"""What subsets and their exports are made from now: which tables, of which shards, in what version.

`curation stale` and the assets ask here, so that both mean the same. What is made of it stands in `curating.py` and `writing/versions.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.engine.shard_keys import dataset_of
from curation_assets.ingest.source_words import SPAN_WORDS
from curation_assets.publish.clip_dataset import ALL, ClipExport
from curation_assets.publish.curating.moved_sources import as_published
from curation_assets.publish.curating.selected_rows import counted, selected_rows
from curation_assets.publish.curating.subset_tables import read_ids, tables_shown
from curation_assets.publish.curating.versions import (
    CLIPS_VERSION,
    CURATE_VERSION,
    EXPORT_VERSION,
    GRID_VERSION,
    SMART_VERSION,
    SOUND_VERSION,
)
from curation_assets.publish.embedding_dataset import COMPONENT as EMBEDDINGS
from curation_assets.publish.embedding_dataset import SAID_OF
from curation_assets.publish.subsets import Subset
from curation_assets.publish.writing.public_paths import PublicPaths
from curation_assets.recipes import Recipe, RecipeError, subsets
from curation_assets.rules.columns import tables_of_columns
from curation_assets.schemas import SCHEMAS
from curation_resources.provenance import Provenance, combined_hash
from curation_resources.table_headers import TableHeader
from curation_resources.tables import MissingTable, TableStore
from curation_resources.urls import public_settings

LEFT_OUT = "left_out"
"""Parameter of what was made over incomplete inputs: what is missing in it."""
EMBEDDING_INPUTS = (*EMBEDDINGS.inputs, *EMBEDDINGS.shows, *SAID_OF)
"""What each exported embedding is made from and said with."""


def sharded_inputs(subset: Subset, recipes: Mapping[str, Recipe], own: str) -> dict[str, list[str]]:
    """dataset -> sharded assets that a subset is made from, in graph order.

    Raises:
        RecipeError: a dataset of the subset has no recipe.
    """
    unknown = [d for d in subset.datasets if d not in recipes]
    if unknown:
        raise RecipeError(
            f"recipe {own}: a subset draws on dataset {unknown[0]!r}, which no recipe at hand declares; "
            f"there are {', '.join(recipes)}: give its recipe too, or leave it out of the subset's datasets"
        )
    return {d: tables_shown(subset, recipes[d]) for d in (subset.datasets or [own])}


def subset_shards(store: TableStore, subset: Subset, own: str) -> list[tuple[str, str]]:
    """(dataset, shard) of all shards of the subset's datasets that have clips."""
    wanted = set(subset.datasets or [own])
    return [(d, k) for k in store.partitions("clips") for d in [dataset_of(k)] if d in wanted]


def curated_provenance(store: TableStore, recipes: Mapping[str, Recipe], key: str) -> Provenance:
    """What a curated table would be made from now."""
    recipe, subset = subsets(recipes)[key]
    per_dataset = sharded_inputs(subset, recipes, recipe.dataset)
    inputs: dict[str, str] = {}
    shards = subset_shards(store, subset, recipe.dataset)
    for name in [a for a in SCHEMAS if any(a in tables for tables in per_dataset.values())]:
        keys = [k for d, k in shards if name in per_dataset[d]]
        inputs[name] = store.combined_hash(name, keys) or combined_hash({})
    if any("raw_shards" in tables for tables in per_dataset.values()) and "video_metadata" not in inputs:
        inputs |= worded_inputs(store, [k for _, k in shards])
    lists = [*subset.exclude, *subset.split.lists.values()]
    for path in lists:
        inputs[f"list:{public_settings(path)}"] = combined_hash(dict.fromkeys(read_ids([path]), ""))
    params = subset.model_dump(exclude={"export", "partial"})
    if subset.export.tracks is not None and subset.export.tracks.layout != "list":
        params["track_files"] = subset.export.tracks.layout
    return Provenance(CURATE_VERSION, params, inputs, subset.select.brought_identity())


def without(provenance: Provenance, lines: Sequence[str]) -> Provenance:
    """The provenance of what is made without something; what is made complete later differs in it."""
    return replace(provenance, params={**provenance.params, LEFT_OUT: list(lines)}) if lines else provenance


def complete(provenance: Provenance) -> Provenance:
    """The provenance with nothing left out."""
    params = provenance.params
    if not isinstance(params, Mapping) or LEFT_OUT not in params:
        return provenance
    return replace(provenance, params={k: v for k, v in params.items() if k != LEFT_OUT})


def worded_inputs(store: TableStore, shards: Sequence[str]) -> dict[str, str]:
    """`video_metadata` as an input, of the shards whose source says something of spans; nothing if none does.

    So a root whose lists say nothing of spans, and tables that were made before such words were kept, stay as they are.
    """
    said = store.combined_hash("video_metadata", shards, SPAN_WORDS)
    return {"video_metadata": said} if said else {}


@dataclass(frozen=True)
class Selection:
    """What a subset has selected.

    Attributes:
        key: partition key.
        recipe, subset: where it is declared.
        asset: curated_clips or curated_tracks.
        shards: shard -> dataset, of the shards with something selected, in order.
    """

    key: str
    recipe: Recipe
    subset: Subset
    asset: str
    shards: Mapping[str, str]

    @staticmethod
    def of(store: TableStore, recipes: Mapping[str, Recipe], key: str) -> Selection:
        """Reads which shards have something selected.

        Raises:
            MissingTable: the curated table does not exist.
        """
        asset = Selection.over(recipes, key, ()).asset
        header = store.header(asset, key)
        if header is None:
            raise MissingTable(f"{asset} of {key} does not exist")
        shards = store.remembered(
            f"selected-{asset}-{key}", header.content_hash, lambda: dict.fromkeys(counted(store, asset, key), "")
        )
        return Selection.over(recipes, key, shards)

    @staticmethod
    def over(recipes: Mapping[str, Recipe], key: str, shards: Iterable[str]) -> Selection:
        """With shards that are known already."""
        recipe, subset = subsets(recipes)[key]
        asset = "curated_clips" if subset.of == "clips" else "curated_tracks"
        return Selection(key, recipe, subset, asset, {s: dataset_of(s) for s in shards})

    def rows(self, store: TableStore, shard: str) -> pa.Table:
        """The selected rows of a shard, in key order."""
        return selected_rows(store, self.asset, self.key).of(shard)

    def inputs(self, store: TableStore, assets: Iterable[str]) -> dict[str, str]:
        """Name -> content hash of the curated table and of `assets` over the shards; an asset that does not exist is left out."""
        header = store.header(self.asset, self.key)
        hashes = {self.asset: header.content_hash} if header is not None else {}
        for name in assets:
            found = store.combined_hash(name, list(self.shards))
            if found:
                hashes[name] = found
        return hashes


def clip_options(selection: Selection, recipes: Mapping[str, Recipe], dataset: str) -> ClipExport:
    """The export's options for clips of a dataset, whose recipe may ask for a sample rate."""
    params = selection.subset.export.clips
    assert params is not None
    rate = recipes[dataset].download.audio_rate
    encoded = params.cut != "copy" or params.sound_beside is not None
    if params.audio_rate is None and rate is not None and encoded:
        return params.model_copy(update={"audio_rate": rate})
    return params


def clip_provenance(store: TableStore, recipes: Mapping[str, Recipe], key: str) -> Provenance:
    """What a clip dataset would be made from now.

    Raises:
        MissingTable: the curated table does not exist.
    """
    selection = Selection.of(store, recipes, key)
    return _clip_provenance(store, recipes, selection, selection.subset.export.clips)


def clip_provenance_or_as_good(store: TableStore, recipes: Mapping[str, Recipe], key: str) -> Provenance:
    """What a clip dataset should be made from to count as fresh. Where the version in force was made from the same with `cut: exact`, that it is: its
    clips are as good as those of `cut: smart`, so nothing is made again for it; where no clip of it was encoded as a whole, that it was made by whichever encoder is named now; and where it differs from what would be
    made only in where its videos lie, that it is too.

    Raises:
        MissingTable: the curated table does not exist.
    """
    selection = Selection.of(store, recipes, key)
    params = selection.subset.export.clips
    as_good = params.as_exact if params is not None else None
    header = store.usable_header("clip_dataset", key)
    made = complete(header.provenance) if header is not None else None
    if as_good is not None and made is not None:
        exact = _clip_provenance(store, recipes, selection, as_good)
        exact = as_published(store, recipes, selection, exact, header, made)
        if made.fingerprint == exact.fingerprint:
            return exact
    now = _clip_provenance(store, recipes, selection, params)
    if header is not None and made is not None and params is not None and made.fingerprint != now.fingerprint:
        unused = _with_unused_encoder(store, header, made, params)
        then = _clip_provenance(store, recipes, selection, unused) if unused is not None else now
        then = as_published(store, recipes, selection, then, header, made)
        if made.fingerprint == then.fingerprint:
            return then
    return as_published(store, recipes, selection, now, header, made)


def _with_unused_encoder(
    store: TableStore, header: TableHeader, made: Provenance, params: ClipExport
) -> ClipExport | None:
    """The options with the encoder of a version that has used none: its clips would be the same with any. None if they may not."""
    before = made.params.get("clips") if isinstance(made.params, Mapping) else None
    if params.way != "smart" or not isinstance(before, Mapping):
        return None
    fields = ClipExport.model_fields
    old = params.model_copy(update={n: before.get(n, fields[n].default) for n in ("encoder", "preset")})
    if old == params or old.seam_preset != params.seam_preset:
        return None

    def each() -> Mapping[str, str]:
        for batch in store.batches("clip_dataset", ["status", "cut"], 1 << 20, header.partition):
            if "cut" not in batch.schema.names:  # a table from before clips could be copied
                return {"each": "any"}
            copied = pc.and_kleene(pc.equal(batch["status"], "ok"), pc.equal(batch["cut"], "smart"))
            if not pc.all(pc.fill_null(copied, False)).as_py():
                return {"each": "any"}
        return {"each": "smart"}

    found = store.remembered(f"ways-{header.partition}", header.content_hash, each)
    return old if found["each"] == "smart" else None


def _clip_provenance(
    store: TableStore, recipes: Mapping[str, Recipe], selection: Selection, params: ClipExport | None
) -> Provenance:
    if params is None:
        return Provenance(CLIPS_VERSION, {"clips": None})
    own = sorted(set(selection.shards.values()))
    rates = {d: recipes[d].download.audio_rate for d in own}
    inputs = selection.inputs(store, read_of_clips(selection.subset, [recipes[d] for d in own]))
    if params.metadata == "video2dataset":  # whose cuts are no content of that table: parameters and inputs tell them
        made = store.headers("clips", list(selection.shards))
        inputs["clips.cut_list"] = combined_hash({k: h.fingerprint for k, h in made.items()})
    told = {"subtitles": "one of each language"} if params.metadata == "video2dataset" else {}
    listing = {"listed": "with scores"} if params.format in ("folder", "parquet") else {}
    return Provenance(
        CLIPS_VERSION,
        {
            "clips": params.decided(),
            **({"smart": SMART_VERSION} if params.way == "smart" else {}),
            **({"sound": SOUND_VERSION} if params.sound_beside else {}),
            "audio_rate": rates,
            "datasets": selection.subset.datasets,
            **told,
            **listing,
            **_paths(selection, recipes),
        },
        worded_inputs(store, list(selection.shards)) | inputs,
        cut_weights(params) | params.brought_identity(),
    )


def read_of_clips(subset: Subset, recipes: Iterable[Recipe]) -> list[str]:
    """Sharded assets that exported clips are made from and said with."""
    params = subset.export.clips
    assert params is not None
    needed = ["raw_shards", "captions"]
    needed += ["quality_scores"] if params.crop_border else []
    if subset.of == "tracks":
        needed.append("tracks" if params.tracks else "clips")
    if params.metadata == "video2dataset":
        needed.append("clips")
    if params.columns == ALL:
        needed += ["clips", "video_metadata"]
    elif params.columns:
        needed += ["clips", *(t for r in recipes for t in tables_of_columns(params.columns, r))]
    return list(dict.fromkeys(needed))


def _paths(selection: Selection, recipes: Mapping[str, Recipe]) -> dict[str, str]:
    """Versions of what lies here are published without absolute paths, which older ones had; those of other sources are as they were."""
    local = PublicPaths(recipes[d] for d in sorted(set(selection.shards.values())))
    return {"paths": "below the source"} if local else {}


def cut_weights(params: ClipExport) -> dict[str, str]:
    """Name of each set of weights that decides the bytes of exported clips -> its identity.

    Raises:
        MissingWeights, WrongWeights: they cannot be had; nothing is cut then.
    """
    return {f"{cover.thing}s": cover.identity() for cover in params.covers}


def embedding_provenance_or_as_good(store: TableStore, recipes: Mapping[str, Recipe], key: str) -> Provenance:
    """What an embedding dataset should be made from to count as fresh: as of `clip_provenance_or_as_good`, where its videos lie is no reason to make it again.

    Raises:
        MissingTable: the curated table does not exist.
    """
    now = embedding_provenance(store, recipes, key)
    header = store.usable_header("embedding_dataset", key)
    made = complete(header.provenance) if header is not None else None
    return as_published(store, recipes, Selection.of(store, recipes, key), now, header, made)


def embedding_provenance(store: TableStore, recipes: Mapping[str, Recipe], key: str) -> Provenance:
    """What an embedding dataset would be made from now.

    Raises:
        MissingTable: the curated table does not exist.
    """
    selection = Selection.of(store, recipes, key)
    params = selection.subset.export.embeddings
    if params is None:
        return Provenance(EXPORT_VERSION, {"embeddings": None})
    rates = {d: recipes[d].frames.fps for d in sorted(set(selection.shards.values()))}
    return Provenance(
        EXPORT_VERSION,
        {
            "embeddings": params.model_dump(),
            "grid": GRID_VERSION,
            "fps": rates,
            "datasets": selection.subset.datasets,
            **_paths(selection, recipes),
        },
        selection.inputs(store, EMBEDDING_INPUTS),
    )
