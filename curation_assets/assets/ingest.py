"""Group ingest: which videos there are, what their source says of them, and their bytes."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
from dagster import AssetExecutionContext, AssetsDefinition, Failure, MetadataValue, Output, asset

from curation_assets.checks import accounting
from curation_assets.engine.declared import record, undeclared
from curation_assets.engine.meter import Meter
from curation_assets.engine.progress import say
from curation_assets.materialize import (
    OWNERS,
    Made,
    Outcome,
    Part,
    Shard,
    Stage,
    check_output,
    check_specs,
    evaluation,
    forced,
    materialization,
    over_others,
    silent_output,
)
from curation_assets.orchestration.metadata import column_schema, contact_sheet, counts, markdown_table
from curation_assets.orchestration.partitions import register_shards
from curation_assets.orchestration.pods import pod
from curation_assets.recipes import Download, Recipe, RecipeFault
from curation_assets.schemas import REFUSED_BY_PROBE, TRANSIENT_ERRORS, schema
from curation_resources import probe
from curation_resources.markdown import escape
from curation_resources.progress import tell
from curation_resources.replace import ANY
from curation_resources.scratch import scratch_folder
from curation_resources.table_io_manager import Committed
from curation_resources.tables import Base, DamagedTable, Provenance, TableHeader, TableStore

if TYPE_CHECKING:
    from curation_assets.ingest.indexing import IndexPlan

INDEX_VERSION = "2"
SOURCES_TAG = "curation/changed_sources"
SETTLED_TAG = "curation/settled_only"
"""Tag of a run that leaves files of sources that may still be being written for a later one."""
"""Tag of a run that reads the sources of these datasets alone, names separated by commas; the rows of the others stay."""


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
    shown: dict[str, Any] = (
        {"undeclared": MetadataValue.md("\n".join(f"- {escape(line)}" for line in left))} if left else {}
    )
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
    from curation_assets.ingest.indexing import plan_indexes

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
            secrets=secrets,
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


def _make_metadata(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.ingest.normal_form import video_metadata_table
    from curation_assets.ingest.source_words import SPAN_WORDS, has_words

    table = video_metadata_table(shard.slice("dataset_index"))
    stats: dict[str, Any] = {"ok": 0, "rejected": 0, "removed": 0} | counts(table, "status")
    if worded := sum(map(has_words, table["spans"].to_pylist())):
        stats[SPAN_WORDS] = worded
    return {"video_metadata": Made(table, stats)}


FILES = ("folder", "webdataset")
"""Source formats whose videos are files; besides them only tables that lie here themselves may name local paths."""
OPERATIONAL = {
    "timeout_s",
    "total_timeout_s",
    "attempts",
    "backoff_s",
    "concurrency",
    "per_host",
    "rate_limit",
    "tar_bytes",
    "audio_rate",
}
"""Download parameters that change how long it takes, not what comes of it."""


def _download_params(recipe: Recipe) -> dict[str, Any]:
    """What raw_shards depends on. A proxy without a scheme becomes a URL, so that the table's metadata hide its password as any URL's."""
    params = recipe.download.model_dump(exclude=OPERATIONAL)
    if params["allow_private"] is None:  # tables of before the key was there
        del params["allow_private"]
    if params["proxy"] and "://" not in params["proxy"]:
        params["proxy"] = f"http://{params['proxy']}"
    return params


def _downloads(recipe: Recipe) -> Download:
    """How the recipe's videos are fetched; whether from private addresses is decided where the recipe leaves it open."""
    from curation_assets.ingest.sources.files import over_network

    if recipe.download.allow_private is not None:
        return recipe.download
    return recipe.download.model_copy(update={"allow_private": not over_network(recipe.source.path)})


def _raw_up_to_date(header: TableHeader, shard: Shard) -> bool:
    """Nothing failed that may pass, no URL that was refused has been signed anew since, and no media by a probe that read less."""
    from curation_assets.ingest.fetch_urls import digest, read_fetch_urls

    refused_media = REFUSED_BY_PROBE & set(header.stats.get("errors") or ())
    if header.stats.get("transient") or (refused_media and header.stats.get("probe") != probe.VERSION):
        return False
    refused = header.stats.get("refused_urls")
    return refused is None or refused == digest(read_fetch_urls(shard.storage, shard.key))


def _make_raw(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.ingest.fetch_urls import digest, read_fetch_urls
    from curation_assets.ingest.fetching import build_raw_shard
    from curation_assets.ingest.forgotten import read_forgotten

    urls = read_fetch_urls(shard.storage, shard.key)
    made = build_raw_shard(
        shard.table("video_metadata"),
        _downloads(shard.recipe),
        shard.storage,
        shard.folder("raw_shards"),
        shard.previous("raw_shards"),
        shard.force,
        lambda p: tell(p.done, p.total, "videos", f"{p.ok} ok, {p.failed} failed, {p.bytes / 1e6:.1f} MB"),
        allow_local=shard.recipe.source.format in FILES,
        local_lists=shard.recipe.source.format == "table",
        urls=urls,
        forgotten=read_forgotten(shard.store),
    )
    s = made.stats
    transient = sum(n for c, n in s.by_class.items() if c in TRANSIENT_ERRORS)
    errors = {c: n for c, n in s.by_class.items() if c != "ok"}
    stats = {
        "yield": round(s.ok / s.rows, 4) if s.rows else 1.0,
        "hours": round(s.video_s / 3600, 4),
        **{
            k: getattr(s, k)
            for k in ("ok", "failed", "rejected", "kept", "adopted", "fetched", "bytes", "fetched_bytes")
        },
        "video_s": round(s.video_s, 1),
        "MB_per_s": round(s.fetched_bytes / 1e6 / max(s.seconds, 1e-3), 2),
        "transient": transient,
        "errors": errors,
        "probe": probe.VERSION,
    }
    metadata: dict[str, Any] = {}
    sheet = contact_sheet([(jpeg, video_id) for video_id, jpeg in made.thumbnails])
    if sheet is not None:
        metadata["first_frames"] = sheet
    bad = made.table.filter(pc.not_equal(made.table["status"], "ok"))
    if urls.keys() & set(bad["video_id"].to_pylist()):
        stats["refused_urls"] = digest(urls)
    if bad.num_rows:
        rows = bad.slice(0, 20).select(["video_id", "status", "error_class", "error"]).to_pylist()
        metadata["not_ok"] = markdown_table(("video_id", "status", "class", "error"), [tuple(r.values()) for r in rows])
    return {"raw_shards": Made(made.table, stats, metadata)}


STAGES = (
    Stage(
        "video_metadata",
        "ingest",
        (
            Part(
                "video_metadata",
                "What the sources say of each video, in one form whatever theirs was.",
                slices=("dataset_index",),
            ),
        ),
        _make_metadata,
    ),
    Stage(
        "raw_shards",
        "ingest",
        (
            Part(
                "raw_shards",
                "Downloads videos, or refers to them where they lie, and probes them; what failed says why.",
                params=_download_params,
                inputs=("video_metadata",),
                complete="video_metadata",
            ),
        ),
        _make_raw,
        kinds=frozenset({"tar"}),
        pool="network",
        op_tags=pod(cpu=2, memory="4Gi", scratch="50Gi"),
        up_to_date=_raw_up_to_date,
    ),
)
