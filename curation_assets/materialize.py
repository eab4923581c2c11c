"""How partitions of assets are made: is it up to date, make it, commit it, check it, tell Dagster.

A `Stage` says what is needed to make one or several assets of a shard; `shard_assets` turns it into Dagster assets. What belongs here:
what all stages share. What does not: any stage's work (`stages/`) or which stages there are (`assets/`).
"""

from __future__ import annotations

import copy
import hashlib
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    AssetOut,
    AssetRecordsFilter,
    AssetsDefinition,
    Backoff,
    DagsterInstance,
    Failure,
    Jitter,
    MetadataValue,
    OpExecutionContext,
    Output,
    RetryPolicy,
    multi_asset,
)
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    NULL_EVENT_POINTER,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

from curation_assets.checks import ACCOUNTED, CHECKS, CONTRACT_CHECK, Finding, accounting, check_names, further, usable
from curation_assets.engine.meter import Meter
from curation_assets.engine.progress import Reporter, left
from curation_assets.engine.shard_keys import parse_shard_key
from curation_assets.engine.unread import FAULTS, noted, nothing_read, pending, said
from curation_assets.orchestration.metadata import column_lineage, column_schema, markdown_table, plain
from curation_assets.orchestration.partitions import SHARDS, backfill_policy
from curation_assets.recipes import Recipe
from curation_assets.rules.columns import tables_of_rules
from curation_assets.schemas import SCHEMAS, schema
from curation_assets.settings import Settings
from curation_resources.content_hash import content_hash
from curation_resources.faults import Fault, ReadFault
from curation_resources.presence import at_work
from curation_resources.progress import listening
from curation_resources.replace import Superseded
from curation_resources.storage import Storage
from curation_resources.table_io_manager import Committed
from curation_resources.tables import (
    Base,
    ContractError,
    DamagedTable,
    MediaGone,
    MissingTable,
    Provenance,
    TableHeader,
    TableStore,
    canonical_json,
)
from curation_resources.unwritable import UNWRITABLE, Unwritable
from curation_resources.weights import MissingWeights, WrongWeights

T = TypeVar("T")
FORCE_TAG = "curation/force"
PLAIN = (MissingTable, DamagedTable, MissingWeights, WrongWeights, ValueError)
"""Errors whose message says all there is to say; trying again changes nothing."""
OWNERS = ["team:video-curation"]
RETRY_DELAY_S = 5
"""Before the first retry of a step; it doubles with each."""
VIDEOS = "videos"
"""Where a table's stats hold the hash of each video's inputs, for stages by video."""
TRIES = 3
"""Times that a shard is made over what other runs commit of it meanwhile."""
LOST = "is gone from storage or cut short"
NOT_SHOWN = {VIDEOS, FAULTS, "rows_out"}
"""Stats that events leave out: too long, or said already by Dagster's row count."""
SHOWN_REASONS = 20
"""Reasons why shards failed that a message tells apart."""
PICTURED_RUN = 20
"""Partitions of a run up to which those that were up to date show their pictures again. A longer run is a catching up that
nobody looks at partition by partition; it would write gigabytes of pictures into the event log anew."""


@dataclass(frozen=True)
class Made:
    """What a stage made of one asset for one shard.

    Attributes:
        table: fits the asset's schema.
        stats: numbers kept with the table (seconds, bytes, counts).
        metadata: what the UI shows: histograms, contact sheets.
        faults: video id to why it could not be read now, of stages by video; see `curation_assets.engine.unread`.
    """

    table: pa.Table
    stats: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    faults: Mapping[str, Fault] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """One asset that a stage makes.

    Attributes:
        asset: its name.
        about: what it is for and how it is made, a sentence or two for the UI.
        code_version: raised by hand when the same inputs would give other rows.
        params: the recipe's parameters that the asset depends on, and no others; not those that only say where weights lie.
        inputs: assets of the same shard that the asset is made from.
        slices: unpartitioned assets of whose rows those of the shard are used.
        rules: pre-filter rules of the recipe, whose tables are inputs too.
        weights: name -> identity of the model weights used; cheap, and without loading a model.
        complete: input asset each of whose usable rows must be accounted for here.
        journal: whether a run that is killed leaves a journal in the partition's folder.
    """

    asset: str
    about: str = ""
    code_version: str = "1"
    params: Callable[[Recipe], Any] = lambda recipe: None
    inputs: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    rules: Callable[[Recipe], Sequence[str]] = lambda recipe: ()
    weights: Callable[[Recipe], Mapping[str, str]] = lambda recipe: {}
    complete: str | None = None
    journal: bool = False

    def needed(self, recipe: Recipe) -> tuple[str, ...]:
        """All same-shard inputs for this recipe."""
        return tuple(dict.fromkeys([*self.inputs, *tables_of_rules(self.rules(recipe), recipe)]))


@dataclass(frozen=True)
class Stage:
    """How the assets of a group are made, shard by shard.

    Attributes:
        name: name of the op.
        group: asset group.
        parts: the assets.
        make: shard and the names of the assets that are wanted -> those assets.
        kinds: what the UI shows as kinds.
        pool: concurrency pool.
        op_tags: tags of the step (Kubernetes resources).
        gpus: number of GPUs that its models compute on here, by the recipe's parameters.
        up_to_date: an extra condition for leaving a table as it is, for stages that ask again in their own way.
        by_video: whether each video's rows depend on its own input rows alone. Then a shard of which some inputs changed is made anew
            for the videos that changed or could not be read, and the rows of the others are kept.
        reads: for stages by video, input asset -> what its rows say that this stage's depend on; all of it for others.
        describe: (shard, asset, whole table) -> numbers kept with the table and what the UI shows of it.
    """

    name: str
    group: str
    parts: tuple[Part, ...]
    make: Callable[[Shard, Collection[str]], Mapping[str, Made]]
    kinds: frozenset[str] = frozenset()
    pool: str | None = None
    op_tags: Mapping[str, Any] = field(default_factory=dict)
    gpus: Callable[[Recipe], int] = lambda recipe: 0
    up_to_date: Callable[[TableHeader, Shard], bool] = lambda header, shard: True
    by_video: bool = False
    reads: Mapping[str, Callable[[pa.Table], pa.Table]] = field(default_factory=dict)
    describe: Callable[[Shard, str, pa.Table], tuple[Mapping[str, Any], Mapping[str, Any]]] = (
        lambda shard, asset, table: ({}, {})
    )

    def part(self, asset: str) -> Part:
        return next(p for p in self.parts if p.asset == asset)

    def settled(self, header: TableHeader, shard: Shard) -> bool:
        """Whether making a table again from the same would change nothing: no row failed for a reason that may pass."""
        return not pending(header.stats, shard.settings.max_attempts) and self.up_to_date(header, shard)


class Shard:
    """One shard as a stage sees it: its recipe, its input tables, where its media go."""

    def __init__(
        self,
        key: str,
        recipe: Recipe,
        store: TableStore,
        settings: Settings,
        log: Any,
        force: bool = False,
        models: dict[Any, Any] | None = None,
    ) -> None:
        self.key, self.recipe, self.store, self.settings, self.log, self.force = (
            key,
            recipe,
            store,
            settings,
            log,
            force,
        )
        self._tables: dict[str, pa.Table] = {}
        self._videos: pa.Array | None = None
        self._slices: dict[str, pa.Table] = {}
        self._models: dict[Any, Any] = {} if models is None else models

    @property
    def storage(self) -> Storage:
        return self.store.storage

    @property
    def workers(self) -> int:
        return self.settings.workers

    def folder(self, asset: str) -> str:
        """Folder of the asset's media for this shard."""
        return self.store.folder(asset, self.key)

    def table(self, asset: str) -> pa.Table:
        """An input table of this shard."""
        if asset not in self._tables:
            table = self.store.read(asset, self.key)
            if self._videos is not None:
                table = table.filter(pc.is_in(table["video_id"], value_set=self._videos))
            self._tables[asset] = table
        return self._tables[asset]

    def accounted(self, asset: str) -> pa.Table:
        """What `accounting` reads of a table of this shard; of embeddings, for one, a thousandth."""
        if asset in self._tables:
            return self._tables[asset]
        columns = [c for c in ACCOUNTED if c in schema(asset).names]
        return self.store.read(asset, self.key, columns=columns)

    def only(self, videos: Collection[str]) -> Shard:
        """The same shard with nothing but these videos in its input tables."""
        view = copy.copy(self)
        view._tables, view._videos = {}, pa.array(sorted(videos), pa.string())
        return view

    def slice(self, asset: str) -> pa.Table:
        """The rows of an unpartitioned asset that belong to this shard."""
        if asset not in self._slices:
            self._slices[asset] = self.store.read(asset, filters=ds.field("shard") == self.key)
        return self._slices[asset]

    def slice_hash(self, asset: str) -> str:
        """Content hash of `slice(asset)`."""
        contract = schema(asset)
        return content_hash(self.slice(asset), contract.key, contract.volatile, contract.later)

    def previous(self, asset: str) -> pa.Table | None:
        """The table that is in force now; None if there is none, or if everything is to be made anew."""
        if self.force:
            return None
        try:
            return self.store.read(asset, self.key)
        except (MissingTable, DamagedTable):
            return None

    def model(self, load: Callable[[Any], Any], params: Any) -> Any:
        """What `load(params)` gives, loaded once for all shards of a run with the same parameters."""
        key = (load.__qualname__, repr(params))
        if key not in self._models:
            try:
                self._models[key] = load(params)
            except (MissingWeights, WrongWeights) as error:
                self._models[key] = error
        if isinstance(self._models[key], MissingWeights | WrongWeights):
            raise self._models[key]
        return self._models[key]

    def without_media(self, header: TableHeader) -> set[str]:
        """Videos of which a table names media that are gone."""
        lost = self.store.lost_media(header)
        if not lost:
            return set()
        rows = self.store.read(header.asset, header.partition, columns=["video_id", "tar"])
        return set(rows.filter(pc.is_in(rows["tar"], value_set=pa.array(lost)))["video_id"].to_pylist())

    def again(self) -> Shard:
        """The same shard with nothing of what was read of its tables."""
        fresh = copy.copy(self)
        fresh._tables, fresh._slices = {}, {}
        return fresh

    def forget(self, asset: str) -> None:
        """Drops a table that was read, because it has been made anew."""
        self._tables.pop(asset, None)


def expected(part: Part, shard: Shard) -> Provenance:
    """What `part` would be made from now.

    Raises:
        MissingTable: an input does not exist.
    """
    inputs: dict[str, str] = {}
    for asset in part.needed(shard.recipe):
        header = shard.store.header(asset, shard.key)
        if header is None:
            raise MissingTable(
                f"{part.asset} of {shard.key} needs {asset}, which does not exist for that shard: materialize {asset} first"
            )
        inputs[asset] = header.content_hash
    for asset in part.slices:
        inputs[asset] = shard.slice_hash(asset)
    return Provenance(part.code_version, part.params(shard.recipe), inputs, dict(part.weights(shard.recipe)))


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
    pictures: bool = True,
) -> AssetMaterialization:
    """The event that reports a committed table, with its content hash as data version.

    Args:
        instance: where earlier events are looked up.
        store: where the table lies.
        outcome: what was committed, or found up to date.
        partition: None for an unpartitioned asset.
        parents: parent asset -> whether it is partitioned like the child.
        pictures: whether the event of a table that was up to date repeats what the event of its making showed.
    """
    header, made = outcome.header, outcome.made
    facts = table_facts(header, store)
    lineage = column_lineage(outcome.asset, list(parents))
    if lineage.deps_by_column:
        facts["dagster/column_lineage"] = lineage
    shown: Mapping[str, Any] = {}
    if made is not None:
        shown = {k: v for k, v in made.metadata.items() if v is not None}
    else:
        shown = shown_before(instance, header) if pictures else {}
        facts = {"unchanged": True, **facts}
    return AssetMaterialization(
        AssetKey(outcome.asset),
        metadata={**{k: v for k, v in shown.items() if k not in facts}, **facts},
        partition=partition,
        tags=version_tags(instance, header, parents),
    )


def shown_before(instance: DagsterInstance, header: TableHeader) -> Mapping[str, Any]:
    """Metadata of the latest event of a table, if that event is of the same content."""
    which = AssetRecordsFilter(
        AssetKey(header.asset), asset_partitions=[header.partition] if header.partition else None
    )
    records = instance.fetch_materializations(which, limit=1).records
    event = records[0].asset_materialization if records else None
    if event is None or (event.tags or {}).get(DATA_VERSION_TAG) != header.content_hash:
        return {}
    return event.metadata


def table_facts(header: TableHeader, store: TableStore) -> dict[str, Any]:
    """What every event says last: rows, numbers and cost, and where the table lies."""
    uri = store.storage.uri(store.path(header.asset, header.partition))
    return {
        "dagster/row_count": header.rows,
        **plain({k: v for k, v in header.stats.items() if k not in NOT_SHOWN}),
        "table_bytes": store.storage.size(store.path(header.asset, header.partition)),
        "path": MetadataValue.path(uri),
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


def evaluations(store: TableStore, outcome: Outcome, partition: str | None) -> Iterator[AssetCheckEvaluation]:
    """The outcome of every check of a committed table."""
    read = partial(store.read, outcome.asset, partition)
    found = [*outcome.findings, *further(outcome.asset, outcome.header.stats, store.storage, read)]
    for finding in found:
        yield evaluation(outcome.asset, partition, finding)


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


@dataclass(frozen=True)
class Outcome:
    """A committed asset of one shard: `made` is None if the table was up to date."""

    asset: str
    header: TableHeader
    made: Made | None
    findings: Sequence[Finding]


def video_hashes(
    shard: Shard, assets: Collection[str], reads: Mapping[str, Callable[[pa.Table], pa.Table]]
) -> dict[str, str]:
    """video_id -> hash over its rows in the given input tables, of those in `reads` over what that makes of them."""
    found: dict[str, list[str]] = {}
    for asset in sorted(assets):
        contract = schema(asset)
        table = reads.get(asset, lambda whole: whole)(shard.table(asset))
        table = table.sort_by([(k, "ascending") for k in dict.fromkeys(["video_id", *contract.key])])
        if not table.num_rows:
            continue
        runs = pc.run_end_encode(table["video_id"].combine_chunks())
        start = 0
        for video, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            found.setdefault(video, []).append(
                f"{asset} {content_hash(table.slice(start, end - start), skip=contract.volatile, later=contract.later)}"
            )
            start = end
    return {video: hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16] for video, rows in found.items()}


def earlier_faults(header: TableHeader | None, now: Provenance) -> Mapping[str, Any]:
    """The faults of a table that was made in the same way."""
    return header.stats.get(FAULTS, {}) if header is not None and same_way(header.provenance, now) else {}


def same_way(old: Provenance, new: Provenance) -> bool:
    """Whether two tables are made in the same way, whatever their inputs hold."""
    way = [(p.code_version, canonical_json(p.params), dict(p.weights), sorted(p.inputs)) for p in (old, new)]
    return way[0] == way[1]


def _make(
    stage: Stage,
    todo: Sequence[str],
    shard: Shard,
    provenance: Mapping[str, Provenance],
    headers: Mapping[str, TableHeader | None],
) -> dict[str, Made]:
    """Makes the assets in `todo`; of a stage by video, only what changed, with the rows of the other videos kept."""
    if not stage.by_video:
        return dict(stage.make(shard, todo))
    now = video_hashes(shard, {i for a in todo for i in stage.part(a).needed(shard.recipe)}, stage.reads)
    kept = set(now)
    for asset in todo:
        header = headers[asset]
        if header is None or shard.force or not same_way(header.provenance, provenance[asset]):
            kept = set()
            break
        before = header.stats.get(VIDEOS, {})
        kept = {v for v in kept if before.get(v) == now[v]} - shard.without_media(header)
    changed = set(now) - kept
    if changed or not now:
        made = dict(stage.make(shard.only(changed) if kept else shard, todo))
    else:
        made = {a: Made(schema(a).empty()) for a in todo}
    for asset, part in made.items():
        faults = noted(part.faults, earlier_faults(headers[asset], provenance[asset]), now, kept)
        nothing_read(asset, shard.key, faults, now)
        open_again = pending({FAULTS: faults}, shard.settings.max_attempts)
        hashes = {v: h for v, h in now.items() if v not in open_again}
        numbers = {"videos_made": len(changed), "videos_kept": len(kept), VIDEOS: hashes}
        table = shard.store.prepare(asset, part.table)
        if kept:
            old = shard.store.read(asset, shard.key)
            old = old.filter(pc.is_in(old["video_id"], value_set=pa.array(sorted(kept), pa.string())))
            table = pa.concat_tables([shard.store.prepare(asset, old), table])
        stats, metadata = stage.describe(shard, asset, table)
        if faults:
            numbers[FAULTS] = faults
            rows = [(v, f["kind"], f["attempts"], f["reason"]) for v, f in list(faults.items())[:20]]
            metadata = {**metadata, "not_read": markdown_table(("video", "fault", "attempts", "reason"), rows)}
            shard.log.warning(f"{asset} {shard.key}: {said(faults, len(now))}")
        made[asset] = Made(table, {**part.stats, **stats, **numbers}, {**metadata, **part.metadata}, part.faults)
    return made


def pace(made: Made, table: pa.Table, cpu_s: float) -> dict[str, float]:
    """CPU seconds per clip, or per video before there are clips; nothing where rows of an earlier run were kept."""
    unit = "clip" if "clip_id" in table.column_names else "video"
    number = pc.count_distinct(table[f"{unit}_id"]).as_py()
    if not number or made.stats.get("videos_kept"):
        return {}
    return {f"cpu_s_per_{unit}": round(cpu_s / number, 4)}


def rows_in(part: Part, shard: Shard) -> int:
    """Rows that a table is made from: those that it must account for, else those of its first input."""
    source = part.complete or next(iter(part.inputs), None)
    if source is None:
        return sum(shard.slice(a).num_rows for a in part.slices)
    return usable(source, shard.table(source)).num_rows


def media_bytes(table: pa.Table) -> dict[str, int]:
    """Size of the media that a table points at, if it points at any."""
    if "tar" not in table.column_names:
        return {}
    return {"bytes": pc.sum(table.filter(pc.is_valid(table["tar"]))["size"]).as_py() or 0}


def make_shard(stage: Stage, wanted: Collection[str], shard: Shard) -> Iterator[Outcome]:
    """Brings the wanted assets of one shard up to date and commits them, one by one.

    What another run commits of the shard in the meantime is taken if it was made from the same, else this is made again over it.

    Raises:
        MissingTable: an input does not exist.
        ContractError: a table breaks its contract or its accounting; it is not committed.
        Superseded: other runs committed other tables at each of several tries.
    """
    left = list(wanted)
    for attempt in range(TRIES):
        try:
            for outcome in _make_shard(stage, left, shard):
                left.remove(outcome.asset)
                yield outcome
            return
        except (Superseded, MediaGone) as error:
            if attempt == TRIES - 1:
                raise
            shard.log.info(f"{error}; {', '.join(left)} of {shard.key} is looked at again")
            shard = shard.again()


def _make_shard(stage: Stage, wanted: Collection[str], shard: Shard) -> Iterator[Outcome]:
    """One try of `make_shard`."""
    provenance = {p.asset: expected(p, shard) for p in stage.parts if p.asset in wanted}
    headers = {asset: shard.store.usable_header(asset, shard.key) for asset in provenance}
    bases = {asset: shard.store.base(asset, shard.key, header) for asset, header in headers.items()}
    fresh = {
        asset
        for asset, header in headers.items()
        if header is not None
        and not shard.force
        and header.fingerprint == provenance[asset].fingerprint
        and stage.settled(header, shard)
        and _media_there(stage.part(asset), shard, header)
    }
    todo = [a for a in provenance if a not in fresh]
    made: Mapping[str, Made] = {}
    with Meter() as meter:
        if todo:
            made = _make(stage, todo, shard, provenance, headers)
    for asset in provenance:
        header = headers[asset]
        if asset in fresh and header is not None:
            found = list(accounting(stage.part(asset).complete, asset, shard.accounted(asset), shard.accounted))
            yield Outcome(asset, header, None, found)
            continue
        result = made[asset]
        table = shard.store.prepare(asset, result.table)
        found = list(accounting(stage.part(asset).complete, asset, table, shard.table))
        for finding in found:
            if finding.blocking and not finding.passed and result.faults:
                first = next(iter(result.faults.values()))
                raise ReadFault(
                    f"{asset} of {shard.key}: {len(result.faults)} videos could not be read ({first.kind}: {first.reason}); "
                    "the table in force stays"
                )
            if finding.blocking and not finding.passed:
                raise ContractError(f"{asset} of {shard.key}: {finding.description}")
        spent = meter.spent(shard.settings, len(todo), stage.gpus(shard.recipe))
        counted = {"rows_in": rows_in(stage.part(asset), shard), "rows_out": table.num_rows, **media_bytes(table)}
        stats = {**counted, **result.stats, **spent, **pace(result, table, spent["cpu_s"])}
        header = _commit(stage.part(asset), shard, table, provenance[asset], stats, bases[asset])
        shard.forget(asset)
        yield Outcome(asset, header, result, found)


def _commit(
    part: Part, shard: Shard, table: pa.Table, made_from: Provenance, stats: Mapping[str, Any], base: Base
) -> TableHeader:
    """Commits a table over the one that was in force when it was begun.

    Of a run that is forced it has nothing of an earlier table, so it may replace what another run committed meanwhile too.
    """
    store = shard.store
    try:
        return store.commit(part.asset, shard.key, table, made_from, stats, base)
    except Superseded:
        if not shard.force or expected(part, shard.again()).fingerprint != made_from.fingerprint:
            raise
        now = store.usable_header(part.asset, shard.key)
        return store.commit(part.asset, shard.key, table, made_from, stats, store.base(part.asset, shard.key, now))


def over_others(log: Any, make: Callable[[], T]) -> T:
    """What `make` gives. It reads the table in force and commits over that; if another run commits meanwhile, it is called again.

    Raises:
        Superseded: other runs committed at each of several tries.
    """
    for _ in range(TRIES - 1):
        try:
            return make()
        except Superseded as error:
            log.info(f"{error}; looked at again")
    return make()


def _media_there(part: Part, shard: Shard, header: TableHeader) -> bool:
    """Whether the tars that a table names are there. Beside them, what earlier runs left in the partition's folder is swept."""
    if not part.journal and "tar" not in schema(part.asset).names:
        return True
    found = shard.store.files(part.asset, shard.key)
    lost = shard.store.lost_media(header, found)
    if lost:
        shard.log.warning(f"{part.asset} of {shard.key}: {', '.join(lost[:3])} {LOST}; what lay in it is made again")
        return False
    swept = shard.store.sweep(header, found)
    if swept:
        shard.log.info(f"{part.asset} of {shard.key}: {len(swept)} files that no table names are removed")
    return True


def forced(context: AssetExecutionContext | OpExecutionContext) -> bool:
    """Whether the run asks, by its tag or in the launchpad, for everything to be made again."""
    run_config: Mapping[str, Any] = context.run.run_config
    options = run_config.get("resources", {}).get("settings", {}).get("config", {})
    return bool(options.get("force")) or context.run.tags.get(FORCE_TAG, "").lower() == "true"


def run_shards(
    context: AssetExecutionContext, stage: Stage, parents: Mapping[str, Mapping[str, bool]]
) -> Iterator[Any]:
    """The body of every sharded asset: each partition of the run is made, committed and reported on its own; failures come together at the end."""
    store: TableStore = context.resources.tables
    recipes: Mapping[str, Recipe] = context.resources.recipes
    settings: Settings = context.resources.settings
    force = forced(context)
    wanted = [p.asset for p in stage.parts if AssetKey(p.asset) in context.selected_asset_keys]
    failures: dict[str, str] = {}
    permanent = True
    done: list[str] = []
    models: dict[Any, Any] = {}
    keys = list(context.partition_keys)
    began = time.monotonic()
    for position, key in enumerate(keys, 1):
        try:
            dataset, _ = parse_shard_key(key)
            if dataset not in recipes:
                raise MissingTable(
                    f"shard {key} belongs to dataset {dataset!r}, but no recipe declares it; recipes: {', '.join(recipes) or 'none'}"
                )
            shard = Shard(key, recipes[dataset], store, settings, context.log, force, models)
            place = f"{key} ({position} of {len(keys)}{left(began, position - 1, len(keys))})"
            with Reporter(f"{stage.name} {place}", context.log.info) as reporter, listening(reporter):
                for made in make_shard(stage, wanted, shard):
                    yield materialization(
                        context.instance, store, made, key, parents[made.asset], pictures=len(keys) <= PICTURED_RUN
                    )
                    yield from evaluations(store, made, key)
                    state = "unchanged" if made.made is None else "made"
                    context.log.info(f"{made.asset} {place}: {made.header.rows} rows, {state}")
            done.append(key)
        except Unwritable as error:
            raise Failure(str(error), metadata={UNWRITABLE: MetadataValue.text(key)}, allow_retries=False) from error
        except Exception as error:  # noqa: BLE001 - one bad shard must not hide the good ones; all are raised together below
            said_plainly = isinstance(error, PLAIN)
            failures[key] = str(error) if said_plainly else f"{type(error).__name__}: {error}"
            permanent = permanent and said_plainly
            context.log.error(f"{stage.name} {key}: {error}" + ("" if said_plainly else f"\n{traceback.format_exc()}"))
    if failures:
        rest = "; the others are committed" if done else ""
        by_reason: dict[str, list[str]] = {}
        for key, reason in failures.items():
            by_reason.setdefault(reason.replace(key, "..."), []).append(key)
        lines = [
            f"{_some(keys)}: {failures[keys[0]] if len(keys) == 1 else reason}" for reason, keys in by_reason.items()
        ]
        more = f"\n... and {len(lines) - SHOWN_REASONS} reasons more" if len(lines) > SHOWN_REASONS else ""
        shown = "\n".join(lines[:SHOWN_REASONS]) + more
        raise Failure(
            f"{stage.name} failed for {len(failures)} of {len(keys)} shards{rest}\n{shown}",
            metadata={"failed": MetadataValue.json(failures)},
            allow_retries=not permanent,
        )
    for asset in wanted:
        yield silent_output(asset, Committed(tuple(done)))
        yield from check_outputs(asset)


def _some(keys: Sequence[str]) -> str:
    """The first keys, and how many there are more."""
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


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
            for c in CHECKS.get(asset, ())
        ]
    return specs


def shard_assets(stage: Stage, settings: Settings, recipes: Mapping[str, Recipe]) -> AssetsDefinition:
    """The Dagster assets of a stage, partitioned by shard."""
    parents: dict[str, dict[str, bool]] = {}
    for part in stage.parts:
        tables = dict.fromkeys(part.inputs) | {t: None for r in recipes.values() for t in part.needed(r)}
        parents[part.asset] = dict.fromkeys(tables, True) | dict.fromkeys(part.slices, False)

    def body(context: AssetExecutionContext) -> Iterator[Any]:
        with at_work(context.resources.tables.storage, context.partition_keys):
            yield from run_shards(context, stage, parents)

    body.__annotations__["context"] = AssetExecutionContext  # Dagster reads the class, not its name
    return multi_asset(
        name=stage.name,
        outs={p.asset: _out(stage, p) for p in stage.parts},
        deps=sorted({d for deps in parents.values() for d in deps}),
        partitions_def=SHARDS,
        backfill_policy=backfill_policy(settings.run_partitions),
        can_subset=len(stage.parts) > 1,
        check_specs=check_specs([p.asset for p in stage.parts]),
        required_resource_keys={"tables", "recipes", "settings"},
        pool=stage.pool,
        op_tags=dict(stage.op_tags),
        retry_policy=retry_policy(settings),
    )(body)


def retry_policy(settings: Settings) -> RetryPolicy | None:
    """How a step is tried again after a failure that may pass, the death of its process included; shards it committed are left alone."""
    if not settings.step_retries:
        return None
    return RetryPolicy(settings.step_retries, RETRY_DELAY_S, Backoff.EXPONENTIAL, Jitter.PLUS_MINUS)


def _out(stage: Stage, part: Part) -> AssetOut:
    contract = SCHEMAS[part.asset]
    return AssetOut(
        dagster_type=Committed,
        description=f"{part.about} One row is {contract.row}. Sorted by {', '.join(contract.key)}.",
        metadata={"dagster/column_schema": column_schema(part.asset)},
        group_name=stage.group,
        code_version=part.code_version,
        io_manager_key="io_manager",
        owners=OWNERS,
        kinds=set(stage.kinds) | {"parquet"},
        is_required=len(stage.parts) == 1,
    )
