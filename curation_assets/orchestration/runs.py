"""Runs that this process executes on the persistent instance, so that the UI shows them: one step of a plan each.

What belongs here: carrying out a step and telling what came of it. What does not: which steps there are (`engine/plan.py`), and what is said at
the end (`outcome.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from dagster import AssetKey, DagsterEvent, DagsterInstance, Definitions, ExecuteInProcessResult

from curation_assets.engine.plan import BY_SHARD, PlanStep
from curation_assets.engine.shard_keys import parse_shard_key
from curation_assets.orchestration import dead_runs
from curation_assets.orchestration.compat import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    SINGLETON_REPOSITORY_NAME,
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from curation_assets.orchestration.jobs import CURATE_JOB, GATHERING_JOB, INDEX_JOB, PUBLISH_JOB
from curation_assets.outcome import Progress
from curation_assets.schemas import schema
from curation_resources.presence import check_root
from curation_resources.table_contracts import remedy
from curation_resources.unwritable import UNWRITABLE, Unwritable, full_folder

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
CODE_LOCATION = "curation_assets.definitions"
"""What Dagster calls the code location that workspaces load by the module's name."""
ALONE = {"dagster/max_retries": "0"}
"""Dagster's daemon does not start such a run again: whoever started the command does."""


def job_of(step: PlanStep) -> str:
    """The job that has the assets of a step."""
    if step.phase in BY_SHARD:
        return CURATE_JOB
    known = {"index": INDEX_JOB, "subsets": PUBLISH_JOB}
    return known[step.phase] if step.phase in known else GATHERING_JOB[step.assets[0]]


def execute_step(
    definitions: Definitions, instance: DagsterInstance, step: PlanStep, tags: Mapping[str, str], progress: Progress
) -> bool:
    """One step of a plan as one run of the job that has its assets. Whatever keeps it from succeeding is a failure, also what happens outside its steps.

    Returns:
        whether it succeeded; false, without trying, if storage takes nothing more.
    """
    if progress.unwritable:
        return False
    partition = None
    if step.phase in BY_SHARD:
        tags = {**tags, ASSET_PARTITION_RANGE_START_TAG: step.keys[0], ASSET_PARTITION_RANGE_END_TAG: step.keys[-1]}
    elif step.keys:
        partition = step.keys[0]
    job = definitions.resolve_job_def(job_of(step))
    names = list(step.assets)
    try:
        with of_code_location(instance, job.name):
            result = job.execute_in_process(
                run_config=QUIET,
                instance=instance,
                asset_selection=[AssetKey(a) for a in names],
                partition_key=partition,
                tags={**tags, **dead_runs.run_tags(), **ALONE},
                raise_on_error=False,
            )
    except Exception as error:  # noqa: BLE001 - the database, the plan, whatever Dagster stumbles over: the other runs go on
        full = full_folder(str(error), os.environ.get("DAGSTER_HOME"))
        if full is not None:
            progress.stop(", ".join(names), str(full))
            return False
        progress.fail(", ".join(names), f"the run could not be carried out: {type(error).__name__}: {error}")
        return False
    if not result.success:
        try:
            check_root()
        except Unwritable as error:
            progress.stop(", ".join(names), str(error))
            return False
    seen = len(progress.failures)
    for event in result.all_events:
        if event.event_type_value == "STEP_FAILURE":
            _failed(event, progress)
        elif event.event_type_value == "ASSET_MATERIALIZATION":
            _committed(event, progress)
    if not result.success and len(progress.failures) == seen:
        progress.fail(", ".join(names), _why(result))
    for check in result.get_asset_check_evaluations():
        if check.blocking and not check.passed and check.partition is not None and partition is None:
            asset = check.asset_key.to_user_string()
            progress.blocked.setdefault(
                parse_shard_key(check.partition)[0],
                f"{asset}: {check.check_name} ({check.description}; {remedy(asset, check.partition, schema(asset))})",
            )
    return bool(result.success)


@contextmanager
def of_code_location(instance: DagsterInstance, job: str) -> Iterator[None]:
    """Within the block, runs that are created belong to the code location, as those do that the UI launches: its first page lists no others, and a run
    without one leads to no job."""
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(CODE_LOCATION), SINGLETON_REPOSITORY_NAME)
    create = instance.create_run_for_job
    instance.create_run_for_job = partial(create, remote_job_origin=RemoteJobOrigin(repository, job))  # type: ignore[method-assign]
    try:
        yield
    finally:
        del instance.create_run_for_job


def _why(result: ExecuteInProcessResult) -> str:
    """What ended a run of which no step failed."""
    for event in reversed(result.all_events):
        if event.is_run_failure or event.event_type_value == "PIPELINE_CANCELED":
            data = event.event_specific_data
            error = getattr(data, "error", None)
            cause = (error.cause or error) if error else None
            return f"{event.message or ''} {cause.message if cause else ''}".strip()
    return f"the run ended as {result.dagster_run.status.value}"


def _committed(event: DagsterEvent, progress: Progress) -> None:
    materialization = event.step_materialization_data.materialization
    asset = materialization.asset_key.to_user_string()
    progress.committed(asset, materialization.partition, "unchanged" in materialization.metadata)


def _failed(event: DagsterEvent, progress: Progress) -> None:
    data = event.step_failure_data
    user = data.user_failure_data
    cause = data.error.cause if data.error and data.error.cause else data.error
    text = user.description if user and user.description else (cause.message if cause else "failed")
    text = (text or "").strip()
    if cause is not None and cause.cls_name == Unwritable.__name__:
        text = text.removeprefix(f"{Unwritable.__module__}.").removeprefix(f"{Unwritable.__name__}: ")
    elif user is None or UNWRITABLE not in user.metadata:
        full = full_folder(text, os.environ.get("DAGSTER_HOME"))
        if full is None:
            progress.fail(str(event.step_key), text)
            return
        text = str(full)
    progress.stop(str(event.step_key), text)


@contextmanager
def attended(instance: DagsterInstance, progress: Progress) -> Iterator[None]:
    """Clears dead runs before the block; within it, waiting for a slot costs no time, says what is waited for, and ends when the holder is
    dead."""
    for holder in dead_runs.clear(instance, dead_runs.dead(instance)):
        progress.say(f"{holder} is dead: marked as failed, its slots are free")
    with dead_runs.unhurried_claims(), dead_runs.Watch(instance, progress.say):
        yield
