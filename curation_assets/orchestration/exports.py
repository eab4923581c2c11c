"""The assets of what subsets export. Dagster gathers pieces: the clips of the shards of each batch are cut in a step of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

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

from curation_assets.checks import check_names
from curation_assets.engine.maker import NotMade
from curation_assets.engine.pods import pod
from curation_assets.orchestration.compat import DynamicCollectDependencyDefinition, IDependencyDefinition
from curation_assets.orchestration.events import check_output, check_specs
from curation_assets.orchestration.io_manager import Committed
from curation_assets.orchestration.metadata import column_schema
from curation_assets.orchestration.steps import OWNERS, carried_out, failure, run_of
from curation_assets.publish.clip_dataset import TABLE as CLIP_TABLE
from curation_assets.publish.curating.versions import CLIPS_VERSION, EXPORT_VERSION
from curation_assets.publish.embedding_dataset import TABLE as EMBEDDING_TABLE
from curation_assets.publish.export_makers import ClipExportMaker, EmbeddingExportMaker
from curation_assets.recipes import Recipe, subsets
from curation_assets.schemas import schema
from curation_resources.unwritable import Unwritable

CLIPS, EMBEDDINGS = ClipExportMaker(), EmbeddingExportMaker()


def mappings(parents: Mapping[str, bool]) -> dict[str, PartitionMapping]:
    """Upstream asset -> which of its partitions: the one of the same name, or all."""
    return {a: IdentityPartitionMapping() if same else AllPartitionMapping() for a, same in parents.items()}


# ---- clip_dataset


def plan_batches(context: OpExecutionContext) -> Iterator[DynamicOutput[None]]:
    """The batches of every subset of the run whose export is not up to date; a step's key has the subset's place and the batch's number."""
    keys = sorted(context.partition_keys)
    try:
        for key, number in CLIPS.batches(run_of(context), keys):
            yield DynamicOutput(None, mapping_key=f"{keys.index(key)}__{number:05d}")
    except (NotMade, Unwritable) as error:
        raise failure(error, CLIPS) from error


def cut_batch(context: OpExecutionContext) -> None:
    """Cuts the clips of the batch's shards, as far as they are not there already."""
    index, number = map(int, (context.get_mapping_key() or "").split("__"))
    try:
        CLIPS.make_batch(run_of(context), sorted(context.partition_keys)[index], number)
    except (NotMade, Unwritable) as error:
        raise failure(error, CLIPS) from error


def collect_pieces(context: OpExecutionContext) -> Iterator[Any]:
    """Publishes the version of each subset of the run and commits its table."""
    yield from carried_out(context, CLIPS, context.partition_keys)


def clip_dataset(recipes: Mapping[str, Recipe], partitions: StaticPartitionsDefinition) -> AssetsDefinition:
    """The asset `clip_dataset`: a plan, a step for each batch of shards, and a step that publishes."""
    parents = mappings(CLIPS.parents(recipes)[CLIP_TABLE.asset])
    needs = {"tables", "recipes", "settings"}
    on_gpu = any(CLIPS.on_gpu(recipes, key) for key in subsets(recipes))
    checks = [check_output(CLIP_TABLE.asset, c) for c in check_names(CLIP_TABLE.asset)]
    plan = op(
        name="plan_clip_dataset",
        ins={a: In(Nothing) for a in parents},
        out=DynamicOut(Nothing),
        required_resource_keys=needs,
        tags=pod(cpu=1, memory="4Gi", scratch="50Gi"),
    )(_described(plan_batches))
    cut = op(
        name="cut_clips",
        ins={"batch": In(Nothing)},
        out=Out(Nothing),
        required_resource_keys=needs,
        tags=pod(cpu=8, memory="12Gi", scratch="50Gi", gpus=int(on_gpu)),
        pool="gpu" if on_gpu else "cpu",
    )(_described(cut_batch))
    collect = op(
        name="publish_clip_dataset",
        ins={"pieces": In(Nothing)},
        out={"result": Out(Committed, io_manager_key="io_manager"), **dict.fromkeys(checks, Out(Nothing))},
        required_resource_keys=needs,
        tags=pod(cpu=1, memory="8Gi", scratch="50Gi"),
    )(_described(collect_pieces))
    wiring: dict[str, Mapping[str, IDependencyDefinition]] = {
        "cut_clips": {"batch": DependencyDefinition("plan_clip_dataset")},
        "publish_clip_dataset": {"pieces": DynamicCollectDependencyDefinition("cut_clips", "result")},
    }
    graph = GraphDefinition(
        name=CLIP_TABLE.asset,
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
        keys_by_output_name={"result": AssetKey(CLIP_TABLE.asset)},
        partitions_def=partitions,
        partition_mappings=parents,
        group_name="publish",
        descriptions_by_output_name={
            "result": f"One row is {CLIP_TABLE.row}. Clips are cut shard by shard, in batches of shards, a step each."
        },
        metadata_by_output_name={"result": {"dagster/column_schema": column_schema(CLIP_TABLE.asset)}},
        tags_by_output_name={"result": {"dagster/kind/ffmpeg": "", "dagster/kind/parquet": ""}},
        owners_by_output_name={"result": OWNERS},
        code_versions_by_output_name={"result": CLIPS_VERSION},
        check_specs=check_specs([CLIP_TABLE.asset]),
    )


def _described(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives Dagster the class of `context`, which it reads from the annotation and not by name."""
    function.__annotations__["context"] = OpExecutionContext
    return function


# ---- embedding_dataset


def embedding_dataset(recipes: Mapping[str, Recipe], partitions: StaticPartitionsDefinition) -> AssetsDefinition:
    """The asset `embedding_dataset`."""
    contract = schema(EMBEDDING_TABLE.asset)
    parents = mappings(EMBEDDINGS.parents(recipes)[EMBEDDING_TABLE.asset])

    def body(context: AssetExecutionContext) -> Iterator[Any]:
        yield from carried_out(context, EMBEDDINGS, context.partition_keys)

    body.__annotations__["context"] = AssetExecutionContext
    return asset(
        name=EMBEDDING_TABLE.asset,
        group_name="publish",
        description=f"One row is {contract.row}. The layout is that of clip-video-encode.",
        metadata={"dagster/column_schema": column_schema(EMBEDDING_TABLE.asset)},
        ins={a: AssetIn(a, partition_mapping=m, dagster_type=Nothing) for a, m in parents.items()},
        partitions_def=partitions,
        code_version=EXPORT_VERSION,
        owners=OWNERS,
        kinds={"numpy", "parquet"},
        op_tags=pod(cpu=2, memory="8Gi", scratch="50Gi"),
        io_manager_key="io_manager",
        check_specs=check_specs([EMBEDDING_TABLE.asset]),
        required_resource_keys={"tables", "recipes", "settings"},
    )(body)
