"""The body of every step: runs the engine's loop over the step's partitions, and tells Dagster what happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from dagster import AssetExecutionContext, AssetKey, Failure, MetadataValue, OpExecutionContext

from curation_assets.engine.events import Event, KeyFailed, TableChecked, TableCommitted
from curation_assets.engine.heads import check_disk
from curation_assets.engine.loop import bring_up_to_date
from curation_assets.engine.maker import Key, Maker, NotMade
from curation_assets.engine.run import Run
from curation_assets.engine.run_tags import FORCE_TAG, PARTIAL_TAG, SETTLED_TAG, SOURCES_TAG
from curation_assets.orchestration.events import Pages, check_outputs, evaluation, materialization, silent_output
from curation_assets.orchestration.io_manager import Committed
from curation_assets.orchestration.partitions import register_shards
from curation_assets.orchestration.reporters import reporting
from curation_resources.presence import at_work
from curation_resources.unwritable import UNWRITABLE, Unwritable

OWNERS = ["team:video-curation"]
Context = AssetExecutionContext | OpExecutionContext


def run_of(context: Context) -> Run:
    """The engine's view of a Dagster run: its resources, its tags, and what the launchpad asks."""
    tags, resources = context.run.tags, context.resources
    run_config: Mapping[str, Any] = context.run.run_config
    options = run_config.get("resources", {}).get("settings", {}).get("config", {})

    def said(tag: str) -> bool:
        return tags.get(tag, "").lower() == "true"

    sources = tags.get(SOURCES_TAG)
    return Run(
        resources.tables,
        resources.recipes,
        resources.settings,
        context.log,
        force=bool(options.get("force")) or said(FORCE_TAG),
        partial=said(PARTIAL_TAG),
        sources=frozenset(sources.split(",")) if sources else None,
        settled=said(SETTLED_TAG),
        register=partial(register_shards, context.instance),
    )


def failure(error: NotMade | Unwritable, maker: Maker) -> Failure:
    """What the engine could not make, as a failed step that is tried again only where that can help."""
    if isinstance(error, Unwritable):
        return Failure(str(error), metadata={UNWRITABLE: MetadataValue.text(maker.name)}, allow_retries=False)
    details = {name: MetadataValue.json(value) for name, value in error.details.items()}
    return Failure(str(error), metadata=details, allow_retries=not error.permanent)


def carried_out(
    context: Context,
    maker: Maker,
    keys: Sequence[Key],
    wanted: Sequence[str] | None = None,
    output: str | None = "result",
) -> Iterator[Any]:
    """The body of a step: each partition is made, committed and reported on its own; failures come together at the end.

    Args:
        context: of the step.
        maker: who makes the tables.
        keys: partitions of the run; `[None]` for an unpartitioned asset.
        wanted: of the maker's tables; None is all.
        output: name of the step's output; None where each table has one of its own name.
    """
    run, assets = run_of(context), maker.assets if wanted is None else wanted
    parents, reporters = maker.parents(run.recipes), reporting(run.settings)

    def told(event: Event) -> list[Any]:
        if isinstance(event, KeyFailed):
            return []
        if isinstance(event, TableChecked):
            return [evaluation(event.asset, event.key, event.finding)]
        if isinstance(event, TableCommitted):
            reporters.committed(event.outcome)
        own = parents[event.outcome.asset]
        return [materialization(context.instance, run.store, event.outcome, event.key, own, Pages.of(run.settings))]

    done = dict.fromkeys(keys)
    try:
        check_disk(run.store.storage)
    except Unwritable as error:
        raise failure(error, maker) from error
    with at_work(run.store.storage, [key or maker.name for key in keys]):
        events = bring_up_to_date(maker, keys, run, assets)
        try:
            event = next(events, None)
            while event is not None:
                if isinstance(event, KeyFailed):
                    done.pop(event.key)
                try:
                    shown = told(event)
                except Exception as error:  # noqa: BLE001 - what cannot be reported has failed, and hides none of the others
                    event = events.throw(error)
                    continue
                yield from shown
                event = next(events, None)
        except (NotMade, Unwritable) as error:
            raise failure(error, maker) from error
        for key in keys:
            if key is not None:
                maker.clear(run, key)
    for asset in assets:
        yield silent_output(output or asset, Committed(tuple(k for k in done if k is not None)))
        yield from check_outputs(asset)


def wanted_of(context: AssetExecutionContext, maker: Maker) -> list[str]:
    """The maker's tables that the step is to make."""
    return [asset for asset in maker.assets if AssetKey(asset) in context.selected_asset_keys]
