"""The asset at the root of the graph: the index of all sources, and the shard keys that it registers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import AssetExecutionContext, AssetsDefinition, Failure, MetadataValue, Output, asset

from curation_assets.checks import accounting
from curation_assets.contracts.component import Made
from curation_assets.engine.declared import record, undeclared
from curation_assets.engine.making import Outcome, over_others
from curation_assets.engine.meter import Meter
from curation_assets.engine.progress import say
from curation_assets.engine.run_tags import SETTLED_TAG, SOURCES_TAG
from curation_assets.orchestration.events import check_output, check_specs, evaluation, materialization, silent_output
from curation_assets.orchestration.metadata import column_schema
from curation_assets.orchestration.partitions import register_shards
from curation_assets.orchestration.shard_assets import OWNERS, forced
from curation_assets.recipes import Recipe, RecipeFault
from curation_assets.schemas import schema
from curation_assets.showing.figures import markdown_table
from curation_resources.markdown import Markdown, escape
from curation_resources.replace import ANY
from curation_resources.scratch import scratch_folder
from curation_resources.table_io_manager import Committed
from curation_resources.tables import Base, DamagedTable, Provenance, TableHeader, TableStore

if TYPE_CHECKING:
    from curation_assets.ingest.index_plan import IndexPlan

INDEX_VERSION = "2"


def dataset_index(faults: Sequence[RecipeFault] = ()) -> AssetsDefinition:
    """The one unpartitioned asset at the root of the graph. Its description begins with the recipes that cannot be used, if there are any."""
    contract = schema("dataset_index")
    left_out = "".join("**Recipe left out:** `{}`\n\n".format(f.message.replace("`", "'")) for f in faults)

    def body(context: AssetExecutionContext) -> Iterator[Any]:
        yield from index_sources(context)

    body.__annotations__["context"] = AssetExecutionContext  # Dagster reads the class, not its name
    return asset(
        name="dataset_index",
        group_name="ingest",
        description=f"{left_out}**Start here.** Reads the sources of all recipes and registers their shards, the partitions of most other assets. "
        f"On a fresh instance there are none before this has run: *Materialize all* then makes this table alone; "
        f"launched once more it takes up the shards. One row is {contract.row}.",
        metadata={"dagster/column_schema": column_schema("dataset_index")},
        code_version=INDEX_VERSION,
        owners=OWNERS,
        kinds={"duckdb", "parquet"},
        io_manager_key="io_manager",
        check_specs=check_specs(["dataset_index"]),
        required_resource_keys={"tables", "recipes", "settings"},
    )(body)


def index_sources(context: AssetExecutionContext) -> Iterator[Any]:
    """Brings the index up to date, registers its shards and reports it.

    A source that cannot be read keeps its rows and fails the run at the end.
    """
    store: TableStore = context.resources.tables
    contract = schema("dataset_index")
    header, plans, changed = over_others(context.log, partial(update_index, context))
    recipes: Mapping[str, Recipe] = context.resources.recipes
    record(store.storage, {p.dataset: recipes[p.dataset] for p in plans})
    left = [str(u) for u in undeclared(store, recipes, context.resources.settings)]
    registered = register_shards(context.instance, [key for plan in plans for key in plan.shards])
    fields = (
        "dataset",
        "rows_read",
        "present",
        "added",
        "restored",
        "changed",
        "removed",
        "rejected",
        "forgotten",
        "unsettled",
        "error",
    )
    overview = markdown_table(
        (*fields, "contradictions"),
        [[*(getattr(p, f) if getattr(p, f) is not None else "" for f in fields), _contradictions(p)] for p in plans],
    )
    shown: dict[str, Any] = {"undeclared": Markdown("\n".join(f"- {escape(line)}" for line in left))} if left else {}
    numbers = {"shards": sum(len(p.shards) for p in plans), "new_shards": len(registered)}
    made = Made(contract.empty(), metadata={"datasets": overview, **shown, **numbers}) if changed else None
    outcome = Outcome(
        "dataset_index", header, made, list(accounting(None, "dataset_index", contract.empty(), store.read))
    )
    for plan in plans:
        context.log.info(
            f"{plan.dataset}: {plan.present} videos in {len(plan.shards)} shards, {plan.added} new, {plan.removed} removed, {plan.rejected} rejected lines"
            + (f", {plan.forgotten} left out because they were taken down" if plan.forgotten else "")
        )
        if plan.unsettled:
            context.log.info(
                f"{plan.dataset}: {plan.unsettled} files changed within the last {recipes[plan.dataset].source.settle_s:g} s (source.settle_s) and "
                "may still be being written; what is known of them stays, and the next index takes them"
            )
        if plan.contradictions:
            _warn(
                context,
                f"{plan.dataset}: rows of one video contradict each other, of which the first counts: {_contradictions(plan)}",
            )
        if plan.removed:
            _warn(
                context,
                f"{plan.dataset}: of {plan.removed} videos that the source no longer lists, clips in published versions and the bytes beside "
                f"those of other videos are still stored; `curation forget --removed --dataset {plan.dataset} --dry-run` says what, and "
                "without --dry-run removes it",
            )
    yield materialization(context.instance, store, outcome, None, {})
    for finding in outcome.findings:
        yield evaluation("dataset_index", None, finding)
    errors = {p.dataset: p.error for p in plans if p.error}
    if errors:
        raise Failure(
            "\n".join(f"{dataset}: {error}" for dataset, error in errors.items()),
            metadata={"sources": MetadataValue.json(errors)},
            allow_retries=False,
        )
    yield silent_output("result", Committed())
    yield Output(None, output_name=check_output("dataset_index"))


def update_index(context: AssetExecutionContext) -> tuple[TableHeader, Sequence[IndexPlan], bool]:
    """Plans all recipes into one new index and commits it if it says something new.

    Returns:
        The header in force then, what was planned for each dataset, and whether the index was written.
    """
    from curation_assets.ingest.fetch_urls import publish_secrets, secrets_path
    from curation_assets.ingest.forgotten import read_forgotten
    from curation_assets.ingest.index_recovery import recovered_index
    from curation_assets.ingest.indexing import IndexWorkspace, plan_indexes

    store: TableStore = context.resources.tables
    recipes: Mapping[str, Recipe] = context.resources.recipes
    previous, base = _index_in_force(store)
    with scratch_folder("dataset-index-") as folder, Meter() as meter:
        local, secrets = Path(folder) / "index.parquet", Path(folder) / "secrets"
        secrets.mkdir(mode=0o700)
        old: str | Path | None = store.storage.uri(store.path("dataset_index")) if previous else None
        if base is ANY:
            old = Path(folder) / "recovered.parquet"
            found = recovered_index(store, old)
            context.log.warning(f"dataset_index is damaged: it is made again from video_metadata of {found} shards")
        read = chosen_sources(context.run.tags.get(SOURCES_TAG), recipes)
        settled_at = time.time() if context.run.tags.get(SETTLED_TAG, "").lower() == "true" else None
        plans = plan_indexes(
            read,
            old,
            local,
            storage=store.storage,
            workspace=IndexWorkspace(secrets=secrets),
            forgotten=read_forgotten(store),
            settled_at=settled_at,
        )
        for plan in plans:
            if plan.secrets:
                publish_secrets(store.storage, plan.dataset, secrets / f"{plan.dataset}.parquet")
        digest = store.file_content_hash("dataset_index", local)
        old_code = previous is not None and previous.provenance.code_version != INDEX_VERSION
        changed = previous is None or previous.content_hash != digest or old_code or forced(context)
        header = previous
        if changed or header is None:
            params = {n: {"source": r.source.settled(), "shard": r.shard.model_dump()} for n, r in recipes.items()}
            meter.stop()
            stats = {"rows_in": sum(p.rows_read for p in plans), **meter.spent(context.resources.settings)}
            header = store.commit_file(
                "dataset_index", None, local, Provenance(INDEX_VERSION, params), digest, stats, base
            )
        for plan in plans:
            if not plan.secrets and plan.error is None and not plan.unsettled:
                store.storage.remove(secrets_path(plan.dataset))
    return header, plans, changed


def _index_in_force(store: TableStore) -> tuple[TableHeader | None, Base]:
    """The header of the index, and what a commit may replace: whatever there is of one that is damaged, which has no header."""
    try:
        header = store.header("dataset_index")
        if header is not None:
            store.check("dataset_index")
        return header, header
    except DamagedTable:
        return None, ANY


def _warn(context: AssetExecutionContext, text: str) -> None:
    """A warning in the run's log and on the console of `curation run`, which shows no log."""
    context.log.warning(text)
    say(f"  {text}")


def _contradictions(plan: IndexPlan) -> str:
    """In which columns rows of one video say different things, and of how many videos."""
    return ", ".join(f"{column} of {n} {'video' if n == 1 else 'videos'}" for column, n in plan.contradictions.items())


def chosen_sources(tag: str | None, recipes: Mapping[str, Recipe]) -> list[Recipe]:
    """The recipes whose sources are to be read: those of the tag; all without one. Files of another source may be half written."""
    names = set(tag.split(",")) if tag else set(recipes)
    return [r for n, r in recipes.items() if n in names]
