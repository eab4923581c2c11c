"""Group publish: curated subsets and what they export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from dagster import (
    AllPartitionMapping,
    AssetDep,
    AssetExecutionContext,
    AssetsDefinition,
    StaticPartitionsDefinition,
    asset,
)

from curation_assets.checks import accounting
from curation_assets.contracts.component import Made
from curation_assets.engine.completeness import Incomplete
from curation_assets.engine.making import Outcome, over_others
from curation_assets.engine.meter import Meter
from curation_assets.orchestration import exports
from curation_assets.orchestration.events import check_outputs, check_specs, evaluations, materialization, silent_output
from curation_assets.orchestration.guard import lacks, refuse, shown_lacking
from curation_assets.orchestration.metadata import column_schema
from curation_assets.orchestration.partitions import subset_partitions
from curation_assets.orchestration.shard_assets import OWNERS, forced
from curation_assets.publish.curating.funnels import figures, shown
from curation_assets.publish.curating.subset_inputs import (
    LEFT_OUT,
    curated_provenance,
    sharded_inputs,
    subset_shards,
    without,
)
from curation_assets.publish.curating.versions import CURATE_VERSION
from curation_assets.recipes import Recipe, subsets
from curation_assets.schemas import SCHEMAS, schema
from curation_assets.settings import Settings
from curation_resources.scratch import scratch_folder
from curation_resources.table_io_manager import Committed
from curation_resources.tables import Provenance, TableHeader, TableStore


def publish_assets(settings: Settings, recipes: Mapping[str, Recipe]) -> list[AssetsDefinition]:
    """The assets that are partitioned by subset."""
    partitions = subset_partitions(recipes)
    return [
        _curated("curated_clips", "clips", recipes, partitions),
        _curated("curated_tracks", "tracks", recipes, partitions),
        exports.clip_dataset(recipes, partitions),
        exports.embedding_dataset(recipes, partitions),
    ]


def curated_parents(recipes: Mapping[str, Recipe], of: str) -> list[str]:
    """What the curated table of clips or tracks is made from, over all subsets."""
    mine = [(r, s) for r, s in subsets(recipes).values() if s.of == of]
    needed = {a for r, s in mine for tables in sharded_inputs(s, recipes, r.dataset).values() for a in tables}
    if any(recipes[d].source.may_word_spans for r, s in mine for d in (s.datasets or [r.dataset])):
        needed.add("video_metadata")
    return [a for a in SCHEMAS if a in needed] or (["clips"] if of == "clips" else ["clips", "tracks"])


def subset_parents(recipes: Mapping[str, Recipe], asset: str) -> dict[str, bool]:
    """Parents that the events of an asset by subset name: asset -> whether its partition of the same name is one."""
    if asset.startswith("curated_"):
        return dict.fromkeys(curated_parents(recipes, asset.removeprefix("curated_")), False)
    parents = exports.clip_parents(recipes) if asset == "clip_dataset" else exports.embedding_parents(recipes)
    return exports.alike(parents)


def _curated(
    name: str, of: str, recipes: Mapping[str, Recipe], partitions: StaticPartitionsDefinition
) -> AssetsDefinition:
    contract = schema(name)
    inputs = curated_parents(recipes, of)

    def body(context: AssetExecutionContext) -> Iterator[Any]:
        yield from curate_subset(context, name, inputs)

    body.__annotations__["context"] = AssetExecutionContext  # Dagster reads the class, not its name
    return asset(
        name=name,
        group_name="publish",
        description=f"One row is {contract.row}. Thresholds live in the recipe's subset: changing one recomputes this table alone.",
        metadata={"dagster/column_schema": column_schema(name)},
        deps=[AssetDep(a, partition_mapping=AllPartitionMapping()) for a in inputs],
        partitions_def=partitions,
        code_version=CURATE_VERSION,
        owners=OWNERS,
        kinds={"parquet"},
        io_manager_key="io_manager",
        check_specs=check_specs([name]),
        required_resource_keys={"tables", "recipes", "settings"},
    )(body)


def curate_subset(context: AssetExecutionContext, name: str, inputs: list[str]) -> Iterator[Any]:
    """Judges the candidates of each subset of the run and commits its table."""
    store: TableStore = context.resources.tables
    refused: list[str] = []
    for key in context.partition_keys:
        try:
            header, made = over_others(context.log, partial(judge, context, name, key))
        except Incomplete as error:
            refused.append(str(error))
            continue
        table = store.read(name, key, columns=["selected"])
        context.log.info(f"{name} {key}: {header.stats.get('selected', 0)} of {table.num_rows} candidates selected")
        findings = list(accounting(None, name, table, lambda a: schema(a).empty()))
        outcome = Outcome(name, header, made, findings)
        yield materialization(context.instance, store, outcome, key, dict.fromkeys(inputs, False))
        yield from evaluations(store, outcome, key)
    refuse(refused)
    yield silent_output("result", Committed(tuple(context.partition_keys)))
    yield from check_outputs(name)


def judge(context: AssetExecutionContext, name: str, key: str) -> tuple[TableHeader, Made | None]:
    """Brings the curated table of a subset up to date: what is in force then, and what was made of it, if anything."""
    from curation_assets.publish.curating.curating import curate

    store: TableStore = context.resources.tables
    recipes: Mapping[str, Recipe] = context.resources.recipes
    recipe, subset = subsets(recipes)[key]
    if subset.of != ("clips" if name == "curated_clips" else "tracks"):
        context.log.info(f"{key} is a subset of {subset.of}: {name} is empty")
        provenance, header = Provenance(CURATE_VERSION, {"of": subset.of}), store.usable_header(name, key)
        if header is None or header.fingerprint != provenance.fingerprint:
            base = store.base(name, key, header)
            header = store.commit(name, key, schema(name).empty(), provenance, base=base)
        return header, None
    lacking = lacks(context, key, name)
    provenance = without(curated_provenance(store, recipes, key), lacking)
    header, made = store.usable_header(name, key), None
    base = store.base(name, key, header)
    if header is None or header.fingerprint != provenance.fingerprint or forced(context):
        with scratch_folder("curate-") as folder, Meter() as meter:
            shards = subset_shards(store, subset, recipe.dataset)
            found = curate(key, subset, recipes, shards, store.read, Path(folder))
            digest = store.file_content_hash(name, found.path)
            meter.stop()
            stats = {
                **figures(found),
                LEFT_OUT: lacking,
                "rows_in": found.funnel[0].rows,
                **meter.spent(context.resources.settings),
            }
            header = store.commit_file(name, key, found.path, provenance, digest, stats, base)
        made = Made(schema(name).empty(), stats, {**shown(store, found), **shown_lacking(lacking)})
    if name == "curated_tracks":
        from curation_assets.publish.writing.track_versions import publish_tracks

        publish_tracks(store, recipes, key, header)
    return header, made
