"""What Dagster is told of a committed table: an event with its versions, numbers and pictures, and the outcomes of its checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    AssetMaterialization,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    MetadataValue,
    Output,
)

from curation_assets.checks import CONTRACT_CHECK, check_names
from curation_assets.contracts.checks import Finding
from curation_assets.engine.making import VIDEOS, Outcome
from curation_assets.engine.shard_keys import dataset_of
from curation_assets.engine.unread import FAULTS
from curation_assets.orchestration.compat import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    NULL_EVENT_POINTER,
    SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)
from curation_assets.orchestration.io_manager import Committed
from curation_assets.orchestration.metadata import column_lineage, plain, shown_metadata
from curation_assets.registry import component
from curation_assets.schemas import schema
from curation_assets.settings import Settings
from curation_resources.table_headers import FILES, SHEET, SHEET_FILE, TableHeader
from curation_resources.tables import TableStore

NOT_SHOWN = {VIDEOS, FAULTS, FILES, SHEET, "rows_out"}
"""Stats that events leave out: too long, or said already by Dagster's row count."""


@dataclass(frozen=True)
class Pages:
    """Where browsers reach what events link to: `curation pictures` and `curation look`."""

    pictures: str
    look: str

    @staticmethod
    def of(settings: Settings) -> Pages:
        return Pages(settings.pictures_url, settings.look_url)


def version_tags(instance: DagsterInstance, header: TableHeader, parents: Mapping[str, bool]) -> dict[str, str]:
    """What an event says of the versions it was made from, so that Dagster's own staleness agrees with ours.

    Args:
        instance: where the events of the parents are looked up.
        header: of the committed table.
        parents: parent asset -> whether it is partitioned like the child.
    """
    tags = {
        DATA_VERSION_TAG: header.content_hash,
        DATA_VERSION_IS_USER_PROVIDED_TAG: "true",
        CODE_VERSION_TAG: header.provenance.code_version,
    }
    for asset, same in parents.items():
        key = AssetKey(asset)
        which = AssetRecordsFilter(key, asset_partitions=[header.partition] if same and header.partition else None)
        records = instance.fetch_materializations(which, limit=1).records
        event = records[0].asset_materialization if records else None
        version = (event.tags or {}).get(DATA_VERSION_TAG) if event else None
        tags[get_input_data_version_tag(key)] = version or header.provenance.inputs.get(asset, "")
        tags[get_input_event_pointer_tag(key)] = str(records[0].storage_id) if records else NULL_EVENT_POINTER
    return tags


def materialization(
    instance: DagsterInstance,
    store: TableStore,
    outcome: Outcome,
    partition: str | None,
    parents: Mapping[str, bool],
    pages: Pages,
) -> AssetMaterialization:
    """The event that reports a committed table, with its content hash as data version. Of a table that was up to date it says that, and its
    numbers, of which the UI draws a line; no text or picture of the event of its making is repeated.

    Args:
        instance: where earlier events are looked up.
        store: where the table lies.
        outcome: what was committed, or found up to date.
        partition: None for an unpartitioned asset.
        parents: parent asset -> whether it is partitioned like the child.
        pages: where links lead.
    """
    header, made = outcome.header, outcome.made
    sheet = sheet_url(header, pages.pictures)
    metadata: dict[str, Any] = {}
    if made is None and reported(instance, header):
        numbers = {k: v for k, v in header.stats.items() if k not in NOT_SHOWN and isinstance(v, int | float)}
        metadata = {"unchanged": True, "dagster/row_count": header.rows, **numbers}
    else:
        metadata = shown_metadata(made.metadata, sheet) if made is not None else {"unchanged": True}
        facts = table_facts(header, store)
        lineage = column_lineage(outcome.asset, list(parents))
        if lineage.deps_by_column:
            facts["dagster/column_lineage"] = lineage
        metadata = {**{k: v for k, v in metadata.items() if k not in facts}, **facts}
    links: dict[str, Any] = {}
    if partition is not None and "clip_id" in schema(outcome.asset).names:
        links["look"] = MetadataValue.url(look_address(pages.look, outcome.asset, partition))
    if sheet is not None:
        links[SHEET] = MetadataValue.url(sheet)
    metadata = links | metadata
    return AssetMaterialization(
        AssetKey(outcome.asset), metadata=metadata, partition=partition, tags=version_tags(instance, header, parents)
    )


def look_address(look_url: str, asset: str, partition: str) -> str:
    """Where `curation look` shows the clips of a partition: a subset, or those of a shard among all of its dataset."""
    if component(asset).partitioned == "shard":
        return f"{look_url.rstrip('/')}/#{dataset_of(partition)}/shard:{partition}"
    return f"{look_url.rstrip('/')}/#{partition}"


def sheet_url(header: TableHeader, pictures_url: str) -> str | None:
    """Address of the contact sheet of a table; None if it has none. The hash in it keeps the pictures of another version from being shown."""
    if header.sheet is None:
        return None
    place = "/".join(filter(None, (header.asset, header.partition, SHEET_FILE)))
    return f"{pictures_url.rstrip('/')}/{place}?{SHEET}={header.sheet}"


def reported(instance: DagsterInstance, header: TableHeader) -> bool:
    """Whether the latest event of a table is of the same content."""
    which = AssetRecordsFilter(
        AssetKey(header.asset), asset_partitions=[header.partition] if header.partition else None
    )
    records = instance.fetch_materializations(which, limit=1).records
    event = records[0].asset_materialization if records else None
    return event is not None and (event.tags or {}).get(DATA_VERSION_TAG) == header.content_hash


def reported_versions(instance: DagsterInstance, asset: str) -> Mapping[str, str]:
    """Partition -> content of the table that its latest event is of, of all partitions of an asset at once; an unpartitioned one has the partition ""."""
    if component(asset).partitioned == "whole":
        event = instance.get_latest_materialization_event(AssetKey(asset))
        made = event.asset_materialization if event is not None else None
        return {"": (made.tags or {}).get(DATA_VERSION_TAG, "")} if made is not None else {}
    found = instance.event_log_storage.get_latest_tags_by_partition(
        AssetKey(asset), DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG]
    )
    return {partition: tags.get(DATA_VERSION_TAG, "") for partition, tags in found.items()}


def table_facts(header: TableHeader, store: TableStore) -> dict[str, Any]:
    """What every event says last: rows, numbers and cost, and where the table lies."""
    path = store.path(header.asset, header.partition)
    return {
        "dagster/row_count": header.rows,
        **plain({k: v for k, v in header.stats.items() if k not in NOT_SHOWN}),
        "table_bytes": header.size if header.size is not None else store.storage.size(path),
        "path": MetadataValue.path(store.storage.uri(path)),
        "content_hash": header.content_hash,
        "fingerprint": header.fingerprint,
    }


def evaluation(asset: str, partition: str | None, finding: Finding) -> AssetCheckEvaluation:
    return AssetCheckEvaluation(
        asset_key=AssetKey(asset),
        check_name=finding.check,
        passed=finding.passed,
        metadata={k: MetadataValue.text(v) if isinstance(v, str) else v for k, v in finding.metadata.items()},
        target_materialization_data=None,
        severity=AssetCheckSeverity.ERROR if finding.blocking else AssetCheckSeverity.WARN,
        description=finding.description if partition is None else f"{partition}: {finding.description}",
        blocking=finding.blocking,
        partition=partition,
    )


def check_outputs(asset: str) -> Iterator[Output[None]]:
    """The outputs that stand for the checks of an asset; their evaluations were yielded before."""
    for check in check_names(asset):
        yield Output(None, output_name=check_output(asset, check))


def silent_output(output_name: str, committed: Committed) -> Output[Committed]:
    """An output whose materialization events were logged already, partition by partition and each with its own data version.

    Dagster would log one event per partition again, all with one data version. It leaves that out for outputs marked like those of
    observable sources; a test pins that it still does.
    """
    return Output(committed, output_name=output_name, metadata={SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True})


def check_output(asset: str, check: str = CONTRACT_CHECK) -> str:
    """Name of the op output that stands for a check."""
    return f"{asset}_{check}"


def check_specs(assets: Sequence[str]) -> list[AssetCheckSpec]:
    """The checks of each asset."""
    specs = []
    for asset in assets:
        description = "Schema, keys, ranges and accounting: rows in = ok + failed + rejected."
        specs.append(AssetCheckSpec(CONTRACT_CHECK, asset=asset, blocking=True, description=description))
        specs += [
            AssetCheckSpec(c.name, asset=asset, blocking=c.blocking, description=c.description)
            for c in component(asset).checks
        ]
    return specs
