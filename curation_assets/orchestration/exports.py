"""Group publish: what subsets export. Clips are cut shard by shard, each a step of its own; the last step publishes a version.

Dagster gathers pieces; what is cut and written is in `publish/writing/versions.py`. Files of a version lie in `<asset>/<subset>/<version>/`, and
the table `<asset>/<subset>.parquet`, written last, names the version in force. Versions that it no longer names are kept, so that a
training run can hold on to what it reads; docs/reference/export.md says how to remove them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
    OutputMapping,
    PartitionMapping,
    StaticPartitionsDefinition,
    asset,
    op,
)
from dagster._core.definitions.dependency import DynamicCollectDependencyDefinition, IDependencyDefinition

from curation_assets.checks import CONTRACT_CHECK, check_names
from curation_assets.contracts.checks import Finding
from curation_assets.contracts.component import Made
from curation_assets.engine.completeness import Incomplete
from curation_assets.engine.making import LOST, Outcome, over_others
from curation_assets.engine.meter import Meter
from curation_assets.engine.pods import pod
from curation_assets.engine.progress import Reporter
from curation_assets.orchestration.events import (
    check_output,
    check_outputs,
    check_specs,
    evaluations,
    materialization,
    silent_output,
)
from curation_assets.orchestration.guard import lacks, may_be_partial, refuse, shown_lacking
from curation_assets.orchestration.metadata import column_schema
from curation_assets.orchestration.shard_assets import OWNERS, forced
from curation_assets.publish.curating.subset_inputs import Selection, clip_provenance, embedding_provenance, without
from curation_assets.publish.curating.versions import CLIPS_VERSION, EXPORT_VERSION
from curation_assets.recipes import Recipe, subsets
from curation_assets.schemas import schema
from curation_assets.showing.figures import markdown_table
from curation_resources.presence import at_work
from curation_resources.progress import listening
from curation_resources.table_io_manager import Committed
from curation_resources.tables import Provenance, TableHeader, TableStore

if TYPE_CHECKING:
    from curation_assets.publish.writing.versions import Published


def up_to_date(
    context: OpExecutionContext | AssetExecutionContext, header: TableHeader | None, now: Provenance
) -> bool:
    """Whether an export is what would be published now, and all its files are there and were all made."""
    if header is None or forced(context) or header.stats.get("unread") or header.fingerprint != now.fingerprint:
        return False
    store: TableStore = context.resources.tables
    lost = store.lost_media(header)
    if lost:
        context.log.warning(f"{header.asset} {header.partition}: {lost[0]} {LOST}; the version is published again")
    return not lost


# ---- clip_dataset


def _step(index: int, shard: str) -> str:
    """Dagster's key of a piece: letters, digits and underscores only."""
    return f"{index}__{shard.replace('-', '__')}"


def _of_step(step: str) -> tuple[int, str]:
    index, shard = step.split("__", 1)
    return int(index), "-".join(shard.rsplit("__", 1))


def plan_pieces(context: OpExecutionContext) -> Iterator[DynamicOutput[None]]:
    """A piece for every shard of every subset of the run whose export is not up to date."""
    from curation_assets.publish.writing.clip_versions import clear_pieces

    store, recipes = context.resources.tables, context.resources.recipes
    asked = {k: subsets(recipes)[k][1].export.clips is not None for k in sorted(context.partition_keys)}
    refused: list[str] = []
    for index, key in enumerate(asked):
        if not asked[key]:
            continue
        try:
            provenance = without(clip_provenance(store, recipes, key), lacks(context, key, "clip_dataset"))
        except Incomplete as error:
            refused.append(str(error))
            continue
        if up_to_date(context, store.usable_header("clip_dataset", key), provenance):
            continue
        if forced(context):
            clear_pieces(store, key)
        for shard in Selection.of(store, recipes, key).shards:
            yield DynamicOutput(None, mapping_key=_step(index, shard))
    if len(refused) == sum(asked.values()):  # else the last step says it, when the others are published
        refuse(refused)


def cut_piece(context: OpExecutionContext) -> None:
    """Cuts the clips of one shard, as far as they are not there already."""
    from curation_assets.publish.writing.clip_versions import cut_selected, pieces_of

    index, shard = _of_step(context.get_mapping_key() or "")
    key = sorted(context.partition_keys)[index]
    store, recipes, settings = context.resources.tables, context.resources.recipes, context.resources.settings
    reporter = Reporter(f"clip_dataset {key} {shard}", context.log.info)
    with at_work(store.storage, [shard, key]), Meter() as meter, reporter, listening(reporter):
        done = cut_selected(
            store, recipes, key, shard, settings, again=forced(context), allow_partial=may_be_partial(context)
        )
    pieces_of(store, key).note_spent(shard, meter.seconds())
    context.log.info(
        f"clip_dataset {key} {shard}: {done.cut} clips cut, {done.reused} kept, {done.failed} failed; {meter.cpu:.1f} CPU s"
    )


def collect_pieces(context: OpExecutionContext) -> Iterator[Any]:
    """Publishes the version of each subset of the run and commits its table."""
    from curation_assets.publish.writing.clip_versions import clear_pieces, publish_clips

    store: TableStore = context.resources.tables
    with at_work(store.storage, context.partition_keys):
        parents = clip_parents(context.resources.recipes)
        yield from export_subsets(context, "clip_dataset", parents, clip_provenance, publish_clips)
        for key in context.partition_keys:
            clear_pieces(store, key)


Parents = Mapping[str, PartitionMapping]
Provenances = Callable[[TableStore, Mapping[str, Recipe], str], Provenance]
Publisher = Callable[[TableStore, Mapping[str, Recipe], str, Provenance], "Published"]


def export_subsets(
    context: OpExecutionContext | AssetExecutionContext,
    name: str,
    parents: Parents,
    expected: Provenances,
    publish: Publisher,
) -> Iterator[Any]:
    """Brings the export of each subset of the run up to date, commits and reports it, with all its declared parents.

    Dagster calls an event unsynced that lacks a declared parent, or names another one: also parents that only other subsets use.
    """
    from curation_assets.publish.writing.versions import sweep_versions

    store: TableStore = context.resources.tables
    recipes: Mapping[str, Recipe] = context.resources.recipes
    refused: list[str] = []
    for key in context.partition_keys:
        try:
            header, made = over_others(context.log, partial(_export, context, name, key, expected, publish))
        except Incomplete as error:
            refused.append(str(error))
            continue
        sweep_versions(store, header)
        table = store.read(name, key)
        selection = Selection.of(store, recipes, key)
        state = "unchanged" if made is None else f"version {header.stats.get('version')}"
        context.log.info(f"{name} {key}: {table.num_rows} rows, {state}")
        finding = accounted(store, selection, name, table)
        outcome = Outcome(name, header, made, [finding])
        yield materialization(context.instance, store, outcome, key, alike(parents))
        yield from evaluations(store, outcome, key)
    refuse(refused)
    yield silent_output("result", Committed(tuple(context.partition_keys)))
    yield from check_outputs(name)


def _export(
    context: OpExecutionContext | AssetExecutionContext,
    name: str,
    key: str,
    expected: Provenances,
    publish: Publisher,
) -> tuple[TableHeader, Made | None]:
    """Brings one export up to date: what is in force then, and what was made, if anything, with what its pieces took in other steps.

    Raises:
        Incomplete: inputs that it uses are not complete, and that is not allowed.
    """
    from curation_assets.publish.writing.clip_versions import pieces_of

    store: TableStore = context.resources.tables
    recipes: Mapping[str, Recipe] = context.resources.recipes
    asked = subsets(recipes)[key][1].export
    exports = (asked.clips if name == "clip_dataset" else asked.embeddings) is not None
    lacking = lacks(context, key, name) if exports else []
    provenance = without(expected(store, recipes, key), lacking)
    header = store.usable_header(name, key)
    base = store.base(name, key, header)
    if header is not None and up_to_date(context, header, provenance):
        return header, None
    if not exports:
        context.log.info(f"{key} exports no {name}: the table is empty")
        empty = schema(name).empty()
        return store.commit(name, key, empty, provenance, base=base), Made(empty)
    with Meter() as meter:
        done = publish(store, recipes, key, provenance)
    for piece in pieces_of(store, key).spent() if name == "clip_dataset" else ():
        meter.add(**piece)
    curated = store.header(Selection.of(store, recipes, key).asset, key)
    counted = {"rows_in": curated.stats.get("selected", 0)} if curated else {}
    stats = {**counted, **done.stats, **meter.spent(context.resources.settings)}
    made = Made(done.table, stats, {**_shown(done), **shown_lacking(lacking)})
    return store.commit(name, key, done.table, provenance, stats, base), made


def _shown(done: Published) -> dict[str, Any]:
    """Samples and hours by split, and what could not be made."""
    rows = [(split, samples, f"{hours:.3f}") for split, samples, hours in done.by_split]
    metadata: dict[str, Any] = {"by_split": markdown_table(("split", "samples", "hours"), rows)}
    failed = done.table.filter(pc.equal(done.table["status"], "failed")).slice(0, 20).select(["clip_id", "error"])
    if failed.num_rows:
        metadata["not_ok"] = markdown_table(("clip", "error"), [tuple(r.values()) for r in failed.to_pylist()])
    return metadata


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
    """Upstream asset -> which of its partitions: the subset's own curated table, all shards of the others.

    Captions, and what lists say of spans, go into every export whose recipe has them.
    """
    kinds = {s.of for _, s in subsets(recipes).values()} or {"clips"}
    curated = {f"curated_{k}": IdentityPartitionMapping() for k in sorted(kinds)}
    said = ["video_metadata"] if any(r.source.may_word_spans for r in recipes.values()) else []
    said += ["captions"] if any("captions" in r.model_fields_set for r, _ in subsets(recipes).values()) else []
    return {**curated, **{a: AllPartitionMapping() for a in (*sharded, *said)}}


def alike(parents: Parents) -> dict[str, bool]:
    """Parent -> whether it is the partition of the same name."""
    return {a: isinstance(m, IdentityPartitionMapping) for a, m in parents.items()}


def clip_parents(recipes: Mapping[str, Recipe]) -> Parents:
    """What `clip_dataset` is made from, over all subsets."""
    asked = [s.export.clips for _, s in subsets(recipes).values() if s.export.clips is not None]
    sharded = ["raw_shards"]
    sharded += ["quality_scores"] if any(c.crop_border for c in asked) else []
    sharded += ["tracks"] if any(c.tracks for c in asked) else []
    sharded += ["clips"] if any(s.of == "tracks" for _, s in subsets(recipes).values()) else []
    return _parents(recipes, sharded)


def embedding_parents(recipes: Mapping[str, Recipe]) -> Parents:
    """What `embedding_dataset` is made from, over all subsets."""
    of_tracks = any(s.of == "tracks" for _, s in subsets(recipes).values())
    return _parents(recipes, ["frame_embeddings", *(["clips"] if of_tracks else [])])


def clip_dataset(recipes: Mapping[str, Recipe], partitions: StaticPartitionsDefinition) -> AssetsDefinition:
    """The asset `clip_dataset`: a plan, a step per shard, and a step that publishes."""
    parents = clip_parents(recipes)
    needs = {"tables", "recipes", "settings"}
    checks = [check_output("clip_dataset", c) for c in check_names("clip_dataset")]
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
        out={"result": Out(Committed, io_manager_key="io_manager"), **dict.fromkeys(checks, Out(Nothing))},
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
            for name in ("result", *checks)
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
        code_versions_by_output_name={"result": CLIPS_VERSION},
        check_specs=check_specs(["clip_dataset"]),
    )


def _described(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives Dagster the class of `context`, which it reads from the annotation and not by name."""
    function.__annotations__["context"] = OpExecutionContext
    return function


# ---- embedding_dataset


def embedding_dataset(recipes: Mapping[str, Recipe], partitions: StaticPartitionsDefinition) -> AssetsDefinition:
    """The asset `embedding_dataset`."""
    contract = schema("embedding_dataset")
    parents = embedding_parents(recipes)

    def body(context: AssetExecutionContext) -> Iterator[Any]:
        from curation_assets.publish.writing.embedding_versions import publish_embeddings

        with at_work(context.resources.tables.storage, context.partition_keys):
            yield from export_subsets(context, "embedding_dataset", parents, embedding_provenance, publish_embeddings)

    body.__annotations__["context"] = AssetExecutionContext
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
