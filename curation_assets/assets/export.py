"""Group publish: what subsets export. Clips are cut shard by shard, each a step of its own; the last step publishes a version.

Dagster gathers pieces; what is cut and written is in `stages/export_*.py`. Files of a version lie in `<asset>/<subset>/<version>/`, and
the table `<asset>/<subset>.parquet`, written last, names the version in force. Versions that it no longer names are kept, so that a
training run can hold on to what it reads; docs/export.md says how to remove them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from dagster import (
    AllPartitionMapping,
    AssetExecutionContext,
    AssetIn,
    AssetKey,
    AssetsDefinition,
    DependencyDefinition,
    DynamicOut,
    DynamicOutput,
    GraphDefinition,
    IdentityPartitionMapping,
    In,
    InputMapping,
    Nothing,
    OpExecutionContext,
    Out,
    Output,
    OutputMapping,
    PartitionMapping,
    StaticPartitionsDefinition,
    asset,
    op,
)
from dagster._core.definitions.dependency import DynamicCollectDependencyDefinition, IDependencyDefinition

from curation_assets.assets.dedup import combined_hash
from curation_assets.checks import CONTRACT_CHECK, Finding
from curation_assets.materialize import (
    FORCE_TAG,
    OWNERS,
    Made,
    Meter,
    Outcome,
    check_output,
    check_specs,
    evaluation,
    materialization,
    silent_output,
)
from curation_assets.metadata import column_schema, markdown_table
from curation_assets.partitions import subsets
from curation_assets.pods import pod
from curation_assets.recipes import ClipExport, Recipe, Subset
from curation_assets.schemas import schema
from curation_assets.settings import Settings
from curation_assets.shard_keys import parse_shard_key
from resources.storage import StorageError
from resources.table_io_manager import Committed
from resources.tables import MissingTable, Provenance, TableHeader, TableStore

if TYPE_CHECKING:
    from curation_assets.stages.dataset_card import CardFacts
    from curation_assets.stages.export_clips import Keys, Pieces

EXPORT_VERSION = "1"
CLIP_INPUTS = ("raw_shards", "clips", "quality_scores", "captions", "tracks")
EMBEDDING_INPUTS = ("frame_embeddings", "captions")


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
        recipe, subset = subsets(recipes)[key]
        asset_name = "curated_clips" if subset.of == "clips" else "curated_tracks"
        shards = store.read(asset_name, key, columns=["shard"], filters=ds.field("selected"))["shard"]
        found = sorted(pc.unique(shards).to_pylist())
        return Selection(key, recipe, subset, asset_name, {s: parse_shard_key(s)[0] for s in found})

    def rows(self, store: TableStore, shard: str) -> pa.Table:
        """The selected rows of a shard, in key order."""
        return store.read(self.asset, self.key, filters=ds.field("selected") & (ds.field("shard") == shard))

    def names(self) -> Keys:
        """How samples are named."""
        from curation_assets.stages.export_clips import Keys

        return Keys(self.subset.datasets)

    def inputs(self, store: TableStore, assets: Iterable[str]) -> dict[str, str]:
        """Name -> content hash of the curated table and of `assets` over the shards; an asset that does not exist is left out."""
        header = store.header(self.asset, self.key)
        hashes = {self.asset: header.content_hash} if header is not None else {}
        for name in assets:
            found = {k: h.content_hash for k, h in store.headers(name, list(self.shards)).items()}
            if found:
                hashes[name] = combined_hash(found)
        return hashes


def clip_options(selection: Selection, recipes: Mapping[str, Recipe], dataset: str) -> ClipExport:
    """The export's options for clips of a dataset, whose recipe may ask for a sample rate."""
    params = selection.subset.export.clips
    assert params is not None
    rate = recipes[dataset].download.audio_rate
    if params.audio_rate is None and rate is not None and params.cut == "exact":
        return params.model_copy(update={"audio_rate": rate})
    return params


def clip_provenance(store: TableStore, recipes: Mapping[str, Recipe], key: str) -> Provenance:
    """What a clip dataset would be made from now.

    Raises:
        MissingTable: the curated table does not exist.
    """
    from curation_assets.stages.export_clips import CUT_VERSION

    selection = Selection.of(store, recipes, key)
    params = selection.subset.export.clips
    if params is None:
        return Provenance(EXPORT_VERSION, {"clips": None})
    needed = ["raw_shards", "captions"]
    needed += ["quality_scores"] if params.crop_border else []
    if selection.subset.of == "tracks":
        needed.append("tracks" if params.tracks else "clips")
    rates = {d: recipes[d].download.audio_rate for d in sorted(set(selection.shards.values()))}
    return Provenance(
        f"{EXPORT_VERSION}.{CUT_VERSION}",
        {"clips": params.model_dump(), "audio_rate": rates, "datasets": selection.subset.datasets},
        selection.inputs(store, needed),
    )


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
        {"embeddings": params.model_dump(), "fps": rates, "datasets": selection.subset.datasets},
        selection.inputs(store, EMBEDDING_INPUTS),
    )


def up_to_date(
    context: OpExecutionContext | AssetExecutionContext, header: TableHeader | None, now: Provenance
) -> bool:
    forced = context.run.tags.get(FORCE_TAG, "").lower() == "true"
    return header is not None and not forced and header.fingerprint == now.fingerprint


def optional(store: TableStore, name: str, shard: str) -> list[dict[str, Any]]:
    """Rows of a table; none if it does not exist."""
    try:
        rows: list[dict[str, Any]] = store.read(name, shard).to_pylist()
    except MissingTable:
        return []
    return rows


def _read_shard(store: TableStore, shard: str, name: str) -> pa.Table:
    return store.read(name, shard)


# ---- clip_dataset


def pieces_of(store: TableStore, key: str) -> Pieces:
    from curation_assets.stages.export_clips import Pieces

    return Pieces(store.storage, f"{store.folder('clip_dataset', key)}/pieces")


def _step(index: int, shard: str) -> str:
    """Dagster's key of a piece: letters, digits and underscores only."""
    return f"{index}__{shard.replace('-', '__')}"


def _of_step(step: str) -> tuple[int, str]:
    index, shard = step.split("__", 1)
    return int(index), "-".join(shard.rsplit("__", 1))


def plan_pieces(context: OpExecutionContext) -> Iterator[DynamicOutput[None]]:
    """A piece for every shard of every subset of the run whose export is not up to date."""
    store, recipes = context.resources.tables, context.resources.recipes
    for index, key in enumerate(sorted(context.partition_keys)):
        provenance = clip_provenance(store, recipes, key)
        if up_to_date(context, store.header("clip_dataset", key), provenance):
            continue
        if subsets(recipes)[key][1].export.clips is None:
            continue
        if context.run.tags.get(FORCE_TAG, "").lower() == "true":
            pieces_of(store, key).clear()
        for shard in Selection.of(store, recipes, key).shards:
            yield DynamicOutput(None, mapping_key=_step(index, shard))


def cut_piece(context: OpExecutionContext) -> None:
    """Cuts the clips of one shard, as far as they are not there already."""
    from curation_assets.stages.export_clips import cut_shard, plan_cuts

    store, recipes = context.resources.tables, context.resources.recipes
    index, shard = _of_step(context.get_mapping_key() or "")
    key = sorted(context.partition_keys)[index]
    selection = Selection.of(store, recipes, key)
    params = clip_options(selection, recipes, selection.shards[shard])
    cuts = plan_cuts(selection.rows(store, shard), partial(_read_shard, store, shard), params, selection.names())
    forced = context.run.tags.get(FORCE_TAG, "").lower() == "true"
    earlier = store.read("clip_dataset", key) if store.exists("clip_dataset", key) and not forced else None
    settings: Settings = context.resources.settings
    with Meter() as meter:
        done = cut_shard(
            shard,
            cuts,
            store.read("raw_shards", shard),
            params,
            store.storage,
            pieces_of(store, key),
            workers=settings.workers,
            earlier=earlier,
        )
    context.log.info(
        f"clip_dataset {key} {shard}: {done.cut} clips cut, {done.reused} kept, {done.failed} failed; {meter.cpu:.1f} CPU s"
    )


@dataclass(frozen=True)
class Published:
    """A version that was written: its rows and what the UI shows."""

    table: pa.Table
    stats: Mapping[str, Any]
    metadata: Mapping[str, Any]


def publish_clips(store: TableStore, recipes: Mapping[str, Recipe], key: str, provenance: Provenance) -> Published:
    """Writes a version from the finished pieces.

    Raises:
        StorageError: a piece is missing.
    """
    from curation_assets.stages.export_clips import plan_cuts
    from curation_assets.stages.export_samples import clip_record, clip_samples
    from resources.storage import MediaRef

    selection = Selection.of(store, recipes, key)
    params = selection.subset.export.clips
    assert params is not None
    pieces: dict[str, pa.Table] = {}
    for shard, dataset in selection.shards.items():
        options = clip_options(selection, recipes, dataset)
        cuts = plan_cuts(selection.rows(store, shard), partial(_read_shard, store, shard), options, selection.names())
        piece = pieces_of(store, key).get(shard, cuts)
        if piece is None:
            raise StorageError(f"the clips of {shard} were cut but are gone; run clip_dataset of {key} again")
        pieces[shard] = piece
    version = _version(provenance, pieces.values())
    folder = f"{store.folder('clip_dataset', key)}/{version}"
    facts = _facts(store, recipes, selection, "clip_dataset", version, params.format, ("mp4",), provenance)
    writer = clip_samples(params.format, store.storage, folder, params.tar_bytes)
    if params.format == "webdataset":
        facts.members = ("mp4", "txt", "json")
    rows: list[dict[str, Any]] = []
    for shard, piece in pieces.items():
        curated = {r.get("track_id") or r["clip_id"]: r for r in selection.rows(store, shard).to_pylist()}
        by_clip = {r["clip_id"]: r for r in curated.values()}
        sources = {r["video_id"]: r for r in optional(store, "raw_shards", shard)}
        captions = {r["clip_id"]: r for r in optional(store, "captions", shard)}
        tracks = {r["track_id"]: r for r in optional(store, "tracks", shard)} if params.tracks else {}
        for row in piece.to_pylist():
            if row["status"] != "ok":
                facts.failed += 1
                rows.append(row)
                continue
            source = sources.get(row["video_id"], {})
            chosen = curated.get(row["track_id"] or row["clip_id"]) or by_clip[row["clip_id"]]
            record = clip_record(
                row, chosen, source, captions.get(row["clip_id"], {}), tracks.get(row["track_id"] or "")
            )
            data = store.storage.read_media(MediaRef(row["tar"], row["offset"], row["size"]))
            if hashlib.sha256(data).hexdigest() != row["sha256"]:
                raise StorageError(
                    f"{row['tar']} does not hold the bytes of {row['sample_key']} that were cut; run again with curation/force"
                )
            member = writer.add(row["split"], row["sample_key"], data, record)
            rows.append({**row, "tar": member.tar, "offset": member.offset, "size": member.size})
            facts.count(row["split"], row["end_ms"] - row["start_ms"], source.get("licence"), source.get("channel"))
    writer.close()
    facts.files = writer.files
    return _finish(store, folder, facts, pa.Table.from_pylist(rows, schema=schema("clip_dataset").arrow))


def _version(provenance: Provenance, pieces: Iterable[pa.Table]) -> str:
    """Twelve hexadecimal digits over what the samples say and the bytes of the clips."""
    digest = hashlib.sha256(provenance.fingerprint.encode())
    for piece in pieces:
        for row in piece.select(["sample_key", "split", "status", "sha256"]).to_pylist():
            digest.update(f"{row['sample_key']} {row['split']} {row['status']} {row['sha256']}\n".encode())
    return digest.hexdigest()[:12]


def _facts(
    store: TableStore,
    recipes: Mapping[str, Recipe],
    selection: Selection,
    kind: str,
    version: str,
    layout: str,
    members: Sequence[str],
    provenance: Provenance,
) -> CardFacts:
    """What the card says before any sample is counted."""
    from curation_assets.assets.publish import sharded_inputs
    from curation_assets.stages.dataset_card import CardFacts

    curated = store.header(selection.asset, selection.key)
    assert curated is not None
    upstream = sharded_inputs(selection.subset, recipes, selection.recipe.dataset)
    extra = EMBEDDING_INPUTS if kind == "embedding_dataset" else ()
    models: dict[str, dict[str, str]] = {}
    for name in dict.fromkeys([*(a for tables in upstream.values() for a in tables), *extra]):
        for header in store.headers(name, list(selection.shards)).values():
            models.setdefault(name, {}).update(header.provenance.weights)
    funnel = [(str(r), int(n), float(h)) for r, n, h in curated.stats.get("funnel", [])]
    recipe = selection.recipe.model_dump(mode="json", by_alias=True, exclude_unset=True)
    inputs = {**curated.provenance.inputs, **provenance.inputs}
    return CardFacts(
        selection.key,
        kind,
        version,
        selection.recipe.description,
        recipe,
        layout,
        members,
        funnel,
        models={k: v for k, v in models.items() if v},
        inputs=inputs,
    )


def _finish(store: TableStore, folder: str, facts: CardFacts, table: pa.Table) -> Published:
    """Writes the card, README.md last; what is shown of a version."""
    from curation_assets.stages.dataset_card import card, croissant

    store.storage.write(f"{folder}/croissant.json", croissant(facts).encode())
    text = card(facts)
    store.storage.write(f"{folder}/README.md", text.encode())
    stats = {
        "version": facts.version,
        "folder": store.storage.uri(folder),
        "samples": facts.samples.total(),
        "failed": facts.failed,
        "hours": round(facts.hours, 4),
        "splits": dict(facts.samples),
        "bytes": sum(f.size for f in facts.files),
    }
    rows = [(s, facts.samples[s], f"{facts.ms[s] / 3_600_000:.3f}") for s in sorted(facts.samples)]
    metadata: dict[str, Any] = {"by_split": markdown_table(("split", "samples", "hours"), rows)}
    failed = table.filter(pc.equal(table["status"], "failed")).slice(0, 20).select(["clip_id", "error"]).to_pylist()
    if failed:
        metadata["not_ok"] = markdown_table(("clip", "error"), [tuple(r.values()) for r in failed])
    versions = pa.array([facts.version] * table.num_rows, pa.string())
    table = table.set_column(table.column_names.index("version"), schema(facts.kind).arrow.field("version"), versions)
    return Published(table, stats, metadata)


def collect_pieces(context: OpExecutionContext) -> Iterator[Any]:
    """Publishes the version of each subset of the run and commits its table."""
    yield from export_subsets(context, "clip_dataset", clip_provenance, publish_clips)
    store: TableStore = context.resources.tables
    for key in context.partition_keys:
        pieces_of(store, key).clear()


Provenances = Callable[[TableStore, Mapping[str, Recipe], str], Provenance]
Publisher = Callable[[TableStore, Mapping[str, Recipe], str, Provenance], Published]


def export_subsets(
    context: OpExecutionContext | AssetExecutionContext, name: str, expected: Provenances, publish: Publisher
) -> Iterator[Any]:
    """Brings the export of each subset of the run up to date, commits and reports it."""
    store: TableStore = context.resources.tables
    recipes: Mapping[str, Recipe] = context.resources.recipes
    for key in context.partition_keys:
        provenance = expected(store, recipes, key)
        header = store.header(name, key)
        made = None
        asked = subsets(recipes)[key][1].export
        if header is None or not up_to_date(context, header, provenance):
            if (asked.clips if name == "clip_dataset" else asked.embeddings) is None:
                context.log.info(f"{key} exports no {name}: the table is empty")
                header = store.commit(name, key, schema(name).empty(), provenance)
                made = Made(schema(name).empty())
            else:
                with Meter() as meter:
                    done = publish(store, recipes, key, provenance)
                stats = {**done.stats, "wall_s": round(meter.wall, 3), "cpu_s": round(meter.cpu, 3)}
                header = store.commit(name, key, done.table, provenance, stats)
                made = Made(done.table, stats, done.metadata)
        table = store.read(name, key)
        selection = Selection.of(store, recipes, key)
        state = "unchanged" if made is None else f"version {header.stats.get('version')}"
        context.log.info(f"{name} {key}: {table.num_rows} rows, {state}")
        finding = accounted(store, selection, name, table)
        outcome = Outcome(name, header, made, [finding])
        parents = {selection.asset: True} | dict.fromkeys([a for a in provenance.inputs if a != selection.asset], False)
        yield materialization(context.instance, store, outcome, key, parents)
        yield evaluation(name, key, finding)
    yield silent_output("result", Committed(tuple(context.partition_keys)))
    yield Output(None, output_name=check_output(name))


def accounted(store: TableStore, selection: Selection, name: str, table: pa.Table) -> Finding:
    """Whether every selected clip, or track, has its row."""
    export = selection.subset.export
    if (export.clips if name == "clip_dataset" else export.embeddings) is None:
        return Finding(CONTRACT_CHECK, table.num_rows == 0, "the subset exports none")
    by_track = name == "clip_dataset" and export.clips is not None and export.clips.tracks
    column = "track_id" if by_track else "clip_id"
    columns = ["dataset", column]
    chosen = store.read(selection.asset, selection.key, columns=columns, filters=ds.field("selected"))
    wanted = set(zip(*(chosen[c].to_pylist() for c in columns), strict=True))
    found = set(zip(*(table[c].to_pylist() for c in columns), strict=True))
    by = {s: pc.sum(pc.equal(table["status"], s)).as_py() or 0 for s in ("ok", "failed")}
    metadata = {"rows_in": len(wanted), "rows": table.num_rows, **by}
    if wanted != found:
        odd = sorted(wanted ^ found)[0][1]
        return Finding(CONTRACT_CHECK, False, f"selected and exported differ, first in {odd}", metadata=metadata)
    return Finding(CONTRACT_CHECK, True, f"all {len(wanted)} selected are accounted for", metadata=metadata)


def _parents(recipes: Mapping[str, Recipe], sharded: Sequence[str]) -> dict[str, PartitionMapping]:
    """Upstream asset -> which of its partitions: the subset's own curated table, all shards of the others."""
    kinds = {s.of for _, s in subsets(recipes).values()} or {"clips"}
    curated = {f"curated_{k}": IdentityPartitionMapping() for k in sorted(kinds)}
    return {**curated, **{a: AllPartitionMapping() for a in sharded}}


def clip_dataset(recipes: Mapping[str, Recipe], partitions: StaticPartitionsDefinition) -> AssetsDefinition:
    """The asset `clip_dataset`: a plan, a step per shard, and a step that publishes."""
    asked = [s.export.clips for _, s in subsets(recipes).values() if s.export.clips is not None]
    sharded = ["raw_shards"]
    sharded += ["quality_scores"] if any(c.crop_border for c in asked) else []
    sharded += ["tracks"] if any(c.tracks for c in asked) else []
    sharded += ["captions"] if any("captions" in r.model_fields_set for r, _ in subsets(recipes).values()) else []
    parents = _parents(recipes, sharded)
    needs = {"tables", "recipes", "settings"}
    plan = op(
        name="plan_clip_dataset",
        ins={a: In(Nothing) for a in parents},
        out=DynamicOut(Nothing),
        required_resource_keys=needs,
    )(_described(plan_pieces))
    cut = op(
        name="cut_clips_of_shard",
        ins={"piece": In(Nothing)},
        out=Out(Nothing),
        required_resource_keys=needs,
        tags=pod(cpu=8, memory="12Gi", scratch="50Gi"),
        pool="cpu",
    )(_described(cut_piece))
    collect = op(
        name="publish_clip_dataset",
        ins={"pieces": In(Nothing)},
        out={"result": Out(Committed, io_manager_key="io_manager"), check_output("clip_dataset"): Out(Nothing)},
        required_resource_keys=needs,
    )(_described(collect_pieces))
    wiring: dict[str, Mapping[str, IDependencyDefinition]] = {
        "cut_clips_of_shard": {"piece": DependencyDefinition("plan_clip_dataset")},
        "publish_clip_dataset": {"pieces": DynamicCollectDependencyDefinition("cut_clips_of_shard", "result")},
    }
    graph = GraphDefinition(
        name="clip_dataset",
        node_defs=[plan, cut, collect],
        dependencies=wiring,
        input_mappings=[
            InputMapping(graph_input_name=a, mapped_node_name="plan_clip_dataset", mapped_node_input_name=a)
            for a in parents
        ],
        output_mappings=[
            OutputMapping(graph_output_name=name, mapped_node_name="publish_clip_dataset", mapped_node_output_name=name)
            for name in ("result", check_output("clip_dataset"))
        ],
    )
    return AssetsDefinition.from_graph(
        graph,
        keys_by_input_name={a: AssetKey(a) for a in parents},
        keys_by_output_name={"result": AssetKey("clip_dataset")},
        partitions_def=partitions,
        partition_mappings=parents,
        group_name="publish",
        descriptions_by_output_name={
            "result": f"One row is {schema('clip_dataset').row}. Each shard's clips are cut in a step of their own."
        },
        metadata_by_output_name={"result": {"dagster/column_schema": column_schema("clip_dataset")}},
        tags_by_output_name={"result": {"dagster/kind/ffmpeg": "", "dagster/kind/parquet": ""}},
        owners_by_output_name={"result": OWNERS},
        code_versions_by_output_name={"result": EXPORT_VERSION},
        check_specs=check_specs(["clip_dataset"]),
    )


def _described(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives Dagster the class of `context`, which it reads from the annotation and not by name."""
    function.__annotations__["context"] = OpExecutionContext
    return function


# ---- embedding_dataset


def publish_embeddings(store: TableStore, recipes: Mapping[str, Recipe], key: str, provenance: Provenance) -> Published:
    """Writes a version of the triples. Its name is that of the fingerprint: equal inputs give equal bytes.

    Raises:
        MissingTable: a shard has no embeddings.
    """
    from curation_assets.stages.export_embeddings import EmbeddedShard, export_embeddings

    selection = Selection.of(store, recipes, key)
    params = selection.subset.export.embeddings
    assert params is not None
    version = provenance.fingerprint[:12]
    folder = f"{store.folder('embedding_dataset', key)}/{version}"
    facts = _facts(
        store, recipes, selection, "embedding_dataset", version, params.layout, ("npy", "txt", "json"), provenance
    )

    def shards() -> Iterator[EmbeddedShard]:
        for shard, dataset in selection.shards.items():
            captions = {r["clip_id"]: r for r in optional(store, "captions", shard)}
            rows = selection.rows(store, shard)
            embeddings = store.read("frame_embeddings", shard)
            yield EmbeddedShard(rows, embeddings, captions, recipes[dataset].frames.fps)

    done = export_embeddings(shards(), params, store.storage, folder, selection.names())
    spans = _spans(store, selection)
    sources: dict[str, tuple[str | None, str | None]] = {}
    for shard in selection.shards:
        sources |= {r["video_id"]: (r["licence"], r["channel"]) for r in optional(store, "raw_shards", shard)}
    for row in done.table.to_pylist():
        if row["status"] == "ok":
            facts.count(row["split"], spans[row["clip_id"]], *sources.get(row["video_id"], (None, None)))
        else:
            facts.failed += 1
    facts.files, facts.tar_splits = done.files, done.splits
    return _finish(store, folder, facts, done.table)


def _spans(store: TableStore, selection: Selection) -> dict[str, int]:
    rows = store.read(
        selection.asset, selection.key, columns=["clip_id", "start_ms", "end_ms"], filters=ds.field("selected")
    )
    return {r["clip_id"]: r["end_ms"] - r["start_ms"] for r in rows.to_pylist()}


def embedding_dataset(recipes: Mapping[str, Recipe], partitions: StaticPartitionsDefinition) -> AssetsDefinition:
    """The asset `embedding_dataset`."""
    contract = schema("embedding_dataset")

    def body(context: AssetExecutionContext) -> Iterator[Any]:
        yield from export_subsets(context, "embedding_dataset", embedding_provenance, publish_embeddings)

    body.__annotations__["context"] = AssetExecutionContext
    captioned = any("captions" in r.model_fields_set for r, _ in subsets(recipes).values())
    parents = _parents(recipes, ["frame_embeddings", *(["captions"] if captioned else [])])
    return asset(
        name="embedding_dataset",
        group_name="publish",
        description=f"One row is {contract.row}. The layout is that of clip-video-encode.",
        metadata={"dagster/column_schema": column_schema("embedding_dataset")},
        ins={a: AssetIn(a, partition_mapping=m, dagster_type=Nothing) for a, m in parents.items()},
        partitions_def=partitions,
        code_version=EXPORT_VERSION,
        owners=OWNERS,
        kinds={"numpy", "parquet"},
        io_manager_key="io_manager",
        check_specs=check_specs(["embedding_dataset"]),
        required_resource_keys={"tables", "recipes", "settings"},
    )(body)
