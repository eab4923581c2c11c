"""How `dataset_index` is brought up to date: from the sources of all recipes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from curation_assets.checks import accounting
from curation_assets.contracts.component import Made
from curation_assets.engine.declared import record, undeclared
from curation_assets.engine.maker import Key, Maker, NotMade, Refused
from curation_assets.engine.making import Outcome
from curation_assets.engine.meter import Meter
from curation_assets.engine.progress import say
from curation_assets.engine.run import Run
from curation_assets.ingest.dataset_index import INDEX_VERSION
from curation_assets.recipes import Recipe
from curation_assets.schemas import schema
from curation_assets.showing.figures import bullets, markdown_table
from curation_resources.provenance import Provenance
from curation_resources.replace import ANY
from curation_resources.scratch import scratch_folder
from curation_resources.table_headers import TableHeader
from curation_resources.tables import Base, DamagedTable, TableStore

if TYPE_CHECKING:
    from curation_assets.ingest.index_plan import IndexPlan

SHOWN = (
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
"""Numbers of a dataset's plan that the event lists."""


class SourcesFailed(Refused):
    """Sources that could not be read; their rows stay.

    Attributes:
        errors: dataset -> why.
    """

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("\n".join(f"{dataset}: {error}" for dataset, error in errors.items()))
        self.errors = errors


class IndexMaker(Maker):
    """Makes the index. A source that cannot be read keeps its rows and fails the run at the end."""

    name, assets, collected = "dataset_index", ("dataset_index",), (SourcesFailed,)

    def bring(self, run: Run, key: Key, wanted: Sequence[str]) -> Iterator[Outcome]:
        header, plans, changed = update_index(run)
        record(run.store.storage, {p.dataset: run.recipes[p.dataset] for p in plans})
        left = [str(u) for u in undeclared(run.store, run.recipes, run.settings)]
        registered = run.register([shard for plan in plans for shard in plan.shards])
        overview = markdown_table(
            (*SHOWN, "contradictions"),
            [[*(getattr(p, f) if getattr(p, f) is not None else "" for f in SHOWN), _contradictions(p)] for p in plans],
        )
        numbers = {"shards": sum(len(p.shards) for p in plans), "new_shards": len(registered)}
        empty = schema("dataset_index").empty()
        made = Made(empty, metadata={"datasets": overview, "undeclared": bullets(left), **numbers})
        for plan in plans:
            _tell(run, plan)
        findings = list(accounting(None, "dataset_index", empty, run.store.read))
        yield Outcome("dataset_index", header, made if changed else None, findings)
        errors = {p.dataset: p.error for p in plans if p.error}
        if errors:
            raise SourcesFailed(errors)

    def parents(self, recipes: Mapping[str, Recipe]) -> dict[str, dict[str, bool]]:
        return {"dataset_index": {}}

    def failure(self, failures: Mapping[Key, Exception], keys: Sequence[Key]) -> NotMade:
        (error,) = failures.values()
        assert isinstance(error, SourcesFailed)
        return NotMade(str(error), details={"sources": dict(error.errors)})


def _tell(run: Run, plan: IndexPlan) -> None:
    """What the log says of a dataset, and the console of what somebody should know."""
    run.log.info(
        f"{plan.dataset}: {plan.present} videos in {len(plan.shards)} shards, {plan.added} new, {plan.removed} removed, {plan.rejected} rejected lines"
        + (f", {plan.forgotten} left out because they were taken down" if plan.forgotten else "")
    )
    if plan.unsettled:
        run.log.info(
            f"{plan.dataset}: {plan.unsettled} files changed within the last {run.recipes[plan.dataset].source.settle_s:g} s (source.settle_s) and "
            "may still be being written; what is known of them stays, and the next index takes them"
        )
    if plan.contradictions:
        _warn(
            run,
            f"{plan.dataset}: rows of one video contradict each other, of which the first counts: {_contradictions(plan)}",
        )
    if plan.removed:
        _warn(
            run,
            f"{plan.dataset}: of {plan.removed} videos that the source no longer lists, clips in published versions and the bytes beside "
            f"those of other videos are still stored; `curation forget --removed --dataset {plan.dataset} --dry-run` says what, and "
            "without --dry-run removes it",
        )


def update_index(run: Run) -> tuple[TableHeader, Sequence[IndexPlan], bool]:
    """Plans all recipes into one new index and commits it if it says something new.

    Returns:
        The header in force then, what was planned for each dataset, and whether the index was written.
    """
    from curation_assets.ingest.fetch_urls import publish_secrets, secrets_path
    from curation_assets.ingest.forgotten import read_forgotten
    from curation_assets.ingest.index_recovery import recovered_index
    from curation_assets.ingest.indexing import IndexWorkspace, plan_indexes

    store, recipes = run.store, run.recipes
    previous, base = _index_in_force(store)
    with scratch_folder("dataset-index-") as folder, Meter() as meter:
        local, secrets = Path(folder) / "index.parquet", Path(folder) / "secrets"
        secrets.mkdir(mode=0o700)
        old: str | Path | None = store.storage.uri(store.path("dataset_index")) if previous else None
        if base is ANY:
            old = Path(folder) / "recovered.parquet"
            found = recovered_index(store, old)
            run.log.warning(f"dataset_index is damaged: it is made again from video_metadata of {found} shards")
        read = [r for n, r in recipes.items() if run.sources is None or n in run.sources]
        settled_at = time.time() if run.settled else None
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
        changed = previous is None or previous.content_hash != digest or old_code or run.force
        header = previous
        if changed or header is None:
            params = {n: {"source": r.source.settled(), "shard": r.shard.model_dump()} for n, r in recipes.items()}
            meter.stop()
            stats = {"rows_in": sum(p.rows_read for p in plans), **meter.spent(run.settings)}
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


def _warn(run: Run, text: str) -> None:
    """A warning in the run's log and on the console of `curation run`, which shows no log."""
    run.log.warning(text)
    say(f"  {text}")


def _contradictions(plan: IndexPlan) -> str:
    """In which columns rows of one video say different things, and of how many videos."""
    return ", ".join(f"{column} of {n} {'video' if n == 1 else 'videos'}" for column, n in plan.contradictions.items())
