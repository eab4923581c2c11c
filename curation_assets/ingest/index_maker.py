"""How `dataset_index` is brought up to date: from the sources of all recipes."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from curation_assets.checks import accounting
from curation_assets.contracts.component import Made
from curation_assets.engine.declared import EMPTY, TAKEN_DOWN, record, taken_down, undeclared, without_rows
from curation_assets.engine.maker import Key, Maker, NotMade, Refused
from curation_assets.engine.making import Outcome
from curation_assets.engine.meter import Meter
from curation_assets.engine.progress import say
from curation_assets.engine.run import Run
from curation_assets.engine.samples import VideoSample, whole_store, write_listed
from curation_assets.engine.shard_keys import parse_shard_key
from curation_assets.ingest.dataset_index import INDEX_VERSION
from curation_assets.recipes import Recipe
from curation_assets.schemas import schema
from curation_assets.showing.figures import bullets, markdown_table
from curation_resources.provenance import Provenance
from curation_resources.replace import ANY
from curation_resources.scratch import scratch_folder
from curation_resources.storage import Storage
from curation_resources.table_headers import TableHeader
from curation_resources.tables import Base, DamagedTable, TableStore
from curation_resources.words import plural

if TYPE_CHECKING:
    from curation_assets.ingest.forgotten import Forgotten
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
        passes: whether one of them may be read when it is tried again.
    """

    def __init__(self, errors: Mapping[str, str], passes: bool) -> None:
        super().__init__("\n".join(f"{dataset}: {error}" for dataset, error in errors.items()))
        self.errors, self.passes = errors, passes


class IndexMaker(Maker):
    """Makes the index. A source that cannot be read keeps its rows and fails the run at the end."""

    name, assets = "dataset_index", ("dataset_index",)

    def bring(self, run: Run, key: Key, wanted: Sequence[str]) -> Iterator[Outcome]:
        header, plans, changed = update_index(run)
        if run.settings.sample is not None:
            write_listed(run.store.storage, {p.dataset: p.listed for p in plans if p.listed is not None})
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
            raise SourcesFailed(errors, any(p.passes for p in plans))

    def parents(self, recipes: Mapping[str, Recipe]) -> dict[str, dict[str, bool]]:
        return {"dataset_index": {}}

    def failure(self, failures: Mapping[Key, Exception], keys: Sequence[Key]) -> NotMade:
        (error,) = failures.values()
        if not isinstance(error, SourcesFailed):
            return NotMade(str(error))
        return NotMade(str(error), not error.passes, {"sources": dict(error.errors)})


def _tell(run: Run, plan: IndexPlan) -> None:
    """What the log says of a dataset, and the console of what somebody should know."""
    run.log.info(
        f"{plan.dataset}: {plural(plan.present, 'video')} in {plural(len(plan.shards), 'shard')}, {plan.added} new, {plan.removed} removed, {plural(plan.rejected, 'rejected line')}"
        + (f", {plan.forgotten} left out because they were taken down" if plan.forgotten else "")
    )
    if plan.unsettled:
        run.log.info(
            f"{plan.dataset}: {plural(plan.unsettled, 'file')} changed within the last {run.recipes[plan.dataset].source.settle_s:g} s (source.settle_s) and "
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
            f"{plan.dataset}: of {plural(plan.removed, 'video')} that the source no longer lists, clips in published versions and the bytes beside "
            f"those of other videos are still stored; `curation forget --removed --dataset {plan.dataset} --dry-run` says what, and "
            "without --dry-run removes it",
        )


def update_index(run: Run) -> tuple[TableHeader, Sequence[IndexPlan], bool]:
    """Plans all recipes into one new index and commits it if it says something new.

    Returns:
        The header in force then, what was planned for each dataset, and whether the index was written.

    Raises:
        Refused: the memory that it may use is not enough.
    """
    from curation_assets.ingest.forgotten import read_forgotten

    store, storage = run.store, run.store.storage
    previous, base = _index_in_force(store)
    forgotten = read_forgotten(store)
    read = [r for n, r in run.recipes.items() if run.sources is None or n in run.sources]
    current = previous is not None and previous.provenance.code_version == INDEX_VERSION and not run.force
    known = _known(storage, previous.content_hash) if current and previous is not None else {}
    of_dataset = _shards(store, previous) if previous is not None and known else {}
    told = {*of_dataset, *without_rows(previous)}
    if (
        previous is not None
        and known
        and all(r.dataset in told and _is_same(r, known, storage, forgotten) for r in read)
    ):
        plans = [replace(known[r.dataset], shards=tuple(of_dataset.get(r.dataset, ()))) for r in read]
        return previous, sorted(plans, key=lambda p: p.dataset + "-"), False
    return _update(run, read, previous, base, known, forgotten)


def _update(
    run: Run,
    read: Sequence[Recipe],
    previous: TableHeader | None,
    base: Base,
    known: Mapping[str, IndexPlan],
    forgotten: Forgotten,
) -> tuple[TableHeader, Sequence[IndexPlan], bool]:
    """As `update_index`, of sources some of which may say something new."""
    import duckdb

    from curation_assets.engine.slices import drop_old_slices, write_slices
    from curation_assets.ingest.fetch_urls import publish_secrets, secrets_path
    from curation_assets.ingest.index_file import IndexFile
    from curation_assets.ingest.index_recovery import recovered_index
    from curation_assets.ingest.indexing import IndexWorkspace, plan_indexes
    from curation_assets.ingest.source_states import write_states

    store, storage = run.store, run.store.storage
    with scratch_folder("dataset-index-") as folder, Meter() as meter:
        kept = _kept(storage)
        local, secrets = Path(folder) / "index.parquet", Path(folder) / "secrets"
        secrets.mkdir(mode=0o700)
        old: str | Path | None = storage.uri(store.path("dataset_index")) if previous else None
        if base is ANY:
            old = Path(folder) / "recovered.parquet"
            found = recovered_index(store, old)
            run.log.warning(
                f"dataset_index is damaged: it is made again from video_metadata of {plural(found, 'shard')}"
            )
        memory_mb = run.settings.index_memory_mb
        file = IndexFile(local)
        try:
            plans = plan_indexes(
                read,
                old,
                file,
                storage=storage,
                workspace=IndexWorkspace(memory_mb, folder, secrets, kept, known, *_sampled(run)),
                forgotten=forgotten,
                settled_at=time.time() if run.settled else None,
            )
        except duckdb.OutOfMemoryException as error:
            raise Refused(
                f"dataset_index needs more memory than the {memory_mb} MB that its database may hold; set CURATION_INDEX_MEMORY_MB to more, "
                f"and run again: lists that were read are kept ({str(error).splitlines()[0]})"
            ) from error
        for plan in plans:
            if plan.secrets and (secrets / f"{plan.dataset}.parquet").exists():
                publish_secrets(storage, plan.dataset, secrets / f"{plan.dataset}.parquet")
        digest = file.content_hash
        old_code = previous is not None and previous.provenance.code_version != INDEX_VERSION
        empty, gone = _without_rows(plans, previous)
        noted = (empty, gone) == (without_rows(previous), taken_down(previous))
        changed = previous is None or previous.content_hash != digest or old_code or run.force or not noted
        header = previous
        if changed or header is None:
            params = {n: {"source": r.source.settled(), "shard": r.shard.model_dump()} for n, r in run.recipes.items()}
            meter.stop()
            stats = {
                "rows_in": sum(p.rows_read for p in plans),
                EMPTY: sorted(empty),
                TAKEN_DOWN: gone,
                **meter.spent(run.settings),
            }
            write_slices(store, "dataset_index", digest, file.slices)
            header = store.commit_file(
                "dataset_index", None, local, Provenance(INDEX_VERSION, params), digest, stats, base
            )
            drop_old_slices(store, header)
        for plan in plans:
            if not plan.secrets and plan.error is None and not plan.unsettled:
                storage.remove(secrets_path(plan.dataset))
        write_states(storage, header.content_hash, dict(known) | {p.dataset: p for p in plans})
        if kept is not None:
            shutil.rmtree(kept, ignore_errors=True)
    return header, plans, changed


def _without_rows(plans: Sequence[IndexPlan], before: TableHeader | None) -> tuple[set[str], dict[str, int]]:
    """Datasets that have no row, and how many rows of each source are left out since their videos were taken down: of those whose sources were read now
    to the end, and as it was known of the others."""
    read = {p.dataset: p for p in plans if p.error is None and not p.unsettled}
    empty = (read.keys() | without_rows(before)) - {p.dataset for p in plans if p.shards}
    gone = {n: count for n, count in taken_down(before).items() if n not in read}
    return empty, dict(sorted((gone | {n: p.forgotten for n, p in read.items() if p.forgotten}).items()))


def _sampled(run: Run) -> tuple[VideoSample | None, str | None]:
    """Which videos the index has, and where the index of all of them is, if there is one."""
    if run.settings.sample is None:
        return None, None
    store = whole_store(run.store)
    there = store.exists("dataset_index")
    return VideoSample(run.settings.sample), store.storage.uri(store.path("dataset_index")) if there else None


def _is_same(recipe: Recipe, known: Mapping[str, IndexPlan], storage: Storage, forgotten: Forgotten) -> bool:
    """Whether the index in force was made from the files that a source has now."""
    from curation_assets.ingest.source_states import identity_of

    was = known.get(recipe.dataset)
    return was is not None and was.identity == identity_of(recipe, storage, forgotten)


def _known(storage: Storage, content_hash: str) -> dict[str, IndexPlan]:
    """Dataset -> what the index in force has of its source; not of one whose full URLs are gone."""
    from curation_assets.ingest.fetch_urls import secrets_path
    from curation_assets.ingest.source_states import read_states

    found = read_states(storage, content_hash)
    return {n: plan for n, plan in found.items() if not plan.secrets or storage.exists(secrets_path(n))}


def _shards(store: TableStore, header: TableHeader) -> dict[str, list[str]]:
    """Dataset -> its shards in the index in force, in order of their numbers."""
    from curation_assets.engine.slices import read_slices

    found: dict[str, list[str]] = {}
    for shard in sorted(read_slices(store, header)["shard"].to_pylist(), key=parse_shard_key):
        found.setdefault(parse_shard_key(shard)[0], []).append(shard)
    return found


def _kept(storage: Storage) -> Path | None:
    """Where lists that were read stay for a later run if this one fails: below DAGSTER_HOME; None without one. Nobody else may read there,
    since what was read has addresses with their secrets."""
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        return None
    folder = Path(home) / "cache" / f"index-{hashlib.sha256(storage.root.encode()).hexdigest()[:16]}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


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
