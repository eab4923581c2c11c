"""What runs by itself: a watch over sources, a sensor that closes gaps, a nightly schedule.

All of it is stopped until somebody switches it on. Sensors request runs; what a run finds up to date it leaves alone, so that a run
too many costs seconds and changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from dagster import (
    AssetKey,
    DagsterRun,
    DagsterRunStatus,
    DefaultScheduleStatus,
    DefaultSensorStatus,
    RunRequest,
    RunsFilter,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)

from curation_assets.engine.behind import Behind, Busy, Tries, what_is_behind
from curation_assets.engine.heads import Heads
from curation_assets.engine.plan import BY_SHARD, PlanStep, plan
from curation_assets.engine.run_tags import SETTLED_TAG, SOURCES_TAG
from curation_assets.engine.staleness import SHARDED, Graph, open_heads
from curation_assets.ingest.error_classes import TRANSIENT_ERRORS
from curation_assets.orchestration import dead_runs
from curation_assets.orchestration.compat import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
    BulkActionsFilter,
    BulkActionStatus,
    UnresolvedAssetJobDefinition,
)
from curation_assets.orchestration.jobs import CURATE_JOB, DEDUPLICATE_JOB, GATHERING_JOB, INDEX_JOB, PUBLISH_JOB
from curation_assets.orchestration.notices import failure_notices
from curation_assets.orchestration.partitions import SHARDS
from curation_assets.recipes import Recipe, RecipeFault, subsets
from curation_assets.registry import DOWNLOADS, GATHERED, component
from curation_assets.settings import Settings
from curation_assets.source_watch import Page, SourceWatch, look
from curation_resources.provenance import canonical_json
from curation_resources.storage_errors import READ_ERRORS
from curation_resources.tables import TableStore
from curation_resources.words import plural

REQUESTED_BY = "curation/requested_by"
LOOK_SECONDS = 10.0
"""How long one tick of the gap sensor may read table footers; the rest is read at the next."""
OPEN = (
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
)
LONGEST_TAG = 2000
"""Names of so many changed sources, characters, stand in a run's tag; with more, all sources are read."""
SHOWN = 10
"""Names of tables in a message."""


def all_sensors(
    settings: Settings,
    recipes: Mapping[str, Recipe],
    store: TableStore,
    jobs: Iterable[UnresolvedAssetJobDefinition],
    faults: Sequence[RecipeFault] = (),
) -> list[SensorDefinition]:
    """The sensors of a code location, stopped. Their ticks name the recipes that are left out."""
    return [
        source_sensor(settings, recipes, store, faults),
        gap_sensor(settings, recipes, store, {j.name: j for j in jobs}, faults),
        failure_notices(settings),
    ]


def all_schedules(recipes: Mapping[str, Recipe]) -> list[ScheduleDefinition]:
    """The schedules of a code location, stopped: an example of a night's work, with `CURATION_PUBLISH_WHEN_IDLE=false`."""

    def every_subset(context: ScheduleEvaluationContext) -> list[RunRequest]:
        return [
            RunRequest(partition_key=key, tags={REQUESTED_BY: "nightly_subsets"}) for key in sorted(subsets(recipes))
        ]

    return [
        ScheduleDefinition(
            name="nightly_dedup",
            job_name=DEDUPLICATE_JOB,
            cron_schedule="0 1 * * *",
            default_status=DefaultScheduleStatus.STOPPED,
            description="Near-duplicates once a night rather than whenever shards have come. The gap sensor then brings the shards up to date.",
        ),
        ScheduleDefinition(
            name="nightly_subsets",
            job_name=PUBLISH_JOB,
            cron_schedule="0 5 * * *",
            execution_fn=every_subset,
            default_status=DefaultScheduleStatus.STOPPED,
            description="All subsets of all recipes, a run each; one whose clips, scores and rules are unchanged is left as it is.",
        ),
    ]


# --- sources ---------------------------------------------------------------------------------------------------------------------


def _naming(context: SensorEvaluationContext, faults: Sequence[RecipeFault], result: SensorResult) -> SensorResult:
    """A tick's result that says which recipes were left out, so that nobody takes their silence for work done."""
    if not faults:
        return result
    said = "; ".join(f"recipe left out: {f.message}" for f in faults)
    context.log.warning(said)
    if result.skip_reason is None:
        return result
    return result._replace(skip_reason=SkipReason(f"{result.skip_reason.skip_message}; {said}"))


def source_sensor(
    settings: Settings, recipes: Mapping[str, Recipe], store: TableStore, faults: Sequence[RecipeFault] = ()
) -> SensorDefinition:
    """Requests the index when a source has new, changed or removed files and stands still."""

    def tick(context: SensorEvaluationContext) -> SensorResult:
        return _naming(context, faults, watch_sources(context, settings, recipes, store))

    return SensorDefinition(
        name="source_sensor",
        evaluation_fn=tick,
        job_name=INDEX_JOB,
        minimum_interval_seconds=30,
        default_status=DefaultSensorStatus.STOPPED,
        description="Watches the files of all recipes' sources, in folders and buckets, a page per tick. When files are new, changed or "
        "gone, and two looks in a row found the same, it requests the index. A file that may still be being written waits, alone, until it has "
        "been left alone for source.settle_s.",
    )


def watch_sources(
    context: SensorEvaluationContext, settings: Settings, recipes: Mapping[str, Recipe], store: TableStore
) -> SensorResult:
    """One tick: goes on with the looks at the sources, requests the index for those that have changed and stand still.

    The cursor holds, for each dataset, what is known of its source, and whose turn is next. The run's key is chained from all that
    were requested before, so that a source that returns to an earlier state is indexed again.
    """
    cursor: dict[str, Any] = json.loads(context.cursor) if context.cursor else {}
    watches = {n: SourceWatch(**saved) for n, saved in cursor.get("sources", {}).items() if n in recipes}
    order = sorted(recipes)
    turn = cursor.get("turn", "")
    order = [n for n in order if n >= turn] + [n for n in order if n < turn]
    page = Page(settings.look_entries)
    said: list[str] = []
    next_turn = ""
    for dataset in order:
        watch = watches.get(dataset, SourceWatch())
        try:
            watch, complete = look(recipes[dataset], watch, store.storage, page, time.time())
        except READ_ERRORS as error:
            said.append(f"{dataset}: {error}")
            context.log.warning(f"source of {dataset} cannot be listed: {error}")
            continue
        watches[dataset] = watch
        if not complete:
            said.append(f"{dataset}: {plural(watch.entries, 'file')} looked at so far")
            next_turn = dataset
            break
    due = [n for n in sorted(watches) if watches[n].due]
    said += [
        f"{n}: has changed, waits until it stands still"
        for n, w in watches.items()
        if w.pending and not w.due and w.last
    ]
    said += [
        f"{n}: {plural(w.unsettled, 'file')} changed within the last {recipes[n].source.settle_s:g} s and wait until they are left alone"
        for n, w in watches.items()
        if w.unsettled
    ]
    chain = cursor.get("chain", "")
    requests = []
    if due:
        found = canonical_json({n: watches[n].last for n in due})
        chain = hashlib.sha256(f"{chain}\n{found}".encode()).hexdigest()[:32]
        for name in due:
            watches[name] = SourceWatch(
                taken=watches[name].last,
                last=watches[name].last,
                restless=min(watches[name].restless, 1),
                unsettled=watches[name].unsettled,
            )
        context.log.info(f"sources of {', '.join(due)} have changed: requests {INDEX_JOB}")
        tags = {REQUESTED_BY: "source_sensor", SETTLED_TAG: "true"}
        if len(names := ",".join(due)) <= LONGEST_TAG:
            tags[SOURCES_TAG] = names
        requests = [RunRequest(run_key=f"index-{chain}", tags=tags)]
    saved = {"sources": {n: w.saved() for n, w in sorted(watches.items())}, "turn": next_turn, "chain": chain}
    skip = None if requests else SkipReason("; ".join(said) or "no source has changed")
    return SensorResult(run_requests=requests, skip_reason=skip, cursor=canonical_json(saved))


# --- gaps ------------------------------------------------------------------------------------------------------------------------


def gap_sensor(
    settings: Settings,
    recipes: Mapping[str, Recipe],
    store: TableStore,
    jobs: Mapping[str, UnresolvedAssetJobDefinition],
    faults: Sequence[RecipeFault] = (),
) -> SensorDefinition:
    """Requests ranged runs for whatever is missing, stale or incomplete."""
    kept: list[Heads] = []

    def tick(context: SensorEvaluationContext) -> SensorResult:
        if not kept:
            kept.append(open_heads(store))
        return _naming(context, faults, close_gaps(context, settings, recipes, store, kept[0]))

    return SensorDefinition(
        name="gap_sensor",
        evaluation_fn=tick,
        jobs=[jobs[CURATE_JOB], jobs[DEDUPLICATE_JOB], jobs[PUBLISH_JOB]],
        minimum_interval_seconds=60,
        default_status=DefaultSensorStatus.STOPPED,
        description="Keeps every shard moving: requests ranged runs for tables that are missing, stale or have failures that may pass, as "
        "the recipes ask for them, then for the duplicate clusters and the subsets whose inputs are complete. Attempts are capped, then daily; what stays "
        "behind, or waits, is named in the tick with the reason.",
    )


def _tries(cursor: Mapping[str, Any]) -> Tries:
    made = {tuple(k.split(" ", 1)): tuple(v) for k, v in cursor.get("tries", {}).items()}
    return Tries(made, int(time.time()))


def close_gaps(
    context: SensorEvaluationContext,
    settings: Settings,
    recipes: Mapping[str, Recipe],
    store: TableStore,
    heads: Heads,
) -> SensorResult:
    """One tick: compares all tables with what the recipes ask for, and requests runs as far as there is room for them.

    The cursor holds the attempts at tables that are still behind, and counts the requests: together with the time at which the cursor
    was begun that makes a run's key, which a tick that died and is repeated gives again, and no other.
    """
    cursor: dict[str, Any] = json.loads(context.cursor) if context.cursor else {}

    def skip(reason: str) -> SensorResult:
        return SensorResult(skip_reason=SkipReason(reason), cursor=context.cursor)

    instance = context.instance
    if instance.get_backfills(filters=BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED]), limit=1):
        return skip("a backfill is under way; waits for its end")
    for holder in dead_runs.clear(instance, dead_runs.dead(instance)):
        context.log.info(f"{holder} is dead: marked as failed, waits for it no longer")
    opened = instance.get_runs(filters=RunsFilter(statuses=list(OPEN)))
    room = settings.open_runs - sum(r.tags.get(REQUESTED_BY) == "gap_sensor" for r in opened)
    if room <= 0:
        return skip(f"{settings.open_runs} requested runs are queued or at work; waits for room")
    unread = heads.look(list(SHARDED), LOOK_SECONDS)
    if unread:
        return skip(f"{plural(unread, 'table')} still to be looked at; goes on at the next tick")
    graph = Graph(store, recipes, settings, heads, why=False)
    order = instance.get_dynamic_partitions(SHARDS.name or "")
    unknown = sorted(set(graph.shards) - set(order))
    if unknown:
        adding = SHARDS.build_add_request(unknown)
        reason = SkipReason(f"registers {plural(len(unknown), 'shard')} of the index that this instance does not know")
        return SensorResult(skip_reason=reason, cursor=context.cursor, dynamic_partitions_requests=[adding])
    tries = _tries(cursor)
    busy = at_work(opened, order)
    found = what_is_behind(graph, settings, tries, busy)
    since = cursor.get("since") or int(time.time())
    serial = cursor.get("serial", 0)
    requests: list[RunRequest] = []
    for step in plan(found.work, order, settings.range_shards):
        if len(requests) >= room or (step.phase not in BY_SHARD and not settings.publish_when_idle):
            continue
        for key in step.keys or step.assets:
            for asset, fingerprint in found.attempted(key):
                tries.add(asset, key if step.keys else "", fingerprint)
        serial += 1
        requests.append(_request(step, f"gap-{since}-{serial}"))
        context.log.info(
            f"{', '.join(step.assets)} of {', '.join(step.keys[:1] + step.keys[1:][-1:]) or 'all'}: {step.why}"
        )
    said = list(_said(found, settings, busy, heads))
    for line in said:
        context.log.info(line)
    saved = canonical_json({"since": since, "serial": serial, "tries": tries.saved()})
    nothing = None if requests else SkipReason("; ".join(said) or "every table is up to date")
    return SensorResult(run_requests=requests, skip_reason=nothing, cursor=saved)


def _request(step: PlanStep, key: str) -> RunRequest:
    """The run that does a step."""
    tags = {REQUESTED_BY: "gap_sensor"}
    assets = [AssetKey(a) for a in step.assets]
    if step.phase not in BY_SHARD:
        job, partition = (PUBLISH_JOB, step.keys[0]) if step.keys else (GATHERING_JOB[step.assets[0]], None)
        return RunRequest(f"{key}-{job}", tags=tags, job_name=job, partition_key=partition, asset_selection=assets)
    content = hashlib.sha256(canonical_json([step.assets, step.keys]).encode()).hexdigest()[:12]
    bounds = {ASSET_PARTITION_RANGE_START_TAG: step.keys[0], ASSET_PARTITION_RANGE_END_TAG: step.keys[-1]}
    return RunRequest(f"{key}-{content}", job_name=CURATE_JOB, asset_selection=assets, tags={**bounds, **tags})


def at_work(runs: Iterable[DagsterRun], order: Sequence[str]) -> Busy:
    """What the runs are at work on, or will be."""
    place = {k: i for i, k in enumerate(order)}
    shards: set[str] = set()
    inputs: dict[str, set[str]] = {}
    keys: set[str] = set()
    gathering: set[str] = set()
    for run in runs:
        assets = {k.to_user_string() for k in run.asset_selection} if run.asset_selection is not None else None
        first = run.tags.get(ASSET_PARTITION_RANGE_START_TAG) or run.tags.get(PARTITION_NAME_TAG)
        last = run.tags.get(ASSET_PARTITION_RANGE_END_TAG) or first
        gathering |= {a for a, job in GATHERING_JOB.items() if (run.job_name == job if assets is None else a in assets)}
        if first and first not in place:
            keys.add(first)
        if first in place and last in place and (assets is None or assets & set(SHARDED)):
            own = order[place[first] : place[last] + 1]
            shards.update(own)
            for asset in GATHERED:
                if assets is None or assets & {DOWNLOADS, component(asset).inputs[0]}:
                    inputs.setdefault(asset, set()).update(own)
    made_new = {asset: frozenset(own) for asset, own in inputs.items()}
    return Busy(frozenset(shards), made_new, frozenset(keys), frozenset(gathering))


def _said(plan: Behind, settings: Settings, busy: Busy, heads: Heads) -> Iterator[str]:
    """What a tick says besides its requests."""
    if busy.shards:
        yield f"runs are at work on {plural(len(busy.shards), 'shard')}"
    for gathered, shards in plan.held.items():
        yield f"{plural(len(shards), 'shard waits', 'shards wait')} until {gathered} has seen {'it' if len(shards) == 1 else 'them'}"
    if plan.pausing:
        yield f"{plural(len(plan.pausing), 'table waits for its', 'tables wait for their')} next attempt: {_names(plan.pausing)}"
    if plan.given_up:
        yield (
            f"{plural(len(plan.given_up), 'table is', 'tables are')} left alone after {plural(settings.max_attempts, 'attempt')}: {_names(plan.given_up)}; "
            "their runs say why; they are tried again a day after the last attempt, or at once with other inputs, parameters or code, or by hand"
        )
    yield from sorted(plan.blocked)
    for key, why in list(plan.waiting.items())[:SHOWN]:
        yield f"{key}: {why}"
    if len(plan.waiting) > SHOWN:
        yield f"{plural(len(plan.waiting) - SHOWN, 'more subset waits', 'more subsets wait')}"
    lost = lost_videos(heads)
    removed = lost.pop("removed", 0)
    if lost:
        shown = ", ".join(f"{n} {c}" for c, n in lost.most_common())
        yield f"{plural(lost.total(), 'video has', 'videos have')} failed for good and are not tried again: {shown}"
    if removed:
        yield f"{plural(removed, 'video is no longer in its source; its rows', 'videos are no longer in their source; their rows')} stay, and `curation forget --removed --dry-run` says what of them is stored"


def lost_videos(heads: Heads) -> Counter[str]:
    """Class of error -> videos that failed for a reason that does not pass, or that are `removed` from their source."""
    found: Counter[str] = Counter()
    stats = heads.columns(DOWNLOADS).stats
    for text, tables in zip(stats.each, np.bincount(stats.numbers, minlength=len(stats.each)).tolist(), strict=True):
        if tables and text and '"errors":{}' not in text:
            found.update({name: n * tables for name, n in json.loads(text).get("errors", {}).items()})
    for name in TRANSIENT_ERRORS:
        del found[name]
    return found


def _names(tables: Sequence[str]) -> str:
    more = f" and {len(tables) - SHOWN} more" if len(tables) > SHOWN else ""
    return ", ".join(tables[:SHOWN]) + more
