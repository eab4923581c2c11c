"""The unpartitioned asset in the middle of the graph: near-duplicates over all shards and datasets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pyarrow.compute as pc
from dagster import AssetExecutionContext, AssetsDefinition, Output, asset

from curation_assets.checks import accounting
from curation_assets.contracts.component import Made
from curation_assets.dedup.comparison import INDEX, clusters_provenance, compare_shards, pairs_sheet
from curation_assets.dedup.duplicate_clusters import CLUSTERS_VERSION
from curation_assets.dedup.index_files import is_whole
from curation_assets.engine.making import Outcome, over_others
from curation_assets.engine.pods import pod
from curation_assets.orchestration.events import check_output, check_specs, evaluation, materialization, silent_output
from curation_assets.orchestration.metadata import column_schema
from curation_assets.orchestration.shard_assets import OWNERS, forced
from curation_assets.recipes import Recipe
from curation_assets.schemas import schema
from curation_assets.settings import Settings
from curation_assets.showing.figures import counts
from curation_resources.presence import at_work
from curation_resources.table_io_manager import Committed
from curation_resources.tables import TableHeader, TableStore


def duplicate_clusters(settings: Settings, recipes: Mapping[str, Recipe]) -> AssetsDefinition:
    """The unpartitioned asset in the middle of the graph."""
    contract = schema("duplicate_clusters")

    def body(context: AssetExecutionContext) -> Iterator[Any]:
        with at_work(context.resources.tables.storage, ["duplicate_clusters"]):
            yield from find_clusters(context)

    body.__annotations__["context"] = AssetExecutionContext  # Dagster reads the class, not its name
    return asset(
        name="duplicate_clusters",
        group_name="dedup",
        description=f"Near-duplicates over all shards of all datasets that exist; missing ones block nothing. One row is {contract.row}.",
        metadata={"dagster/column_schema": column_schema("duplicate_clusters")},
        deps=["clip_fingerprints"],
        code_version=CLUSTERS_VERSION,
        owners=OWNERS,
        kinds={"parquet", "numpy"},
        io_manager_key="io_manager",
        check_specs=check_specs(["duplicate_clusters"]),
        required_resource_keys={"tables", "recipes", "settings"},
        pool="cpu",
        op_tags=pod(cpu=4, memory="16Gi"),
    )(body)


def find_clusters(context: AssetExecutionContext) -> Iterator[Any]:
    """Brings the clusters up to date and reports them."""
    store: TableStore = context.resources.tables
    header, made, shards = over_others(context.log, partial(bring_up_to_date, context))
    context.log.info(
        f"duplicate_clusters: {header.rows} clips in clusters over {len(shards)} shards, {'made' if made else 'unchanged'}"
    )
    outcome = Outcome(
        "duplicate_clusters",
        header,
        made,
        list(accounting(None, "duplicate_clusters", store.read("duplicate_clusters"), store.read)),
    )
    yield materialization(context.instance, store, outcome, None, {"clip_fingerprints": False})
    for finding in outcome.findings:
        yield evaluation("duplicate_clusters", None, finding)
    yield silent_output("result", Committed())
    yield Output(None, output_name=check_output("duplicate_clusters"))


def bring_up_to_date(context: AssetExecutionContext) -> tuple[TableHeader, Made | None, Mapping[str, str]]:
    """Compares the shards that are new or changed with the stored index, commits the clusters if they are other than before.

    Returns:
        The header in force then, what was made if anything was, and the content hash of each shard's fingerprints.
    """
    store: TableStore = context.resources.tables
    settings: Settings = context.resources.settings
    recipes: Mapping[str, Recipe] = context.resources.recipes
    provenance, shards = clusters_provenance(store, recipes, settings)
    header = store.usable_header("duplicate_clusters")
    made = None
    whole = is_whole(store.storage, INDEX)
    if header is None or header.fingerprint != provenance.fingerprint or not whole or forced(context):
        header, found, stats = compare_shards(store, recipes, settings, context.log.info)
        metadata: dict[str, Any] = {
            "shards": sorted(shards),
            "relations": counts(found.clusters, "relation"),
        }
        for kind in ("closest", "doubtful"):
            sheet = pairs_sheet(store, found.audit.filter(pc.equal(found.audit["kind"], kind)))
            if sheet is not None:
                metadata[f"{kind}_pairs"] = sheet
        made = Made(found.clusters, stats, metadata)
    return header, made, shards
